# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Attention weights -> pictures and values on the ground, as in figure 4 of CBAM (Woo et al. 2018)."""

from __future__ import annotations

import math

import cv2
import numpy as np

from attention_fusion_ros.contracts import Branch, FusionResult, Mode

ESTIMATE, TRUTH, RING, VEHICLE = (80, 220, 60), (255, 170, 40), (150, 150, 150), (255, 255, 255)  # BGR
TITLE_HEIGHT = 28


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
    """The map (h, w) of the stage with most cells among those named stage..., None without any."""
    stages = [values for name, values in maps.items() if name.startswith('stage')]
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


def point_attention(result: FusionResult, xyz_base: np.ndarray) -> np.ndarray:
    """Points (N, 3) in base_link -> (N,) float32 attention of the cell each lies in, 0 outside the grid."""
    heat = spatial_heatmap(result)
    n = heat.shape[0]
    scale = n / (2 * result.extent)
    row = np.floor((result.extent - xyz_base[:, 0]) * scale).astype(np.int64)
    column = np.floor((result.extent - xyz_base[:, 1]) * scale).astype(np.int64)
    inside = (row >= 0) & (row < n) & (column >= 0) & (column < n)
    values = np.zeros(len(xyz_base), np.float32)
    values[inside] = heat[row[inside], column[inside]]
    return values


def compose_picture(result: FusionResult, size: int = 512,
                    truth: list[tuple[float, float]] | None = None) -> np.ndarray:
    """LiDAR BEV, map image and attention heatmap side by side, with arrows -> (size + 28, 3 * size, 3) uint8, BGR.

    truth: (bearing, heading) of the true branches in radians, drawn in blue beside the estimates in green.
    """
    panels = [lidar_panel(result, size), map_panel(result, size), heat_panel(result, spatial_heatmap(result), size)]
    titles = ['LiDAR height', f'map ({result.mode.value})', f'attention: LiDAR {result.attention.lidar_share:.0%}, '
              f'map {result.attention.map_share:.0%}']
    if result.mode is not Mode.FUSED:
        titles[1] = f'map: {result.reason}'
    if not result.trained:
        titles[0] = 'UNTRAINED WEIGHTS'
    for panel in panels:
        draw_answer(panel, result, truth)
    return np.hstack([np.vstack([_title(text, size), panel]) for text, panel in zip(titles, panels)])


def draw_answer(panel: np.ndarray, result: FusionResult, truth: list[tuple[float, float]] | None = None) -> None:
    """The ring, the vehicle and an arrow for every branch onto a panel (size, size, 3)."""
    _draw_ring(panel, result)
    for bearing, heading in truth or []:
        _draw_arrow(panel, result, bearing, heading, TRUTH, 2)
    for branch in result.branches:
        _draw_branch(panel, result, branch)


def _title(text: str, size: int) -> np.ndarray:
    bar = np.zeros((TITLE_HEIGHT, size, 3), np.uint8)
    cv2.putText(bar, text, (8, TITLE_HEIGHT - 9), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    return bar


def lidar_panel(result: FusionResult, size: int) -> np.ndarray:
    """Height of what the LiDAR sees, in grey -> (size, size, 3) uint8, BGR."""
    top, density = result.lidar_bev[0], result.lidar_bev[3]
    value = np.where(density > 0, 0.25 + 0.75 * np.clip(top, 0.0, 1.0), 0.0)
    grey = cv2.resize((255 * value).astype(np.uint8), (size, size), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)


def map_panel(result: FusionResult, size: int) -> np.ndarray:
    """The map as it lies on the grid, the route in red, walls on top -> (size, size, 3) uint8, BGR."""
    road, route, valid = result.map_bev
    picture = np.zeros((*road.shape, 3), np.float32)
    picture[...] = (40 * valid + 170 * road)[..., None]
    picture[..., :2] *= 1 - 0.8 * route[..., None]
    picture[..., 2] = np.maximum(picture[..., 2], 230 * route)
    picture = np.maximum(picture, (110 * np.clip(result.lidar_bev[2], 0, 1))[..., None])  # walls, to see the fit
    return cv2.resize(np.clip(picture, 0, 255).astype(np.uint8), (size, size), interpolation=cv2.INTER_AREA)


def heat_panel(result: FusionResult, heatmap: np.ndarray, size: int) -> np.ndarray:
    """A heatmap (h, w) in 0..1 from blue to red over the LiDAR BEV -> (size, size, 3) uint8, BGR."""
    heat = cv2.resize(heatmap, (size, size), interpolation=cv2.INTER_LINEAR)
    coloured = cv2.applyColorMap((255 * heat).astype(np.uint8), cv2.COLORMAP_JET)
    return cv2.addWeighted(coloured, 0.55, lidar_panel(result, size), 0.45, 0)


def _pixel(result: FusionResult, size: int, x: float, y: float) -> tuple[int, int]:
    scale = size / (2 * result.extent)
    return round((result.extent - y) * scale), round((result.extent - x) * scale)


def _draw_ring(panel: np.ndarray, result: FusionResult) -> None:
    size = panel.shape[0]
    centre = _pixel(result, size, 0.0, 0.0)
    cv2.circle(panel, centre, round(result.lookahead * size / (2 * result.extent)), RING, 1, cv2.LINE_AA)
    nose = [_pixel(result, size, *corner) for corner in ((2.4, 0.0), (-1.6, 1.1), (-1.6, -1.1))]
    cv2.fillPoly(panel, [np.array(nose, np.int32)], VEHICLE, cv2.LINE_AA)


def _draw_branch(panel: np.ndarray, result: FusionResult, branch: Branch) -> None:
    taken = branch is result.direction or branch == result.direction
    faded = tuple(int(c * (0.35 + 0.65 * branch.probability)) for c in ESTIMATE)
    _draw_arrow(panel, result, branch.bearing, branch.heading, faded, 4 if taken else 2)


def _draw_arrow(panel: np.ndarray, result: FusionResult, bearing: float, heading: float, colour,
                thickness: int) -> None:
    """An arrow on the ring at `bearing`, pointing along `heading`."""
    x, y = result.lookahead * math.cos(bearing), result.lookahead * math.sin(bearing)
    length = 0.3 * result.lookahead
    start = _pixel(result, panel.shape[0], x, y)
    end = _pixel(result, panel.shape[0], x + length * math.cos(heading), y + length * math.sin(heading))
    cv2.arrowedLine(panel, start, end, colour, thickness, cv2.LINE_AA, tipLength=0.3)
