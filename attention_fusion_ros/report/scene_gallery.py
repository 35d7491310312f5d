# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of scenes: plan, sweep and map side by side, to look at next to real sweeps."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.geometry import transform_points
from attention_fusion_ros.simulation.sensors.lidar import LidarModel
from attention_fusion_ros.simulation.sensors.map_image import draw_map, random_error, random_style
from attention_fusion_ros.simulation.sensors.scan import scan
from attention_fusion_ros.simulation.truth.branches import Truth, truth
from attention_fusion_ros.simulation.world.drawing import strip_quads, vehicle_corners
from attention_fusion_ros.simulation.world.world import World, to_base
from attention_fusion_ros.visualization.lettering import draw_fitted, draw_text, text_width
from attention_fusion_ros.visualization.panels import draw_arrow

EXTENT_M = 40.0  # shown around the vehicle
TILES = 3  # a row: plan, sweep, map
ARROW_M = 6.0  # length of an arrow
BAR_SHARE, LETTER_SHARE = 0.1, 0.034  # of a tile: height of its title bar and of a capital letter
DARKEST = 45  # of the 256 levels of the colour map
BAR = (28, 28, 28)
LOW_M, HIGH_M = -0.5, 3.5  # above the vehicle's ground that the colours span
GREY, WHITE, RED = (90, 90, 90), (255, 255, 255), (40, 40, 255)
PAVING, LAWN, KERB = (80, 60, 40), (30, 70, 30), (110, 110, 110)  # driveways, islands
PAVEMENT, CENTRE_LINE, ROUTE = (60, 60, 60), (130, 130, 130), (60, 60, 220)
WALLS = {'facade': (80, 160, 255), 'wall': (200, 200, 200), 'fence': (255, 200, 0), 'hedge': (0, 160, 0),
         'rail': (255, 0, 255)}
POSTS = {'tree': (0, 220, 0), 'lamp': (0, 255, 255), 'pole': (0, 255, 255), 'bollard': (0, 160, 255)}
BUSH, PARKED, MOVING = (0, 120, 0), (200, 90, 90), (80, 80, 255)


def pixels(xy: np.ndarray, size: int) -> np.ndarray:
    """(P, 2) metres in base_link -> (P, 2) int32 columns and rows of a tile: ahead is up."""
    xy = np.clip(np.atleast_2d(xy), -1e4, 1e4)
    row, column = Grid(EXTENT_M, size).metres_to_cells(xy[:, 0], xy[:, 1])
    return np.asarray(np.rint(np.stack([column, row], axis=1)), dtype=np.int32)


def plan_tile(world: World, size: int) -> np.ndarray:
    """(size, size, 3) uint8, BGR: what the world is made of, around its vehicle."""
    tile = np.zeros((size, size, 3), np.uint8)
    scale = size / (2 * EXTENT_M)

    def seen(xy: ArrayLike) -> np.ndarray:
        return pixels(to_base(np.atleast_2d(xy), world.pose), size)

    def disc(x: float, y: float, radius: float, colour: tuple[int, int, int], thickness: int) -> None:
        column, row = seen((x, y))[0].tolist()
        cv2.circle(tile, (column, row), max(int(radius * scale), 2), colour, thickness)
    for road in world.roads:
        cv2.polylines(tile, [seen(road.centre)], False, PAVEMENT, max(int(road.width * scale), 1))
    for apron in world.aprons:
        for corners in strip_quads([apron.line], [apron.width / 2])[0]:
            cv2.fillConvexPoly(tile, seen(corners), PAVING)
    for island in world.islands:
        cv2.polylines(tile, [seen(island.line)], False, LAWN if island.planted else KERB,
                      max(int(island.width * scale), 1))
    for road in world.roads:
        cv2.polylines(tile, [seen(road.centre)], False, CENTRE_LINE, 1)
    if world.route is not None:
        cv2.polylines(tile, [seen(world.route)], False, ROUTE, 1, cv2.LINE_AA)
    for wall in world.walls:
        cv2.polylines(tile, [seen(wall.line)], False, WALLS[wall.kind], 2)
    for bush in world.bushes:
        disc(bush.x, bush.y, bush.radius, BUSH, -1)
    for post in world.posts:
        disc(post.x, post.y, max(post.crown_radius, post.radius), POSTS[post.kind], 1)
    for vehicle in world.vehicles:
        cv2.fillConvexPoly(tile, seen(vehicle_corners(vehicle)), PARKED if vehicle.parked else MOVING)
    corner = pixels(np.array([[2.3, 0.9], [-2.3, -0.9]]), size).tolist()
    cv2.rectangle(tile, corner[0], corner[1], WHITE, 1)
    return tile


