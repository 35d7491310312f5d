# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""tools/gpu_check.sh runs from beginning to end; its numbers need a GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_dry_run(tmp_path):
    done = subprocess.run(['tools/gpu_check.sh', str(tmp_path / 'out'), '--dry-run'], cwd=ROOT, text=True,
                          capture_output=True, timeout=580, env={**os.environ, 'PYTHON': sys.executable})
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((tmp_path / 'out' / 'gpu_check.json').read_text())
    assert not record['failed'] and set(record['found']) >= {'machine', 'parity', 'attention', 'bev', 'pipeline',
                                                             'training', 'graph', 'waits', 'profile'}
    assert record['found']['waits'] == {} and (tmp_path / 'out' / 'profile.txt').exists()
    assert 'times mean nothing' in (tmp_path / 'out' / 'gpu_check.md').read_text()


@pytest.mark.skipif('torch' in sys.modules and sys.modules['torch'].cuda.is_available(), reason='there is a GPU')
def test_without_a_gpu_it_says_so(tmp_path):
    done = subprocess.run([sys.executable, 'tools/gpu_check.py', '--out', str(tmp_path)], cwd=ROOT, text=True,
                          capture_output=True, env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert done.returncode == 2 and 'no CUDA device' in done.stdout and '--dry-run' in done.stdout
