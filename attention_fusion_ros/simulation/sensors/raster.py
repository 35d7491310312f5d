# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""World -> height, obstacle, crown and vehicle layers around the vehicle, which the rays of `lidar` are cast into.

Rasters are aligned with the world and snapped to whole cells, and every random detail comes from noise tiles that are
fixed to the world: moving the vehicle, or removing the others, changes nothing else.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass
from enum import IntEnum

import cv2
import numpy as np

from attention_fusion_ros.simulation.world.bodies import vehicle_parts
from attention_fusion_ros.simulation.world.drawing import (
    SHIFT,
    Frame,
    fill_buffer,
    fill_discs,
    fill_strips,
    polygons_fixed,
    surface_mask,
)
from attention_fusion_ros.simulation.world.world import Pose, Post, Terrain, Wall, World

TILE_CELLS = 512  # after which noise repeats
ISLAND_KERB_M = 0.3  # wide edge of paved ground around what is planted
APRON_RAMP_M = 0.8
NOTHING_M = np.float32(-1e4)  # height of what is not there


class Label(IntEnum):
    """What a cell is made of."""

    ROAD = 0
    SIDEWALK = 1
    VERGE = 2
    FACADE = 3
    WALL = 4
    FENCE = 5
    HEDGE = 6
    RAIL = 7
    POLE = 8
    TREE = 9
    BUSH = 10
    VEHICLE = 11
    PERSON = 12
    CROWN = 13


WALL_LABELS = {'facade': Label.FACADE, 'wall': Label.WALL, 'fence': Label.FENCE, 'hedge': Label.HEDGE,
               'rail': Label.RAIL}
REFLECTIVITY = np.array([0.15, 0.3, 0.35, 0.4, 0.4, 0.35, 0.4, 0.6, 0.6, 0.3, 0.4, 0.5, 0.4, 0.4], np.float32)


@dataclass(frozen=True)
class Raster:
    """Layers of shape (n, n), float32 in metres of world z unless said. `NOTHING` where a layer has nothing."""

    frame: Frame
    ground: np.ndarray
    solid: np.ndarray  # top of what stops every ray: ground, or an obstacle
    porous: np.ndarray  # top of what lets a share of the rays through
    porosity: np.ndarray  # that share, 0..1; negative: a column of rays passes as a whole (thin poles), not ray by ray
    crown_bottom: np.ndarray
    crown_top: np.ndarray
    vehicle: np.ndarray  # top of vehicles
    vehicle_loss: np.ndarray  # share of lost returns on the vehicle (dark paint, glass), 0..1
    label: np.ndarray  # uint8 Label of ground or obstacle
    vehicle_label: np.ndarray  # uint8 Label
    road: np.ndarray  # uint8 0/1, road surface


def rasterise(world: World, pose: Pose, extent: float = 60.0, cell: float = 0.2) -> Raster:
    """Layers in a square of +-`extent` metres around `pose` (x, y, yaw), cells of `cell` metres."""
    frame = Frame.aligned(pose[0], pose[1], extent, cell)
    road = surface_mask(world, frame)
    ground, label = ground_height(world, frame, road)
    walls = list(itertools.compress(world.walls, frame.visible_lines([w.line for w in world.walls], 1.0)))
    height = np.zeros(frame.shape, np.float32)  # metres above the ground
    _draw_walls([w for w in walls if w.porosity == 0], frame, height, None, label)
    _draw_trunks(world, frame, height, label)
    solid = np.where(height > 0, ground + height, ground)
    height, porosity = np.zeros(frame.shape, np.float32), np.zeros(frame.shape, np.float32)
    _draw_bushes(world, frame, height, porosity, label)
    _draw_walls([w for w in walls if w.porosity > 0], frame, height, porosity, label)
    _ruffle(world, frame, height, porosity, label)
    _draw_poles(world, frame, height, porosity, label)
    porous = np.where(height > 0, ground + height, NOTHING_M)
    crown_bottom, crown_top = _crowns(world, frame, ground)
    vehicle, loss, vehicle_label = _vehicles(world, frame, ground)
    return Raster(frame, ground, solid, porous, porosity, crown_bottom, crown_top, vehicle, loss, label, vehicle_label,
                  road)


