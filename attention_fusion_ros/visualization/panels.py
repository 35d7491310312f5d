# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Attention weights -> pictures and values on the ground, as in figure 4 of CBAM (Woo et al. 2018).

A picture is three squares of equal size side by side, each with a title above and the scale of its colours below.
"""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np

from attention_fusion_ros.bev import lidar, map_image
from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.contracts import READING, SELECTION, Branch, FusionResult, Mode
from attention_fusion_ros.visualization.colour import ATTENTION_SCALE, COLOUR_MAP, ColourScale, in_colour, tick_label
from attention_fusion_ros.visualization.lettering import Colour, draw_fitted, draw_text, text_width

# BGR
ESTIMATE, TRUTH, RING, VEHICLE = (80, 220, 60), (255, 170, 40), (150, 150, 150), (255, 255, 255)
ROAD, ROUTE, STRUCTURE, UNKNOWN = (210, 210, 210), (42, 42, 230), (110, 110, 110), (40, 40, 40)
OUTLINE, BAR, INK, ALERT = (0, 0, 0), (28, 28, 28), (255, 255, 255), (80, 200, 255)
TITLE_SHARE, LEGEND_SHARE = 0.17, 0.17  # heights of title and legend, in edges of the square between them
LETTER_SHARE = 0.044  # height of a capital letter likewise: legible where the whole picture is 400 pixels wide
PANELS = ('LiDAR', 'map', 'attention')
HEIGHT_TICKS_M = (0.1, 0.5, 2.0, 6.0)
TRUTH_LENGTH = 0.5  # of the arrows of the truth, in lookaheads: longer and thinner, so that both are seen
RING_LABEL = math.radians(-135.0)  # bearing of the radius on the ring: behind to the right, where roads seldom go
BELOW = 0.35  # brightness of what is seen through a heatmap
BORDER_CELLS = 2**-10  # a point on a border belongs to the cell behind, or right of it: `Grid.containing_cells`
REMAP_COLUMNS = 1024  # points are looked up as an image of this width: OpenCV's have less than 32768 rows
FAINTEST = 0.25  # grey level of a cell with a return on the ground


def spatial_heatmap(result: FusionResult) -> np.ndarray:
    """(H, W) float32 in 0..1 on the BEV grid: the finest stage's spatial attention, stretched to its own range.

    Zeros when the network has no spatial attention.
    """
    return stretched(finest(result.attention.spatial), result.lidar_bev.shape[1:])


def gradcam_heatmap(result: FusionResult, maps: dict[str, np.ndarray]) -> np.ndarray:
    """The Grad-CAM maps of a result (`FusionPipeline.explain`), shown as `spatial_heatmap` shows its attention.

    The finest stage's: the same cells, so that the two can be compared. Later ones see more, but not where.
    """
    return stretched(finest(maps), result.lidar_bev.shape[1:])


def finest(maps: dict[str, np.ndarray]) -> np.ndarray | None:
    """The map (h, w) of the places that were read; without, of the cells chosen to be read; without, of the stage with
    most cells among those named stage..., None without any.
    """
    chosen = [maps[name] for name in (READING, SELECTION) if name in maps][:1]
    stages = chosen or [values for name, values in maps.items() if name.startswith('stage')]
    return max(stages, key=lambda values: values.shape[0]) if stages else None


def stretched(values: np.ndarray | None, size: tuple[int, int]) -> np.ndarray:
    """(h, w) of any range -> `size` float32 in 0..1; zeros for None and for a map without contrast.

    1 stands for the 99th percentile and above: a single bright cell must not dim the kerbs and walls of a street.
    """
    if values is None:
        return np.zeros(size, np.float32)
    low, top = float(values.min()), float(values.max())
    high = max(float(np.quantile(values, 0.99)), low + 0.05 * (top - low))
    if high - low <= 1e-6 * max(1e-6, abs(high)):
        return np.zeros(size, np.float32)
    shown = (values - low) / (high - low)
    return np.clip(cv2.resize(shown, size[::-1], interpolation=cv2.INTER_LINEAR), 0.0, 1.0)


def point_attention(result: FusionResult, xyz: np.ndarray, heatmap: np.ndarray | None = None,
                    T_base: np.ndarray | None = None) -> np.ndarray:
    """Points (N, 3) -> (N,) float32 attention of the cell each lies in, 0 outside the grid.

    heatmap: (H, W) of `spatial_heatmap`, where it is known already. T_base: (4, 4) base_link <- the frame of the
    points, None for points in base_link.
    """
    heat = spatial_heatmap(result) if heatmap is None else heatmap
    if not len(xyz):
        return np.zeros(0, np.float32)
    cells = heat.shape[0]
    T = np.eye(4) if T_base is None else np.asarray(T_base, dtype=np.float64)
    # Metres to cells is affine: one product takes points to the columns and rows of the heatmap within its frame of
    # zeros, which is what `remap` looks up for points outside, and for what is not finite.
    grid = Grid(result.extent, cells)
    zero, ahead, left = (np.array(grid.metres_to_cells(x, y)[::-1]) for x, y in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0)))
    to_cells = np.stack([ahead - zero, left - zero], axis=1)
    shift = to_cells @ T[:2, 3] + zero + 1.0 + BORDER_CELLS
    M = np.vstack([np.column_stack([to_cells @ T[:2, :3], shift]), np.zeros(4)])
    count = len(xyz)
    place = np.zeros((-(-count // REMAP_COLUMNS), REMAP_COLUMNS, 3), np.float32)
    cv2.transform(np.ascontiguousarray(xyz, dtype=np.float32)[:, None], M, place.reshape(-1, 1, 3)[:count])
    columns, rows, _ = cv2.split(place)
    framed = cv2.copyMakeBorder(heat, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0.0)
    found = cv2.remap(framed, columns, rows, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=0.0)
    return np.asarray(found.reshape(-1)[:count], dtype=np.float32)


def compose_picture(result: FusionResult, size: int = 512,
                    truth: list[tuple[float, float]] | None = None) -> np.ndarray:
    """LiDAR, map image and spatial attention side by side, with arrows -> (about 1.34 size, 3 size, 3) uint8, BGR.

    size: edge of a square in pixels. truth: (bearing, heading) of the true branches in radians, drawn in blue beside
    the estimates in green. `squares` gives the three squares of the picture back.
    """
    top, bottom = round(TITLE_SHARE * size), round(LEGEND_SHARE * size)
    picture = np.empty((top + size + bottom, len(PANELS) * size, 3), np.uint8)
    squares_ = squares(picture)
    weights = finest(result.attention.spatial)
    lidar_panel(result, size, squares_[0])
    map_panel(result, size, squares_[1])
    heat_panel(weights, size, out=squares_[2])
    show_below(squares_[2], weights, squares_[0])
    titles = [('LiDAR', 'height; black: no return'), _map_title(result), _attention_title(result)]
    legends = [height_legend(size), map_legend(size), colour_legend(ATTENTION_SCALE, size)]
    for k, (square, title, legend) in enumerate(zip(squares_, titles, legends)):
        draw_answer(square, result, truth)
        column = picture[:, k * size:(k + 1) * size]
        column[:top], column[top + size:] = _title(title, size, result.trained), legend
        if k:
            column[:, 0] = RING  # where one panel ends and the next begins
    draw_arrow_legend(picture, with_truth=bool(truth))
    return picture


def draw_arrow_legend(picture: np.ndarray, with_truth: bool) -> None:
    """Say beside the first title of a `compose_picture` what green arrows are and, with_truth, what blue ones are."""
    size = picture.shape[1] // len(PANELS)
    entries = [(ESTIMATE, 'estimate'), *([(TRUTH, 'truth')] if with_truth else [])]
    height, middle = 0.8 * LETTER_SHARE * size, round(0.05 * size)
    arrow, gap = 0.06 * size, 0.015 * size
    left = (1 - 0.02) * size - sum(arrow + 2 * gap + text_width(text, height) for _, text in entries)
    picture[:round(0.085 * size), round(left - gap):size] = BAR
    for colour, text in entries:
        ends = (round(left), middle), (round(left + arrow), middle)
        cv2.arrowedLine(picture, *ends, colour, max(1, round(size / 170)), cv2.LINE_AA, tipLength=0.4)
        draw_text(picture, text, left + arrow + gap, middle + height / 2, height, INK)
        left += arrow + 2 * gap + text_width(text, height)


def squares(picture: np.ndarray) -> list[np.ndarray]:
    """The three squares (size, size, 3) of a `compose_picture`, without title and legend; views to draw on."""
    size = picture.shape[1] // len(PANELS)
    top = round(TITLE_SHARE * size)
    return [picture[top:top + size, k * size:(k + 1) * size] for k in range(len(PANELS))]


def _map_title(result: FusionResult) -> tuple[str, str]:
    if result.mode is not Mode.FUSED:
        return 'Map', f'not used: {result.reason}'
    a = result.alignment
    if a is None:
        return 'Map', 'fused'
    return 'Map', f'fused, moved {math.hypot(a.dx, a.dy):.1f} m, {math.degrees(a.dyaw):+.1f} deg'


def _attention_title(result: FusionResult) -> tuple[str, str]:
    attention = result.attention
    if finest(attention.spatial) is None:
        return 'Attention', 'no spatial attention'
    return 'Attention', f'LiDAR {attention.lidar_share:.0%}, map {attention.map_share:.0%}'


def draw_answer(panel: np.ndarray, result: FusionResult, truth: list[tuple[float, float]] | None = None) -> None:
    """The ring, the vehicle and an arrow for every branch onto a panel (size, size, 3)."""
    draw_ring(panel, result.extent, result.lookahead)
    for bearing, heading in truth or []:
        draw_arrow(panel, result.extent, result.lookahead, (bearing, heading), TRUTH, _stroke(panel, 2), TRUTH_LENGTH)
    for branch in result.branches:
        _draw_branch(panel, result, branch)


@lru_cache(maxsize=16)
def _title(lines: tuple[str, str], size: int, trained: bool) -> np.ndarray:
    """(TITLE_SHARE size, size, 3) uint8: a title, and under it one line that says more."""
    bar = _bar(TITLE_SHARE, size)
    height, margin = LETTER_SHARE * size, 0.02 * size
    first = lines[0] if trained else 'UNTRAINED WEIGHTS'
    draw_fitted(bar, first, margin, 0.068 * size, height, INK if trained else ALERT, size - 2 * margin)
    draw_fitted(bar, lines[1], margin, 0.144 * size, 0.9 * height, (200, 200, 200), size - 2 * margin)
    return bar


def _bar(share: float, size: int) -> np.ndarray:
    return np.full((round(share * size), size, 3), BAR, np.uint8)


@lru_cache(maxsize=8)
def height_legend(size: int) -> np.ndarray:
    """(LEGEND_SHARE size, size, 3) uint8: the greys of `lidar_panel` in metres above the ground; black is no return."""
    ramp = FAINTEST + (1 - FAINTEST) * np.linspace(0.0, 1.0, size)
    ticks = {f'{h:g}': lidar.compressed_height(h) for h in HEIGHT_TICKS_M}
    return _scale_legend(np.rint(255 * ramp)[:, None].repeat(3, axis=1).astype(np.uint8), ticks, 'm', size)


@lru_cache(maxsize=8)
def colour_legend(scale: ColourScale, size: int) -> np.ndarray:
    """(LEGEND_SHARE size, size, 3) uint8: the colour bar of a scale, with its values."""
    ramp = cv2.applyColorMap(np.rint(np.linspace(0, 255, size)).astype(np.uint8)[None], COLOUR_MAP)[0]
    ticks = {tick_label(value): float(scale.share(np.array(value))) for value in scale.ticks()}
    return _scale_legend(ramp, ticks, scale.label if len(ticks) < 3 else '', size)


def _scale_legend(ramp: np.ndarray, ticks: dict[str, float], unit: str, size: int) -> np.ndarray:
    """ramp: (size, 3) uint8 from the low to the high end. ticks: label -> place on it, 0..1."""
    bar = _bar(LEGEND_SHARE, size)
    margin, height = round(0.05 * size), 0.9 * LETTER_SHARE * size
    top, bottom = round(0.025 * size), round(0.075 * size)
    inner = size - 2 * margin
    columns = np.minimum(np.arange(inner) * size // inner, size - 1)
    bar[top:bottom, margin:margin + inner] = ramp[columns]
    cv2.rectangle(bar, (margin - 1, top - 1), (margin + inner, bottom), RING, 1)
    for k, (label, place) in enumerate(ticks.items()):
        text = f'{label} {unit}'.strip() if k == len(ticks) - 1 else label
        x, width = margin + place * (inner - 1), text_width(text, height)
        cv2.line(bar, (round(x), bottom), (round(x), bottom + round(0.02 * size)), INK, 1)
        draw_text(bar, text, min(max(x - width / 2, 2), size - width - 2), 0.145 * size, height, INK)
    return bar


@lru_cache(maxsize=8)
def map_legend(size: int) -> np.ndarray:
    """(LEGEND_SHARE size, size, 3) uint8: what the colours of `map_panel` stand for."""
    bar = _bar(LEGEND_SHARE, size)
    height, box = 0.9 * LETTER_SHARE * size, round(0.05 * size)
    left, middle = 0.03 * size, round(0.085 * size)
    for colour, text in ((ROAD, 'road'), (ROUTE, 'route'), (STRUCTURE, 'LiDAR')):
        corner = (round(left), middle - box // 2)
        cv2.rectangle(bar, corner, (corner[0] + box, corner[1] + box), colour, -1)
        cv2.rectangle(bar, corner, (corner[0] + box, corner[1] + box), RING, 1)
        draw_text(bar, text, left + 1.4 * box, middle + height / 2, height, INK)
        left += 2.0 * box + text_width(text, height)
    return bar


def lidar_panel(result: FusionResult, size: int, out: np.ndarray | None = None) -> np.ndarray:
    """Height of the highest return in each cell, from dark to bright -> (size, size, 3) uint8, BGR; black: none.

    out: as for all panels, of that shape: what is drawn into, and returned; rows may lie apart. None: a new one.
    """
    top = result.lidar_bev[lidar.CHANNELS.index('top')]
    density = result.lidar_bev[lidar.CHANNELS.index('density')]
    bright = cv2.convertScaleAbs(np.clip(top, 0.0, 1.0).astype(np.float32), alpha=255 * (1 - FAINTEST),
                                 beta=255 * FAINTEST)
    grey = cv2.resize(bright * (density > 0), (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR, _panel(size, out)))


def map_panel(result: FusionResult, size: int, out: np.ndarray | None = None, moved: bool = True) -> np.ndarray:
    """The map, the route in red, LiDAR structure on top -> (size, size, 3) uint8, BGR.

    moved: where the network says it belongs, if it says so; else as it was given.
    """
    layers = registered_map(result) if moved else result.map_bev
    road, route, valid = (np.asarray(layers[map_image.CHANNELS.index(name)], np.float32)
                          for name in ('road', 'route', 'valid'))
    structure = np.clip(result.lidar_bev[lidar.CHANNELS.index('span')], 0.0, 1.0).astype(np.float32)
    planes: dict[tuple[int, ...], np.ndarray] = {}  # blue and green are the same in all four colours: made once
    for colour in zip(UNKNOWN, ROAD, ROUTE, STRUCTURE):
        if colour not in planes:
            of_unknown, of_road, of_route, of_structure = map(float, colour)
            level = cv2.addWeighted((1.0 - road) * valid, of_unknown, road, of_road, 0.0) * (1.0 - route)
            planes[colour] = cv2.convertScaleAbs(np.maximum(  # the structure on top, to see the fit
                cv2.scaleAdd(route, of_route, level), of_structure * structure))
    shown = cv2.merge([planes[colour] for colour in zip(UNKNOWN, ROAD, ROUTE, STRUCTURE)])
    return np.asarray(cv2.resize(shown, (size, size), _panel(size, out), interpolation=cv2.INTER_AREA))


def registered_map(result: FusionResult) -> np.ndarray:
    """(C_m, H, W) the map grid moved by the result's alignment; as it is without one."""
    if result.alignment is None:
        return result.map_bev
    a, grid = result.alignment, Grid(result.extent, result.map_bev.shape[-1])
    c, s = math.cos(a.dyaw), math.sin(a.dyaw)
    corners = np.array([(0.0, 0.0), (10.0, 0.0), (0.0, 10.0)])
    there = corners @ np.array([[c, s], [-s, c]]) + (a.dx, a.dy)

    def cells(xy: np.ndarray) -> np.ndarray:
        row, column = grid.metres_to_cells(xy[:, 0], xy[:, 1])
        return np.stack([column, row], axis=1).astype(np.float32)
    M = cv2.getAffineTransform(cells(corners), cells(there))
    size = result.map_bev.shape[:0:-1]
    return np.stack([cv2.warpAffine(layer.astype(np.float32), M, size) for layer in result.map_bev])


