# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Hard attention with a budget: so many cells and no more pass, and what was not read has no influence."""

from __future__ import annotations

import pytest
import torch

from attention_fusion_ros.attention import build
from attention_fusion_ros.attention.cell_budget import CellBudget
from attention_fusion_ros.errors import ConfigurationError

C, PATCH, BUDGET = 5, 4, 6


def budget(**options) -> CellBudget:
    torch.manual_seed(0)
    made = build('cell_budget', C, **{'budget': BUDGET, 'width': 8, **options})
    assert isinstance(made, CellBudget)
    return made


def sweep(batch: int = 3, seed: int = 1) -> torch.Tensor:
    """Points in a few grid cells of about half of the patches."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(batch, 1, 32, 24, generator=generator) < 0.05
    return torch.randn(batch, C, 32, 24, generator=generator) * points


def held(x: torch.Tensor) -> torch.Tensor:
    """(B, h, w) bool: patches that hold anything."""
    return x.abs().sum(dim=1).unflatten(2, (-1, PATCH)).unflatten(1, (-1, PATCH)).sum(dim=(2, 4)) > 0


def test_exactly_the_budget_passes_and_only_cells_that_hold_anything():
    x = sweep()
    features, weights = budget().eval()(x)
    chosen, candidates = weights['spatial'][:, 0], held(x)
    assert (candidates.sum(dim=(1, 2)) > BUDGET).all() and not candidates.all()
    assert chosen.sum(dim=(1, 2)).tolist() == [BUDGET] * 3 and set(chosen.unique().tolist()) == {0.0, 1.0}
    assert not chosen[~candidates].any()
    grid = chosen.repeat_interleave(PATCH, 1).repeat_interleave(PATCH, 2)[:, None]
    assert torch.equal(features, x * grid)
    score = weights['score'][:, 0]
    for row in range(3):  # the best of those that hold anything
        assert score[row][chosen[row] > 0].min() > score[row][(chosen[row] == 0) & candidates[row]].max()


def test_fewer_cells_than_the_budget_all_pass_and_nothing_is_nothing():
    x = torch.zeros(2, C, 32, 24)
    x[0, :, 5, 5] = 1.0
    x[0, 2, 30, 20] = -1e-3
    features, weights = budget().eval()(x)
    assert torch.equal(features, x) and weights['spatial'].sum(dim=(1, 2, 3)).tolist() == [2.0, 0.0]
    assert torch.isfinite(weights['score']).all()


def test_what_was_not_read_has_no_influence_on_the_choice_nor_on_what_is_read():
    x, mechanism = sweep(), budget().eval()
    features, weights = mechanism(x)
    read = weights['spatial'].repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3) > 0
    again, found = mechanism(torch.where(read, x, 0.0))
    assert torch.equal(again, features) and torch.equal(found['spatial'], weights['spatial'])
    unread = held(x) & (weights['spatial'][:, 0] == 0)  # one by one, not only all of them together
    row, i, j = unread.nonzero()[0].tolist()
    x[row, :, PATCH * i:PATCH * (i + 1), PATCH * j:PATCH * (j + 1)] = 0.0
    again, found = mechanism(x)
    assert torch.equal(again, features) and torch.equal(found['spatial'], weights['spatial'])


def test_training_reaches_the_scores_of_cells_that_pass_and_of_those_left_out():
    mechanism = budget(noise=0.0).train()
    x = sweep()
    _, weights = mechanism(x)
    weights['score'].retain_grad()
    target = torch.randn_like(weights['spatial'])
    (weights['spatial'] * target).sum().backward()
    gradient, candidates = weights['score'].grad[:, 0], held(x)
    assert (gradient[candidates] != 0).all() and not gradient[~candidates].any()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in mechanism.parameters())
    # More of a cell that helps: its score grows.
    assert torch.equal(gradient[candidates].sign(), target[:, 0][candidates].sign())


def test_while_training_cells_get_tried_and_the_same_ones_pass_forward_as_zero_or_one():
    mechanism, x = budget(noise=5.0).train(), sweep()
    choices = [mechanism(x)[1]['spatial'].detach().round() for _ in range(4)]
    assert not all(torch.equal(choices[0], other) for other in choices[1:])
    features, weights = mechanism(x)
    assert torch.allclose(weights['spatial'], weights['spatial'].round(), atol=1e-6)
    quiet = budget(noise=0.0).train()
    assert torch.equal(quiet(x)[1]['spatial'].round(), quiet.eval()(x)[1]['spatial'])


def test_the_budget_shrinks_from_twice_its_size_in_the_first_half_of_the_training():
    mechanism, x = budget(budget=4).train(), sweep()
    for progress, expected in ((0.0, 8), (0.25, 6), (0.5, 4), (1.0, 4)):
        mechanism.anneal(progress)
        assert mechanism(x)[1]['spatial'].round().sum(dim=(1, 2, 3)).tolist() == [expected] * 3
    mechanism.anneal(0.0)
    assert mechanism.eval()(x)[1]['spatial'].sum(dim=(1, 2, 3)).tolist() == [4] * 3, 'only while it trains'


def test_a_mean_of_choices_is_a_choice_of_as_many_cells():
    """An intervention must not scale what is read: the answer would change for that alone."""
    mechanism, x = budget().eval(), sweep()
    features, weights = mechanism(x)
    own = weights['spatial']
    assert torch.equal(mechanism.reweighted(x, {'spatial': own}), features)
    mean = mechanism.reweighted(x, {'spatial': own.mean(dim=0, keepdim=True).expand_as(own)})
    assert set((mean[x != 0] / x[x != 0]).unique().tolist()) <= {0.0, 1.0}
    often, some = own.mean(dim=0)[0], held(mean)
    for row in range(3):
        assert some[row].sum() == BUDGET
        left_out = held(x)[row] & ~some[row]
        assert often[some[row]].min() >= often[left_out].max()
    scalar = mechanism.reweighted(x, {'spatial': torch.full_like(own, 0.3)})
    assert held(scalar).sum(dim=(1, 2)).tolist() == [BUDGET] * 3
    assert torch.equal(scalar, mechanism.reweighted(x, {'spatial': torch.full_like(own, 0.6)})), 'the same lot'
    everything = mechanism.reweighted(x, mechanism.indifferent(weights))
    assert torch.equal(everything, x), 'no preference: nothing is left out'
    none = mechanism.reweighted(x, {'spatial': torch.zeros_like(own)})
    assert not none.any()


def test_smaller_patches_start_from_the_scores_of_larger_ones():
    large, small = budget().eval(), budget(patch=2)
    small.take_patches(large)
    # Content that is alike in the four quarters of each large patch: each quarter scores as the whole one, less place.
    tile = torch.randn(1, C, 2, 2, generator=torch.Generator().manual_seed(3)).repeat(1, 1, 16, 12)
    for mechanism in (large, small):
        torch.nn.init.zeros_(mechanism.place.weight)
    scores = [mechanism.eval()(tile)[1]['score'] for mechanism in (large, small)]
    assert torch.allclose(scores[1], scores[0].repeat_interleave(2, 2).repeat_interleave(2, 3), atol=1e-5)


def test_patches_that_are_no_multiple_cannot_be_started_from():
    with pytest.raises(ConfigurationError, match='patches of 4 cells cannot start from patches of 2'):
        budget().take_patches(budget(patch=2))


class VehicleAhead:
    """A truth of which only the vehicles are known."""

    branches = direction = direction_known = map_error = None

    def mask(self, name: str) -> torch.Tensor:
        assert name == 'vehicle'
        mask = torch.zeros(3, 1, 8, 6)
        mask[:, :, :4] = 1.0
        mask[:, :, 0, 0] = torch.nan
        return mask


def test_reading_cells_on_vehicles_costs_and_learning_takes_them_off():
    x, mechanism = sweep(), budget(noise=0.0)
    x[:, 0, :16] = 3.0 * held(x).repeat_interleave(PATCH, 1).repeat_interleave(PATCH, 2)[:, :16]  # vehicles look alike
    mechanism.anneal(1.0)
    optimiser = torch.optim.Adam(mechanism.parameters(), 0.02)
    costs = []
    for _ in range(40):
        cost = mechanism.losses(mechanism(x)[1], VehicleAhead(), torch.zeros(()))['cells_on_vehicles']
        optimiser.zero_grad()
        cost.backward()
        optimiser.step()
        costs.append(float(cost.detach()))
    spatial = mechanism.eval()(x)[1]['spatial']
    on_vehicles = float(spatial[:, 0, :4].sum() - spatial[:, 0, 0, 0].sum())
    assert costs[0] > 0.05
    assert on_vehicles < 0.3 * BUDGET * 3
