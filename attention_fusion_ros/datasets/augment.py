# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Random changes that keep the truth exact: quarter turns, mirroring, sensor faults, map states."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from attention_fusion_ros.bev.lidar import CHANNELS
from attention_fusion_ros.geometry import wrap

LEVEL_TOP, LEVEL_SPAN = 0.28, 0.17  # compressed heights: level ground is at most 0.22 m high and 0.1 m thick
LARGEST_BLANK_RAD = math.radians(270.0)
NEAR_RING = 0.3  # a scene without any road drawn on this share of the grid's inner part counts as mapless


@dataclass(frozen=True)
class MapState:
    """How a scene's map image is spoiled."""

    present: bool
    scale: float  # of the standard error (2.5 m, 4 deg)
    wide: bool  # uniform up to 8 m and 15 deg instead
    route: bool


def random_map_state(rng: np.random.Generator) -> MapState:
    """15 % no map; of the rest 65 % standard error, 15 % doubled, 10 % exact, 10 % far off. Half with a route."""
    present = rng.random() >= 0.15
    kind = rng.choice(4, p=[0.65, 0.15, 0.10, 0.10])
    return MapState(present, (1.0, 2.0, 0.2, 1.0)[kind], bool(kind == 3), bool(rng.random() < 0.5))


def turn_grid(array: np.ndarray, quarter: int, mirror: bool) -> np.ndarray:
    """(..., H, W) on the BEV grid, turned left by `quarter` quarter turns, then mirrored left to right."""
    turned = np.rot90(array, quarter, axes=(-2, -1))
    return np.ascontiguousarray(turned[..., ::-1] if mirror else turned)


def turn_angles(pairs: Iterable[tuple[float, float]], mirror: bool) -> list[tuple[float, float]]:
    """(bearing, heading) pairs mirrored left to right."""
    return [(wrap(-b), wrap(-h)) if mirror else (b, h) for b, h in pairs]


def turn_poses(poses: np.ndarray, quarter: int, mirror: bool) -> np.ndarray:
    """Planar motions (..., 3) x, y [m], yaw [rad] in base_link, once the scene is turned as `turn_grid` does."""
    x, y, yaw = np.moveaxis(poses, -1, 0)
    for _ in range(quarter % 4):
        x, y = -y, x
    return np.stack([x, -y if mirror else y, -yaw if mirror else yaw], axis=-1).astype(np.float32)


def sensor_faults(features: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """features (C, H, W) float32 -> the same with faults real sensors have; changed in place."""
    channel = dict(zip(CHANNELS, features, strict=True))  # views
    intensity, density = channel['intensity'], channel['density']
    if rng.random() < 0.15:
        intensity[:] = 0.0  # the sensor sends none
    elif rng.random() < 0.5:
        intensity[:] = np.clip(intensity * rng.uniform(0.3, 1.5) + rng.normal(0, 0.1), -1, 1) * (density > 0)
    density *= rng.uniform(0.8, 1.25)
    if rng.random() < 0.3:  # cells lost at random: fewer beams, dropouts
        features *= rng.random(features.shape[1:]) < rng.uniform(0.4, 1.0)
    if rng.random() < 0.15:  # a sector is blind
        features *= ~sector(features.shape[-1], rng.uniform(-math.pi, math.pi), rng.uniform(0.3, 1.8))
    if rng.random() < 0.25:  # short-sighted: dark surfaces, dirt
        features *= _radius(features.shape[-1]) < rng.uniform(0.45, 1.2)
    if rng.random() < 0.3:  # dark or wet asphalt: level ground is seen near the vehicle only, what stands is seen
        features *= ~_unseen_ground(features, rng)
    if rng.random() < 0.3:  # heights a little off: the local ground is an estimate
        error = rng.normal(0, 0.02) * (density > 0)
        channel['top'] += error
        channel['low'] += error
    return features


def view_faults(features: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """features (C, H, W) float32 -> the same with sectors of up to 270 degrees in all not seen, or seen through dirt.

    In one of eight scenes each; changed in place.
    """
    cells = features.shape[-1]
    if rng.random() < 0.12:
        widths = rng.dirichlet(np.ones(int(rng.integers(1, 4)))) * rng.uniform(0.1, LARGEST_BLANK_RAD)
        for width in widths:
            features *= ~_near(cells, rng.uniform(-math.pi, math.pi), float(width) / 2)
    if rng.random() < 0.12:
        lost = np.zeros((cells, cells), np.float32)
        for _ in range(int(rng.integers(1, 10))):
            spot = _near(cells, rng.uniform(-math.pi, math.pi), float(rng.uniform(0.02, 0.25)))
            lost[spot] = rng.uniform(0.5, 1.0)
        features *= rng.random(lost.shape, np.float32) >= lost
    return features


def _near(cells: int, middle: float, half: float) -> np.ndarray:
    """(H, W) bool: cells whose bearing is within `half` of `middle`, rad."""
    away = np.abs(_bearing(cells) - np.float32(middle))
    inside: np.ndarray = np.minimum(away, np.float32(2 * math.pi) - away) < half
    return inside


@functools.cache
def _bearing(cells: int) -> np.ndarray:
    x, y = _coordinates(cells)
    bearing: np.ndarray = np.arctan2(y, x).astype(np.float32)
    return bearing


def _unseen_ground(features: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(H, W) bool: level cells whose echo fades out with distance."""
    reach = rng.uniform(0.2, 0.75)  # of the grid's extent
    top, span = (features[CHANNELS.index(name)] for name in ('top', 'span'))
    level = (top < LEVEL_TOP) & (span < LEVEL_SPAN)
    faded = 1.0 / (1.0 + np.exp((reach - _radius(features.shape[-1])) / (0.16 * reach)))
    unseen: np.ndarray = level & (rng.random(level.shape) < faded)
    return unseen


def _coordinates(cells: int) -> tuple[np.ndarray, np.ndarray]:
    unit = 1 - (np.arange(cells) + 0.5) * 2 / cells
    return unit[:, None], unit[None, :]


def sector(cells: int, middle: float, width: float) -> np.ndarray:
    """(cells, cells) bool: the cells within a sector about the centre of the grid; bearing and width in rad."""
    x, y = _coordinates(cells)
    inside: np.ndarray = np.abs(wrap(np.arctan2(y, x) - middle)) < width / 2
    return inside


@functools.cache
def _radius(cells: int) -> np.ndarray:
    x, y = _coordinates(cells)
    radius: np.ndarray = np.hypot(x, y)
    return radius
