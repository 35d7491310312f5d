# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The second network: no way round its attention, two readings and what becomes of them, rings, files."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support.second_kit import BUDGET, SECOND, second_config, second_inputs, second_network

from attention_fusion_ros.attention.pose_volume import PRIOR_SIZE
from attention_fusion_ros.bev.lidar import CHANNELS
from attention_fusion_ros.contracts import Calibration
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.evaluation.interventions.replacement import (
    ALL_SPATIAL,
    ANOTHER,
    EVERYTHING,
    WAYS,
    MeanWeights,
    attentions,
    recorded,
    replaced,
    replacement,
    targets,
)
from attention_fusion_ros.network import checkpoint
from attention_fusion_ros.network.build import build_network, lidar_layers
from attention_fusion_ros.network.config import NetworkConfig, channel_labels
from attention_fusion_ros.network.cost import network_size, random_inputs
from attention_fusion_ros.network.head import HEAD_CHANNELS
from attention_fusion_ros.network.model import FusionNetwork
from attention_fusion_ros.network.output import ROAD, ROAD_LAYER, NetworkOutput
from attention_fusion_ros.network.readings import FIT_CHANNELS, Combination

K, RINGS = SECOND['bins'], SECOND['rings']
LAYERS = len(CHANNELS)


@pytest.fixture(scope='module')
def network():
    return second_network()


def answer(network, *given, **more) -> NetworkOutput:
    with torch.no_grad():
        return network(*given, **more)


def same_answer(a: NetworkOutput, b: NetworkOutput) -> bool:
    return all(torch.equal(getattr(a, name), getattr(b, name))
               for name in ('head', 'no_direction', 'rings', 'rings_no_direction', 'road', 'channel', 'alignment'))


def test_shapes(network):
    output = answer(network, *second_inputs(network, 3))
    assert output.head.shape == (3, len(HEAD_CHANNELS), K) and output.no_direction.shape == (3,)
    assert output.rings.shape == (3, 3, len(HEAD_CHANNELS), K) and output.rings_no_direction.shape == (3, 3)
    assert output.road.shape == (3, 1, 16, 16) and output.map_image.shape == (3, 3, 64, 64)
    assert {name: head.shape for name, head in output.readings.items()} == dict.fromkeys(('lidar', 'map'),
                                                                                         output.rings.shape)
    assert output.channel.shape == output.contribution.shape == (3, 16) == (3, len(channel_labels(network.config)))
    assert output.spatial['selection'].shape == (3, 1, 16, 16)
    assert output.alignment.shape == output.alignment_std.shape == (3, 3)
    assert set(output.weights) == {'selection', 'encoder', 'stage1', 'stage2', 'map', 'fusion'}
    assert set(network.mechanisms()) == set(output.weights)
    assert output.weights['map']['fit'].shape == (3, FIT_CHANNELS - 2)
    assert all(torch.isfinite(t).all() for t in (output.rings, output.road, output.contribution, output.alignment))


def test_the_ring_that_is_asked_for_is_among_all_of_them(network):
    lidar, image = second_inputs(network)
    assert torch.equal(answer(network, lidar, image).head, answer(network, lidar, image).rings[:, 1])
    far = second_network(lookahead=30.0)
    output = answer(far, lidar, image)
    assert torch.equal(output.head, output.rings[:, 2]) and torch.equal(output.no_direction,
                                                                        output.rings_no_direction[:, 2])
    assert not torch.equal(output.rings[:, 1], output.rings[:, 2])


