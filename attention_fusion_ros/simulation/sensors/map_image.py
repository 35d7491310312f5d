# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Topological map images as users have them: any look, metres and degrees off, roads missing or added, a route."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.geometry import rotation_2d
from attention_fusion_ros.simulation.world.polyline import (
    arc_length,
    distances,
    normals,
    offset_curve,
    point_at,
    project,
    smoothed,
    substring,
)
from attention_fusion_ros.simulation.world.world import Pose, Road, Terrain, World, to_base

SHIFT_SIGMA_M, YAW_SIGMA_RAD = 2.5, math.radians(4.0)  # the standard error: m per axis, rad
WIDE_SHIFT_M, WIDE_YAW_RAD = 8.0, math.radians(15.0)
MISSING, ADDED = 0.1, 0.1  # shares of the roads other than the vehicle's own
CORNER_M = 3.0  # standard deviation of the smoothing that makes a driven path of a route
SUBPIXEL = 4  # fractional bits of OpenCV coordinates
ENCODINGS = ('rgb8', 'bgr8', 'rgba8', 'bgra8', 'mono8', 'mono16', '32FC1')


@dataclass(frozen=True)
class MapError:
    """How the map differs from the ground. The map is turned about the vehicle by `yaw`, then shifted."""

    x: float = 0.0  # m, in base_link
    y: float = 0.0
    yaw: float = 0.0  # rad
    missing: float = 0.0  # share of other roads left out
    added: float = 0.0  # roads drawn that are not there, per road
    warp: float = 0.0  # m, how far single roads wander off sideways, slowly


@dataclass(frozen=True)
class MapStyle:
    """What the image looks like."""

    width: float = 5.0  # m, of a stroke; 0: each road as wide as it is
    lanes: bool = False  # every lane by a stroke of its own
    driven_path: bool = False  # only the way the vehicle takes, where it drives: a map made from a recorded path
    route_in_lane: bool = False  # the route lies where the vehicle drives, not on the centre line
    route_behind: float = 0.0  # m of the route behind the vehicle that are drawn
    road_colour: tuple[int, int, int] = (255, 255, 255)  # rgb
    route_colour: tuple[int, int, int] = (255, 0, 0)
    antialias: bool = True
    resolution: float = 0.25  # m per pixel
    size: tuple[int, int] = (480, 480)  # columns, rows
    anchor: tuple[float, float] = (0.5, 0.5)  # of the vehicle: column, row as fractions
    encoding: str = 'rgb8'
    blur: float = 0.0  # m, of a scaled or compressed image


@dataclass(frozen=True)
class MapLayout:
    """How an image lies on the ground, in the words of the parameters `map.*`."""

    resolution: float
    anchor: tuple[float, float]
    orientation: str = 'heading_up'


def random_error(rng: np.random.Generator, scale: float = 1.0, wide: bool = False) -> MapError:
    """The standard error times `scale`; wide: shift and yaw uniform up to 8 m and 15 deg instead."""
    if wide:
        r, a = WIDE_SHIFT_M * math.sqrt(rng.random()), rng.uniform(-math.pi, math.pi)
        x, y, yaw = r * math.cos(a), r * math.sin(a), rng.uniform(-WIDE_YAW_RAD, WIDE_YAW_RAD)
    else:
        x, y = rng.normal(0, SHIFT_SIGMA_M * scale, 2)
        yaw = rng.normal(0, YAW_SIGMA_RAD * scale)
    return MapError(float(x), float(y), float(yaw), MISSING, ADDED, float(abs(rng.normal(0, 0.6))))


