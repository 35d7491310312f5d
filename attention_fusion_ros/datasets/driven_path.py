# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Labels from the way the vehicle drove: where its past and future path crosses the ring. No hand labelling.

A recording shows two branches at most. About all other bearings it says nothing, and neither must the loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from attention_fusion_ros.geometry import angle_between, interpolate_se3, inverse, transform_points

KNOWN_WITHIN_RAD = math.radians(20.0)  # bearings this near to a driven branch are known: it is there, and nothing else
HEADING_SPAN_M = 3.0  # the heading is measured over this much of the path on both sides of the ring
MIN_REACH_M = 0.5  # nor over less than this where the path ends right behind the ring
MIN_STEP_M = 0.05  # slower odometry samples say nothing about the heading
MAX_STEP_M = 12.0  # between two samples; where more is missing, or odometry starts anew, the path ends
MAX_AGE_NS = 500_000_000  # a sweep farther than this from any odometry sample has no pose


@dataclass(frozen=True)
class DrivenTruth:
    """(bearing, heading) in radians in base_link, outward; None where the recording does not reach the ring."""

    ahead: tuple[float, float] | None
    behind: tuple[float, float] | None

    @property
    def branches(self) -> list[tuple[float, float]]:
        """The branches known from driving."""
        return [b for b in (self.ahead, self.behind) if b is not None]

    def known(self, bearings: np.ndarray) -> np.ndarray:
        """Bearings (K,) in rad -> (K,) bool: those that are near enough to a driven branch to be labelled."""
        near = np.zeros(len(bearings), bool)
        for bearing, _ in self.branches:
            near |= angle_between(bearings, bearing) <= KNOWN_WITHIN_RAD
        return near


def with_pose_at(stamps: np.ndarray, poses: np.ndarray, stamp_ns: int) -> tuple[np.ndarray, int] | None:
    """Insert the pose at `stamp_ns`, interpolated, and return all poses and its index.

    stamps: (F,) int64 ns, ascending. poses: (F, 4, 4) odom <- base_link. Before the first and after the last sample the
    nearest one is taken. None when no sample is within MAX_AGE_NS.
    """
    after = int(np.searchsorted(stamps, stamp_ns))
    near = [i for i in (after - 1, after) if 0 <= i < len(stamps)]
    if not near or min(abs(int(stamps[i]) - stamp_ns) for i in near) > MAX_AGE_NS:
        return None
    if len(near) == 1 or stamps[after] == stamp_ns:
        return poses, near[-1]
    share = (stamp_ns - int(stamps[after - 1])) / (int(stamps[after]) - int(stamps[after - 1]))
    return np.insert(poses, after, interpolate_se3(poses[after - 1], poses[after], share), axis=0), after


def driven_truth(poses: np.ndarray, now: int, lookahead: float) -> DrivenTruth:
    """Where the path before and after a sweep crosses the ring.

    poses: (F, 4, 4) odom <- base_link in order of time; how odom lies makes no difference. now: index of the sweep's
    pose. lookahead: radius in m.
    """
    xy = transform_points(inverse(poses[now]), poses[:, :3, 3])[:, :2]
    return DrivenTruth(_leave(xy[now:], lookahead), _leave(xy[now::-1], lookahead))


def _leave(path: np.ndarray, radius: float) -> tuple[float, float] | None:
    """(bearing, heading) where a path (P, 2) that starts near the origin first leaves the ring."""
    path = path[_needed(path, radius)]
    distance = np.linalg.norm(path, axis=1)
    outside = np.flatnonzero(distance >= radius)
    if len(outside) == 0 or outside[0] == 0:
        return None
    i = int(outside[0])
    a, b = path[i - 1], path[i]
    direction = b - a
    # |a + t (b - a)| = radius
    A, B, C = direction @ direction, 2 * a @ direction, a @ a - radius ** 2
    t = (-B + math.sqrt(max(0.0, B * B - 4 * A * C))) / (2 * A)
    crossing = a + t * direction
    travelled = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    at = travelled[i - 1] + t * math.sqrt(A)
    # As far to both sides: in a bend the chord is parallel to the path only in the middle.
    reach = min(HEADING_SPAN_M, max(travelled[-1] - at, MIN_REACH_M))
    ends = [np.array([np.interp(s, travelled, path[:, k]) for k in (0, 1)]) for s in (at - reach, at + reach)]
    span = ends[1] - ends[0]
    return math.atan2(crossing[1], crossing[0]), math.atan2(span[1], span[0])


def _needed(path: np.ndarray, radius: float) -> list[int]:
    """Indices of the samples that count: not while the vehicle stands, after a hole, or far outside."""
    keep, outside = [0], 0.0  # outside: m driven since the ring was left
    for i in range(1, len(path)):
        step = float(np.linalg.norm(path[i] - path[keep[-1]]))
        if step < MIN_STEP_M:
            continue
        if step > MAX_STEP_M or outside > HEADING_SPAN_M:
            break
        keep.append(i)
        if outside or np.linalg.norm(path[keep[-2]]) >= radius:
            outside += step
    return keep