def heat_panel(values: np.ndarray | None, size: int, scale: ColourScale = ATTENTION_SCALE,
               out: np.ndarray | None = None) -> np.ndarray:
    """Weights or Grad-CAM (h, w) on the BEV grid -> (size, size, 3) uint8, BGR, in the colours of the scale.

    None: a grey panel that says that there is nothing to show.
    """
    if values is None:
        panel = _panel(size, out)
        panel[:] = UNKNOWN
        draw_text(panel, 'none', (size - text_width('none', LETTER_SHARE * size)) / 2, 0.25 * size,
                  LETTER_SHARE * size, INK)
        return panel
    levels = cv2.resize(scale.levels(values), (size, size), interpolation=cv2.INTER_LINEAR)  # on the scale: in decades
    return in_colour(levels, _panel(size, out))


def _panel(size: int, out: np.ndarray | None) -> np.ndarray:
    return np.empty((size, size, 3), np.uint8) if out is None else out


def show_below(panel: np.ndarray, values: np.ndarray | None, below: np.ndarray, scale: ColourScale = ATTENTION_SCALE
               ) -> None:
    """Let a panel of `heat_panel` be transparent where the weights (h, w) are below the scale: nothing was looked at.

    below: (size, size, 3) uint8, shown dimmed, so that nothing of it is taken for a colour of the scale.
    """
    if values is not None:
        nothing = cv2.resize((np.asarray(values) <= scale.low).astype(np.uint8), panel.shape[:2][::-1],
                             interpolation=cv2.INTER_NEAREST)
        cv2.copyTo(cv2.convertScaleAbs(below, alpha=BELOW), nothing, panel)