def test_there_is_no_way_round_the_selection(network):
    """Points of cells that were not read change nothing at all, in no output, whether all of them go or one."""
    lidar, image = second_inputs(network)
    before = answer(network, lidar, image)
    chosen = before.spatial['selection']
    assert chosen.sum(dim=(1, 2, 3)).tolist() == [BUDGET] * 2
    read = chosen.repeat_interleave(4, 2).repeat_interleave(4, 3) > 0
    swept, track = lidar[:, :LAYERS], lidar[:, LAYERS:]
    assert (swept.abs().sum(dim=1, keepdim=True) > 0)[~read].any()
    only_read = torch.cat([torch.where(read, swept, 0.0), track], dim=1)
    after = answer(network, only_read, image)
    assert same_answer(before, after) and torch.equal(after.spatial['selection'], chosen)
    # What was read has an influence: every output without it is another.
    row, _, i, j = chosen.nonzero()[0].tolist()
    spoiled = lidar.clone()
    spoiled[row, :LAYERS, 4 * i:4 * i + 4, 4 * j:4 * j + 4] = 0.0
    after = answer(network, spoiled, image)
    assert not torch.equal(after.head[row], before.head[row]) and not torch.equal(after.road[row], before.road[row])


def test_no_gradient_reaches_what_was_not_read(network):
    lidar, image = second_inputs(network)
    lidar.requires_grad_()
    output = network(lidar, image)
    (output.rings.square().sum() + output.road.square().sum() + output.alignment.sum()).backward()
    read = output.spatial['selection'].repeat_interleave(4, 2).repeat_interleave(4, 3) > 0
    gradient = lidar.grad[:, :LAYERS].abs().sum(dim=1, keepdim=True)
    assert gradient[read].max() > 0 and not gradient[~read].any()


@pytest.mark.parametrize('faint', [0.0, 0.9 * ROAD])
def test_without_a_map_the_answer_is_the_reading_of_the_lidar(network, faint):
    """Exactly, and what else the image shows does not matter: a route, or where it reaches."""
    lidar, image = second_inputs(network)
    empty = image.clone()
    empty[:, ROAD_LAYER] = faint * image[:, ROAD_LAYER]
    output, other = answer(network, lidar, empty), answer(network, lidar, torch.zeros_like(image))
    assert torch.equal(output.rings, output.readings['lidar']) and not output.present.any()
    assert torch.equal(output.rings, other.rings) and torch.equal(output.rings_no_direction, other.rings_no_direction)
    assert torch.equal(output.road, other.road)
    drawn = answer(network, lidar, image)
    assert torch.equal(drawn.readings['lidar'], output.rings), 'the reading of the LiDAR never sees the map'
    assert drawn.present.all() and not torch.allclose(drawn.rings, output.rings, atol=1e-4)


def test_one_scene_of_a_batch_is_not_told_of_the_map_of_another(network):
    lidar, image = second_inputs(network)
    image[1] = 0.0
    output = answer(network, lidar, image)
    assert output.present.tolist() == [1.0, 0.0]
    assert torch.equal(output.rings[1], output.readings['lidar'][1])
    for k in (0, 1):
        alone = answer(network, lidar[k:k + 1], image[k:k + 1])
        assert torch.allclose(alone.rings, output.only(k).rings, atol=1e-5)


def test_only_gives_one_sweep_with_all_that_is_known_of_it(network):
    output = answer(network, *second_inputs(network, 3))
    one = output.only(2)
    assert torch.equal(one.rings, output.rings[2:]) and torch.equal(one.readings['map'], output.readings['map'][2:])
    assert torch.equal(one.weights['map']['covariance'], output.weights['map']['covariance'][2:])
    assert torch.equal(one.map_image, output.map_image[2:]) and torch.equal(one.present, output.present[2:])


def test_the_way_driven_is_read_and_is_not_chosen(network):
    lidar, image = second_inputs(network)
    before = answer(network, lidar, image)
    other = lidar.clone()
    other[:, LAYERS:] = 1.0 - lidar[:, LAYERS:]
    after = answer(network, other, image)
    assert torch.equal(after.spatial['selection'], before.spatial['selection'])
    assert not torch.allclose(after.head, before.head, atol=1e-4)
    plain = second_network(track=False)
    assert lidar_layers(plain.config) == CHANNELS and lidar_layers(network.config) == (*CHANNELS, 'track')
    assert answer(plain, lidar[:, :LAYERS], image).head.shape == before.head.shape


