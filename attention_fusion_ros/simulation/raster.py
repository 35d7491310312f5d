"""World -> height, obstacle, crown and vehicle layers around the vehicle, which the rays of `lidar` are cast into.

Rasters are aligned with the world and snapped to whole cells, and every random detail comes from noise tiles that are
fixed to the world: moving the vehicle, or removing the others, changes nothing else.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from enum import IntEnum

import cv2
import numpy as np

from attention_fusion_ros.simulation.drawing import (Frame, box_corners, fill_buffer, fill_disc, fill_polygon,
                                                     road_mask)
from attention_fusion_ros.simulation.world import Terrain, Vehicle, World

TILE = 1024  # cells of a noise tile
NOTHING = np.float32(-1e4)  # height of what is not there


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
    porosity: np.ndarray  # that share, 0..1
    coherent: np.ndarray  # bool: a ray column passes as a whole (thin poles), not ray by ray (leaves, mesh)
    crown_bottom: np.ndarray
    crown_top: np.ndarray
    vehicle: np.ndarray  # top of vehicles
    vehicle_loss: np.ndarray  # share of lost returns on the vehicle (dark paint, glass), 0..1
    label: np.ndarray  # uint8 Label of ground or obstacle
    vehicle_label: np.ndarray  # uint8 Label
    road: np.ndarray  # uint8 0/1, road surface


def rasterise(world: World, pose: tuple[float, float, float], extent: float = 60.0, cell: float = 0.2) -> Raster:
    """Layers in a square of +-`extent` metres around `pose` (x, y, yaw), cells of `cell` metres."""
    frame = Frame.aligned(pose[0], pose[1], extent, cell)
    road = road_mask(world.roads, frame, world.extra.get('corner_radius', 6.0))
    ground, label = ground_height(world, frame, road)
    solid, porous, porosity, coherent = ground.copy(), np.full_like(ground, NOTHING), np.zeros_like(ground), None
    coherent = np.zeros(frame.shape, np.uint8)
    height = np.zeros(frame.shape, np.float32)  # scratch: metres above the ground
    _draw_walls(world, frame, height, porosity, label, want_porous=False)
    _draw_posts(world, frame, height, porosity, coherent, label, want_porous=False)
    standing = height > 0
    solid[standing] += height[standing]
    height[:] = 0
    _draw_bushes(world, frame, height, porosity, label)
    _draw_walls(world, frame, height, porosity, label, want_porous=True)
    leafy = np.isin(label, (Label.BUSH, Label.HEDGE))
    if leafy.any():
        lumps = noise(world.seed, frame, 'lumps')
        height[leafy] *= np.clip(0.75 + 0.3 * lumps[leafy], 0.15, 1.3)
        porosity[leafy] = np.clip(porosity[leafy] + 0.2 * noise(world.seed + 5, frame, 'lumps')[leafy], 0.0, 0.95)
    _draw_posts(world, frame, height, porosity, coherent, label, want_porous=True)
    there = height > 0
    porous[there] = ground[there] + height[there]
    crown_bottom, crown_top = _crowns(world, frame, ground)
    vehicle, loss, vehicle_label = _vehicles(world, frame, ground)
    return Raster(frame, ground, solid, porous, porosity, coherent.astype(bool), crown_bottom, crown_top, vehicle, loss,
                  label, vehicle_label, road)


def terrain_height(terrain: Terrain, x, y):
    """The smooth part of the ground: tilted plane plus undulation. Arrays in, array out, metres."""
    z = terrain.slope_x * x + terrain.slope_y * y
    if terrain.undulation:
        k = 2 * math.pi / terrain.wavelength
        z = z + terrain.undulation * np.sin(k * x + terrain.phase[0]) * np.sin(k * y + terrain.phase[1])
    return z


def ground_height(world: World, frame: Frame, road: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(ground height (H, W) float32 in metres, label (H, W) uint8) for a world-aligned frame."""
    t = world.terrain
    column0, row0 = frame.offset
    x = ((np.arange(frame.shape[1]) + column0 + 0.5) * frame.resolution).astype(np.float32)[None, :]
    y = ((np.arange(frame.shape[0]) + row0 + 0.5) * frame.resolution).astype(np.float32)[:, None]
    ground = np.array(np.broadcast_to(terrain_height(t, x, y), frame.shape), np.float32)
    outside = cv2.distanceTransform(1 - road, cv2.DIST_L2, 3) * np.float32(frame.resolution)
    is_road = road.astype(bool)
    walk = ~is_road & (outside <= t.sidewalk)
    if t.crown:
        inside = cv2.distanceTransform(road, cv2.DIST_L2, 3) * np.float32(frame.resolution)
        ground += np.float32(t.crown) * (1 - np.square(1 - np.clip(inside / 3.5, 0, 1)))
    if t.kerb:
        # Kerbs are lowered at driveways and crossings, here and there.
        lowered = np.clip(noise(world.seed + 1, frame, 'patches') * 2 + 3.0, 0.15, 1.0)
        ground += np.float32(t.kerb) * np.where(is_road, np.float32(0), lowered)
    if t.verge_slope:
        ground += np.float32(t.verge_slope) * np.clip(outside - t.sidewalk, 0, 25)
    if t.roughness:
        rough = noise(world.seed + 2, frame, 'lumps') * 0.7 + noise(world.seed + 3, frame, 'white') * 0.7
        scale = np.where(is_road, np.float32(0.15), np.where(walk, np.float32(0.25), np.float32(1.0)))
        ground += np.float32(t.roughness) * scale * rough
    label = np.where(is_road, np.uint8(Label.ROAD), np.where(walk, np.uint8(Label.SIDEWALK), np.uint8(Label.VERGE)))
    return ground, label


