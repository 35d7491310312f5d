# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Attention whose values are places: a distribution over the cells that may have weight, and nothing beside it."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch.overrides import TorchFunctionMode

from attention_fusion_ros.attention import build
from attention_fusion_ros.attention.place_attention import GAIN, ROADSIDE, contribution
from attention_fusion_ros.errors import ConfigurationError

C, HEADS, H, W = 5, 3, 12, 8


def attention():
    torch.manual_seed(0)
    return build('place_attention', C, heads=HEADS).eval()


def some(share: float = 0.3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return (torch.randn(2, C, H, W, generator=generator),
            (torch.rand(2, 1, H, W, generator=generator) < share).float())


def test_weights_are_distributions_over_the_cells_that_may_have_any_and_the_features_are_the_weights():
    x, allowed = some()
    features, weights = attention()(x, allowed)
    heads = weights['heads']
    assert heads.shape == (2, HEADS, H, W) and torch.equal(features, heads * GAIN)
    assert torch.allclose(heads.sum(dim=(2, 3)), torch.ones(2, HEADS))
    assert not heads[(allowed == 0).expand_as(heads)].any() and (heads[(allowed > 0).expand_as(heads)] > 0).all()
    assert weights['spatial'].amax(dim=(2, 3)).tolist() == [[1.0], [1.0]]


def test_by_hand():
    """Scores of ln 1, ln 2, ln 5 in three cells: 1/8, 2/8, 5/8."""
    mechanism = build('place_attention', 1, heads=1)
    with torch.no_grad():
        mechanism.score.weight.fill_(1.0)
    x = torch.tensor([1.0, 2.0, 5.0, 1e6]).log().reshape(1, 1, 1, 4)
    heads = mechanism(x, torch.tensor([1.0, 1.0, 1.0, 0.0]).reshape(1, 1, 1, 4))[1]['heads']
    assert heads.flatten().tolist() == pytest.approx([0.125, 0.25, 0.625, 0.0])


def test_without_a_cell_that_may_have_weight_there_is_none():
    x, allowed = some()
    features, weights = attention()(x, torch.zeros_like(allowed))
    assert not features.any() and not weights['heads'].any() and torch.isfinite(weights['spatial']).all()


@pytest.mark.parametrize('spread', [1.0, 30.0, 1e4, 1e6])
def test_weights_are_those_of_a_softmax_over_the_cells_that_may_have_any(spread):
    """Whatever lies between the scores, and whatever cells would score that may have no weight."""
    x, allowed = some()
    mechanism = attention()
    x *= torch.where(allowed > 0, spread, 1e4 * spread)
    scores = torch.where(allowed > 0, mechanism.score(x), -torch.inf)
    expected = scores.flatten(2).softmax(dim=2).view_as(scores)
    torch.testing.assert_close(mechanism(x, allowed)[1]['heads'], expected, rtol=1e-6, atol=1e-30)


def test_no_number_is_denormal():
    """Cells without weight are most of them; processors take many times as long for denormal numbers."""
    x, allowed = some()
    x *= torch.where(torch.rand(x.shape, generator=torch.Generator().manual_seed(2)) < 0.1, 100.0, 1.0)
    heads = attention()(x, allowed)[1]['heads']
    smallest = heads[(allowed > 0).expand_as(heads)].min()
    assert torch.finfo(torch.float32).tiny < smallest < 1e-30


@pytest.mark.parametrize('cells', [128, 512])
def test_no_number_is_denormal_where_weights_are_equal(cells):
    """As before training: the largest weight is one of thousands, and what has none is as much less."""
    mechanism, softmax = attention(), []
    allowed = torch.ones(1, 1, cells, cells)
    allowed[..., :3] = 0.0

    class Watched(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            found = function(*args, **(kwargs or {}))
            if function is torch.Tensor.softmax:
                softmax.append(found)
            return found

    with Watched():
        mechanism(torch.zeros(1, C, cells, cells), allowed)
    assert softmax and softmax[0].min() > torch.finfo(torch.float32).tiny


def test_what_a_cell_holds_reaches_the_features_through_its_weight_alone():
    """With the weights held fast nothing in x changes what comes out."""
    x, allowed = some()
    mechanism = attention()
    _, weights = mechanism(x, allowed)
    assert torch.equal(mechanism.reweighted(torch.randn_like(x), weights, allowed), weights['heads'] * GAIN)


def test_no_preference_is_equal_weight_on_what_had_any():
    x, allowed = some()
    mechanism = attention()
    heads = mechanism.indifferent(mechanism(x, allowed)[1])['heads']
    assert torch.allclose(heads, (allowed / allowed.sum(dim=(2, 3), keepdim=True)).expand_as(heads))


def test_weight_on_vehicles_is_the_share_that_lies_on_them():
    heads = torch.zeros(1, 2, 4, 4)
    heads[:, :, 0, 0], heads[:, 0, 3, 3], heads[:, 1, 0, 1] = 0.25, 0.75, 0.75
    mask = torch.zeros(1, 1, 2, 2)
    mask[..., 0, 0] = 1.0  # covers the four cells of a corner
    found = attention().losses({'heads': heads}, truth_with(vehicle=mask), torch.zeros(()))
    assert float(found['weight_on_vehicles']) == pytest.approx(0.625)


def truth_with(**masks):
    return SimpleNamespace(mask=lambda name: masks.get(name, torch.full((1, 1, 2, 2), torch.nan)))


def test_weight_off_the_roadside_costs_what_is_missing_there():
    mask = torch.zeros(1, 1, 2, 2)
    mask[..., 0, 0] = 1.0  # a quarter of the cells

    def loss(share: float, mask=mask) -> float:
        heads = torch.full((1, 2, 4, 4), (1 - share) / 12)
        heads[..., :2, :2] = share / 4
        return float(attention().losses({'heads': heads}, truth_with(roadside=mask), torch.zeros(()))[
            'weight_off_roadside'])
    assert loss(0.25) == pytest.approx(math.log(ROADSIDE))
    assert loss(0.5) == pytest.approx(math.log(ROADSIDE / 2))
    assert loss(0.7) == 0.0
    assert loss(0.25, torch.zeros(1, 1, 2, 2)) == 0.0  # no roadside
    assert loss(0.95, torch.ones(1, 1, 2, 2)) == pytest.approx(0.0)  # more than all of it is not asked for


def test_contribution_is_weight_times_gradient_over_the_heads():
    heads, gradient = torch.tensor([0.5, 0.25]).reshape(1, 2, 1, 1), torch.tensor([2.0, -8.0]).reshape(1, 2, 1, 1)
    assert contribution(heads, gradient).flatten().tolist() == [1.0]
    with pytest.raises(ConfigurationError, match='same shape'):
        contribution(heads, gradient[:, :1])