def random_style(rng: np.random.Generator) -> MapStyle:
    """A look that somebody's map might have."""
    resolution = float(np.exp(rng.uniform(math.log(0.15), math.log(1.0))))
    metres = rng.uniform(80, 160, 2)
    encoding = str(rng.choice(ENCODINGS))
    level = int(rng.integers(130, 256))
    colour = (level, level, level) if rng.random() < 0.6 else _colour(rng, level)
    lanes = bool(rng.random() < 0.15)
    width = rng.uniform(1.5, 9.0) if rng.random() > 0.1 else 0.0
    if lanes:  # thin lines, or strokes that run into each other
        width = rng.uniform(1.0, 3.0) if rng.random() < 0.5 else rng.uniform(3.0, 6.0)
    return MapStyle(
        width=float(width), lanes=lanes, driven_path=bool(rng.random() < 0.12), route_in_lane=bool(rng.random() < 0.5),
        route_behind=float(rng.uniform(0, 5)), road_colour=colour, antialias=bool(rng.random() < 0.7),
        resolution=resolution, size=(max(int(metres[0] / resolution), 16), max(int(metres[1] / resolution), 16)),
        anchor=(0.5, 0.5) if rng.random() < 0.7 else (float(rng.uniform(0.35, 0.65)), float(rng.uniform(0.4, 0.8))),
        encoding=encoding, blur=float(rng.choice([0.0, 0.0, 0.3, 0.8])))


def _colour(rng: np.random.Generator, level: int) -> tuple[int, int, int]:
    """A bright colour that is not red."""
    colour = np.array([rng.uniform(0, 0.9), rng.uniform(0.6, 1.0), rng.uniform(0, 1.0)])
    red, green, blue = (int(v) for v in np.rint(colour / colour.max() * level))
    return red, green, blue


@dataclass(frozen=True)
class _Strokes:
    """What is drawn, in the metres of the map (base_link with the map's error): lines with their widths."""

    roads: list[tuple[np.ndarray, float]]
    route: np.ndarray | None
    route_width: float


def _strokes(world: World, pose: Pose, style: MapStyle, error: MapError, rng: np.random.Generator, route: bool,
             reach: float) -> _Strokes:
    """The lines of a map. The random numbers do not depend on `reach`, so nor does what is missing or added."""
    x, y, _ = pose
    missing, added = rng.random(len(world.roads)) < error.missing, rng.random(len(world.roads)) < error.added
    waves = rng.uniform((12.0, 0.0), (40.0, 2 * math.pi), (len(world.roads), 2))
    draws = rng.random((len(world.roads), 4))
    roads = []
    if style.driven_path and world.route is not None:
        roads.append((_driven(world.route, pose), style.width or 5.0))
    else:
        for i, road in enumerate(world.roads):
            away = distances(road.centre, (x, y)).min()
            if away > reach or (missing[i] and away > road.width / 2 + 0.5):  # the vehicle's own road is never missing
                continue
            centre = _warped(road.centre, error.warp, *waves[i])
            if style.lanes and road.lanes > 1:
                lane = (road.width - road.median) / road.lanes
                roads += [(offset_curve(centre, (k - (road.lanes - 1) / 2) * lane
                                        + math.copysign(road.median / 2, 2 * k + 1 - road.lanes)), style.width or lane)
                          for k in range(road.lanes)]
            else:
                roads.append((centre, style.width or road.width))
            if style.lanes and road.lanes > 1 and draws[i, 0] < 0.7:
                roads += [(line, style.width or lane) for line in _turning_lanes(world.roads, i)]
            if added[i]:
                roads.append((_invented(road, pose, draws[i]), style.width or road.width))
    line = None
    if route and world.route is not None:
        line = _driven(world.route, pose) if style.route_in_lane or style.driven_path else world.route
        line = _ahead(line, pose, style.route_behind)
    turn, shift = rotation_2d(error.yaw), (error.x, error.y)

    def seen(p: np.ndarray) -> np.ndarray:
        return np.asarray(to_base(p, pose) @ turn.T + shift)

    width = max(style.width, 1.5) if not style.lanes else max(style.width, 2.0)
    return _Strokes([(seen(p), w) for p, w in roads], None if line is None else seen(line), width)


def _turning_lanes(roads: tuple[Road, ...], number: int) -> list[np.ndarray]:
    """Curves from the outer lanes of a road to those of roads that meet it at its ends, as in lane-level maps."""
    road, curves = roads[number], []
    for first in (0, -1):
        node = road.centre[first]
        for other in roads[:number]:
            ends = [k for k in (0, -1) if np.abs(other.centre[k] - node).max() < 0.1]
            for k in ends:
                curves += [_bend(node, _leg(road, first, side), _leg(other, k, -side)) for side in (1, -1)]
    return curves


