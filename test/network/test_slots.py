# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Every attention mechanism in every place of the network that it fits: it runs, learns, is stored, and is shown."""

import dataclasses
import math

import pytest
import torch

from attention_fusion_ros.attention import MECHANISMS
from attention_fusion_ros.attention.mechanism import SLOTS
from attention_fusion_ros.attention.warp import se2_matrix
from attention_fusion_ros.bev.lidar import CHANNELS
from attention_fusion_ros.contracts import Calibration
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.network import checkpoint
from attention_fusion_ros.network.blocks import residual_block
from attention_fusion_ros.network.build import Network, build_network
from attention_fusion_ros.network.config import NetworkConfig, mechanism
from attention_fusion_ros.network.history import History
from attention_fusion_ros.network.model import FusionNetwork

SMALL = NetworkConfig(cells=64, lidar_width=8, map_width=8, widths=(8, 12), blocks=(1, 1), polar_ranges=8,
                      polar_widths=(8, 8), head_width=16, bins=24)
OPTIONS = {'glimpse': dict(patch=4), 'dynamic_capacity': dict(patch=4, k=2), 'stn': dict(width=4),
           'temporal': dict(keys=4), 'cell_budget': dict(budget=40), 'place_attention': dict(heads=4)}
SECOND = ('cell_budget', 'place_attention', 'pose_correlation')  # what only the second network has a place for
FITTING = [(slot, name) for slot in SLOTS for name, cls in MECHANISMS.items() if slot in cls.slots and name != 'none']
VARIANTS = [('fusion', 'cbam', dict(order='spatial_first')), ('stage_attention', 'cbam', dict(order='parallel')),
            ('fusion', 'cbam_channel', dict(pools=['avg'])), ('stage_attention', 'bam', dict(combine='product')),
            ('fusion', 'sca', dict(order='spatial_channel')), ('temporal', 'temporal', dict(carry=False))]
PLACES = {'encoder_attention': 'encoder/spatial', 'fusion': 'fusion', 'stage_attention': 'stage2'}
SHOWS = {'cbam_spatial', 'cbam', 'cbam_block', 'bam', 'sca', 'coordinate', 'dynamic_capacity', 'glimpse'}


def network_with(slot: str, name: str, **options) -> Network:
    changes = {slot: mechanism(name, **{**OPTIONS.get(name, {}), **options})}
    if slot == 'temporal':
        changes['time_steps'] = 3
    if name in SECOND:
        changes |= dict(architecture='two_readings', map_reading_width=8, head_width=8)
    torch.manual_seed(0)
    return build_network(NetworkConfig.from_dict({**SMALL.to_dict(), **changes}))


