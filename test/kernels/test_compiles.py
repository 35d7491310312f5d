# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Every Triton kernel compiles to machine code of a GPU, without one; the interpreter takes what a compiler refuses."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_REGISTERS = 255  # of a thread; beyond, and with a stack, numbers go to memory
KERNELS = {'_brighten', '_channel_gradient', '_count', '_gate', '_input_gradient', '_lay', '_lowest', '_pool_cells',
           '_pool_channels', '_spatial_gradient'}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(importlib.util.find_spec('triton') is None, reason='triton is not installed')
def test_every_kernel_compiles_and_spills_nothing():
    path = os.pathsep.join([str(ROOT), str(ROOT / 'test'), os.environ.get('PYTHONPATH', '')])
    environment = {**os.environ, 'PYTHONPATH': path.rstrip(os.pathsep), 'CUDA_VISIBLE_DEVICES': ''}
    environment.pop('TRITON_INTERPRET', None)
    done = subprocess.run([sys.executable, 'test/kernels/compile_for_hopper.py'], cwd=ROOT, text=True,
                          capture_output=True, timeout=880, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{')]
    assert {row['kernel'] for row in rows} == KERNELS
    assert all(row['stack_bytes'] == 0 and 0 < row['registers'] <= MOST_REGISTERS for row in rows), rows