def _leg(road: Road, end: int, side: int) -> np.ndarray:
    """The place of the outer lane of a road 12 m before its end, on one side seen from that end; relative to it."""
    line = road.centre if end == 0 else road.centre[::-1]
    away = point_at(line, min(12.0, arc_length(line)[-1])) - line[0]
    across = np.array([-away[1], away[0]]) / max(float(np.hypot(*away)), 1e-6)
    return np.asarray(away + side * (road.width / 2 - (road.width - road.median) / road.lanes / 2) * across)


def _bend(node: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """A quadratic Bezier curve from node + a to node + b that leaves and arrives along the legs."""
    t = np.linspace(0.0, 1.0, 9)[:, None]
    control = 0.25 * (a + b)
    return np.asarray(node + (1 - t) ** 2 * a + 2 * t * (1 - t) * control + t ** 2 * b)


def _warped(line: np.ndarray, size: float, wavelength: float, phase: float) -> np.ndarray:
    """The line wandering `size` metres to both sides; wavelength in m per rad."""
    if size <= 0:
        return line
    return np.asarray(line + size * np.sin(arc_length(line) / wavelength + phase)[:, None] * normals(line))


def _invented(road: Road, pose: Pose, draws: np.ndarray) -> np.ndarray:
    """A side road that is not there, off some place of a road near the vehicle; luck: four numbers in 0..1."""
    s, _ = project(road.centre, pose[:2])
    end = arc_length(road.centre)[-1]
    start = point_at(road.centre, float(np.clip(s + 90 * (draws[0] - 0.5), 0.0, end)))
    heading, bend = 2 * math.pi * draws[1], 1.0 * (draws[2] - 0.5)
    first = np.array([math.cos(heading), math.sin(heading)])
    second = first + (math.cos(heading + bend), math.sin(heading + bend))
    return np.asarray(start + np.stack([np.zeros(2), first, second]) * (15 + 30 * draws[3]))


def _ahead(route: np.ndarray, pose: Pose, behind: float) -> np.ndarray:
    """The route from `behind` metres before its point nearest to the vehicle on."""
    here, _ = project(route, pose[:2])
    end = arc_length(route)[-1]
    return substring(route, max(here - behind, 0.0), end) if here < end - 0.5 else route[-2:]


def _driven(route: np.ndarray, pose: Pose) -> np.ndarray:
    """The route as it is driven: as far aside as the vehicle is now, and round the corners."""
    line = smoothed(route, CORNER_M, 1.0)
    s, _ = project(line, pose[:2])
    here, left = point_at(line, s), point_at(normals(line), s, arc_length(line))
    return offset_curve(line, float((pose[:2] - here) @ left))


@dataclass(frozen=True)
class MapServer:
    """Somebody who sends map images of one look with one error: `draw_map` as a `Sensor`."""

    style: MapStyle
    error: MapError
    route: bool = False  # drawn in the image

    @property
    def layout(self) -> MapLayout:
        """How every image lies, in the words of the parameters `map.*`."""
        return MapLayout(self.style.resolution, self.style.anchor)

    def measure(self, world: World, pose: Pose, rng: np.random.Generator, stamp_ns: int = 0) -> np.ndarray:
        """The image, (H, W) or (H, W, C), heading up. Give equal generators and the map lacks the same roads."""
        return draw_map(world, pose, self.style, self.error, rng, self.route)[0]


def draw_map(world: World, pose: Pose, style: MapStyle, error: MapError, rng: np.random.Generator,
             route: bool = False) -> tuple[np.ndarray, MapLayout]:
    """A heading-up image of the roads around `pose` in the style's encoding, and how it lies.

    (H, W, C) uint8 for colour encodings, (H, W) uint8, uint16 or float32 for grey ones, which can show no route.
    """
    columns, rows = style.size
    strokes = _strokes(world, pose, style, error, rng, route and style.encoding[:4] not in ('mono', '32FC'),
                       math.hypot(columns, rows) * style.resolution)
    image: np.ndarray = np.zeros((rows, columns, 3), np.uint8)
    origin = np.array([style.anchor[0] * columns - 0.5, style.anchor[1] * rows - 0.5])
    kind = cv2.LINE_AA if style.antialias else cv2.LINE_8

    def stroke(line: np.ndarray, width: float, colour: tuple[int, int, int]) -> None:
        pixels = origin - line[:, ::-1] / style.resolution
        cv2.polylines(image, [np.rint(pixels * (1 << SUBPIXEL)).astype(np.int32)], False, colour,
                      max(int(round(width / style.resolution)), 1), kind, SUBPIXEL)
    for line, width in strokes.roads:
        stroke(line, width, style.road_colour)
    if strokes.route is not None:
        stroke(strokes.route, strokes.route_width, style.route_colour)
    if style.blur > 0.5 * style.resolution:
        image = cv2.GaussianBlur(image, (0, 0), style.blur / style.resolution)
    return encode(image, style.encoding), MapLayout(style.resolution, style.anchor)


def encode(rgb: np.ndarray, encoding: str) -> np.ndarray:
    """(H, W, 3) uint8 RGB in one of ENCODINGS."""
    if encoding == 'rgb8':
        return rgb
    if encoding == 'bgr8':
        return np.ascontiguousarray(rgb[..., ::-1])
    if encoding in ('rgba8', 'bgra8'):
        colours = rgb if encoding == 'rgba8' else rgb[..., ::-1]
        return np.concatenate([colours, np.full((*rgb.shape[:2], 1), 255, np.uint8)], axis=2)
    grey = rgb.max(axis=2)
    greys: dict[str, np.ndarray] = {'mono8': grey, 'mono16': grey.astype(np.uint16) * 257,
                                    '32FC1': grey.astype(np.float32) / 255}
    return greys[encoding]


def draw_road_layers(world: World | Sequence[np.ndarray], pose: Pose, grid: Grid, error: MapError,
                     rng: np.random.Generator, style: MapStyle | None = None,
                     route: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """(road, route), each (H, W) float32 in 0..1 on the BEV grid: what `bev.map_bev` makes of such an image, faster.

    world: a World, or just centre lines ((P, 2) world metres). style: drawn at random when None.
    """
    if not isinstance(world, World):
        world = _world_of_lines(world, pose)
    style = random_style(rng) if style is None else style
    strokes = _strokes(world, pose, style, error, rng, route, grid.extent * 1.5)
    fine = Grid(grid.extent, 2 * grid.cells)  # lines can only be whole pixels wide
    road, drawn = np.zeros((2, fine.cells, fine.cells), np.uint8)

    def stroke(array: np.ndarray, line: np.ndarray, width: float, value: int) -> None:
        row, column = fine.metres_to_cells(line[:, 0], line[:, 1])
        pixels = np.rint(np.stack([column, row], axis=1) * (1 << SUBPIXEL)).astype(np.int32)
        in_image = drawn_width(width / style.resolution, style.antialias) * style.resolution
        cv2.polylines(array, [pixels], False, value, _thickness(in_image / fine.resolution), cv2.LINE_AA, SUBPIXEL)
    for line, width in strokes.roads:
        stroke(road, line, width, max(style.road_colour))
    if strokes.route is not None:
        stroke(drawn, strokes.route, strokes.route_width, 255)
        np.maximum(road, drawn, out=road)
    # Bilinear reading of an image with boxes for pixels has a deviation of 0.41 pixels.
    smear = math.hypot(style.blur, 0.41 * style.resolution) / grid.resolution
    layers = []
    for layer in (road, drawn):
        array: np.ndarray = cv2.resize(layer, (grid.cells, grid.cells), interpolation=cv2.INTER_AREA)
        if smear > 0.4:
            array = cv2.GaussianBlur(array, (0, 0), smear)
        layers.append(array.astype(np.float32) / 255)
    return layers[0], layers[1]


def drawn_width(pixels: float, antialias: bool) -> float:
    """How many pixels wide OpenCV draws a line that is meant to be `pixels` wide (with fractional coordinates)."""
    thickness = max(int(round(pixels)), 1)
    if thickness == 1:
        return 1.3 if antialias else 1.0
    return 2 * ((thickness + 1) // 2) + (1.4 if antialias else 1.0)


def _thickness(pixels: float) -> int:
    """The OpenCV thickness whose antialiased line is about `pixels` wide."""
    return max(2 * int(round((pixels - 1.4) / 2)), 1)


def _world_of_lines(lines: Sequence[np.ndarray], pose: Pose) -> World:
    return World('lines', tuple(Road(np.asarray(line), 5.0) for line in lines), Terrain(), pose=pose)
