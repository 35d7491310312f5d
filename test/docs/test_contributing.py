# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The recipes of CONTRIBUTING.md: their code runs, and every file that they name is there."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support import synthetic_bag as bag

from attention_fusion_ros.attention.mechanism import Mechanism
from attention_fusion_ros.config import from_flat
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.kernels import operations
from attention_fusion_ros.stream.inputs import selectable_inputs
from attention_fusion_ros.stream.sweeps import SweepStream

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / 'CONTRIBUTING.md').read_text()


def section(title: str) -> str:
    return TEXT.split(f'### {title}\n')[1].split('\n##')[0]


@pytest.fixture
def run(monkeypatch):
    """Run the code of a recipe as a module; returns the names that it defines."""
    def run(title: str) -> dict[str, Any]:
        code, = re.findall(r'```python\n(.*?)```', section(title), re.DOTALL)
        recipe = ModuleType('recipe')
        monkeypatch.setitem(sys.modules, 'recipe', recipe)
        exec(compile(code, f'CONTRIBUTING.md: {title}', 'exec'), vars(recipe))
        return vars(recipe)
    return run


def test_every_file_that_is_named_exists():
    named = set(re.findall(r'`((?:attention_fusion_ros|test|tools|docs|config)/[\w./]*)`', TEXT))
    named |= set(re.findall(r'\]\(([\w./]+)', TEXT))
    assert len(named) > 20
    assert not [path for path in named if not (ROOT / path).exists()]


def test_an_input_comes_with_its_sweep(run):
    names = run('An input')
    stream = SweepStream(from_flat({'use_tf': False}), inputs=names['INPUTS'], max_wait_s=0.0)
    stamp = SimpleNamespace(sec=bag.T0 // 10**9, nanosec=0)
    header = SimpleNamespace(stamp=stamp, frame_id='gnss')
    spec = names['GNSS']
    assert spec in selectable_inputs(names['INPUTS'])
    message = SimpleNamespace(header=header, status=SimpleNamespace(status=0), latitude=49.0, longitude=8.4)
    stream.take(spec, spec.transports[0], message)
    sweep = stream.sweep(bag.cloud(bag.T0, np.ones((10, 4), np.float32)))
    assert sweep.companions['gnss'] == names['Fix'](bag.T0, 'gnss', 49.0, 8.4)
    wrong: dict[str, Any] = {'status': SimpleNamespace(status=-1), 'latitude': np.nan, 'longitude': 'east'}
    for name, value in wrong.items():
        with pytest.raises(InputError, match='no position.*Remedy'):
            names['decode_fix'](SimpleNamespace(**{**vars(message), name: value}))
    for name in vars(message):
        with pytest.raises(InputError, match=f'`{name}`.*Remedy'):
            names['decode_fix'](SimpleNamespace(**{k: v for k, v in vars(message).items() if k != name}))


def test_a_mechanism_has_what_its_recipe_names():
    named = set(re.findall(r'`(\w+)[`(]', section('An attention mechanism'))) - {'x'}
    assert {'extra_inputs', 'slots', 'losses', 'loss_weights'} <= named
    assert not [name for name in named if not hasattr(Mechanism, name)]


def test_a_kernel_is_registered_and_removed(run):
    run('A kernel')
    assert 'scatter_cells' in {operation.name for operation in operations().values()}


def test_a_metric_is_one_entry(run):
    metric = run('A metric')['BEARING_P99']
    assert metric.title == 'bearing p99 [deg]' and callable(metric.statistic)


@pytest.mark.parametrize('title', ['An input', 'An output', 'An attention mechanism', 'A BEV channel', 'A backend',
                                   'A kernel', 'A metric', 'A simulated sensor', 'A command'])
def test_every_kind_of_extension_has_a_recipe(title):
    assert '`' in section(title)
