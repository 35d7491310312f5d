# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The map's attention on toy roads: found where it lies, said how surely, and said when it fits nowhere.

The embeddings are set by hand: what is compared is the drawing itself, so that nothing has to be learned first.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from attention_fusion_ros.attention import build
from attention_fusion_ros.attention.pose_correlation import MIN_STD, PoseCorrelation
from attention_fusion_ros.attention.pose_volume import PRIOR_SIZE
from attention_fusion_ros.attention.warp import move, se2_matrix

CELLS, EXTENT = 128, 20.0
COARSE, FINE = 4, 4  # channels of the LiDAR's features


def crossing(batch: int = 1) -> torch.Tensor:
    """(B, 3, H, W) a junction of three roads that no turn and no shift of a few metres maps onto itself."""
    x = torch.zeros(batch, 3, CELLS, CELLS)
    x[:, 0, 8:120, 60:68] = 1.0
    x[:, 0, 40:48, 64:118] = 1.0
    x[:, 0, 84:90, 14:64] = 1.0
    x[:, 2] = 1.0
    return x


def drawn_by_hand() -> PoseCorrelation:
    """Compares means of the road layer with the first channel of what is seen, coarse and fine."""
    made = build('pose_correlation', 3, coarse_channels=COARSE, fine_channels=FINE, extent=EXTENT, cells=CELLS, width=1,
                 fine_width=1, max_shift=5.0).eval()
    assert isinstance(made, PoseCorrelation)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.zero_()
        for module in made.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.fill_(1.0)
        made.drawn[0].weight[0, 0, 2:4, 2:4] = 0.25  # half the resolution: the mean of two by two
        layers = [layer[0] for layer in made.drawn_coarse[:3]]
        layers[0].weight[0, 0, 1:3, 1:3] = 0.25
        for layer in layers[1:]:
            layer.weight[0, 0, 1, 1] = 1.0
        made.drawn_coarse[3].weight[0, 0, 1, 1] = 1.0
        made.drawn_fine.weight[0, 0, 1, 1] = 1.0
        made.seen_coarse[0][0].weight[0, 0, 1, 1] = made.seen_coarse[0][0].weight[1, 1, 1, 1] = 1.0
        made.seen_coarse[1].weight[0, :2, 1, 1] = torch.tensor([1.0, -1.0])  # road counts for, ground against
        made.detail.weight[0, 0, 0, 0] = made.detail.weight[1, 1, 0, 0] = 1.0
        made.seen_fine.weight[0, :2, 1, 1] = torch.tensor([1.0, -1.0])
        made.gain.copy_(torch.tensor([0.0, -1.0]))
        made.absent.fill_(40.0)
    return made


