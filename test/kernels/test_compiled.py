# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Compiled loops are an addition: without numba, or with one that does not work, everything runs in plain torch."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from attention_fusion_ros.config import from_flat
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.kernels import chosen, use
from attention_fusion_ros.kernels.compiled import is_installed

ROOT = Path(__file__).parents[2]
SWEEP = """
import logging, sys
import numpy as np
from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.place import Placed
from attention_fusion_ros.bev.sweep import sweep_grids
from attention_fusion_ros.kernels import use
logging.basicConfig(level=logging.INFO)
xyz = np.random.default_rng(0).uniform(-30, 30, (500, 3)).astype(np.float32)
found = [sweep_grids(Placed(xyz * [1, 1, 0.03]), (), (), Grid(), 1.8, 6.0) for _ in range(3)]
with use('plain'):
    plain = sweep_grids(Placed(xyz * [1, 1, 0.03]), (), (), Grid(), 1.8, 6.0).bev
    assert np.array_equal(found[0].bev, plain)
"""
BROKEN = {'too new a numpy': ("raise ImportError('Numba needs NumPy 1.0 or less')", 'install a numba that fits'),
          'nowhere to keep what is compiled': (
              'from numba import types\ndef njit(*_, **__):\n'
              "    def refuse(function):\n        raise RuntimeError('cannot cache function: no locator available')\n"
              '    return refuse', 'NUMBA_CACHE_DIR')}


def messages_of(path: Path, level: str = 'WARNING') -> list[str]:
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(path), str(ROOT)])}
    done = subprocess.run([sys.executable, '-c', SWEEP], env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith(level)]


@pytest.mark.parametrize('fault', BROKEN)
def test_a_numba_that_does_not_work_costs_one_warning(fault, tmp_path):
    code, remedy = BROKEN[fault]
    (tmp_path / 'numba').mkdir()
    (tmp_path / 'numba' / '__init__.py').write_text(code)
    (tmp_path / 'numba' / 'types.py').write_text(
        'class Array:\n    def __init__(*_, **__): pass\n'
        'float32 = float64 = int32 = int64 = uint8 = uint64 = boolean = 0')
    warnings = messages_of(tmp_path)
    assert len(warnings) == 1 and 'plain torch' in warnings[0] and remedy in warnings[0]


def test_without_numba_one_line_of_the_log_says_so(tmp_path):
    (tmp_path / 'sitecustomize.py').write_text(
        'import importlib.util\nfind = importlib.util.find_spec\n'
        "importlib.util.find_spec = lambda name, *more: None if name == 'numba' else find(name, *more)")
    assert messages_of(tmp_path) == []
    told = messages_of(tmp_path, 'INFO')
    assert len(told) == 1 and 'pip install numba' in told[0]


def test_whether_numba_is_installed_is_told_without_importing_it():
    assert is_installed() == (importlib.util.find_spec('numba') is not None)


def test_the_parameter_chooses():
    from attention_fusion_ros.bev.sweep import sweep_grids
    assert from_flat({}).kernels == 'auto'
    with pytest.raises(ConfigurationError, match='kernels'):
        from_flat({'kernels': 'fastest'})
    with use('nosuch'), chosen('auto'):  # leaves the choice as it is
        with chosen(from_flat({'kernels': 'plain'}).kernels):
            assert sweep_grids.choose() is sweep_grids.plain
