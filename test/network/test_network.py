# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The network: shapes, size, returned weights, what polar reading is for, checkpoints."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from attention_fusion_ros.bev.lidar import CHANNELS
from attention_fusion_ros.contracts import Calibration
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.network import checkpoint
from attention_fusion_ros.network.blocks import CircularConv, PolarConv, resized
from attention_fusion_ros.network.config import NetworkConfig
from attention_fusion_ros.network.model import FusionNetwork
from attention_fusion_ros.network.polar import PolarSampler
from attention_fusion_ros.network.readings import anything

SMALL = NetworkConfig(cells=64, lidar_width=8, map_width=8, widths=(8, 8), blocks=(1, 1), polar_ranges=8,
                      polar_widths=(8, 8), head_width=16, bins=24)


def test_shapes_and_weights():
    network = FusionNetwork(SMALL).eval()
    output = network(torch.randn(2, len(CHANNELS), 64, 64), torch.randn(2, 3, 64, 64))
    assert output.head.shape == (2, 7, 24) and output.no_direction.shape == (2,)
    assert output.road.shape == (2, 1, 16, 16)
    assert output.channel.shape == (2, 16) and len(network.channel_labels()) == 16
    assert set(output.spatial) == {'stage1', 'stage2'}
    for weights in [output.channel, *output.spatial.values()]:
        assert float(weights.min()) >= 0 and float(weights.max()) <= 1


@pytest.mark.parametrize('size', [(6, 10), (12, 20), (24, 20), (7, 25), (3, 5)])
def test_features_are_resized_as_by_their_size(size):
    x = torch.randn(2, 3, 6, 10)
    torch.testing.assert_close(resized(x, size), F.interpolate(x, size, mode='bilinear', align_corners=False))


@pytest.mark.filterwarnings('ignore::torch.jit.TracerWarning', 'ignore::DeprecationWarning')
@pytest.mark.parametrize('reading', ['none', 'place_attention'])
def test_network_can_be_traced(reading):
    """For TorchScript, as programs in C++ take it, and the graph in TensorBoard: shapes are tensors meanwhile."""
    network = FusionNetwork(replace(SMALL, reading={'name': reading})).eval().requires_grad_(False)
    layers = torch.randn(1, len(CHANNELS), 64, 64), torch.rand(1, 3, 64, 64)
    traced = torch.jit.trace(lambda lidar, map_image: network(lidar, map_image).head, layers)
    torch.testing.assert_close(traced(*layers), network(*layers).head)


@pytest.mark.parametrize('value', [1.0, -1.0, 1e-12])
def test_a_cell_holds_something_whatever_its_sign(value):
    layers = torch.zeros(1, 3, 8, 8)
    layers[0, 2, 5, 2] = value
    held = anything(layers) > 0
    assert held.shape == (1, 1, 4, 4) and held.nonzero().tolist() == [[0, 0, 2, 1]]


def test_default_size_is_within_budget():
    from torch.utils.flop_counter import FlopCounterMode
    network = FusionNetwork(NetworkConfig()).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, len(CHANNELS), 256, 256), torch.zeros(1, 3, 256, 256))
    assert sum(p.numel() for p in network.parameters()) <= 2_000_000
    assert counter.get_total_flops() <= 3e9


def test_plain_concatenation_weighs_every_channel_alike():
    config = NetworkConfig.from_dict({**SMALL.to_dict(), 'fusion': {'name': 'none'},
                                      'stage_attention': {'name': 'none'}})
    output = FusionNetwork(config).eval()(torch.randn(1, len(CHANNELS), 64, 64), torch.randn(1, 3, 64, 64))
    assert torch.equal(output.channel, torch.ones(1, 16)) and output.spatial == {}


def test_settings_stored_before_there_were_more_places_give_the_same_network():
    """Old checkpoints know nothing of map registration and earlier sweeps: same tensors, same answer as written out."""
    stored = {k: v for k, v in SMALL.to_dict().items() if k not in ('map_registration', 'temporal', 'time_steps')}
    network = FusionNetwork(NetworkConfig.from_dict(stored)).eval()
    assert {key.split('.')[0] for key in network.state_dict()} == {
        'lidar_stem', 'lidar_block', 'map_encoder', 'fusion', 'stages', 'road_lateral', 'road_head', 'polar_lateral',
        'polar_stages', 'to_head', 'circular', 'head', 'no_direction'}
    lidar, map_image = torch.randn(2, len(CHANNELS), 64, 64), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        block = network.lidar_block
        x = network.lidar_stem(lidar)
        x = torch.cat([torch.relu(x + block.conv2(block.conv1(x))), network.map_encoder(map_image)], dim=1)
        x, levels = network.fusion(x)[0], []
        for (block,) in network.stages:
            x = torch.relu(block.shortcut(x) + block.attention(block.conv2(block.conv1(x)))[0])
            levels.append(x)
        expected = network.head(network.circular(network.to_head(network.polar_features(levels).flatten(1, 2))))
        assert torch.equal(network(lidar, map_image).head, expected)