def test_what_is_known_of_the_maps_place_moves_it(network):
    """And knowledge of weight zero is none."""
    lidar, image = second_inputs(network)
    nothing = torch.zeros(2, PRIOR_SIZE)
    before = answer(network, lidar, image)
    assert same_answer(before, answer(network, lidar, image, prior=nothing))
    known = torch.cat([torch.tensor([6.0, -5.0, 0.2]), torch.diag(torch.tensor([0.1, 0.1, 1e-4])).flatten(),
                       torch.tensor([0.99])])
    told = answer(network, lidar, image, prior=known.expand(2, -1))
    distance = [torch.linalg.norm(output.alignment[:, :2] - known[:2], dim=1) for output in (before, told)]
    assert (distance[1] < distance[0]).all() and not torch.equal(told.rings, before.rings)
    assert torch.equal(told.readings['lidar'], before.readings['lidar'])


def test_the_map_is_read_where_the_registration_put_it(network):
    """Registration replaced by a correction: the answer is that for the map drawn there."""
    lidar, image = second_inputs(network)
    shift = 2 * 2 * network.config.extent / network.config.cells  # two cells ahead
    correction = torch.tensor([[shift, 0.0, 0.0]])
    drawn = torch.zeros_like(image)
    drawn[:, :, :-2] = image[:, :, 2:]
    with replaced(network, {'map': {'correction': correction}}):
        moved = answer(network, lidar, image)
    with replaced(network, {'map': {'correction': torch.zeros(1, 3)}}):
        there = answer(network, lidar, drawn)
    assert torch.allclose(moved.map_image, there.map_image, atol=1e-4)
    assert torch.allclose(moved.alignment, correction.expand(2, 3))
    # What it says of itself is that of another search; its own reading of the same picture differs by that alone.
    assert not torch.allclose(moved.readings['map'], answer(network, lidar, image).readings['map'], atol=1e-3)


def test_interventions_find_every_attention_and_its_own_weights_change_nothing(network):
    lidar, image = second_inputs(network, 2)
    assert set(attentions(network)) == {'selection', 'map', 'fusion'}
    with recorded(network) as own:
        before = answer(network, lidar, image)
    assert {name: tuple(weights) for name, weights in own.items()} == {
        'selection': ('spatial',), 'map': ('correction',), 'fusion': ('channel',)}
    with replaced(network, own):
        assert torch.allclose(answer(network, lidar, image).rings, before.rings, atol=1e-5)
    means = MeanWeights()
    means.add(own, [0, 1])
    others = MeanWeights()
    with recorded(network) as of_others:
        answer(network, *second_inputs(network, 2, seed=9))
    others.add(of_others, [8, 9])
    means.merge(others)
    reference = means.reference()
    named = {target.name: target for target in targets(own)}
    assert list(named) == ['selection', 'map', 'fusion', ALL_SPATIAL, EVERYTHING]
    for name in ('selection', 'map', EVERYTHING):
        target = named[name]
        for how in WAYS:
            weights = replacement(how, target, own, network, reference, range(2))
            assert weights is not None
            with replaced(network, weights):
                after = answer(network, lidar, image)
            assert torch.isfinite(after.rings).all()
            assert not torch.allclose(after.rings, before.rings, atol=1e-4), f'{target.name}, {how}'
            if target.name == 'selection' and how == ANOTHER:
                assert torch.equal(after.weights['selection']['spatial'], weights['selection']['spatial'])
    assert torch.equal(answer(network, lidar, image).rings, before.rings)  # nothing is left of it


# -- the reading of places -----------------------------------------------------------------------------------------

READS_PLACES = {'reading': {'name': 'place_attention', 'heads': 4}}


