# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Signals while training: the tests are in signals_in_process.py, and run in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_signals_while_training():
    file = Path(__file__).with_name('signals_in_process.py')
    done = subprocess.run([sys.executable, '-m', 'pytest', str(file), '-q', '-p', 'no:cacheprovider', '-p', 'no:xdist'],
                          cwd=ROOT, text=True, capture_output=True, timeout=580,
                          env={**os.environ, 'PYTHONPATH': str(ROOT), 'PYTEST_ADDOPTS': ''})
    assert done.returncode == 0 and '13 passed' in done.stdout, done.stdout + done.stderr