def _pixel(extent: float, size: int, x: float, y: float) -> tuple[int, int]:
    """Metres in base_link -> (column, row) of a panel."""
    row, column = Grid(extent, size).metres_to_cells(x, y)
    return round(float(column)), round(float(row))


def _stroke(panel: np.ndarray, thickness: int) -> int:
    """A line that is `thickness` pixels wide on a panel of 512 pixels."""
    size: int = panel.shape[0]
    return max(1, round(thickness * size / 512))


def draw_ring(panel: np.ndarray, extent: float, lookahead: float) -> None:
    """The lookahead ring and the vehicle in its middle onto a panel (size, size, 3); extent, lookahead in metres."""
    size = panel.shape[0]
    centre = _pixel(extent, size, 0.0, 0.0)
    radius = round(lookahead / Grid(extent, size).resolution)
    cv2.circle(panel, centre, radius, OUTLINE, _stroke(panel, 3), cv2.LINE_AA)
    cv2.circle(panel, centre, radius, RING, _stroke(panel, 1), cv2.LINE_AA)
    label, height = f'{lookahead:g} m', 0.75 * LETTER_SHARE * size
    beside = _pixel(extent, size, lookahead * math.cos(RING_LABEL), lookahead * math.sin(RING_LABEL))
    if beside[0] + text_width(label, height) < size and beside[1] + height < size:  # else the ring ends off the panel
        left, edge = round(beside[0] + 0.012 * size), max(2, round(0.3 * height))
        right, bottom = left + text_width(label, height) + edge, round(beside[1] + height) + edge
        # A box of its own: points and bright cells behind the letters would hide some of them.
        cv2.rectangle(panel, (left - edge, beside[1] - edge), (right, bottom), BAR, -1)
        draw_text(panel, label, left, beside[1] + height, height, INK)
    nose = np.array([_pixel(extent, size, *corner) for corner in ((2.4, 0.0), (-1.6, 1.1), (-1.6, -1.1))], np.int32)
    cv2.polylines(panel, [nose], True, OUTLINE, _stroke(panel, 3), cv2.LINE_AA)
    cv2.fillPoly(panel, [nose], VEHICLE, cv2.LINE_AA)