def test_the_reading_of_the_lidar_is_its_weights_on_places_and_nothing_else():
    """With the weights held fast, another sweep has the same reading; and no weight lies where nothing was read."""
    network = second_network(**READS_PLACES)
    lidar, image = second_inputs(network)
    other, _ = second_inputs(network, seed=5)
    output = answer(network, lidar, image)
    heads = output.weights['reading']['heads']
    assert output.spatial['reading'].shape == (2, 1, 32, 32) and heads.shape == (2, 4, 32, 32)
    chosen = output.spatial['selection'].repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert not heads[(chosen == 0).expand_as(heads)].any()
    with replaced(network, {'reading': {'heads': heads}}):
        held = answer(network, other, image)
    assert torch.allclose(held.readings['lidar'], output.readings['lidar'], atol=1e-5)
    assert not torch.allclose(answer(network, other, image).readings['lidar'], output.readings['lidar'], atol=1e-3)


def test_interventions_find_the_reading_of_places():
    network = second_network(**READS_PLACES)
    lidar, image = second_inputs(network)
    assert set(attentions(network)) == {'selection', 'reading', 'map', 'fusion'}
    with recorded(network) as own:
        before = answer(network, lidar, image)
    with replaced(network, own):
        assert torch.allclose(answer(network, lidar, image).rings, before.rings, atol=1e-5)
    spatial = next(target for target in targets(own) if target.name == ALL_SPATIAL)
    assert set(spatial.parts) == {('selection', 'spatial'), ('reading', 'heads')}


def test_the_first_network_reads_places_too():
    """All that it answers, no cell without points or a drawn road has weight, and a map alone is enough for some."""
    torch.manual_seed(0)
    small = {k: v for k, v in SECOND.items() if k in ('cells', 'bins', 'lidar_width', 'map_width', 'widths', 'blocks',
                                                       'polar_ranges', 'polar_widths', 'head_width')}
    network = build_network(NetworkConfig.from_dict({**small, **READS_PLACES})).eval()
    lidar, image = second_inputs(second_network(track=False))
    image[:, ROAD_LAYER, :, :32] = 0.0
    output = answer(network, lidar, image)
    heads = output.weights['reading']['heads']
    held = torch.nn.functional.max_pool2d(
        ((lidar != 0).any(dim=1, keepdim=True) | (image[:, ROAD_LAYER:ROAD_LAYER + 1] > ROAD)).float(), 2)
    assert output.spatial['reading'].shape == (2, 1, 32, 32) and (held == 0).any()
    assert torch.equal(heads > 0, (held > 0).expand_as(heads))
    with replaced(network, {'reading': {'heads': heads}}):
        held_fast = answer(network, *second_inputs(second_network(track=False), seed=7))
    assert torch.allclose(held_fast.head, output.head, atol=1e-5)
    assert torch.allclose(held_fast.no_direction, output.no_direction, atol=1e-5)
    drawn = answer(network, torch.zeros_like(lidar), image)
    assert (drawn.weights['reading']['heads'].sum(dim=(2, 3)) > 0.99).all()


# -- two readings, one answer --------------------------------------------------------------------------------------

def combined(lidar: dict[str, float], of_map: dict[str, float], present: float) -> dict[str, float]:
    """What a combination makes of constant heads before any training."""
    combination = Combination(4, 4, 2, build_network(second_config()).combination.attention.__class__(8, context=6))

    def head(values: dict[str, float]) -> torch.Tensor:
        made = torch.zeros(1, 2, len(HEAD_CHANNELS), 6)
        for name, value in values.items():
            made[:, :, HEAD_CHANNELS.index(name)] = value
        return made
    with torch.no_grad():
        found, none, _, _ = combination(torch.randn(1, 4, 6), torch.randn(1, 4, 6), torch.zeros(1, 6), head(lidar),
                                        head(of_map), torch.tensor([present]))
    assert not none.any() and torch.equal(found, found[:, :1, :, :1].expand_as(found))
    return {name: float(found[0, 0, i, 0]) for i, name in enumerate(HEAD_CHANNELS)}


