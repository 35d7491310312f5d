# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of a result: colours that mean values, and nothing cut off."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
import pytest

from attention_fusion_ros.bev.lidar import CHANNELS
from attention_fusion_ros.contracts import Attention, Branch, FusionResult, Mode
from attention_fusion_ros.visualization import lettering, panels
from attention_fusion_ros.visualization.colour import (
    ATTENTION_SCALE,
    COLOUR_MAP,
    ColourScale,
    gradcam_scale,
    tick_label,
)

AHEAD = Branch(0.0, 0.0, 0.9, 0.03, 0.05)


def result(weights=None, lookahead=20.0, branches=(AHEAD,), reason='', **changes) -> FusionResult:
    attention = Attention(spatial={} if weights is None else {'stage1': weights}, lidar_share=0.7, map_share=0.3,
                          channel=np.ones(2, np.float32), channel_labels=('lidar/00', 'map/00'))
    made = FusionResult(
        stamp_ns=1, mode=Mode.LIDAR_ONLY if reason else Mode.FUSED, reason=reason, lookahead=lookahead,
        branches=branches, direction=branches[0] if branches else None, direction_reason='',
        distribution=np.full(120, 1 / 120, np.float32), attention=attention,
        lidar_bev=np.zeros((len(CHANNELS), 256, 256), np.float32),
        map_bev=np.zeros((3, 256, 256), np.float32), extent=40.0,
        trained=True)
    return dataclasses.replace(made, **changes)


def lightness(bgr: np.ndarray) -> np.ndarray:
    """CIE L* of (..., 3) uint8, 0..100."""
    return cv2.cvtColor((bgr.reshape(-1, 1, 3) / 255).astype(np.float32), cv2.COLOR_BGR2LAB)[:, 0, 0]


def test_the_colour_map_is_perceptually_even():
    steps = np.diff(lightness(cv2.applyColorMap(np.arange(256, dtype=np.uint8)[None], COLOUR_MAP)))
    assert steps.min() > -0.2 and np.abs(steps - steps.mean()).max() < 0.6  # evenly from dark to light


def test_pictures_with_weights_of_different_size_do_not_look_alike():
    shape = np.zeros((64, 64), np.float32)
    shape[20:30, 20:30] = 1.0
    strong, weak = (panels.squares(panels.compose_picture(result(peak * shape)))[2] for peak in (0.86, 0.09))
    assert np.median(np.abs(lightness(strong) - lightness(weak))[lightness(strong) > 30]) > 15
    again = panels.squares(panels.compose_picture(result(0.86 * shape, reason='map_too_old')))[2]
    assert np.array_equal(strong, again)  # equal values, equal colours


def test_the_colour_bar_stands_below_the_attention_with_its_values():
    size = 512
    picture = panels.compose_picture(result(np.zeros((64, 64), np.float32)), size)
    legend = picture[size + round(panels.TITLE_SHARE * size):, 2 * size:]
    row = legend[round(0.05 * size)]
    bar = lightness(row)[round(0.05 * size):-round(0.05 * size)]
    assert bar[0] < 5 and bar[-1] > 90 and (np.diff(bar) > -1).all()
    assert [tick_label(v) for v in ATTENTION_SCALE.ticks()] == ['0.001', '0.01', '0.1', '1']


@pytest.mark.parametrize('value, share', [(0.0, 0.0), (1e-3, 0.0), (0.1, 2 / 3), (1.0, 1.0), (5.0, 1.0)])
def test_scale(value, share):
    assert ATTENTION_SCALE.share(np.array(value)) == pytest.approx(share)


def test_scale_of_gradcam_reaches_up_to_the_next_power_of_ten():
    scale = gradcam_scale([np.array([[0.0, 0.023]]), np.array([[0.004]])])
    assert (scale.low, scale.high) == (pytest.approx(1e-4), pytest.approx(0.1))
    assert [tick_label(v) for v in scale.ticks()] == ['1e-4', '0.001', '0.01', '0.1']
    assert gradcam_scale([]).high == gradcam_scale([np.zeros((4, 4))]).high == 1.0
    assert len(ColourScale(1e-6, 1e-3, '').ticks()) == 4


