# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Map images that move otherwise than the vehicle: turned, mirrored, of another scale, not drawn anew.

What is drawn stands still on the ground, so from one image to the next it has to move against the vehicle as odometry
tells. An error of place that stays does not show in that, nor does a map that is right and merely metres off.
"""

from __future__ import annotations

import math

import numpy as np

from attention_fusion_ros.bev.map_image import pixel_size
from attention_fusion_ros.config import MapConfig
from attention_fusion_ros.contracts import Finding, MapImage, Motion
from attention_fusion_ros.geometry import planar_motion, yaw_of
from attention_fusion_ros.pipeline.motion_match import (
    CELL_M,
    MAX_SHIFT_M,
    MIN_CELLS,
    Contradictions,
    Surroundings,
    scores,
    words,
)

MAP_MOVES_OTHERWISE = 'map_moves_otherwise'
MOVED_M, TURNED_RAD = 10.0, math.radians(25.0)  # between two images that are compared
MAX_MOVED_M = MAX_SHIFT_M  # farther apart, too little is on both
REACH_M = 50.0  # around the vehicle, of what is compared
BRIGHT = 0.5  # of road or route
# Motion that counts as what odometry tells: positions that images are drawn around come from a receiver.
TOLERANCE_M, TOLERANCE_SHARE = 2.0, 0.15
FITS = 0.88  # share of the roads of both images that a motion brings together, of the motion that is believed
WORSE = 0.12  # by so much less the motion that odometry tells


class MapMotionCheck:
    """Compares map images some metres apart. Not thread-safe."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything: time has jumped, or odometry has another source."""
        self._last: Surroundings | None = None
        self._before: Surroundings | None = None  # the one that was compared before the last one
        self._image: MapImage | None = None
        self._layout: tuple[float, tuple[float, ...], str] | None = None
        self._contradictions = Contradictions()

    def finding(self, image: MapImage, motion: Motion, layout: MapConfig) -> Finding | None:
        """What to say of a sweep with this image; None as long as images move as they should, or nothing tells.

        Occupancy grids, which are placed by tf, and sweeps without odometry say nothing.
        """
        T = motion.T_odom_base_map
        if image.placement is not None or T is None:
            return None
        if (how := (layout.resolution, tuple(layout.anchor), layout.orientation)) != self._layout:
            self.clear()
            self._layout = how
        if image is not self._image:
            self._image = image
            self._compare(image, T, layout)
        if not (said := self._contradictions.said):
            return None
        return Finding(MAP_MOVES_OTHERWISE, 'map_image', f'the map image does not move with the vehicle: {said}. '
                       'Remedy: let the image be drawn anew as the vehicle moves, with ahead up (map.orientation '
                       'north_up: north), not turned or mirrored; check map.resolution and map.anchor, and that '
                       'odometry has x ahead, y left and z up.')

    def _compare(self, image: MapImage, T_odom_base: np.ndarray, layout: MapConfig) -> None:
        if self._last is None:
            self._last = _drawn(image, T_odom_base, layout)
            return
        motion = planar_motion(self._last.T_odom_base, T_odom_base)
        moved, turned = math.hypot(*motion[:2, 2].tolist()), abs(yaw_of(motion))
        if moved < MOVED_M and turned < TURNED_RAD:
            return
        now, last, before = _drawn(image, T_odom_base, layout), self._last, self._before
        self._last, self._before = now, last
        if moved > MAX_MOVED_M or min(last.filled.sum(), now.filled.sum()) < MIN_CELLS:
            return
        found = contradiction(last, now, layout.orientation)
        # A single image in a wrong place, as after a jump of the receiver, contradicts the one after it, too.
        if found and (before is None or not contradiction(before, now, layout.orientation)):
            found = ''
        self._contradictions.add(found)


def contradiction(before: Surroundings, after: Surroundings, orientation: str) -> str:
    """How the image moved, in words, where that is clear and not what odometry tells; '' otherwise."""
    then, now = before.T_odom_base, after.T_odom_base
    motion = planar_motion(then, now)
    turn, shift = yaw_of(motion), motion[:2, 2]
    if orientation == 'north_up':  # it only shifts: up is y of odometry, left is -x
        turn, shift = 0.0, np.array([now[1, 3] - then[1, 3], then[0, 3] - now[0, 3]])
    moved = float(np.hypot(*shift))
    tolerance = TOLERANCE_M + TOLERANCE_SHARE * moved
    turns = [turn] if abs(yaw_of(motion)) < math.radians(5.0) else [turn, *({0.0, yaw_of(motion), -turn} - {turn})]
    expected, best, best_turn, best_shift = 0.0, 0.0, 0.0, np.zeros(2)
    for k, angle in enumerate(turns):
        score, up, left = scores(before, after, angle)
        if k == 0:
            expected = float(score[np.hypot(up - shift[0], left - shift[1]) <= tolerance].max(initial=0.0))
        # Shorter motions first: along a straight road, many fit alike.
        top = score.max() - 1e-9
        if top > best:
            nearest = np.where(score >= top, np.hypot(up, left), np.inf).argmin()
            best, best_turn = float(top), angle
            best_shift = np.array([up.flat[nearest], left.flat[nearest]])
    if best < FITS or expected > best - WORSE:
        return ''
    return (f'odometry tells {words(shift, turn)}, what is drawn {words(best_shift, best_turn)} '
            '(up and left in the image)')


def _drawn(image: MapImage, T_odom_base: np.ndarray, layout: MapConfig) -> Surroundings:
    """The roads of an image around its anchor, in cells of CELL_M."""
    height, width = image.road.shape
    pixel = pixel_size(image, layout)
    n = 2 * round(REACH_M / CELL_M) + 1
    centre = (np.arange(n) - n // 2) * CELL_M
    rows = np.floor(layout.anchor[1] * height + centre / pixel).astype(int)
    columns = np.floor(layout.anchor[0] * width + centre / pixel).astype(int)
    inside = ((0 <= rows) & (rows < height))[:, None] & ((0 <= columns) & (columns < width))
    where = np.ix_(rows.clip(0, height - 1), columns.clip(0, width - 1))
    middle, reach = (layout.anchor[1] * height, layout.anchor[0] * width), REACH_M / pixel
    (top, bottom), (left, right) = (
        np.clip((int(at - reach), int(at + reach) + 1), 0, size) for at, size in zip(middle, (height, width)))
    bright = np.zeros((n, n), bool)
    for layer in (image.road, image.route):
        if layer is None:
            continue
        bright |= layer[where] > BRIGHT
        row, column = np.nonzero(layer[top:bottom, left:right] > BRIGHT)  # thin strokes lie between the samples
        cells = [np.rint(((k + start + 0.5) - at) * pixel / CELL_M).astype(int) + n // 2
                 for k, start, at in ((row, top, middle[0]), (column, left, middle[1]))]
        bright[cells[0].clip(0, n - 1), cells[1].clip(0, n - 1)] = True
    disc = np.hypot(centre[:, None], centre) <= REACH_M
    return Surroundings(bright & inside & disc, inside & disc, T_odom_base)