def test_bearings_are_weighed_by_the_precision_that_each_reading_states():
    stds = {'lidar': math.radians(2.0), 'map': math.radians(0.5)}
    one = dict(presence=1.0, offset=1.0, heading_cos=1.0, bearing_log_std=math.log(stds['lidar']))
    two = dict(presence=-3.0, offset=-1.0, heading_sin=1.0, bearing_log_std=math.log(stds['map']))
    found = combined(one, two, 1.0)
    precision = {name: std ** -2 for name, std in stds.items()}
    assert found['offset'] == pytest.approx((precision['lidar'] - precision['map']) / sum(precision.values()), abs=1e-5)
    assert (found['heading_cos'], found['heading_sin']) == pytest.approx((0.5, 0.5))  # equal deviations
    assert found['presence'] == 1.0, 'existence begins as the LiDAR has it'
    alone = combined(one, two, 0.0)
    assert (alone['offset'], alone['heading_cos'], alone['heading_sin']) == (1.0, 1.0, 0.0)


def test_readings_that_are_added_do_not_look_at_each_other():
    """What the map changes is the same whatever the LiDAR shows, but for the weights; they alone know how it fits."""
    network = second_network(readings_add=True)
    lidar, image = second_inputs(network)
    output, other = answer(network, lidar, image), answer(network, second_inputs(network, seed=5)[0], image)
    presence = HEAD_CHANNELS.index('presence')
    assert output.readings['map'].shape == output.rings.shape and not torch.equal(output.rings, other.rings)
    combination = network.combination
    features = [torch.randn(2, width, K) for width in combination.parts]
    fit, heads = torch.randn(2, FIT_CHANNELS), torch.zeros(2, 3, len(HEAD_CHANNELS), K)

    def added(of_lidar: torch.Tensor, of_map: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        with torch.no_grad(), replaced(network, {'fusion': {'channel': weights}}):
            return combination(of_lidar, of_map, fit, heads, heads, torch.ones(2))[0][:, :, presence]
    weights = torch.rand(2, sum(combination.parts))
    nothing = [torch.zeros_like(part) for part in features]
    both = added(*features, weights) - added(features[0], nothing[1], weights)
    alone = added(nothing[0], features[1], weights) - added(*nothing, weights)
    assert torch.allclose(both, alone, atol=1e-5) and both.abs().max() > 1e-3
    assert not torch.allclose(added(*features, weights), added(*features, 1.0 - weights), atol=1e-3)


def test_it_begins_as_the_readings_say_and_gradients_reach_all_of_it():
    torch.manual_seed(3)
    network = build_network(second_config()).train()
    output = network(*second_inputs(network, 3))
    presence = HEAD_CHANNELS.index('presence')
    assert torch.equal(output.rings[:, :, presence], output.readings['lidar'][:, :, presence])
    loss = output.rings.square().mean() + output.rings_no_direction.square().mean() + output.road.square().mean()
    loss = loss + sum(head.square().mean() for head in output.readings.values())
    found = output.weights['map']
    loss = loss + found['log_p'][:, 0, 0, 0].mean() + found['fine_log_p'][:, 0, 0, 0].mean()
    loss.backward()
    begins_at_zero = {'combination.mix.weight', 'combination.mix.bias', 'combination.attention'}  # behind zeros
    idle = {name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0}
    assert {name for name in idle if not name.startswith((*begins_at_zero, 'combination.circular'))} <= {
        'map_registration.absent'} | {name for name in idle if name.endswith('.bias') and 'seen_coarse' in name}
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


# -- settings and files --------------------------------------------------------------------------------------------

def test_a_checkpoint_gives_the_same_network_again(network, tmp_path):
    checkpoint.save(tmp_path / 'second.safetensors', network, Calibration(), {'step': 3})
    loaded = checkpoint.load(tmp_path / 'second.safetensors')
    assert loaded.network.config == network.config and loaded.training == {'step': 3}
    assert type(loaded.network) is type(network)
    assert set(loaded.network.state_dict()) == set(network.state_dict())
    inputs = second_inputs(network)
    assert same_answer(answer(loaded.network, *inputs), answer(network, *inputs))


def test_settings_from_before_the_second_network_give_the_first(tmp_path):
    """As in checkpoints of earlier versions: no architecture, rings, track, selection in the file."""
    new = {'architecture', 'rings', 'track', 'map_reading_width', 'selection'}
    small = NetworkConfig(cells=64, lidar_width=8, map_width=8, widths=(8, 8), blocks=(1, 1), polar_ranges=8,
                          polar_widths=(8, 8), head_width=16, bins=24)
    stored = {k: v for k, v in small.to_dict().items() if k not in new}
    assert set(small.to_dict()) - set(stored) == new
    config = NetworkConfig.from_dict(stored)
    network = build_network(config)
    assert isinstance(network, FusionNetwork) and config == small and config.rings == (20.0,)
    shipped = checkpoint.load(checkpoint.SHIPPED).network
    assert shipped.config.architecture in ('stages', 'two_readings')


@pytest.mark.parametrize(('changes', 'words'), [
    ({'architecture': 'two_reading'}, 'architecture must be one of stages, two_readings'),
    ({'rings': [10.0, 30.0]}, r'rings must hold the lookahead of 20\.0 m'), ({'rings': [20.0, 45.0]}, 'within 0'),
    ({'rings': [20.0, -5.0]}, 'within 0'),
    ({'temporal': {'name': 'temporal'}, 'time_steps': 2}, 'architecture: stages'),
    ({'fusion': {'name': 'sca'}}, "'sca' asks for the map"),
    ({'selection': {'name': 'cell_budget', 'patch': 3}}, "'patch' of selection is 3.*cells, 64"),
    ({'architecture': 'stages'}, 'need architecture: two_readings')])
def test_settings_that_do_not_go_together_are_named(changes, words):
    with pytest.raises(ConfigurationError, match=words):
        second_config(**changes)


@pytest.mark.parametrize('changes', [{'rings': (10.0, 20.0)}, {'track': True}, {'selection': {'name': 'cell_budget'}},
                                     {'map_registration': {'name': 'pose_correlation'}}])
def test_the_first_network_refuses_what_only_the_second_has(changes):
    with pytest.raises(ConfigurationError, match='architecture: two_readings'):
        NetworkConfig.from_dict({'cells': 64, **changes})


@pytest.mark.parametrize('changes', [
    {'map_registration': {'name': 'none'}}, {'map_registration': {'name': 'stn', 'width': 4}},
    {'selection': {'name': 'none'}}, {'fusion': {'name': 'none'}}, {'fusion': {'name': 'se', 'reduction': 4}},
    {'fusion': {'name': 'cbam_channel', 'reduction': 4, 'context': 0}}, {'rings': (20.0,)},
    {'stage_attention': {'name': 'cbam_spatial'}, 'encoder_attention': {'name': 'se'}}])
def test_other_mechanisms_in_its_places_run_and_are_stored(changes, tmp_path):
    network = second_network(**changes)
    inputs = second_inputs(network)
    output = answer(network, *inputs)
    assert torch.isfinite(output.rings).all() and output.rings.shape[1] == len(network.config.rings)
    assert (output.alignment is None) == (network.config.map_registration['name'] == 'none')
    assert output.channel.shape == (2, 16)
    checkpoint.save(tmp_path / 'other.safetensors', network, Calibration(), {})
    assert torch.equal(answer(checkpoint.load(tmp_path / 'other.safetensors').network, *inputs).rings, output.rings)


def test_its_cost_is_counted_like_that_of_the_first(network):
    inputs = random_inputs(network.config)
    assert inputs[0].shape == (1, LAYERS + 1, 64, 64)
    size = network_size(network, inputs)
    assert size.parameters == sum(p.numel() for p in network.parameters()) and size.gmacs > 0
    assert np.isfinite(size.gflops)
