# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The example that decodes an exported network with numpy gives what `replay` gives; the page names all it uses."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support import synthetic_bag as bag
from support.network_kit import lively_config

from attention_fusion_ros.backends.export import export
from attention_fusion_ros.backends.exported import describe, named_outputs
from attention_fusion_ros.bev.lidar import CHANNELS
from attention_fusion_ros.contracts import Mode, Motion, SyncedSweep
from attention_fusion_ros.decode import decode_cloud
from attention_fusion_ros.evaluation.replay import Replay
from attention_fusion_ros.network import checkpoint as checkpoints
from attention_fusion_ros.pipeline.fusion import FusionPipeline
from attention_fusion_ros.stream.recording import Recording

onnxruntime = pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')
ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / 'examples' / 'decode_export.py'


@pytest.fixture(scope='module')
def example():
    spec = importlib.util.spec_from_file_location('decode_export', EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    return lively_config(tmp_path_factory.mktemp('weights'))


@pytest.fixture(scope='module')
def model(config, tmp_path_factory):
    done, = export(checkpoints.load(config.checkpoint), tmp_path_factory.mktemp('exported'), ['onnx'])
    return done.path


@pytest.fixture(scope='module')
def replayed(config, tmp_path_factory):
    """The results of `replay` on a recording, with and without its map images."""
    found = []
    with Recording(bag.write(tmp_path_factory.mktemp('bag') / 'drive', bag.drive(3))) as recording:
        topics = recording.input_topics()
        pipeline = FusionPipeline(config)
        found += [result for _, result in Replay(recording, topics, config, pipeline).run()]
        found.append(pipeline.run(SyncedSweep(decode_cloud(bag.cloud(bag.T0, bag.street(7))), Motion(bag.SENSOR))))
    return found


@pytest.mark.parametrize('bar', [0.01, 0.5])
def test_the_example_decodes_what_replay_answers(example, model, replayed, bar):
    session = onnxruntime.InferenceSession(str(model), providers=['CPUExecutionProvider'])
    assert {r.mode for r in replayed} == {Mode.FUSED, Mode.LIDAR_ONLY}
    compared = 0
    for result in replayed:
        branches, direction = example.decode(session, result.lidar_bev, result.map_bev, min_probability=bar,
                                             min_direction=0.0)
        expected = [b for b in result.branches if b.probability >= bar]
        assert len(branches) == len(expected)
        for found, branch in zip(branches, expected):
            assert found == pytest.approx((branch.bearing, branch.heading, branch.probability, branch.bearing_std),
                                          abs=1e-4)
            compared += 1
        if bar == 0.01:
            assert direction[0] == pytest.approx(result.direction.bearing, abs=1e-4)
    assert compared > 2


def test_the_example_publishes_the_directions_that_the_pipeline_publishes(example, model, replayed, config):
    session = onnxruntime.InferenceSession(str(model), providers=['CPUExecutionProvider'])
    sweep = SyncedSweep(decode_cloud(bag.cloud(bag.T0, bag.street(7))), Motion(bag.SENSOR))
    probability = replayed[-1].direction.probability
    for bar in (0.0, probability - 0.01, probability + 0.01):
        asked = replace(config, branches=replace(config.branches, min_direction_probability=bar))
        result = FusionPipeline(asked).run(sweep)
        _, direction = example.decode(session, result.lidar_bev, result.map_bev, min_direction=bar,
                                      min_probability=config.branches.min_probability)
        assert (direction is None) == (result.direction is None)
        assert direction is None or direction[2] == pytest.approx(result.direction.probability, abs=1e-4)
    assert result.direction is None, 'less probable than asked for'


def test_the_example_runs_as_its_docstring_says(model, replayed, tmp_path):
    np.savez(tmp_path / 'grids.npz', lidar=replayed[0].lidar_bev, map=replayed[0].map_bev)
    done = subprocess.run([sys.executable, str(EXAMPLE), str(model), str(tmp_path / 'grids.npz')], capture_output=True,
                          text=True, check=True)
    assert 'direction:' in done.stdout


def test_the_page_names_every_output_and_every_part_of_the_description(config):
    page = (ROOT / 'docs' / 'export.md').read_text()
    loaded = checkpoints.load(config.checkpoint)
    with torch.no_grad():
        outputs = named_outputs(loaded.network(torch.zeros(1, len(CHANNELS), 256, 256), torch.zeros(1, 3, 256, 256)))
    for name in [*outputs, *describe(loaded)]:
        assert f'`{name}`' in page or name.startswith('spatial_'), name
