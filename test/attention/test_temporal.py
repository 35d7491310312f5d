# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Attention over past sweeps: motion compensation, order, missing sweeps. The arithmetic is in test_attention_hand."""

import numpy as np
import pytest
import torch

from attention_fusion_ros import geometry
from attention_fusion_ros.attention import build


def image(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def module(channels=3, seed=0, **options):
    torch.manual_seed(seed)
    built = build('temporal', channels, **{'keys': 4, 'extent': 8.0, **options}).double()
    for p in built.parameters():
        torch.nn.init.normal_(p, std=0.4)
    return built


def moves_of(poses: list[np.ndarray]) -> torch.Tensor:
    """World poses of the vehicle, the last is now -> (1, P, 3, 3) T_now_then."""
    now = geometry.inverse(poses[-1])
    return torch.from_numpy(np.stack([now @ then for then in poses[:-1]]))[None]


def drive(world: torch.Tensor, path: list[tuple[int, int]], H: int, W: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What a vehicle at (row, column) of a world map sees, sweep by sweep, and its moves; one cell is 1 m."""
    views = torch.stack([world[:, r:r + H, c:c + W] for r, c in path])[None]
    return views, moves_of([geometry.se2(-float(r), -float(c), 0.0) for r, c in path])  # up is +x, left is +y


@pytest.mark.parametrize(('H', 'W'), [(16, 16), (16, 10)])
def test_motion_compensation_is_exact_on_whole_cells(H, W):
    """A static world seen from four places lies, once moved, exactly on what is seen now."""
    temporal = module()
    views, moves = drive(image(3, 40, 30), [(10, 3), (8, 3), (7, 5), (4, 4)], H, W)
    sweeps, seen = temporal.align(views[:, -1], views[:, :-1], moves, None)
    assert seen[0, -1].all() and 0.3 < seen[0, :-1].double().mean() < 0.9
    for t in range(4):
        difference = (sweeps[0, t] - views[0, -1]).abs().amax(dim=0)
        assert difference[seen[0, t]].max() <= 1e-11
    # the vehicle came 6 rows up and stands 1 column to the right of where it was: that is what it had not seen
    expected = torch.zeros(H, W, dtype=torch.bool)
    expected[6:, :W - 1] = True
    assert torch.equal(seen[0, 0], expected)


def test_motion_compensation_of_a_quarter_turn():
    temporal = module(channels=2)
    before = image(1, 2, 16, 16)
    # the vehicle turned left by 90 degrees: the world turns right in its grid
    moves = moves_of([geometry.se2(5.0, -2.0, 0.3), geometry.se2(5.0, -2.0, 0.3 + np.pi / 2)])
    sweeps, seen = temporal.align(before, before[:, None], moves, None)
    assert seen.all()
    torch.testing.assert_close(sweeps[:, 0], torch.rot90(before, -1, dims=(2, 3)), rtol=0, atol=1e-11)


def test_a_static_world_is_weighed_alike_in_every_sweep():
    """Equal features cannot be told apart: each sweep that saw a cell has the same weight there."""
    temporal = module()
    views, moves = drive(image(3, 40, 30), [(10, 3), (8, 3), (7, 5), (4, 4)], 16, 16)
    _, weights = temporal(views[:, -1], views[:, :-1], moves)
    _, seen = temporal.align(views[:, -1], views[:, :-1], moves, None)
    expected = seen.double() / seen.double().sum(dim=1, keepdim=True)
    torch.testing.assert_close(weights['time'], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize('carry', [True, False])
def test_order_matters_only_to_the_recurrent_part(carry):
    temporal = module(carry=carry)
    views, moves = drive(image(3, 40, 30), [(10, 3), (8, 3), (7, 5), (4, 4)], 16, 16)
    history, x = views[:, :-1] + 0.3 * image(1, 3, 3, 16, 16, seed=1), views[:, -1]
    y, weights = temporal(x, history, moves)
    order = [2, 0, 1]
    shuffled, shuffled_weights = temporal(x, history[:, order], moves[:, order])
    # the weights go with their sweeps in either case
    torch.testing.assert_close(shuffled_weights['time'][:, [*range(3)]], weights['time'][:, order], rtol=0, atol=1e-12)
    torch.testing.assert_close(shuffled_weights['time'][:, -1], weights['time'][:, -1], rtol=0, atol=1e-12)
    difference = (shuffled - y).abs().max()
    assert difference > 1e-3 if carry else difference <= 1e-12


@pytest.mark.parametrize('carry', [True, False])
def test_missing_sweeps_have_no_influence(carry):
    temporal = module(carry=carry)
    x, history = image(2, 3, 8, 12), image(2, 3, 3, 8, 12, seed=1)
    moves = moves_of([geometry.se2(0.4 * t, 0.1 * t, 0.05 * t) for t in range(4)]).expand(2, 3, 3, 3)
    present = torch.tensor([[False, True, True], [False, True, True]])
    y, weights = temporal(x, history, moves, present)
    shorter, shorter_weights = temporal(x, history[:, 1:], moves[:, 1:])
    torch.testing.assert_close(y, shorter, rtol=0, atol=1e-13)
    torch.testing.assert_close(weights['time'][:, 1:], shorter_weights['time'], rtol=0, atol=1e-13)
    assert not weights['time'][:, 0].any()
    history[:, 0] = 1e6
    assert torch.equal(temporal(x, history, moves, present)[0], y)


@pytest.mark.parametrize('carry', [True, False])
def test_without_history_only_now_counts(carry):
    temporal = module(carry=carry)
    x = image(2, 3, 8, 8)
    y, weights = temporal(x, x[:, None][:, :0], torch.zeros(2, 0, 3, 3, dtype=x.dtype))
    absent, _ = temporal(x, image(2, 2, 3, 8, 8), torch.eye(3).double().expand(2, 2, 3, 3), torch.zeros(2, 2).bool())
    torch.testing.assert_close(y, absent, rtol=0, atol=1e-13)
    assert torch.equal(weights['time'], torch.ones(2, 1, 8, 8, dtype=x.dtype))


def test_weights_are_a_distribution_over_time():
    temporal = module()
    views, moves = drive(image(3, 40, 30), [(10, 3), (8, 3), (7, 5), (4, 4)], 16, 16)
    time = temporal(views[:, -1], views[:, :-1] + image(1, 3, 3, 16, 16, seed=2), moves)[1]['time']
    assert time.min() >= 0 and time.max() <= 1
    torch.testing.assert_close(time.sum(dim=1), torch.ones(1, 16, 16, dtype=time.dtype))


def test_training_starts_without_history():
    temporal = build('temporal', 3)
    x = torch.randn(2, 3, 8, 8)
    y, _ = temporal(x, torch.randn(2, 3, 3, 8, 8), torch.eye(3).expand(2, 3, 3, 3))
    assert torch.equal(x, y)


def test_gradients_reach_features_history_and_moves():
    temporal = module(channels=2, keys=2, extent=2.0)
    x, history = image(1, 2, 4, 5).requires_grad_(), image(1, 2, 2, 4, 5, seed=1).requires_grad_()
    moves = moves_of([geometry.se2(0.21, -0.13, 0.05), geometry.se2(0.1, 0.07, 0.0), np.eye(3)])
    assert torch.autograd.gradcheck(lambda a, b: temporal(a, b, moves)[0], (x, history))


def test_a_cell_seen_in_part_is_not_seen():
    """Half a cell forward: the front row was half beyond the old grid."""
    temporal = module()
    views = image(1, 3, 16, 16)
    moves = moves_of([geometry.se2(0.0, 0.0, 0.0), geometry.se2(0.5, 0.0, 0.0)])
    _, seen = temporal.align(views, views[:, None], moves, None)
    assert not seen[0, 0, 0].any() and seen[0, 0, 1:].all()
