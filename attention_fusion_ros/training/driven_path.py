"""Labels from the way the vehicle drove: where its past and future path crosses the ring. No hand labelling.

A recording tells of two branches at most; about all other bearings it tells nothing, and the loss must not either.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from attention_fusion_ros.geometry import angle_between, inverse, planar

KNOWN_WITHIN = math.radians(20.0)  # bearings this near to a driven branch are known: it is there, and nothing else
HEADING_SPAN = 3.0  # m, the heading is measured over this much of the path on both sides of the ring
MIN_STEP = 0.05  # m, slower odometry samples say nothing about the heading


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
        """(K,) bearings -> (K,) bool, about which of them the recording tells anything."""
        told = np.zeros(len(bearings), bool)
        for bearing, _ in self.branches:
            told |= angle_between(bearings, bearing) <= KNOWN_WITHIN
        return told


def driven_truth(poses: np.ndarray, now: int, lookahead: float) -> DrivenTruth:
    """poses (F, 4, 4) odom <- base_link in order of time, index of the sweep's pose, ring radius in metres."""
    T = inverse(planar(poses[now]))
    xy = poses[:, :2, 3] @ T[:2, :2].T + T[:2, 2]
    return DrivenTruth(_leave(xy[now:], lookahead), _leave(xy[now::-1], lookahead))


def _leave(path: np.ndarray, radius: float) -> tuple[float, float] | None:
    """(bearing, heading) where a path (P, 2) that starts near the origin first leaves the ring."""
    keep = [0]
    for i in range(1, len(path)):
        if np.linalg.norm(path[i] - path[keep[-1]]) >= MIN_STEP:
            keep.append(i)
    path = path[keep]
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
    ends = [np.array([np.interp(s, travelled, path[:, k]) for k in (0, 1)])
            for s in (at - HEADING_SPAN, min(at + HEADING_SPAN, travelled[-1]))]
    span = ends[1] - ends[0]
    return math.atan2(crossing[1], crossing[0]), math.atan2(span[1], span[0])