def test_the_arrows_are_explained_and_the_ring_has_its_radius():
    size, found = 512, result(np.ones((64, 64), np.float32))
    plain, with_truth = (panels.compose_picture(found, size, truth) for truth in (None, [(0.0, 0.0)]))
    title = slice(0, round(0.085 * size)), slice(0, size)
    for picture, colours in ((plain, {panels.ESTIMATE}), (with_truth, {panels.ESTIMATE, panels.TRUTH})):
        shown = {colour for colour in (panels.ESTIMATE, panels.TRUTH) if (picture[title] == colour).all(axis=2).any()}
        assert shown == colours
    bare = np.zeros((size, size, 3), np.uint8)
    panels.draw_ring(bare, 40.0, 20.0)
    beyond = bare[320:, 320:]  # outside of the ring, behind to the right
    rows, columns = np.nonzero(beyond.max(axis=2))
    distance = np.hypot(rows + 64, columns + 64)
    assert ((distance > 132) & (beyond.max(axis=2)[rows, columns] > 200)).sum() > 20
    far = np.zeros((size, size, 3), np.uint8)
    panels.draw_ring(far, 40.0, 60.0)  # off the panel: neither ring nor label
    assert not far[:100].any()


def test_the_label_of_the_ring_is_legible_on_any_ground():
    """Points behind the letters hid some of them: 20 m was read as 0 m."""
    size = 512
    dark, bright = np.zeros((size, size, 3), np.uint8), np.full((size, size, 3), 255, np.uint8)
    for panel in (dark, bright):
        panels.draw_ring(panel, 40.0, 20.0)
    rows, columns = np.nonzero((dark == panels.BAR).all(axis=2)[320:, 320:])
    label = slice(320 + rows.min(), 321 + rows.max()), slice(320 + columns.min(), 321 + columns.max())
    assert np.array_equal(dark[label], bright[label])  # a box of its own
    ink = (dark[label] > 128).all(axis=2)
    assert ink.any(axis=0).sum() > 15 and not ink[[0, -1]].any() and not ink[:, [0, -1]].any()


def test_the_heatmap_is_transparent_where_nothing_was_looked_at():
    weights = np.zeros((64, 64), np.float32)
    weights[:32] = 0.5
    lidar = np.zeros((len(CHANNELS), 256, 256), np.float32)
    lidar[CHANNELS.index('density')] = lidar[CHANNELS.index('top')] = 1.0
    square = panels.squares(panels.compose_picture(result(weights, lidar_bev=lidar), 256))[2]
    looked_at, not_looked_at = square[60, 30], square[200, 30]
    assert np.ptp(looked_at.astype(int)) > 50  # a colour of the scale
    assert np.ptp(not_looked_at.astype(int)) == 0 < not_looked_at[0] < 128  # the LiDAR, dimmed


@pytest.mark.parametrize('count', [0, 1, 1024, 70000])  # OpenCV's images have less than 32768 rows
def test_points_have_the_attention_of_their_cell(count):
    rng = np.random.default_rng(count)
    heat = rng.random((256, 256), np.float32) + 0.1
    xyz = rng.uniform(-45, 45, (count, 3)).astype(np.float32)
    xyz[::7] = np.rint(xyz[::7])  # some on borders of cells
    T = np.array([[0.0, -1, 0, 1.0], [1, 0, 0, -2.0], [0, 0, 1, 1], [0, 0, 0, 1]])
    x, y = 1.0 - xyz[:, 1].astype(float), xyz[:, 0].astype(float) - 2.0
    row, column = (np.floor((40.0 - v) / 0.3125).astype(int) for v in (x, y))
    inside = (row >= 0) & (row < 256) & (column >= 0) & (column < 256)
    expected = np.where(inside, heat[row.clip(0, 255), column.clip(0, 255)], 0.0)
    found = panels.point_attention(result(), xyz, heat, T)
    assert found.shape == (count,) and found.dtype == np.float32
    assert (found != expected).sum() <= 0.005 * count  # less than a millimetre beside a border


