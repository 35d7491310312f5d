# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Interventions: each on a network or an answer for which it is known what must come out."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from attention_fusion_ros.attention import build
from attention_fusion_ros.attention.warp import move, se2_matrix
from attention_fusion_ros.bev.lidar import CHANNELS
from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.contracts import Branch, MapAlignment
from attention_fusion_ros.datasets.simulated import map_correction
from attention_fusion_ros.evaluation.interventions import heat as heats
from attention_fusion_ros.evaluation.interventions.cells import coarse, patch_size, top_cells, without
from attention_fusion_ros.evaluation.interventions.displacement import (
    drawn_bearing,
    follow_pairs,
    followed_share,
    lateral_errors,
    switched,
)
from attention_fusion_ros.evaluation.interventions.heat_place import AREA, AS_PUBLISHED, BORDER, EMPTY, heat_places
from attention_fusion_ros.evaluation.interventions.maps import ACROSS, ALONG, STEPS, YAW, draw_maps
from attention_fusion_ros.evaluation.interventions.registration import left_of, left_over_a_drive, repeatability
from attention_fusion_ros.evaluation.interventions.replacement import (
    ANOTHER,
    EVERYTHING,
    MEAN_MAP,
    MEAN_SCALAR,
    ONE,
    MeanWeights,
    Target,
    attentions,
    recorded,
    replaced,
    replacement,
    targets,
)
from attention_fusion_ros.evaluation.interventions.subject import Subject, presence_at
from attention_fusion_ros.geometry import inverse
from attention_fusion_ros.metrics.branches import Prediction, TrueRoads
from attention_fusion_ros.network.checkpoint import untrained
from attention_fusion_ros.network.config import NetworkConfig
from attention_fusion_ros.network.head import HEAD_CHANNELS
from attention_fusion_ros.simulation.sensors.map_image import MapError

K = 36
RING = 20.0


def branch(bearing: float) -> Branch:
    return Branch(bearing, bearing, 1.0, 0.1, 0.1)


