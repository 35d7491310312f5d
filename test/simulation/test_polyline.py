# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Polylines and road surfaces against shapely, which does the same without numpy arrays in and out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from attention_fusion_ros.simulation.world import polyline
from attention_fusion_ros.simulation.world.drawing import Frame, road_mask
from attention_fusion_ros.simulation.world.roads import clothoid_bump, curved, simplify
from attention_fusion_ros.simulation.world.world import Road

shapely = pytest.importorskip('shapely', minversion='2.0', reason='needs shapely')
ops = pytest.importorskip('shapely.ops')


def road(seed: int) -> np.ndarray:
    """(P, 2) a centre line with bends of 15 m radius and more."""
    rng = np.random.default_rng(seed)
    s = np.arange(0.0, 120.0, 0.25)
    bends = [clothoid_bump(s, rng.uniform(10, 90), rng.uniform(5, 20), rng.uniform(-1, 1) / 15) for _ in range(2)]
    return curved(rng.uniform(-20, 20, 2), rng.uniform(-math.pi, math.pi), s, np.clip(sum(bends), -1 / 15, 1 / 15))


seeds = st.integers(0, 10**6)
few = settings(max_examples=40, deadline=None)


@few
@given(seeds, st.floats(-60, 60), st.floats(-60, 60))
def test_distance_and_projection(seed, x, y):
    line, point = road(seed), np.array([x, y])
    theirs = shapely.LineString(line)
    s, away = polyline.project(line, point)
    assert away == pytest.approx(theirs.distance(shapely.Point(point)), abs=1e-9)
    assert polyline.distances(line, point).min() == pytest.approx(away, abs=1e-12)
    assert polyline.arc_length(line)[-1] == pytest.approx(theirs.length)
    at = polyline.point_at(line, s)
    assert np.hypot(*(at - point)) == pytest.approx(away, abs=1e-6)


@few
@given(seeds, st.floats(0, 1), st.floats(0, 1))
def test_substring(seed, a, b):
    line = road(seed)
    length = polyline.arc_length(line)[-1]
    begin, end = sorted((a * length, b * length))
    assume(end - begin > 0.01)
    ours = shapely.LineString(polyline.substring(line, begin, end))
    theirs = ops.substring(shapely.LineString(line), begin, end)
    assert ours.length == pytest.approx(theirs.length, abs=1e-5)
    assert ours.hausdorff_distance(theirs) < 1e-5


@few
@given(seeds, st.floats(3, 60))
def test_parts_inside_a_disc(seed, radius):
    line = road(seed)
    disc = shapely.Point(0, 0).buffer(radius, quad_segs=512)
    theirs = shapely.LineString(line).intersection(disc).length
    runs = polyline.clip_to_disc(line, radius)
    assert sum(polyline.arc_length(run)[-1] for run in runs) == pytest.approx(theirs, abs=0.05 + 1e-3 * radius)
    for run in runs:
        assert np.hypot(*run.T).max() <= radius + 1e-9


@few
@given(seeds, st.floats(0.05, 6), st.sampled_from((-1, 1)))
def test_offset_curve(seed, aside, side):
    """In bends wider than the offset both are the same curve."""
    line, left = road(seed), aside * side
    assume(shapely.LineString(line).is_simple)
    ours = shapely.LineString(polyline.offset_curve(line, left))
    theirs = shapely.LineString(line).offset_curve(left, join_style='mitre', mitre_limit=10)
    assume(theirs.geom_type == 'LineString')
    assert ours.hausdorff_distance(theirs) < 0.05


def test_offset_into_a_bend_tighter_than_the_offset_folds_and_stays_near():
    """Where shapely cuts the loop off, ours keeps a vertex for each of the line's: lanes and lines stay in step.

    Nothing of it lies farther from the line than the offset, mitres aside.
    """
    line = polyline.resample(np.array([[0.0, 0], [20, 0], [20, 6], [0, 6]]), 1.0)
    ours = polyline.offset_curve(line, 4.0)
    assert len(ours) == len(line) and not shapely.LineString(ours).is_simple
    away = [shapely.LineString(line).distance(shapely.Point(p)) for p in ours]
    assert max(away) <= 4.0 * math.sqrt(2) + 1e-9


@few
@given(seeds)
def test_simplified_lines_lie_where_the_fine_ones_do(seed):
    fine = polyline.resample(road(seed), 0.25)
    coarse = simplify(fine)
    assert len(coarse) < len(fine)
    assert shapely.LineString(fine).hausdorff_distance(shapely.LineString(coarse)) < 0.1


@pytest.mark.parametrize('width', [3.0, 7.5, 14.0])
def test_road_surface_is_the_buffer_of_its_centre_line(width):
    line = road(7)
    frame = Frame.aligned(0.0, 0.0, 40.0, 0.2)
    mask = road_mask((Road(line, width),), frame, corner_radius=0.0)
    surface = shapely.LineString(line).buffer(width / 2, cap_style='round')
    low, high = (np.array(c) * frame.resolution for c in (frame.offset, np.add(frame.offset, frame.shape[0])))
    window = shapely.box(*low, *high)
    assert mask.sum() * frame.resolution ** 2 == pytest.approx(surface.intersection(window).area, rel=0.01)
    rows, columns = np.nonzero(mask)
    centres = (np.stack([columns, rows], axis=1) + frame.offset + 0.5) * frame.resolution
    inside = shapely.contains_xy(surface.buffer(0.75 * frame.resolution), centres)
    assert inside.all()
