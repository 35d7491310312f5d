# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""tools/gpu_train.sh makes scenes, trains two networks side by side, and brings their weights back; here on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from attention_fusion_ros.network import checkpoint

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_dry_run(tmp_path):
    out, start = tmp_path / 'out', tmp_path / 'start.safetensors'
    shipped = checkpoint.SHIPPED.parent
    environment = {**os.environ, 'PYTHON': sys.executable, 'PYTHONPATH': str(ROOT)}
    second = str(ROOT / 'config' / 'train_places.yaml')
    made = subprocess.run([sys.executable, 'tools/start_second.py', '--config', second, '--start-from',
                           str(shipped / 'two_readings.safetensors'), '--reading-from',
                           str(shipped / 'default.safetensors'), '--out', str(start)], cwd=ROOT, env=environment,
                          text=True, capture_output=True, timeout=200)
    assert made.returncode == 0, made.stdout + made.stderr
    done = subprocess.run(['tools/gpu_train.sh', str(out), '--dry-run', '--scenes', '4', '--seconds', '500', '--work',
                           str(tmp_path / 'work'), '--runs', f'config/train_heat.yaml={checkpoint.SHIPPED}',
                           f'{second}={start}'], cwd=ROOT, text=True, capture_output=True, timeout=560, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    for name, before in (('train_heat', checkpoint.SHIPPED), ('train_places', start)):
        weights, old = (checkpoint.load(file).network.state_dict() for file in (out / f'{name}.safetensors', before))
        assert any((weights[key] != old[key]).any() for key in old), f'{name}: {(out / name).with_suffix(".log")}'
        assert (out / f'{name}.json').is_file()


def test_a_run_whose_files_are_missing_is_refused(tmp_path):
    done = subprocess.run(['tools/gpu_train.sh', str(tmp_path), '--runs', 'config/train_heat.yaml=nowhere.safetensors'],
                          cwd=ROOT, text=True, capture_output=True, env={**os.environ, 'PYTHON': sys.executable})
    assert done.returncode == 2 and "'nowhere.safetensors' is no file" in done.stderr
