# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The metrics against answers worked out by hand."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import oracles

from attention_fusion_ros.contracts import Branch
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.geometry import angle_between
from attention_fusion_ros.metrics import attention_share, bootstrap, branches, registry, summary
from attention_fusion_ros.metrics.branches import Prediction, TrueRoads, chance_calibration_error
from attention_fusion_ros.metrics.matching import match, nearest

rad = math.radians


def branch(bearing: float, heading: float | None = None, probability: float = 0.9) -> Branch:
    """A branch from degrees."""
    return Branch(rad(bearing), rad(bearing if heading is None else heading), probability, 0.02, 0.02)


def degrees(*values: float) -> np.ndarray:
    return np.radians(np.array(values))


def test_match_takes_the_optimum_where_greedy_loses_a_pair():
    assert match(degrees(0, 8), degrees(-5, 3), rad(6)) == [(0, 0), (1, 1)]


def test_match_is_one_to_one_and_respects_the_tolerance_and_the_seam():
    assert match(degrees(179), degrees(-179), rad(2.5)) == [(0, 0)]
    assert match(degrees(0, 1, 2), degrees(1.2), rad(10)) == [(1, 0)]
    assert match(degrees(0), degrees(10.5), rad(10)) == []
    assert match([], degrees(1), 1.0) == [] and match(degrees(1), [], 1.0) == []
    with pytest.raises(ValueError, match='finite'):
        match([math.nan], [0.0], 1.0)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(-25, 25), max_size=5), st.lists(st.integers(-25, 25), max_size=5), st.integers(1, 16))
def test_match_is_as_good_as_dynamic_programming(predicted, true, tolerance):
    """On multiples of 1/8 rad, where many matchings are equally good: as many pairs, and the least sum of errors."""
    predicted, true = np.array(predicted) / 8, np.array(true) / 8
    pairs, expected = (f(predicted, true, tolerance / 8) for f in (match, oracles.match))
    assert len(pairs) == len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(expected)
    assert pairs == sorted(pairs) and all(angle_between(predicted[i], true[j]) <= tolerance / 8 for i, j in pairs)

    def cost(found):
        return sum(float(angle_between(predicted[i], true[j])) for i, j in found)
    assert cost(pairs) == pytest.approx(cost(expected), abs=1e-12)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-3.1, 3.1), max_size=5), st.integers(0, 1000))
def test_branches_farther_apart_than_the_tolerance_are_matched_as_by_dynamic_programming(true, seed):
    """As after non-maximum suppression: then there is one best matching only."""
    true = [b for i, b in enumerate(true) if all(angle_between(b, other) > 0.5 for other in true[:i])]
    predicted = np.random.default_rng(seed).permutation(true) + np.random.default_rng(seed).normal(0, 0.1, len(true))
    assert match(predicted, true, 0.17) == sorted(oracles.match(predicted, np.array(true), 0.17))


def test_without_scipy_the_line_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'scipy.optimize', None)  # what `import` takes for a module that is not there
    with pytest.raises(ConfigurationError, match='matching branches needs scipy .* python -m pip install scipy'):
        match([0.0], [0.0], 1.0)


def test_nearest():
    assert nearest(rad(170), degrees(0, -175), rad(25)) == 1
    assert nearest(0.0, degrees(26), rad(25)) is None
    assert nearest(0.0, [], 1.0) is None


def test_scores_of_two_scenes_by_hand():
    predictions = [Prediction((branch(2, 5), branch(90), branch(-140)), branch(2)),  # 2 deg off, false, 12 deg off
                 Prediction((branch(180, -179),), None)]
    truths = [TrueRoads(((0.0, 0.0), (rad(-128), rad(-128))), (0.0, 0.0)),
              TrueRoads(((rad(-177), rad(-177)), (rad(50), rad(50))), (rad(50), rad(50)))]
    scores = branches.score(predictions, truths)
    assert scores.counts['f1_10'].tolist() == [[1, 2, 1], [1, 0, 1]]
    assert scores.counts['f1_15'].tolist() == [[2, 1, 0], [1, 0, 1]]
    assert scores.bearing_error == pytest.approx([2, 3])
    assert scores.heading_error == pytest.approx([5, 2])
    assert scores.nearest_error == pytest.approx([2, 12, 3, 25])  # the last one has no answer within 25 deg
    found = summary.estimates(scores)
    assert found['f1_10'].value == pytest.approx(4 / (4 + 2 + 2))
    assert found['f1_15'].value == pytest.approx(6 / (6 + 1 + 1))
    assert found['bearing_median'].value == pytest.approx(2.5)
    assert found['bearing_p90'].value == pytest.approx(2.9)
    assert found['nearest_median'].value == pytest.approx(7.5)
    assert found['direction_median'].value == pytest.approx(2)
    assert found['direction_within_5'].value == pytest.approx(0.5)  # no direction given is not within 5 deg
    assert found['direction_given'].value == pytest.approx(0.5)


