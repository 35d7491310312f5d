# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The second network on every backend: the way driven and the prior go in, rings and covariance come out."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.second_kit import second_inputs, second_network

from attention_fusion_ros.attention.pose_volume import PRIOR_SIZE
from attention_fusion_ros.backends.create import create_backend
from attention_fusion_ros.backends.export import TOLERANCE, export, random_inputs
from attention_fusion_ros.backends.exported import describe, input_names, named_outputs, network_output, output_name
from attention_fusion_ros.bev.lidar import CHANNELS
from attention_fusion_ros.config import NodeConfig, from_flat
from attention_fusion_ros.contracts import Calibration
from attention_fusion_ros.network import checkpoint as checkpoints
from attention_fusion_ros.network.config import NetworkConfig

EXPORTED = [pytest.param(name, marks=pytest.mark.skipif(
    not all(map(importlib.util.find_spec, (name, 'onnx', 'onnxscript'))),
    reason=f'needs pip install {name} onnx onnxscript')) for name in ('onnxruntime', 'openvino')]


@pytest.fixture(scope='module')
def config(tmp_path_factory) -> NodeConfig:
    path = tmp_path_factory.mktemp('weights') / 'second.safetensors'
    checkpoints.save(path, second_network(), Calibration(), {})
    return from_flat({'checkpoint': str(path), 'device': 'cpu', 'threads': 1})


def prior(batch: int) -> torch.Tensor:
    known = torch.cat([torch.tensor([4.0, -3.0, 0.1]), torch.diag(torch.tensor([1.0, 0.5, 0.01])).flatten(),
                       torch.tensor([0.9])])
    return known.expand(batch, -1)


def test_inputs_and_outputs_have_their_names(config):
    network = checkpoints.load(config.checkpoint).network
    assert input_names(network.config) == ('lidar', 'map', 'prior')
    assert input_names(NetworkConfig()) == ('lidar', 'map')
    lidar, image, known = random_inputs(network, 2, 0)
    assert lidar.shape == (2, len(CHANNELS) + 1, 64, 64) and image.shape == (2, 3, 64, 64)
    assert known.shape == (2, PRIOR_SIZE)
    with torch.no_grad():
        output = network(lidar, image, None, known)
    named = named_outputs(output)
    assert {'rings', 'rings_no_direction', 'alignment_covariance', 'alignment_log_absent',
            'spatial_selection'} <= named.keys()
    again = network_output(named, network.config)
    assert torch.equal(again.rings, output.rings) and torch.equal(again.rings_no_direction, output.rings_no_direction)
    for name in ('covariance', 'log_absent'):
        assert torch.equal(again.weights['map'][name], output.weights['map'][name])
    assert torch.equal(again.spatial['selection'], output.spatial['selection'])
    about = describe(checkpoints.load(config.checkpoint))
    assert json.loads(about['lidar_channels']) == [*CHANNELS, 'track']
    assert len(json.loads(about['fused_channels'])) == output.channel.shape[1]


def test_an_output_of_several_names_is_known_by_that_of_the_file(config):
    assert output_name({'add_2663', 'alignment_covariance'}) == 'alignment_covariance'
    assert output_name({'spatial_selection', 'a'}) == 'spatial_selection' and output_name({'b'}) == 'b'
    network = checkpoints.load(config.checkpoint).network
    with torch.no_grad():
        named = named_outputs(network(*second_inputs(network, 1)))
    assert all(output_name({'add_1', name, 'zeros_2'}) == name for name in named)


def test_files_of_networks_with_one_ring_are_read_as_before():
    plain = {name: torch.zeros(1) for name in ('head', 'no_direction', 'road', 'channel', 'contribution')}
    found = network_output(plain, NetworkConfig())
    assert found.rings is None and found.weights == {'map': {}} and found.alignment is None


@pytest.fixture(scope='module')
def files(config, tmp_path_factory) -> dict[str, str]:
    """kind -> the exported file, which gave what the network gives."""
    folder, found = tmp_path_factory.mktemp('exported'), {}
    for done in export(checkpoints.load(config.checkpoint), folder, ['pt2', 'onnx']):
        assert max(done.differences.values()) <= TOLERANCE, done
        found[done.path.suffix[1:]] = str(done.path)
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize('name', EXPORTED)
def test_exported_files_give_the_same_outputs_and_take_the_prior(name, config, files):
    torch_backend = create_backend(config)
    other = create_backend(replace(config, backend=name, checkpoint=files['onnx']))
    assert other.model == torch_backend.model and other.model.carries_map
    network = torch_backend.network
    for batch in (1, 3):
        lidar, image = second_inputs(network, batch, seed=4)
        answers = []
        for known in (None, prior(batch)):
            expected, found = (named_outputs(b.infer(lidar, image, None, known)) for b in (torch_backend, other))
            assert found.keys() == expected.keys() - ({'road'} if name == 'onnxruntime' else set())  # nobody reads it
            for output, values in ((output, expected[output]) for output in found):
                torch.testing.assert_close(found[output], values, rtol=0, atol=1e-3, msg=output)
            answers.append(found['alignment'])
        assert not torch.allclose(*answers, atol=1e-2), 'what is known moves the map'
    assert np.isfinite(found['rings'].numpy()).all()