@functools.lru_cache(maxsize=32)
def _tile(kind: str, variant: int) -> np.ndarray:
    """(TILE, TILE) float32 of zero mean and unit deviation that repeats without a seam."""
    rng = np.random.default_rng([variant, {'white': 1, 'lumps': 2, 'patches': 3, 'waves': 4}[kind]])
    white = rng.standard_normal((TILE, TILE)).astype(np.float32)
    if kind == 'white':
        return white
    pad = TILE // 8
    wide = cv2.copyMakeBorder(white, pad, pad, pad, pad, cv2.BORDER_WRAP)
    sigmas = {'lumps': (1.5, 4.0), 'patches': (12.0,), 'waves': (6.0, 25.0)}[kind]
    total = sum(_unit(cv2.GaussianBlur(wide, (0, 0), s)[pad:-pad, pad:-pad]) for s in sigmas)
    return _unit(total)


def _unit(a: np.ndarray) -> np.ndarray:
    return (a - a.mean()) / a.std()


def noise(seed: int, frame: Frame, kind: str) -> np.ndarray:
    """(H, W) float32 noise fixed to the world. kind: white, lumps (0.3-0.8 m), patches (2.4 m), waves (1-5 m)."""
    tile = _tile(kind, seed % 4)
    column0, row0 = frame.offset
    shift = np.random.default_rng([seed, 77]).integers(0, TILE, 2)
    columns = (np.arange(frame.shape[1]) + column0 + shift[0]) % TILE
    rows = (np.arange(frame.shape[0]) + row0 + shift[1]) % TILE
    return tile.take(rows, axis=0).take(columns, axis=1)


def _draw_walls(world: World, frame: Frame, height, porosity, label, want_porous: bool) -> None:
    for wall in world.walls:
        if (wall.porosity > 0) != want_porous or not frame.sees(wall.line, 1.0):
            continue
        half = max(wall.thickness / 2, 0.75 * frame.resolution)  # thinner, and rays would slip between cells
        fill_buffer(height, frame, wall.line, half, wall.height, round_ends=False)
        fill_buffer(label, frame, wall.line, half, int(WALL_LABELS[wall.kind]), round_ends=False)
        if want_porous:
            fill_buffer(porosity, frame, wall.line, half, wall.porosity, round_ends=False)


def _draw_posts(world: World, frame: Frame, height, porosity, coherent, label, want_porous: bool) -> None:
    cell = frame.resolution
    rows, columns = frame.shape
    for post in world.posts:
        thin = 2 * post.radius < cell
        if thin != want_porous:
            continue
        kind = int(Label.TREE if post.kind == 'tree' else Label.POLE)
        column, row = np.rint(frame.pixels((post.x, post.y))).astype(int)
        if not (0 <= row < rows and 0 <= column < columns):
            continue
        if thin:  # one cell, which stops as many rays as the pole is wide
            height[row, column], label[row, column] = post.height, kind
            porosity[row, column], coherent[row, column] = 1 - 2 * post.radius / cell, 1
        else:
            fill_disc(height, frame, (post.x, post.y), post.radius, post.height)
            fill_disc(label, frame, (post.x, post.y), post.radius, kind)
            height[row, column], label[row, column] = post.height, kind