def test_nothing_published_is_a_miss_not_an_error():
    found = summary.estimates(branches.score([Prediction(())], [TrueRoads(((0.0, 0.0),), (0.0, 0.0))]))
    assert found['f1_10'].value == 0 and found['direction_within_5'].value == 0
    assert math.isnan(found['bearing_median'].value) and math.isnan(found['calibration_error'].value)
    assert found['nearest_median'].value == pytest.approx(25)
    with pytest.raises(ValueError, match='1 predictions for 0 truths'):
        branches.score([Prediction(())], [])


def test_calibration_error_by_hand():
    # Bin 0.9: three branches at 0.9, two of them right -> gap |0.9 - 2/3|; bin 0.5: one at 0.55, right -> 0.45.
    predictions = [Prediction((branch(0, probability=0.9), branch(90, probability=0.9))),
                 Prediction((branch(0, probability=0.9), branch(180, probability=0.55)))]
    truths = [TrueRoads(((0.0, 0.0), (rad(88), 0.0))), TrueRoads(((rad(40), 0.0), (rad(179), 0.0)))]
    scores = branches.score(predictions, truths)
    expected = 3 / 4 * (0.9 - 2 / 3) + 1 / 4 * 0.45
    assert registry.calibration_error(scores, bootstrap.unit_weights(2))[0] == pytest.approx(expected)
    bins = branches.calibration_bins(scores.probability, scores.correct)
    assert bins[9].tolist() == pytest.approx([3, 0.9, 2 / 3]) and bins[5].tolist() == pytest.approx([1, 0.55, 1])
    assert bins[:, 0].sum() == 4 and math.isnan(bins[0, 1])
    assert branches.calibration_bins(np.array([1.0]), np.array([True]))[9, 0] == 1


def test_invariance_counts_only_scenes_with_both_directions():
    a = [Prediction((), branch(179)), Prediction((), branch(10)), Prediction((), None), Prediction(())]
    b = [Prediction((), branch(-179)), Prediction((), None), Prediction((), branch(5)), Prediction(())]
    change = branches.invariance(a, b)
    assert change[0] == pytest.approx(2) and np.isnan(change[1:]).all()
    assert branches.flips(a, b) == 0.5
    assert bootstrap.mean_estimate(change).value == pytest.approx(2)


def test_attention_shares_by_hand():
    weights = np.array([[1.0, 3.0], [0.0, 0.0]])
    mask = np.zeros((4, 4), bool)
    mask[:2, 2:] = True  # the quarter with weight 3
    everything = np.ones((4, 4), bool)
    assert attention_share.attention_shares(weights, mask, everything) == pytest.approx((3 / 4, 1 / 4))
    visible = np.zeros((4, 4), bool)
    visible[:2] = True  # upper half
    assert attention_share.attention_shares(weights, mask, visible) == pytest.approx((3 / 4, 1 / 2))
    assert attention_share.attention_shares(np.ones((2, 2)), mask, everything) == pytest.approx((1 / 4, 1 / 4))
    assert attention_share.attention_shares(weights, ~everything, everything) == (0, 0)
    assert np.isnan(attention_share.attention_shares(weights, mask, ~visible)).all()  # none where anything is seen
    with pytest.raises(ValueError, match='does not fit'):
        attention_share.attention_shares(np.ones((3, 3)), mask, visible)


def test_attention_ratios_by_hand():
    shares = np.array([[0.6, 0.2], [0.01, 0.001], [0.0, 0.0], [np.nan, np.nan]])
    ratios = attention_share.attention_ratios(shares)
    assert ratios[:2] == pytest.approx([3, 10]) and np.isnan(ratios[2:]).all()
    assert bootstrap.mean_estimate(ratios).value == pytest.approx(6.5)  # ruled by the scene with a sliver of area
    assert attention_share.pooled_attention_ratio(shares).value == pytest.approx(0.61 / 0.201)
    assert math.isnan(attention_share.pooled_attention_ratio(shares[3:]).value)