def test_polar_sampler_reads_the_right_place():
    sampler = PolarSampler(extent=40.0, ranges=4, bins=8, polar_max=32.0)
    x = 40 - (torch.arange(256) + 0.5) * 80 / 256
    field = torch.stack([x[:, None].expand(256, 256), x[None, :].expand(256, 256)])[None]  # value = x, y in metres
    polar = sampler(field)[0]
    for r in range(4):
        for k in range(8):
            bearing, distance = -math.pi + (k + 0.5) * math.pi / 4, (r + 0.5) * 8.0
            assert float(polar[0, r, k]) == pytest.approx(distance * math.cos(bearing), abs=1e-3)
            assert float(polar[1, r, k]) == pytest.approx(distance * math.sin(bearing), abs=1e-3)


def test_turning_the_vehicle_shifts_polar_layers():
    torch.manual_seed(0)
    layer, ring = PolarConv(3, 5).eval(), CircularConv(5, dilation=2).eval()
    x = torch.randn(1, 3, 8, 24)
    y, shifted = layer(x), layer(x.roll(7, dims=-1))
    assert torch.allclose(y.roll(7, dims=-1), shifted, atol=1e-6)
    assert torch.allclose(ring(y[:, :, 0]).roll(7, dims=-1), ring(shifted[:, :, 0]), atol=1e-6)


@pytest.mark.parametrize('change, message', [
    ({'cellss': 1}, 'cellss'), ({'cells': 50}, 'cells'), ({'blocks': (1,)}, 'same length'),
    ({'lookahead': 90.0}, 'lookahead'), ({'polar_ranges': 6}, 'polar_ranges')])
def test_settings_that_cannot_work_are_refused(change, message):
    with pytest.raises(ConfigurationError, match=message):
        NetworkConfig.from_dict({**SMALL.to_dict(), **change})


@pytest.fixture
def saved(tmp_path):
    network = FusionNetwork(SMALL).eval()
    path = tmp_path / 'net.safetensors'
    checkpoint.save(path, network, Calibration((0.9, 0.1), (0.8, -0.2)), {'step': 3})
    return path, network


def test_checkpoint_round_trip(saved):
    path, network = saved
    loaded = checkpoint.load(path)
    inputs = torch.randn(1, len(CHANNELS), 64, 64), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded.network(*inputs).head, network(*inputs).head)
    assert loaded.calibration == Calibration((0.9, 0.1), (0.8, -0.2)) and loaded.trained
    assert loaded.network.config == SMALL and loaded.training == {'step': 3} and not loaded.network.training


def _rewrite(path, tensors=None, **meta):
    from safetensors import safe_open
    with safe_open(str(path), framework='pt') as file:
        old = {name: text for name, text in file.metadata().items() if name != 'sha256'}
    save_file(tensors or load_file(str(path)), str(path), metadata={**old, **meta})


def test_each_broken_checkpoint_gives_one_clear_error(saved, tmp_path):
    path, _ = saved
    whole = path.read_bytes()
    tensors = load_file(str(path))

    def fails(message):
        with pytest.raises(ConfigurationError, match=message):
            checkpoint.load(path)
        path.write_bytes(whole)

    path.write_bytes(whole[:len(whole) // 2])
    fails('truncated')
    path.write_bytes(b'')
    fails('truncated')
    _rewrite(path, version='99')
    fails('version 99')
    _rewrite(path, kind='other')
    fails('another program')
    first = sorted(tensors)[0]
    _rewrite(path, {k: v for k, v in tensors.items() if k != first})
    fails('lacks')
    _rewrite(path, {**tensors, first: torch.zeros(3)})
    fails('shape')
    _rewrite(path, {**tensors, 'surplus': torch.zeros(3)})
    fails('surplus')
    _rewrite(path, {**tensors, first: torch.full_like(tensors[first], float('nan'))})
    fails('not finite')
    _rewrite(path, network='{"cells": 50}')
    fails('cells')
    _rewrite(path, calibration='{}')
    fails('unreadable')
    with pytest.raises(ConfigurationError, match='does not exist'):
        checkpoint.load(tmp_path / 'nowhere.safetensors')


def test_untrained_weights_must_be_allowed():
    with pytest.raises(ConfigurationError, match='allow_untrained'):
        checkpoint.resolve('untrained', allow_untrained=False)
    assert not checkpoint.resolve('untrained', allow_untrained=True).trained