def _draw_bushes(world: World, frame: Frame, height, porosity, label) -> None:
    for bush in world.bushes:
        centre = np.array([[bush.x, bush.y]])
        if frame.sees(centre, bush.radius):
            fill_disc(height, frame, centre[0], bush.radius, bush.height)
            fill_disc(height, frame, centre[0], bush.radius * 0.6, bush.height * 1.15)
            fill_disc(label, frame, centre[0], bush.radius, int(Label.BUSH))
            fill_disc(porosity, frame, centre[0], bush.radius, 0.35)


def _crowns(world: World, frame: Frame, ground: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    bottom, top = np.full_like(ground, -NOTHING), np.full_like(ground, NOTHING)
    above = np.zeros(frame.shape, np.float32)
    below = np.zeros(frame.shape, np.float32)
    for post in world.posts:
        if post.crown_radius <= 0 or not frame.sees(np.array([[post.x, post.y]]), post.crown_radius):
            continue
        middle, half = (post.crown_top + post.crown_bottom) / 2, (post.crown_top - post.crown_bottom) / 2
        for share in (1.0, 0.85, 0.6, 0.3):  # an ellipsoid in four steps
            reach = half * math.sqrt(1 - share * share * 0.9)
            fill_disc(above, frame, (post.x, post.y), post.crown_radius * share, middle + reach)
            fill_disc(below, frame, (post.x, post.y), post.crown_radius * share, middle - reach)
    there = above > 0
    if there.any():
        lumps = noise(world.seed + 4, frame, 'lumps')[there] * np.float32(0.3)
        top[there] = ground[there] + above[there] + lumps
        bottom[there] = ground[there] + below[there] + lumps
    return bottom, top


def _vehicles(world: World, frame: Frame, ground: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    top = np.full_like(ground, NOTHING)
    loss = np.zeros_like(ground)
    label = np.full(frame.shape, int(Label.VEHICLE), np.uint8)
    for vehicle in world.vehicles:
        if frame.sees(np.array([[vehicle.x, vehicle.y]]), vehicle.length):
            _draw_vehicle(vehicle, world.seed, frame, ground, top, loss, label)
    return top, loss, label


def _draw_vehicle(v: Vehicle, seed: int, frame: Frame, ground, top, loss, label) -> None:
    # The look of a vehicle depends on where it stands, not on how many others there are.
    rng = np.random.default_rng([seed, *(int(abs(a) * 1000) for a in (v.x, v.y, v.length))])
    column, row = np.clip(np.rint(frame.pixels((v.x, v.y))), 0, np.array(frame.shape[::-1]) - 1).astype(int)
    z = float(ground[row, column])
    dark = float(rng.choice([0.02, 0.1, 0.5], p=[0.5, 0.35, 0.15]))
    corners = box_corners(v.x, v.y, v.yaw, v.length, v.width)
    fill_polygon(loss, frame, corners, dark)
    if v.kind in ('pedestrian', 'cyclist'):
        fill_polygon(label, frame, corners, int(Label.PERSON))
        fill_polygon(top, frame, corners, z + (v.height if v.kind == 'pedestrian' else 1.0))
        if v.kind == 'cyclist':
            fill_disc(top, frame, (v.x, v.y), 0.3, z + v.height)
    elif v.kind == 'car':
        body = float(rng.uniform(0.68, 0.92))
        cabin, shift = v.length * rng.uniform(0.42, 0.6), v.length * rng.uniform(-0.12, 0.0)
        fill_polygon(top, frame, corners, z + body)
        fill_polygon(top, frame, box_corners(v.x, v.y, v.yaw, cabin, v.width * 0.86, shift), z + (body + v.height) / 2)
        fill_polygon(top, frame, box_corners(v.x, v.y, v.yaw, cabin * 0.75, v.width * 0.76, shift), z + v.height)
    elif v.kind == 'van':
        fill_polygon(top, frame, corners, z + v.height)
        fill_polygon(top, frame, box_corners(v.x, v.y, v.yaw, v.length * 0.16, v.width, v.length * 0.42), z + 1.1)
    elif v.kind == 'truck':
        fill_polygon(top, frame, corners, z + v.height)
        gap = box_corners(v.x, v.y, v.yaw, 0.5, v.width, v.length / 2 - 2.4)
        fill_polygon(top, frame, gap, z + 1.0)
        cab = box_corners(v.x, v.y, v.yaw, 2.1, v.width, v.length / 2 - 1.05)
        fill_polygon(top, frame, cab, z + min(v.height, 2.9))
    else:
        fill_polygon(top, frame, corners, z + v.height)
    fill_disc(top, frame, (v.x, v.y), frame.resolution / 2, z + v.height)  # never lost between two cells
