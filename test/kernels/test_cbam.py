# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""CBAM as one operation: equal to its parts in attention/; and all Triton versions, interpreted, to plain torch."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from attention_fusion_ros.attention.cbam import CBAM
from attention_fusion_ros.kernels import cbam

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize('channels_last', [False, True])
def test_equals_its_parts(channels_last):
    torch.manual_seed(0)
    module = CBAM(12, channel={'reduction': 4, 'bias': True}, spatial={'order': ['max', 'mean'], 'bias': True})
    x = torch.randn(2, 12, 9, 7)
    x = x.contiguous(memory_format=torch.channels_last) if channels_last else x
    whole, weights = module(x)
    refined, channel = module.cam(x)
    refined, spatial = module.sam(refined)
    assert torch.equal(weights['channel'], channel['channel']) and torch.equal(weights['spatial'], spatial['spatial'])
    torch.testing.assert_close(whole, refined)


def test_options_that_the_operation_has_not_go_part_by_part():
    torch.manual_seed(0)
    for options in (dict(channel={'pools': ['avg']}), dict(spatial={'norm': True})):
        module = CBAM(6, **options).eval()
        x = torch.randn(1, 6, 8, 8)
        refined, _ = module.sam(module.cam(x)[0])
        torch.testing.assert_close(module(x)[0], refined)


def test_usable_alone():
    x = torch.rand(1, 4, 8, 8)
    weights = torch.zeros(2, 4), None, torch.zeros(4, 2), None, torch.zeros(1, 2, 7, 7), None
    features, channel, spatial = cbam(x, *weights)
    assert torch.equal(features, x / 4) and (channel == 0.5).all() and spatial.shape == (1, 1, 8, 8)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(importlib.util.find_spec('triton') is None, reason='triton is not installed')
@pytest.mark.parametrize('name, tests', [('cbam', 17), ('sweep', 5)])
def test_the_triton_versions_in_the_interpreter(name, tests):
    file, path = Path(__file__).with_name(f'{name}_in_interpreter.py'), os.environ.get('PYTHONPATH')
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(ROOT), *([path] if path else [])]),
                   'TRITON_INTERPRET': '1', 'PYTEST_ADDOPTS': ''}
    done = subprocess.run([sys.executable, '-m', 'pytest', str(file), '-q', '-p', 'no:cacheprovider', '-p', 'no:xdist'],
                          cwd=ROOT, text=True, capture_output=True, timeout=580, env=environment)
    assert done.returncode == 0 and f'{tests} passed' in done.stdout, done.stdout + done.stderr