def terrain_height(terrain: Terrain, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The smooth part of the ground: tilted plane plus undulation. Arrays in, array out, metres."""
    z = terrain.slope_x * x + terrain.slope_y * y
    if terrain.undulation:
        k = 2 * math.pi / terrain.wavelength
        z = z + terrain.undulation * np.sin(k * x + terrain.phase[0]) * np.sin(k * y + terrain.phase[1])
    return np.asarray(z)


def ground_height(world: World, frame: Frame, road: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(ground height (H, W) float32 in metres, label (H, W) uint8) for a world-aligned frame."""
    t = world.terrain
    column0, row0 = frame.offset
    x = ((np.arange(frame.shape[1]) + column0 + 0.5) * frame.resolution).astype(np.float32)[None, :]
    y = ((np.arange(frame.shape[0]) + row0 + 0.5) * frame.resolution).astype(np.float32)[:, None]
    ground = np.array(np.broadcast_to(terrain_height(t, x, y), frame.shape), np.float32)
    outside = cv2.distanceTransform(1 - road, cv2.DIST_L2, 3)  # cells
    reach = np.uint8(255) - cv2.convertScaleAbs(outside)  # saturates: 255 on the road, falling with distance
    surface = np.full(256, int(Label.VERGE), np.uint8)
    surface[255 - int(min(max(t.sidewalk, 0) / frame.resolution, 254)):] = int(Label.SIDEWALK)
    if t.lawn:
        surface[255 - int(min(t.lawn / frame.resolution, 254)):] = int(Label.VERGE)
    surface[255] = int(Label.ROAD)
    label = cv2.LUT(reach, surface)
    for island in world.islands:
        if island.planted and frame.sees(island.line, island.width):
            fill_buffer(label, frame, island.line, max(island.width / 2 - ISLAND_KERB_M, 0.2), int(Label.VERGE))
    paved = _paved(world, frame, road, label)
    if t.crown:
        inside: np.ndarray = cv2.distanceTransform(road, cv2.DIST_L2, 3)
        inside *= np.float32(frame.resolution / 3.5)
        rest = np.maximum(np.float32(1) - inside, np.float32(0))
        ground += np.float32(t.crown) * (np.float32(1) - rest * rest)
    if t.kerb:
        # Kerbs are lowered at driveways and crossings, here and there.
        lowered = np.clip(noise(world.seed + 1, frame, 'patches') * np.float32(2) + np.float32(3), 0.15, 1.0)
        ground += lowered * _by_label(label, 0.0, t.kerb, t.kerb)
    if t.ditch_depth:
        ground -= _ditch(t, outside, frame) if paved is None else (np.float32(1) - paved) * _ditch(t, outside, frame)
    if t.verge_slope:
        rise = outside * np.float32(frame.resolution) - np.float32(t.sidewalk)
        ground += np.float32(t.verge_slope) * np.clip(rise, np.float32(0), np.float32(25), out=rise)
    if t.roughness:
        short = (0.2, 0.5, 1.0)[world.seed % 3]  # gravel is rough from cell to cell, a lawn is not
        rough = noise(world.seed + 2, frame, 'lumps') + np.float32(short) * noise(world.seed + 3, frame, 'white')
        rough *= _by_label(label, 0.1 * t.roughness, 0.18 * t.roughness, 0.7 * t.roughness)
        ground += rough
    return ground, label


def _paved(world: World, frame: Frame, road: np.ndarray, label: np.ndarray) -> np.ndarray | None:
    """(H, W) float32 0..1, how much a cell belongs to an apron; relabels it as asphalt. None where there is none."""
    mask: np.ndarray = np.zeros(frame.shape, np.uint8)
    for apron in world.aprons:
        if frame.sees(apron.line, apron.width):
            fill_buffer(mask, frame, apron.line, apron.width / 2, 1, round_ends=False)
    mask &= 1 - road
    if not mask.any():
        return None
    label[mask > 0] = int(Label.ROAD)
    ramp = int(round(APRON_RAMP_M / frame.resolution)) | 1  # the lowered kerb rises beside it, not at once
    level: np.ndarray = cv2.blur(mask.astype(np.float32), (ramp, ramp)) * mask
    return level


def _ditch(t: Terrain, outside: np.ndarray, frame: Frame) -> np.ndarray:
    """(H, W) float32 depth of the ditch behind the sidewalk, m; a bank is negative. outside: cells from the road."""
    shape = np.interp(np.arange(256) * frame.resolution - t.sidewalk, np.array([0.0, 0.35, 0.65, 1.0]) * t.ditch_width,
                      [0.0, t.ditch_depth, t.ditch_depth, 0.0 if t.ditch_depth > 0 else t.ditch_depth])
    return cv2.LUT(cv2.convertScaleAbs(outside), shape.astype(np.float32))


def _by_label(label: np.ndarray, road: float, sidewalk: float, verge: float) -> np.ndarray:
    """(H, W) float32 value by what the ground is."""
    table = np.zeros(256, np.float32)
    table[[int(Label.ROAD), int(Label.SIDEWALK), int(Label.VERGE)]] = road, sidewalk, verge
    return cv2.LUT(label, table)


@functools.lru_cache(maxsize=32)
def _tile(kind: str, variant: int, size: int) -> np.ndarray:
    """(TILE + size, TILE + size) float32 of zero mean and unit deviation that repeats after TILE, without a seam."""
    rng = np.random.default_rng([variant, KINDS.index(kind)])
    field = rng.standard_normal((TILE_CELLS, TILE_CELLS)).astype(np.float32)
    if kind != 'white':
        pad = TILE_CELLS // 4
        wide = np.pad(field, pad, mode='wrap')
        smooth = [_unit(cv2.GaussianBlur(wide, (0, 0), sigma)[pad:-pad, pad:-pad]) for sigma in SIGMAS_CELLS[kind]]
        field = np.asarray(sum(smooth))
    return np.pad(_unit(field), (0, size), mode='wrap')


def _position_noise(xy: np.ndarray, seed: int) -> np.ndarray:
    """(N,) uniform numbers in 0..1 that depend on the (N, 2) positions alone."""
    phase = xy[:, 0] * 12.9898 + xy[:, 1] * 78.233 + (seed % 1000) * 3.7
    return np.asarray(np.modf(np.abs(np.sin(phase)) * 43758.5453)[0])


KINDS = ('white', 'lumps', 'patches')
SIGMAS_CELLS = {'lumps': (1.5, 4.0), 'patches': (12.0,)}


def _unit(a: np.ndarray) -> np.ndarray:
    return np.asarray((a - a.mean()) / a.std())


def noise(seed: int, frame: Frame, kind: str) -> np.ndarray:
    """(H, W) float32 noise fixed to the world, a view that must not be written to.

    kind: white, lumps (0.3-0.8 m), patches (2.4 m); the sizes hold at cells of 0.2 m.
    """
    column, row = (np.array(frame.offset) + np.random.default_rng([seed, 77]).integers(0, TILE_CELLS, 2)) % TILE_CELLS
    height, width = frame.shape
    return _tile(kind, seed % 3, max(height, width))[row:row + height, column:column + width]


def _draw_walls(walls: list[Wall], frame: Frame, height: np.ndarray, porosity: np.ndarray | None,
                label: np.ndarray) -> None:
    # Thinner, and rays would slip between cells.
    half = [max(w.thickness / 2, 0.75 * frame.resolution) for w in walls]
    arrays: list[np.ndarray] = [height, label]
    values: list[list[float]] = [[w.height for w in walls], [int(WALL_LABELS[w.kind]) for w in walls]]
    if porosity is not None:
        arrays, values = [*arrays, porosity], [*values, [w.porosity for w in walls]]
    fill_strips(arrays, frame, [w.line for w in walls], half, values)


def _posts(world: World, frame: Frame, thin: bool) -> tuple[list[Post], np.ndarray]:
    chosen = [p for p in world.posts if (2 * p.radius < frame.resolution) == thin]
    xy = np.array([(p.x, p.y) for p in chosen]).reshape(-1, 2)
    inside = np.flatnonzero(frame.visible(xy, -frame.resolution))
    return [chosen[i] for i in inside], xy[inside]


def _draw_trunks(world: World, frame: Frame, height: np.ndarray, label: np.ndarray) -> None:
    posts, xy = _posts(world, frame, thin=False)
    radii = [p.radius for p in posts]
    fill_discs(height, frame, xy, radii, [p.height for p in posts])
    fill_discs(label, frame, xy, radii, [int(Label.TREE if p.kind == 'tree' else Label.POLE) for p in posts])


def _draw_poles(world: World, frame: Frame, height: np.ndarray, porosity: np.ndarray, label: np.ndarray) -> None:
    """Posts thinner than a cell: one cell, which stops as many rays as the pole is wide."""
    posts, xy = _posts(world, frame, thin=True)
    if posts:
        column, row = np.rint(frame.pixels(xy)).astype(int).T
        height[row, column] = [p.height for p in posts]
        porosity[row, column] = [2 * p.radius / frame.resolution - 1 for p in posts]
        label[row, column] = [int(Label.TREE if p.kind == 'tree' else Label.POLE) for p in posts]


def _draw_bushes(world: World, frame: Frame, height: np.ndarray, porosity: np.ndarray, label: np.ndarray) -> None:
    if not world.bushes:
        return
    b = np.array([(b.x, b.y, b.radius, b.height) for b in world.bushes])
    b = b[frame.visible(b[:, :2], b[:, 2])]
    fill_discs(height, frame, b[:, :2], b[:, 2], (0.85 * b[:, 3]).tolist())
    fill_discs(height, frame, b[:, :2], 0.6 * b[:, 2], (1.05 * b[:, 3]).tolist())
    fill_discs(label, frame, b[:, :2], b[:, 2], [int(Label.BUSH)] * len(b))
    fill_discs(porosity, frame, b[:, :2], b[:, 2], [0.35] * len(b))


def _ruffle(world: World, frame: Frame, height: np.ndarray, porosity: np.ndarray, label: np.ndarray) -> None:
    """Leaves are lumpy and let rays through in patches."""
    table = np.zeros(256, np.uint8)
    table[[int(Label.BUSH), int(Label.HEDGE)]] = 1
    leaves = np.flatnonzero(cv2.LUT(label, table))
    if len(leaves):
        rows, columns = np.divmod(leaves, frame.shape[1])
        height[rows, columns] *= np.clip(0.8 + 0.3 * noise(world.seed, frame, 'lumps')[rows, columns], 0.15, 1.3)
        patchy = porosity[rows, columns] + 0.2 * noise(world.seed + 5, frame, 'lumps')[rows, columns]
        porosity[rows, columns] = np.clip(patchy, 0.01, 0.95)


def _crowns(world: World, frame: Frame, ground: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    bottom, top = np.full_like(ground, -NOTHING_M), np.full_like(ground, NOTHING_M)
    trees = np.array([(p.x, p.y, p.crown_radius, p.crown_bottom, p.crown_top) for p in world.posts
                      if p.crown_radius > 0]).reshape(-1, 5)
    trees = trees[frame.visible(trees[:, :2], trees[:, 2])]
    if not len(trees):
        return bottom, top
    column, row = np.clip(np.rint(frame.pixels(trees[:, :2])), 0, np.array(frame.shape[::-1]) - 1).astype(int).T
    foot = ground[row, column]
    # Six blobs that overlap: crowns are ragged, and no two are alike.
    radius, span = trees[:, 2], trees[:, 4] - trees[:, 3]
    for blob in range(6):
        a, b, c = (_position_noise(trees[:, :2], world.seed + 10 * blob + k) for k in range(3))
        away = radius * (0.3 + 0.4 * a) * (blob > 0)
        xy = trees[:, :2] + away[:, None] * np.stack([np.cos(2 * np.pi * b), np.sin(2 * np.pi * b)], axis=1)
        low, high = foot + trees[:, 3] + span * 0.45 * c, foot + trees[:, 4] - span * 0.45 * (1 - c) * (blob > 0)
        size = np.minimum(radius * (0.35 + 0.3 * a), radius - away)
        fill_discs(top, frame, xy, size, high.tolist())
        fill_discs(bottom, frame, xy, size, low.tolist())
    return bottom, top


def _vehicles(world: World, frame: Frame, ground: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    top = np.full_like(ground, NOTHING_M)
    loss = np.zeros_like(ground)
    label = np.full(frame.shape, int(Label.VEHICLE), np.uint8)
    if not world.vehicles:
        return top, loss, label
    places = np.array([(v.x, v.y) for v in world.vehicles])
    seen = frame.visible(places, [v.length for v in world.vehicles])
    vehicles, places = [v for v, s in zip(world.vehicles, seen) if s], places[seen]
    column, row = np.clip(np.rint(frame.pixels(places)), 0, np.array(frame.shape[::-1]) - 1).astype(int).T
    corners, owner, height, losses = vehicle_parts(vehicles, world.seed)
    height = height + ground[row, column][owner]
    person = [v.kind in ('pedestrian', 'cyclist') for v in vehicles]
    for polygon, i, z in zip(polygons_fixed(frame, corners), owner.tolist(), height.tolist()):
        cv2.fillConvexPoly(top, polygon, z, cv2.LINE_8, SHIFT)
        cv2.fillConvexPoly(loss, polygon, losses[i], cv2.LINE_8, SHIFT)
        if person[i]:
            cv2.fillConvexPoly(label, polygon, int(Label.PERSON), cv2.LINE_8, SHIFT)
    return top, loss, label