def inputs(batch: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    lidar, image = (torch.rand(batch, c, 64, 64, generator=generator) for c in (len(CHANNELS), 3))
    return lidar, image


def past(steps: int = 2, batch: int = 2) -> History:
    moves = torch.eye(3).repeat(batch, steps, 1, 1)
    moves[:, :, 0, 2] = -torch.arange(steps, 0, -1.0)
    return History(torch.rand(batch, steps, len(CHANNELS), 64, 64, generator=torch.Generator().manual_seed(2)), moves,
                torch.ones(batch, steps, dtype=torch.bool))


def spatial_of(network: FusionNetwork, slot: str) -> bool:
    """Whether the mechanism in this place returns weights of cells."""
    mechanisms = {'encoder_attention': network.lidar_block.attention, 'fusion': network.fusion,
                  'stage_attention': network.stages[-1][-1].attention}
    returned = []
    handle = mechanisms[slot].register_forward_hook(lambda _, given, output: returned.append(output[1]))
    with torch.no_grad():
        network(*inputs())
    handle.remove()
    return 'spatial' in returned[0]


@pytest.mark.parametrize(('slot', 'name', 'options'), [(s, n, {}) for s, n in FITTING] + VARIANTS)
def test_runs_learns_and_is_stored(slot, name, options, tmp_path):
    network = network_with(slot, name, **options)
    before = past() if slot == 'temporal' else None
    with torch.autocast('cpu', dtype=torch.bfloat16):
        trained = network.train()(*inputs(), before)
    loss = trained.head.float().square().mean()
    for weights in trained.weights.values():
        loss = loss + sum(value.float().square().mean() for value in weights.values() if value.requires_grad)
    loss.backward()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    assert gradients and all(torch.isfinite(g).all() for g in gradients)

    checkpoint.save(tmp_path / 'net.safetensors', network, Calibration(), {})
    loaded = checkpoint.load(tmp_path / 'net.safetensors')
    assert loaded.network.config == network.config
    with torch.no_grad():
        expected, found = network.eval()(*inputs(), before), loaded.network(*inputs(), before)
    assert torch.equal(found.head, expected.head)
    assert found.channel.shape == found.contribution.shape == (2, 16)
    for weights in [found.channel, *found.spatial.values()]:
        assert float(weights.min()) >= 0 and float(weights.max()) <= 1 + 1e-6
    if slot in PLACES:
        shown = PLACES[slot] in found.spatial
        assert shown == spatial_of(network, slot) and (shown or name not in SHOWS)
        assert found.spatial.get(PLACES[slot], torch.zeros(2, 1, 1, 1)).shape[:2] == (2, 1)


@pytest.mark.parametrize(('slot', 'name'), [(slot, name) for slot in SLOTS for name, cls in MECHANISMS.items()
                                            if slot not in cls.slots])
def test_what_does_not_fit_is_refused_and_told_where_it_does(slot, name):
    with pytest.raises(ConfigurationError) as error:
        NetworkConfig.from_dict({**SMALL.to_dict(), slot: mechanism(name)})
    assert slot in str(error.value) and all(s in str(error.value) for s in MECHANISMS[name].slots)


@pytest.mark.parametrize(('changes', 'message'), [
    ({'fusion': mechanism('cbma')}, 'unknown attention mechanism'), ({'fusion': 'se'}, 'mapping with a name'),
    ({'fusion': {'reduction': 4}}, 'mapping with a name'), ({'time_steps': 3}, 'temporal'),
    ({'time_steps': 0, 'temporal': mechanism('temporal')}, 'time_steps')])
def test_settings_that_cannot_work_are_refused(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        NetworkConfig.from_dict({**SMALL.to_dict(), **changes})


@pytest.mark.parametrize('channels', [16, 32, 40, 48, 64, 96])
def test_selective_kernel_groups_fit_every_width(channels):
    block = MECHANISMS['sk'](channels).split[0][0]
    assert channels % block.groups == 0 and 16 <= block.groups <= 32


def test_bam_stands_after_the_block_and_other_mechanisms_on_its_residual():
    """BAM multiplies by 1..2 all that the block gives, the skip connection too; SE leaves the skip connection alone."""
    x = torch.rand(2, 8, 8, 8)
    for name in ('bam', 'se'):
        block = residual_block(8, 8, 1, mechanism(name), 8).eval()
        with torch.no_grad():
            for parameter in block.conv2.parameters():
                parameter.zero_()  # no residual: what is left is the skip connection
            out, _ = block(x, None)
        factor = out / x
        assert torch.allclose(factor, torch.ones_like(x)) if name == 'se' else float(factor.min()) > 1.01


def test_the_map_asks_in_sca():
    """Another map changes what the LiDAR encoder attends to; with the usual attention it cannot."""
    lidar, map_image = inputs()
    found = {}
    for name in ('sca', 'cbam'):
        network = network_with('encoder_attention', name).eval()
        with torch.no_grad():
            found[name] = [network(lidar, m).spatial['encoder/spatial'] for m in (map_image, 1 - map_image)]
    assert not torch.equal(*found['sca']) and torch.equal(*found['cbam'])


def test_the_registered_map_is_what_is_fused():
    """A network told to move the map by 5 m gives what one gives that is shown the map moved features."""
    network = network_with('map_registration', 'stn').eval()
    plain = FusionNetwork(SMALL).eval()
    plain.load_state_dict({k: v for k, v in network.state_dict().items() if 'map_registration' not in k})
    lidar, map_image = inputs()
    with torch.no_grad():
        untouched = network(lidar, map_image)
        assert torch.allclose(untouched.head, plain(lidar, map_image).head, atol=1e-5), 'starts at the identity'
        assert torch.equal(untouched.alignment, torch.zeros(2, 3))
        network.map_registration.regression.bias[0] = math.atanh(0.5)  # of max_shift 10 m
        moved = network(lidar, map_image)
        nothing = network(lidar, map_image * 0)
    assert torch.allclose(moved.alignment, torch.tensor([[5.0, 0.0, 0.0]]).expand(2, 3), atol=1e-5)
    assert not torch.allclose(moved.head, untouched.head, atol=1e-4)
    assert torch.allclose(nothing.head, plain(lidar, map_image * 0).head), 'without roads nothing is moved'
    assert moved.alignment_std.shape == (2, 3) and float(moved.alignment_std.min()) > 0


@pytest.fixture
def remembering():
    network = network_with('temporal', 'temporal').eval()
    with torch.no_grad():  # it starts without a memory
        network.temporal.out.weight.normal_()
    return network


def test_encoded_features_stand_for_the_sweep(remembering):
    """What the node keeps of earlier sweeps gives the same answer as encoding them again."""
    lidar, map_image = inputs()
    before = past()
    with torch.no_grad():
        raw = remembering(lidar, map_image, before)
        encoded = torch.stack([remembering(before.lidar[:, k], map_image).encoded for k in range(2)], dim=1)
        kept = remembering(lidar, map_image, dataclasses.replace(before, lidar=encoded, encoded=True))
        alone = remembering(lidar, map_image)
    assert torch.allclose(kept.head, raw.head, atol=1e-5)
    assert not torch.allclose(alone.head, raw.head, atol=1e-3)
    assert raw.temporal_weights.shape == (2, 3, 16, 16)
    assert torch.allclose(raw.temporal_weights.sum(dim=1), torch.ones(2, 16, 16))
    assert torch.equal(alone.temporal_weights, torch.ones(2, 1, 16, 16))


def test_sweeps_that_are_missing_or_too_many_do_not_count(remembering):
    lidar, map_image = inputs()
    three, nothing = past(3), past(2)
    nothing = dataclasses.replace(nothing, valid=torch.zeros(2, 2, dtype=torch.bool))
    with torch.no_grad():
        alone = remembering(lidar, map_image).head
        assert torch.allclose(remembering(lidar, map_image, nothing).head, alone, atol=1e-6)
        assert torch.equal(remembering(lidar, map_image, three).head, remembering(lidar, map_image, three.last(2)).head)
        forgetful = FusionNetwork(SMALL).eval()
        assert torch.equal(forgetful(lidar, map_image, three).head, forgetful(lidar, map_image).head)


def test_history_is_moved_by_the_motion_of_the_vehicle(remembering):
    """The same world seen 10 m earlier (4 cells of the features) lies on top of the present sweep once it is moved."""
    ahead = torch.zeros(1, len(CHANNELS), 64, 64)
    ahead[:, :, 16:20, 32:36] = 1.0
    earlier = torch.roll(ahead, -8, dims=2)  # 10 m farther ahead
    moves = se2_matrix(torch.tensor([[-10.0, 0.0, 0.0]]))[None]
    with torch.no_grad():
        now, then = (remembering.encode(x, torch.zeros(1, 8))[0] for x in (ahead, earlier))
        sweeps, seen = remembering.temporal.align(now, then[:, None], moves, None)
    middle = (slice(None), slice(None), slice(6, 14), slice(4, 12))
    assert bool(seen[:, 0, 6:14, 4:12].all())
    assert torch.allclose(sweeps[:, 0][middle], now[middle], atol=1e-5)


def test_only_gives_one_sweep_of_a_batch(remembering):
    with torch.no_grad():
        both, one = remembering(*inputs(), past()), None
        one = both.only(1)
    assert torch.equal(one.head, both.head[1:]) and torch.equal(one.spatial['stage1'], both.spatial['stage1'][1:])
    assert torch.equal(one.temporal_weights, both.temporal_weights[1:]) and one.alignment is None


def test_a_map_that_is_alike_everywhere_tells_nothing():
    """The contribution of the map channels nearly vanishes with the map, however strong its constant features are."""
    network = FusionNetwork(SMALL).eval()
    with torch.no_grad():
        network.map_encoder[2][1].bias.fill_(3.0)
        lidar, map_image = inputs()
        drawn, empty = (network(lidar, m).contribution[:, 8:].mean() for m in (map_image, map_image * 0))
    assert float(empty) < 0.2 * float(drawn)