class TwoBlocks(nn.Module):
    """A stage of two blocks with spatial attention behind channel attention; `mechanisms` names the last block only."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fusion = build('se', 4)
        self.blocks = nn.ModuleList(nn.ModuleDict({'attention': build('cbam_spatial', 4, kernel=3)}) for _ in range(2))

    def mechanisms(self):
        return {'fusion': self.fusion, 'stage1': self.blocks[1]['attention']}

    def forward(self, x):
        x, _ = self.fusion(x)
        for block in self.blocks:
            x, _ = block['attention'](x)
        return x


def test_every_attention_is_found_and_its_own_weights_change_nothing():
    network, x = TwoBlocks().eval(), torch.randn(3, 4, 8, 8)
    assert list(attentions(network)) == ['fusion', 'blocks.0.attention', 'stage1']
    with torch.no_grad():
        with recorded(network) as own:
            before = network(x)
        assert {name: tuple(w) for name, w in own.items()} == {
            'fusion': ('channel',), 'blocks.0.attention': ('spatial',), 'stage1': ('spatial',)}
        with replaced(network, own):
            assert torch.allclose(network(x), before, atol=1e-6)
        with replaced(network, {'stage1': {'spatial': torch.zeros(1, 1, 8, 8)}}):
            assert not network(x).any()
        assert torch.equal(network(x), before)  # nothing is left of it
    with pytest.raises(ValueError, match='stage7'), replaced(network, {'stage7': {}}):
        pass


def test_replacements_are_means_over_scenes_or_those_of_others():
    network = TwoBlocks().eval()
    scenes = torch.randn(5, 4, 8, 8)
    together = MeanWeights()
    with torch.no_grad():
        for part in (slice(0, 3), slice(3, 5)):
            with recorded(network) as own:
                network(scenes[part])
            some = MeanWeights()
            some.add(own, list(range(5))[part])
            together.merge(some)
        with recorded(network) as own:
            network(scenes)
    reference = together.reference()
    channel, spatial = own['fusion']['channel'], own['stage1']['spatial']
    assert torch.allclose(reference.mean['fusion']['channel'], channel.mean(0), atol=1e-6)
    assert torch.allclose(reference.mean['stage1']['spatial'], spatial.mean(0), atol=1e-6)
    named = {target.name: target for target in targets(own)}
    assert list(named) == ['fusion', 'blocks.0.attention', 'stage1', 'all spatial', EVERYTHING]
    assert {name for name, _ in named['all spatial'].parts} == {'blocks.0.attention', 'stage1'}
    assert named['fusion'].is_channel and not named[EVERYTHING].is_channel

    def of(how: str):
        found = replacement(how, named[EVERYTHING], own, network, reference, range(5))
        assert found is not None
        return found
    assert torch.allclose(of(MEAN_MAP)['stage1']['spatial'][0], spatial.mean(0), atol=1e-6)
    assert torch.allclose(of(MEAN_SCALAR)['fusion']['channel'], channel.mean().expand(1, 4), atol=1e-6)
    assert (of(ONE)['stage1']['spatial'] == 1).all()
    another = of(ANOTHER)['stage1']['spatial']  # of scene 0 or 3, which are kept, and never of the scene itself
    assert all(not torch.allclose(another[k], spatial[k]) for k in range(5))
    assert all(any(torch.allclose(row, spatial[k]) for k in (0, 3)) for row in another)


def test_a_correction_is_replaced_by_none_or_by_the_mean_one():
    stn = build('stn', 3, lidar_channels=3).eval()
    x = torch.zeros(1, 3, 32, 32)
    x[:, :, 10, 12] = 1.0
    correction = torch.tensor([[2.5, -5.0, 0.0]])
    assert torch.allclose(stn.reweighted(x, {'correction': correction}), move(x, se2_matrix(correction), 40.0))
    assert torch.allclose(stn.reweighted(x, stn.indifferent({'correction': correction})), x, atol=1e-6)


@pytest.mark.parametrize('slots', [{}, {'stage_attention': {'name': 'bam'}},
                                   {'stage_attention': {'name': 'cbam_block'}},
                                   {'map_registration': {'name': 'stn'}, 'encoder_attention': {'name': 'sk'}}])
def test_a_whole_network_answers_alike_with_its_own_weights(slots):
    network = untrained(NetworkConfig(cells=64, **slots)).network.eval()
    torch.manual_seed(1)
    lidar, drawn = torch.rand(2, len(CHANNELS), 64, 64), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        with recorded(network) as own:
            before = network(lidar, drawn)
        assert set(own) <= set(before.weights) and 'fusion' in own
        with replaced(network, own):
            after = network(lidar, drawn)
        assert torch.allclose(before.head, after.head, atol=1e-4)
        with replaced(network, {'fusion': {'channel': torch.zeros(1, own['fusion']['channel'].shape[1])}}):
            without_features = network(lidar, drawn)
    assert not torch.allclose(before.head, without_features.head, atol=1e-4)
    assert not without_features.channel.any()


class OneCell(nn.Module):
    """A network whose presence logits depend on the LiDAR in one cell of the grid alone, and on no map."""

    def __init__(self, row: int, column: int):
        super().__init__()
        self.row, self.column = row, column

    def forward_intermediates(self, lidar, map_image):
        stage = lidar[:, :1].repeat(1, 2, 1, 1) * 1.0
        head = torch.zeros(len(lidar), len(HEAD_CHANNELS), K)
        head[:, HEAD_CHANNELS.index('presence')] = 3 * stage[:, 0, self.row, self.column, None]
        return SimpleNamespace(head=head, spatial={}, weights={}), (stage,)


def test_deletion_by_gradient_finds_the_only_cell_that_counts():
    network, lidar = OneCell(21, 9), torch.rand(2, len(CHANNELS), 32, 32) + 0.5
    results = [SimpleNamespace(branches=(branch(0.0),)), SimpleNamespace(branches=())]
    found = heats.heats(network, lidar, torch.rand(2, 3, 32, 32), results, cells=8)
    assert set(found) == {heats.GRADCAM, heats.INPUT_GRADIENT, heats.MAP_GRADIENT, heats.DENSITY}
    assert not found[heats.MAP_GRADIENT].any()
    everywhere = np.ones((8, 8), bool)
    for heat in found[heats.INPUT_GRADIENT]:
        chosen = top_cells(heat, everywhere, 1, seed=0)
        assert np.argwhere(chosen).tolist() == [[21 // 4, 9 // 4]]
    spoiled = without(lidar[0], chosen, len(CHANNELS))
    assert not network.forward_intermediates(spoiled[None], None)[0].head.any()
    others = without(lidar[0], ~chosen, len(CHANNELS))
    kept, whole = (network.forward_intermediates(grid[None], None)[0].head for grid in (others, lidar[0]))
    assert torch.equal(kept, whole)  # insertion: that one cell is enough


def test_cells_are_chosen_among_those_allowed_and_equal_ones_by_lot():
    heat = np.arange(16.0).reshape(4, 4)
    allowed = heat % 2 == 0
    assert np.sort(heat[top_cells(heat, allowed, 3, 0)]).tolist() == [10, 12, 14]
    assert top_cells(heat, allowed, 99, 0).sum() == 8
    flat = [top_cells(np.zeros((8, 8)), np.ones((8, 8), bool), 10, seed) for seed in (1, 1, 2)]
    assert np.array_equal(flat[0], flat[1]) and not np.array_equal(flat[0], flat[2])
    assert patch_size(0.3125) == 4 and patch_size(2.0) == 1
    assert torch.equal(coarse(torch.ones(1, 2, 2), 4), torch.ones(1, 4, 4))


def test_layers_of_odometry_are_not_deleted_with_the_lidar():
    grid = torch.ones(6, 8, 8)
    left = without(grid, np.ones((4, 4), bool), 5)
    assert not left[:5].any() and (left[5] == 1).all()


def test_heat_of_hard_attention_is_ordered_by_contribution():
    mask = torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]])
    contribution = torch.tensor([[[0.2, 9.0], [0.7, 9.0]]])
    found = heats.published_heat({'stage3': torch.rand(1, 1, 1, 1), 'selection': mask}, contribution, 2)
    assert found is not None and found[0, 1, 0] > found[0, 0, 0] > 0 and not found[0, :, 1].any()
    soft = heats.published_heat({'stage1': mask * 0.5}, contribution, 2)
    assert soft is not None and soft[0, 0, 0] == soft[0, 1, 0] == 0.5
    assert heats.published_heat({}, contribution, 2) is None


def test_shares_of_a_heat_that_lies_at_the_border_on_nothing():
    cells = {name: np.zeros((256, 256), bool) for name in ('road', 'roadside', 'vehicles')}
    cells['roadside'][:, :64], visible = True, np.ones((256, 256), bool)
    scene = SimpleNamespace(masks=lambda: (cells, visible))
    heat = np.zeros((64, 64))
    heat[0, :16], heat[30, 40] = 1.0, 16.0
    points = np.zeros((64, 64), bool)
    points[30, 40] = True
    result = SimpleNamespace(attention=SimpleNamespace(spatial={}), lidar_bev=np.zeros((5, 256, 256)))
    found = heat_places(result, {'seen': heat, 'nothing': np.zeros((64, 64))}, points, np.zeros((64, 64), bool), scene)
    assert found['seen', EMPTY] == pytest.approx(0.5) and found['seen', BORDER] == pytest.approx(0.5)
    assert found['seen', 'roadside', 'heat'] == pytest.approx(0.5)
    assert found[AREA, 'roadside', 'heat'] == found['seen', 'roadside', AREA] == pytest.approx(0.25)
    assert found[AREA, BORDER] == pytest.approx(1 - 58 ** 2 / 64 ** 2)
    assert not any(name in ('nothing', AS_PUBLISHED) for name, *_ in found)


def test_a_moved_map_draws_its_roads_elsewhere():
    assert drawn_bearing(0.0, 0.0, MapError(y=2.0), RING) == pytest.approx(math.asin(2 / RING))
    assert drawn_bearing(0.0, 0.0, MapError(x=5.0), RING) == pytest.approx(0.0)  # along itself
    assert drawn_bearing(1.0, 1.2, MapError(yaw=0.1), RING) == pytest.approx(1.1)
    assert drawn_bearing(0.0, math.pi / 2, MapError(x=30.0), RING) is None


@pytest.mark.parametrize('share', [0.0, 0.5, 1.0])
def test_the_share_of_the_displacement_that_an_answer_follows(share):
    truth, error = TrueRoads(((0.0, 0.0), (2.0, 2.0)), None), MapError(y=2.0)
    drawn = [drawn_bearing(b, b, error, RING) for b in (0.0, 2.0)]
    before = Prediction((branch(0.01), branch(2.02)))
    after = Prediction((branch(2.02 + share * (drawn[1] - 2.0)), branch(0.01 + share * drawn[0])))
    assert followed_share(follow_pairs(before, after, truth, error, RING)) == pytest.approx([share, share], abs=1e-6)
    assert len(follow_pairs(before, Prediction((branch(0.0),)), truth, error, RING)) == 1


def test_lateral_error_is_across_the_road():
    truth = TrueRoads(((0.0, 0.0), (1.0, 1.0 + math.pi / 2)), None)
    found = lateral_errors(Prediction((branch(0.02), branch(1.02))), truth, RING, 0.2)
    assert found[0] == pytest.approx(20 * math.sin(0.02), rel=1e-3)
    assert found[1] == pytest.approx(0.0, abs=0.01)  # that road lies along the ring
    assert switched(Prediction((), branch(0.0)), Prediction((), branch(0.5)))
    assert not switched(Prediction((), branch(0.0)), Prediction((), branch(0.1)))
    assert not switched(Prediction((), branch(0.0)), Prediction(()))


def test_what_a_registration_leaves_across_and_along_the_road():
    error = MapError(1.0, 2.0, 0.1)
    right = map_correction(error)
    exact = left_of(tuple(right), error, 0.3, np.eye(3) * 1e-4)
    assert (exact.lateral, exact.longitudinal, exact.yaw) == pytest.approx((0, 0, 0), abs=1e-6) and exact.holds
    before = left_of(None, MapError(3.0, 0.0), axis=math.pi / 2)
    assert before.lateral == pytest.approx(3.0) and before.longitudinal == pytest.approx(0.0, abs=1e-6)
    ahead = left_of((right[0] + 1.0, right[1], right[2]), error, 0.0, np.diag([0.1, 9.0, 1.0]))
    assert ahead.longitudinal == pytest.approx(1.0, abs=1e-6) and ahead.holds is False  # ten standard deviations
    assert left_of((right[0] + 1.0, right[1], right[2]), error, 0.0, np.diag([1.0, 9.0, 1.0])).holds
    assert before.holds is None


def test_repeatability_is_zero_for_a_registration_that_undoes_every_error():
    errors = [[(2.0, -1.0, 0.2), (0.0, 3.0, -0.1)], [(-4.0, 0.5, 0.0), (1.0, 1.0, 0.2)]]

    def result(error, off=0.0):
        dx, dy, dyaw = map_correction(MapError(*error))
        return SimpleNamespace(alignment=MapAlignment(dx + off, dy, dyaw, (1.0, 1.0, 1.0)))
    same = repeatability(*([result(e) for e in row] for row in errors), *errors)
    assert same == pytest.approx(np.zeros((2, 2)), abs=1e-5)
    apart = repeatability([result(e) for e in errors[0]], [result(e, 0.5) for e in errors[1]], *errors)
    assert apart[:, 0] == pytest.approx([0.5, 0.5], abs=1e-5) and apart[:, 1] == pytest.approx([0, 0], abs=1e-6)
    none = repeatability([SimpleNamespace(alignment=None)], [result(errors[1][0])], errors[0][:1], errors[1][:1])
    assert np.isnan(none).all()


class Knowing:
    """Stands for a pipeline that knows the map's error on the ground, and finds it, `off` metres to the left."""

    def __init__(self, error: MapError, off: float):
        self.config, self.error, self.off, self.seen = NodeConfig(), error, off, 0

    def reset(self):
        pass

    def update(self, config):
        self.config = config

    def run(self, sweep):
        self.seen += 1
        motion = sweep.motion
        T_now_first = inverse(motion.T_odom_base) @ motion.T_odom_base_map
        places = np.array([[0.0, 0, 0, 1], [10.0, 0, 0, 1]]) @ inverse(T_now_first).T  # of now, as of then
        c, s = math.cos(self.error.yaw), math.sin(self.error.yaw)
        drawn = places.copy()
        drawn[:, :2] = places[:, :2] @ np.array([[c, s], [-s, c]]) + (self.error.x, self.error.y)
        (ax, ay), (bx, by) = (drawn @ T_now_first.T)[:, :2]  # where the map of then has them now
        yaw = math.atan2(by - ay, bx - ax)
        dx, dy = -(math.cos(yaw) * ax + math.sin(yaw) * ay), math.sin(yaw) * ax - math.cos(yaw) * ay
        return SimpleNamespace(alignment=MapAlignment(dx, dy + self.off, -yaw, (1.0, 1.0, 1.0)))