@pytest.mark.parametrize('quantile', [0.0, 0.5, 0.9, 1.0])
def test_weighted_quantile_is_numpy_quantile_of_the_repeated_values(quantile):
    rng = np.random.default_rng(3)
    values, scene = rng.normal(size=40), rng.integers(0, 12, 40)
    weights = bootstrap.resamples(12, 30)
    expected = [np.quantile(np.repeat(values, row[scene]), quantile) for row in weights]
    assert bootstrap.weighted_quantile(values, scene, quantile, weights) == pytest.approx(expected)
    nothing = np.zeros((1, 12), dtype=np.int32)
    assert np.isnan(bootstrap.weighted_quantile(values, scene, quantile, nothing)).all()


def test_resamples_keep_the_number_of_scenes_and_are_seeded():
    weights = bootstrap.resamples(50, 20, seed=4)
    assert (weights.sum(axis=1) == 50).all() and (weights >= 0).all()
    assert np.array_equal(weights, bootstrap.resamples(50, 20, seed=4))
    assert not np.array_equal(weights, bootstrap.resamples(50, 20, seed=5))


def test_interval_covers_the_truth_about_as_often_as_it_says():
    """Mean of 60 normal values: of 200 intervals at 95 %, binomially 185 to 198 cover zero (bootstrap runs narrow)."""
    rng = np.random.default_rng(0)
    covered = 0
    for k in range(200):
        estimate = bootstrap.mean_estimate(rng.normal(size=60), count=400, seed=k)
        covered += estimate.low <= 0 <= estimate.high
    assert 178 <= covered <= 199


def test_paired_difference_is_narrower_than_unpaired_and_signed():
    """Scenes of very different difficulty, one method 1 deg worse everywhere: only pairing sees it."""
    rng = np.random.default_rng(1)
    offset = rng.uniform(0, 8, 80)
    truths = [TrueRoads(((0.0, 0.0),))] * 80
    good = branches.score([Prediction((branch(o),)) for o in offset], truths)
    bad = branches.score([Prediction((branch(o + 1),)) for o in offset], truths)
    gap = summary.paired_difference('bearing_median', bad, good)
    assert gap.value == pytest.approx(1) and gap.low == pytest.approx(1) and gap.high == pytest.approx(1)
    own = summary.estimates(good)['bearing_median']
    assert own.high - own.low > 0.5
    with pytest.raises(ValueError, match='same scenes'):
        summary.paired_difference('f1_10', good, branches.score([], []))


def test_every_metric_can_be_summarised_and_printed():
    scores = branches.score([Prediction((branch(2),), branch(2))] * 3, [TrueRoads(((0.0, 0.0),), (0.0, 0.0))] * 3)
    found, points = summary.estimates(scores), summary.point_values(scores)
    assert set(found) == set(points) == set(registry.statistics())
    for name, estimate in found.items():
        assert math.isfinite(estimate.value) and estimate.value == points[name]
    assert registry.METRICS['bearing_median'].title == 'bearing median [deg]'
    assert registry.METRICS['f1_10'].title == 'F1@10'
    tables = {table for metric in registry.METRICS.values() for table in metric.tables}
    assert all(registry.columns(table) for table in tables) and registry.columns('no such table') == ()
    assert len({metric.log_name for metric in registry.logged()}) == len(registry.logged())


def test_a_metric_of_an_experiment_is_not_computed_from_scores():
    scores = branches.score([Prediction(())], [TrueRoads(())])
    with pytest.raises(ValueError, match="'vehicle_invariance' is not computed from scores"):
        summary.estimates(scores, ['vehicle_invariance'])


def test_a_single_scene_has_no_interval():
    scores = branches.score([Prediction((branch(2),))], [TrueRoads(((0.0, 0.0),))])
    estimate = summary.estimates(scores)['bearing_median']
    assert estimate.value == pytest.approx(2) and math.isnan(estimate.low) and math.isnan(estimate.high)


def test_calibrated_probabilities_show_some_error_by_chance():
    """The mean of 1000 tosses of a coin is off by 0.0126 on average."""
    assert chance_calibration_error(np.full(1000, 0.5)) == pytest.approx(math.sqrt(0.25 / 1000 * 2 / math.pi), rel=0.15)
    assert chance_calibration_error(np.ones(50)) == 0
    assert math.isnan(chance_calibration_error(np.zeros(0)))