def test_points_that_are_nowhere_have_no_attention():
    xyz = np.array([[np.nan, 0, 0], [0, np.nan, 0], [np.inf, 0, 0], [0, -np.inf, 0], [1e30, 0, 0], [-1e6, 1e6, 0]])
    assert not panels.point_attention(result(), xyz, np.ones((256, 256), np.float32)).any()


def test_network_without_spatial_attention_says_so():
    with_it, without = (panels.compose_picture(result(w)) for w in (np.ones((64, 64), np.float32), None))
    assert (panels.squares(without)[2] == panels.UNKNOWN).all(axis=2).mean() > 0.9
    assert (with_it != without).any()


@pytest.mark.parametrize('bearing', np.linspace(-math.pi, math.pi, 9))
@pytest.mark.parametrize('lookahead', [20.0, 34.0, 39.0])
def test_arrows_stay_on_the_panel(bearing, lookahead):
    """Drawn on a panel with more room around it, the arrow has no part outside."""
    size, extent = 300, 40.0
    panel = np.zeros((size, size, 3), np.uint8)
    panels.draw_arrow(panel, extent, lookahead, (bearing, bearing), panels.TRUTH, 2)
    colour = (panel == panels.TRUTH).all(axis=2)
    rows, columns = np.nonzero(colour)
    assert colour.sum() > 20
    # The whole arrow of 0.3 lookaheads is there: its length in pixels, whichever way it points.
    ends = np.array([rows.max() - rows.min(), columns.max() - columns.min()])
    assert np.hypot(*ends) >= 0.3 * lookahead * size / (2 * extent) * 0.9
    assert not colour[[0, -1]].any() and not colour[:, [0, -1]].any()


def test_reasons_of_any_length_stay_inside_the_title():
    size = 256
    picture = panels.compose_picture(result(reason='a_reason_that_is_very_much_longer_than_the_panel_is_wide'), size)
    title = picture[:round(panels.TITLE_SHARE * size), size + 1:2 * size]
    ink = (title.max(axis=2) > 100).any(axis=0)
    assert ink.any() and not ink[-4:].any()


def test_untrained_weights_are_announced():
    picture = panels.compose_picture(result(trained=False))
    assert (picture[:round(panels.TITLE_SHARE * 512)] == panels.ALERT).all(axis=2).any()


def test_lettering_fits():
    assert lettering.wrapped('one two three', 10, lettering.text_width('one two', 10)) == ['one two', 'three']
    assert lettering.wrapped('', 10, 100) == []
    image = np.zeros((40, 200, 3), np.uint8)
    lettering.draw_fitted(image, 'x' * 100, 5, 30, 20, (255, 255, 255), 180)
    assert image.any() and not image[:, 190:].any()
    lettering.draw_text(image, 'Zürich …', 0, 20, 10, (255, 255, 255))  # what the font lacks is no error


def test_map_panel_shows_road_route_and_structure_each_in_its_colour():
    bev = np.zeros((3, 256, 256), np.float32)
    bev[2] = 1.0
    bev[0, :, 100:150] = 1.0
    bev[1, :128, 100:150] = 1.0
    lidar = np.zeros((len(CHANNELS), 256, 256), np.float32)
    lidar[2, 200, 10] = 1.0
    panel = panels.map_panel(result(map_bev=bev, lidar_bev=lidar), 256)
    assert (panel[200, 120] == panels.ROAD).all() and (panel[60, 120] == panels.ROUTE).all()
    assert (panel[200, 10] == panels.STRUCTURE).all() and (panel[10, 10] == panels.UNKNOWN).all()