def _draw_branch(panel: np.ndarray, result: FusionResult, branch: Branch) -> None:
    taken = branch is result.direction or branch == result.direction
    share = 0.35 + 0.65 * branch.probability
    faded = (int(ESTIMATE[0] * share), int(ESTIMATE[1] * share), int(ESTIMATE[2] * share))
    draw_arrow(panel, result.extent, result.lookahead, (branch.bearing, branch.heading), faded,
               _stroke(panel, 5 if taken else 2))


def draw_arrow(panel: np.ndarray, extent: float, lookahead: float, branch: tuple[float, float], colour: Colour,
               thickness: int, length: float = 0.3) -> None:
    """An arrow on the ring at the bearing of a branch, along its heading, with a dark outline.

    extent, lookahead: metres. branch: (bearing, heading) in radians. length: in lookaheads. Where the arrow would leave
    the panel it ends on the ring instead of beginning there.
    """
    size = panel.shape[0]
    bearing, heading = branch
    step = length * lookahead * np.array([math.cos(heading), math.sin(heading)])
    start = lookahead * np.array([math.cos(bearing), math.sin(bearing)])
    if np.abs(start + step).max() > extent - 2 * Grid(extent, size).resolution:
        start = start - step
    ends = _pixel(extent, size, *start), _pixel(extent, size, *(start + step))
    tip = 0.3 * 0.3 / length
    cv2.arrowedLine(panel, *ends, OUTLINE, thickness + 2 * max(1, _stroke(panel, 1)), cv2.LINE_AA, tipLength=tip)
    cv2.arrowedLine(panel, *ends, colour, thickness, cv2.LINE_AA, tipLength=tip)