def test_over_a_drive_the_error_stays_where_it_is_on_the_ground():
    error = MapError(3.0, -2.0, 0.2)
    pipeline = Knowing(error, off=0.25)
    config = pipeline.config
    found = left_over_a_drive(pipeline, 3, error, sweeps=3, lidar='vlp_16')
    assert pipeline.seen == 3 and pipeline.config == config
    for left in found:
        assert left is not None
        assert (left.lateral, left.longitudinal, left.yaw) == pytest.approx((0.25, 0, 0), abs=1e-4)


def test_further_maps_of_a_scene_have_the_stated_errors():
    info = SimpleNamespace(seed=20_000_001, route_drawn=False)
    maps, again = draw_maps(info), draw_maps(info)
    assert maps.axis == again.axis and np.array_equal(maps.exact.picture.image, again.exact.picture.image)
    assert maps.wide.error == again.wide.error
    assert set(maps.moved) == {(way, size) for way, sizes in STEPS.items() for size in sizes}
    shift, aside, turn = (maps.moved[way, STEPS[way][-1]].error for way in (ALONG, ACROSS, YAW))
    assert math.hypot(shift.x, shift.y) == math.hypot(aside.x, aside.y) == pytest.approx(8.0)
    assert shift.x * aside.x + shift.y * aside.y == pytest.approx(0.0, abs=1e-9)
    assert abs(shift.x * math.sin(maps.axis) - shift.y * math.cos(maps.axis)) < 1e-9
    assert abs(turn.yaw) == pytest.approx(math.radians(15)) and turn.x == turn.y == 0
    assert not np.array_equal(maps.exact.picture.image, maps.moved[YAW, 15.0].picture.image)
    drawn = draw_maps(replace_route(info))
    assert drawn.wide.picture.encoding == 'rgb8'


def replace_route(info):
    return SimpleNamespace(seed=info.seed, route_drawn=True)


def test_a_target_of_nothing_is_no_target():
    assert targets({'none': {}}) == []
    assert Target('a', (('a', 'channel'),)).is_channel
    assert replace(Target('a', (('a', 'channel'),)), parts=(('a', 'spatial'),)).is_channel is False


def test_presence_is_that_of_the_bins_of_the_true_branches():
    probability = np.zeros(K)
    probability[18], probability[0] = 0.8, 0.4  # the first bin left of straight ahead, and the first of all
    truth = TrueRoads(((0.01, 0.0), (-math.pi + 0.01, math.pi)), None)
    assert presence_at(probability, truth) == pytest.approx(0.6)
    assert presence_at(probability, TrueRoads(((math.pi, 0.0),), None)) == pytest.approx(0.4)  # pi is -pi
    assert math.isnan(presence_at(probability, TrueRoads((), None)))


def test_the_network_in_question_runs_where_there_are_gradients():
    """Although a node on the CPU runs the default weights in ONNX Runtime."""
    subject = Subject(NodeConfig(device='cpu', threads=1))
    assert subject.pipeline.backend.name == 'torch' and 'reading' in attentions(subject.network)
    subject.close()