def seen(road: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What a LiDAR shows of a road layer (B, 1, H, W): where it is, and where the ground beside it is."""
    shares = torch.cat([road, 0.5 * (1 - road), road.new_zeros(len(road), 2, *road.shape[2:])], dim=1)
    return F.avg_pool2d(shares, 4), F.avg_pool2d(shares, 2)


def registered(mechanism: PoseCorrelation, truth: torch.Tensor, prior: torch.Tensor | None = None,
               image: torch.Tensor | None = None) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The junction seen from where it is, and a map that `truth` (B, 3) puts right."""
    image = crossing(len(truth)) if image is None else image
    road = move(image, se2_matrix(truth), EXTENT)[:, :1]
    with torch.no_grad():
        return mechanism(image, *seen(road), prior)


@pytest.fixture(scope='module')
def mechanism():
    return drawn_by_hand()


POSES = torch.tensor([[0.0, 0.0, 0.0], [3.0, -2.0, 0.15], [-2.2, 3.1, -0.2], [0.3, 0.2, 0.02], [-4.0, -4.0, 0.25]])


def test_a_map_is_found_wherever_it_lies_within_reach(mechanism):
    moved, weights = registered(mechanism, POSES)
    left = weights['correction'] - POSES
    window = mechanism.fine_window
    assert left[:, :2].abs().max() < 0.5 * window.step and left[:, 2].abs().max() < 1.5 * window.yaw_step
    assert left[0].abs().max() < 1e-3, 'exact on a pose of the grid'
    assert (weights['log_absent'] < math.log(0.1)).all()
    road = move(crossing(len(POSES)), se2_matrix(POSES), EXTENT)[:, :1]
    before, after = ((image[:, :1] - road).abs().mean(dim=(1, 2, 3)) for image in (crossing(len(POSES)), moved))
    assert (before[[1, 2, 4]] > 0.1).all() and (after < 0.03).all()


def test_the_centre_of_the_fine_window_is_near_enough_for_it(mechanism):
    _, weights = registered(mechanism, POSES)
    offset = (POSES - weights['centre']).abs()
    window = mechanism.fine_window
    assert (offset[:, :2] < window.shifts * window.step).all() and (offset[:, 2] < window.turns * window.yaw_step).all()


def test_probabilities_covariance_and_what_the_fusion_is_told(mechanism):
    _, weights = registered(mechanism, POSES)
    total = weights['log_p'].exp().sum(dim=(1, 2, 3)) + weights['log_absent'].exp()
    assert torch.allclose(total, torch.ones(5), atol=1e-5)
    assert torch.allclose(weights['fine_log_p'].exp().sum(dim=(1, 2, 3)), torch.ones(5), atol=1e-5)
    covariance = weights['covariance']
    assert torch.allclose(covariance, covariance.transpose(1, 2)) and (torch.linalg.eigvalsh(covariance) > 0).all()
    assert torch.allclose(weights['correction_std'].square(), covariance.diagonal(dim1=1, dim2=2))
    assert (weights['correction_std'] >= torch.tensor(MIN_STD) - 1e-6).all()
    window = mechanism.window
    widest = torch.tensor([window.shifts * window.step] * 2 + [window.turns * window.yaw_step])
    assert torch.allclose(weights['fit'][:, :3], (weights['correction_std'] / widest).log(), atol=1e-5)
    assert torch.allclose(weights['fit'][:, 3], 1 - weights['log_absent'].exp())


def test_along_a_straight_road_it_is_less_sure_than_across(mechanism):
    image = torch.zeros(1, 3, CELLS, CELLS)
    image[:, 0, :, 60:68] = 1.0
    _, weights = registered(mechanism, torch.zeros(1, 3), image=image)
    along, across, _ = weights['correction_std'][0].tolist()
    assert along > 3 * across


def test_the_calibrated_scale_is_that_of_the_deviations(mechanism):
    made = drawn_by_hand()
    made.covariance_scale.copy_(torch.tensor([2.0, 1.0, 3.0]))
    one, two = (registered(m, POSES[1:2])[1] for m in (mechanism, made))
    assert torch.allclose(two['correction_std'], one['correction_std'] * torch.tensor([2.0, 1.0, 3.0]))
    assert torch.equal(two['correction'], one['correction'])


def test_no_pose_fits_a_map_that_is_blank_or_of_elsewhere(mechanism):
    road = crossing()[:, :1]
    elsewhere = crossing().rot90(1, dims=(2, 3))
    maps = {'right': crossing(), 'blank': torch.zeros_like(crossing()), 'elsewhere': elsewhere}
    with torch.no_grad():
        absent = {name: float(mechanism(image, *seen(road))[1]['log_absent'].exp()) for name, image in maps.items()}
    assert absent['right'] < 0.1 < 0.9 < min(absent['blank'], absent['elsewhere'])
    with torch.no_grad():
        _, weights = mechanism(maps['blank'], *seen(road))
    assert torch.isfinite(weights['covariance']).all() and (weights['correction_std'][0, :2] > 1.0).all()


def known(mean: tuple[float, float, float], std: float, weight: float) -> torch.Tensor:
    covariance = torch.diag(torch.tensor([std, std, 0.05 * std]).square())
    return torch.cat([torch.tensor(mean), covariance.flatten(), torch.tensor([weight])])[None]


def test_what_is_known_decides_between_places_that_look_alike(mechanism):
    """Two parallel roads seen, one drawn: it may be either."""
    image, road = torch.zeros(1, 3, CELLS, CELLS), torch.zeros(1, 1, CELLS, CELLS)
    image[:, 0, :, 60:68] = 1.0
    for column in (50, 70):
        road[:, 0, :, column:column + 8] = 1.0  # 10 cells, 3.125 m, to the left and to the right
    with torch.no_grad():
        for left in (3.125, -3.125):
            _, weights = mechanism(image, *seen(road), known((0.0, left + 0.4, 0.0), 0.8, 0.95))
            assert float(weights['correction'][0, 1]) == pytest.approx(left, abs=0.3)
            assert float(weights['correction_std'][0, 1]) < 1.0
        _, unsure = mechanism(image, *seen(road))
    assert float(unsure['correction_std'][0, 1]) > 2.0, 'the other road widens the covariance'


def test_knowledge_sharpens_what_one_sweep_leaves_open_and_errors_are_outvoted(mechanism):
    image = torch.zeros(1, 3, CELLS, CELLS)
    image[:, 0, :, 60:68] = 1.0
    alone = registered(mechanism, torch.zeros(1, 3), image=image)[1]
    told = registered(mechanism, torch.zeros(1, 3), known((0.5, 0.0, 0.0), 0.3, 0.95), image)[1]
    assert told['correction_std'][0, 0] < 0.5 * alone['correction_std'][0, 0]
    assert 0.1 < float(told['correction'][0, 0]) < 0.6 and abs(float(alone['correction'][0, 0])) < 0.1
    wrong = registered(mechanism, POSES[1:2], known((-3.0, 2.0, -0.1), 0.3, 0.95))[1]
    assert torch.linalg.norm((wrong['correction'] - POSES[1:2])[0, :2]) < 0.5 * mechanism.fine_window.step


def truth(errors: torch.Tensor | None) -> SimpleNamespace:
    return SimpleNamespace(map_error=errors)


def test_losses_are_the_cross_entropy_of_the_true_pose(mechanism):
    _, weights = registered(mechanism, POSES)
    right = mechanism.losses(weights, truth(POSES), torch.zeros(()))
    assert set(right) == {'pose', 'fine_pose'} == set(mechanism.loss_weights)
    wrong = mechanism.losses(weights, truth(POSES.roll(1, dims=0)), torch.zeros(()))
    assert right['pose'] + 2 < wrong['pose'] and right['fine_pose'] < wrong['fine_pose'] + 1e6
    # A map that lies where no pose of the window can put it asks for 'no pose fits', and nothing of the fine window.
    far = torch.tensor([[30.0, 0.0, 0.0]])
    one = {name: value[:1] for name, value in weights.items()}
    lost = mechanism.losses(one, truth(far), torch.zeros(()))
    assert lost['pose'] == pytest.approx(-float(one['log_absent'])) and lost['fine_pose'] == 0
    assert mechanism.losses(weights, truth(None), torch.zeros(())) == {}


def test_unknown_truths_reach_neither_the_loss_nor_the_gradient():
    made = drawn_by_hand().train()
    road = move(crossing(3), se2_matrix(POSES[:3]), EXTENT)[:, :1]
    errors = POSES[:3].clone()
    errors[1] = math.nan
    results = []
    for rows in ((0, 1, 2), (0, 2)):
        made.eval().zero_grad()
        pick = list(rows)
        _, weights = made(crossing(len(pick)), *(s[pick] for s in seen(road)), None)
        found = made.losses(weights, truth(errors[pick]), torch.zeros(()))
        (found['pose'] + found['fine_pose']).backward()
        results.append((found, [p.grad.clone() for p in made.parameters() if p.grad is not None]))
    (three, with_nan), (two, without) = results
    assert all(torch.allclose(three[name], two[name], rtol=1e-4) for name in two)
    for a, b in zip(with_nan, without, strict=True):
        assert torch.isfinite(a).all() and torch.allclose(a, b, rtol=1e-3, atol=1e-5)
    nothing = made.losses(weights, truth(torch.full((2, 3), math.nan)), torch.zeros(()))
    assert nothing['pose'] == nothing['fine_pose'] == 0


def test_a_step_down_the_gradient_makes_the_truth_more_likely():
    made = drawn_by_hand()
    image, errors = crossing(2), POSES[1:3]
    shown = seen(move(image, se2_matrix(errors), EXTENT)[:, :1])

    def cost() -> torch.Tensor:
        found = made.losses(made(image, *shown, None)[1], truth(errors), torch.zeros(()))
        return found['pose'] + found['fine_pose']
    before = cost()
    before.backward()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name
        # Of those behind no ReLU: set by hand, features are exactly 0 where it has its kink.
        for parameter in (made.gain, made.absent, made.seen_fine.weight, made.drawn_fine.weight):
            assert parameter.grad.abs().max() > 0
            parameter -= 1e-4 * parameter.grad / max(1.0, float(parameter.grad.norm()))
        assert cost() < before


def test_replacing_the_correction_moves_the_map_and_its_prior_is_no_weight(mechanism):
    image = crossing()
    moved, weights = registered(mechanism, POSES[1:2], torch.zeros(1, PRIOR_SIZE))
    extra = (*seen(image[:, :1]), None)
    assert torch.allclose(mechanism.reweighted(image, weights, *extra), moved, atol=1e-5)
    none = mechanism.indifferent(weights)
    assert set(none) == {'correction'} and torch.allclose(mechanism.reweighted(image, none, *extra), image, atol=1e-5)