def sweep_tile(xyz: np.ndarray, size: int) -> np.ndarray:
    """(N, 3) points in base_link -> (size, size, 3) uint8, BGR, from above, coloured by height; black: no point."""
    column, row = pixels(xyz[:, :2], size).T
    inside = (row >= 0) & (row < size) & (column >= 0) & (column < size)
    top = np.full((size, size), -np.inf, np.float32)
    np.maximum.at(top, (row[inside], column[inside]), xyz[inside, 2].astype(np.float32))
    share = np.clip((top - LOW_M) / (HIGH_M - LOW_M), 0, 1)
    tile = _height_colours(share)
    tile[~np.isfinite(top)] = 0
    return tile


def _height_colours(share: np.ndarray) -> np.ndarray:
    """(h, w) in 0..1 -> (h, w, 3) uint8, BGR; the lowest is not so dark that it is taken for nothing."""
    return np.asarray(cv2.applyColorMap((DARKEST + (255 - DARKEST) * share).astype(np.uint8), cv2.COLORMAP_VIRIDIS))


def draw_truth(tile: np.ndarray, answer: Truth, lookahead: float = 20.0) -> None:
    """The ring and an arrow for every branch, the direction in red, on a tile; lookahead in metres."""
    size = len(tile)
    cv2.circle(tile, (size // 2, size // 2), int(lookahead * size / (2 * EXTENT_M)), GREY, 1)
    for branch in answer.branches:
        colour = RED if answer.direction == branch else WHITE
        draw_arrow(tile, EXTENT_M, lookahead, branch, colour, 2, ARROW_M / lookahead)


def map_tile(image: np.ndarray, resolution: float, anchor: tuple[float, float], size: int) -> np.ndarray:
    """(H, W, 3) uint8, BGR map image -> (size, size, 3), laid over the same ground as the other tiles."""
    rows, columns = image.shape[:2]
    scale = resolution * size / (2 * EXTENT_M)
    to_tile = np.array([[scale, 0, size / 2 - anchor[0] * columns * scale],
                        [0, scale, size / 2 - anchor[1] * rows * scale]])
    return cv2.warpAffine(image, to_tile, (size, size), flags=cv2.INTER_LINEAR, borderValue=(40, 20, 20))


def row_of_tiles(tiles: Sequence[np.ndarray], titles: Sequence[str]) -> np.ndarray:
    """Tiles (size, size, 3) side by side, each under its title -> (size + bar, len(tiles) size, 3) uint8, BGR."""
    columns = []
    for tile, title in zip(tiles, titles):
        size = len(tile)
        bar = np.full((round(BAR_SHARE * size), size, 3), BAR, np.uint8)
        draw_fitted(bar, title, 0.02 * size, 0.68 * len(bar), LETTER_SHARE * size, WHITE, 0.96 * size)
        columns.append(np.vstack([bar, tile]))
        columns[-1][:, 0] = GREY
    return np.hstack(columns)


def legend(width: int, size: int) -> np.ndarray:
    """(h, width, 3) uint8, BGR: what the colours stand for, in as many lines as the width takes."""
    letter, line = LETTER_SHARE * size, round(0.085 * size)
    entries = [*WALLS.items(), *POSTS.items(), ('bush', BUSH), ('parked', PARKED), ('moving', MOVING),
               ('route', ROUTE), ('branch', WHITE), ('direction', RED)]
    cells = [(name, colour, 1.6 * line + text_width(name, letter)) for name, colour in entries]
    ramp = 6 * line
    ends = f'{LOW_M:g} m', f'{HIGH_M:g} m height'
    cells.append(('', WHITE, text_width(ends[0], letter) + ramp + text_width(ends[1], letter) + 2 * line))
    places, x, row = [], 0.3 * line, 0
    for _, _, needed in cells:
        if x + needed > width and x > line:
            x, row = 0.3 * line, row + 1
        places.append((x, row))
        x += needed
    paper = np.full(((row + 1) * line + line // 2, width, 3), BAR, np.uint8)
    for (name, colour, _), (left, number) in zip(cells, places):
        baseline = number * line + 0.85 * line
        top, bottom, at = round(baseline - letter), round(baseline), round(left)
        if name:
            cv2.rectangle(paper, (at, top), (at + line // 2, bottom), colour, -1)
            draw_text(paper, name, left + 0.8 * line, baseline, letter, WHITE)
        else:
            draw_text(paper, ends[0], left, baseline, letter, WHITE)
            at += text_width(ends[0], letter) + line // 2
            stop = min(at + ramp, width)
            paper[top:bottom, at:stop] = _height_colours(np.linspace(0, 1, ramp)[None, :stop - at])
            draw_text(paper, ends[1], at + ramp + line // 2, baseline, letter, WHITE)
    return paper


def scene_picture(world: World, lidar: LidarModel, size: int = 320, seed: int = 0) -> np.ndarray:
    """Plan, sweep and map of a world, with the truth on each -> `row_of_tiles` of the three."""
    rng = np.random.default_rng([world.seed, seed, zlib.crc32(world.scene_class.encode())])
    cloud, T_base_sensor = scan(world, world.pose, lidar, rng)
    xyz = transform_points(T_base_sensor, cloud.xyz)
    style, error = random_style(rng), random_error(rng)
    drawn = bool(rng.random() < 0.5)
    image, layout = draw_map(world, world.pose, style, error, rng, route=drawn)
    routed = drawn and style.encoding[:4] not in ('mono', '32FC')
    grey = image.ndim == 2
    if grey:
        image = np.repeat(np.clip(image.astype(np.float64) / {'mono8': 1, 'mono16': 257, '32FC1': 1 / 255}[
            style.encoding], 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    elif style.encoding.startswith('rgb'):
        image = image[..., 2::-1]
    tiles = [plan_tile(world, size), sweep_tile(xyz, size),
             map_tile(np.ascontiguousarray(image[..., :3]), layout.resolution, layout.anchor, size)]
    answer = truth(world, route=routed)
    for tile in tiles:
        draw_truth(tile, answer)
    off = f'{math.hypot(error.x, error.y):.1f} m {math.degrees(error.yaw):+.0f} deg'
    return row_of_tiles(tiles, (f'{world.scene_class} {world.seed}', f'{lidar.name}, {len(xyz)} points',
                                f'{style.encoding}, off by {off}'))


def sheet(pictures: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Pictures of one size in rows of `columns`, with thin lines between and the legend below."""
    height, width = pictures[0].shape[:2]
    rows = math.ceil(len(pictures) / columns)
    paper = np.full((rows * (height + 2), columns * (width + 2), 3), 90, np.uint8)
    for i, picture in enumerate(pictures):
        r, c = divmod(i, columns)
        paper[r * (height + 2):r * (height + 2) + height, c * (width + 2):c * (width + 2) + width] = picture
    return np.vstack([paper, legend(paper.shape[1], width // TILES)])
