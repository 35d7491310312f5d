# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""How far an answer follows a map that is moved: the displacement of its branches over that of the drawn ones."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from attention_fusion_ros.geometry import angle_between, wrap
from attention_fusion_ros.metrics.branches import Prediction, TrueRoads
from attention_fusion_ros.metrics.matching import match
from attention_fusion_ros.simulation.sensors.map_image import MapError

FOUND_RAD = math.radians(15.0)  # how near to the true branch a published one must be to be followed
LEAST_RAD = math.radians(2.0)  # a drawn branch that moves less tells nothing


def drawn_bearing(bearing: float, heading: float, error: MapError, ring: float) -> float | None:
    """Where a road that leaves the ring (radius in m) at `bearing`, going to `heading` [rad], crosses it in a map with
    this error, were it straight; rad. None where it does not cross.
    """
    c, s = math.cos(error.yaw), math.sin(error.yaw)
    x, y = ring * math.cos(bearing), ring * math.sin(bearing)
    px, py = c * x - s * y + error.x, s * x + c * y + error.y
    ux, uy = math.cos(heading + error.yaw), math.sin(heading + error.yaw)
    half = px * ux + py * uy
    root = half * half - (px * px + py * py - ring * ring)
    if root < 0:
        return None
    step = min(-half - math.sqrt(root), -half + math.sqrt(root), key=abs)
    return math.atan2(py + step * uy, px + step * ux)


def follow_pairs(before: Prediction, after: Prediction, truth: TrueRoads, error: MapError,
                 ring: float) -> list[tuple[float, float]]:
    """(how far the drawn branch moved, how far the published one did), rad, of every true branch that is published both
    with the exact map and with one of this error.
    """
    true = [bearing for bearing, _ in truth.branches]
    found = [dict((t, p.branches[k].bearing) for k, t in match([b.bearing for b in p.branches], true, FOUND_RAD))
             for p in (before, after)]
    pairs = []
    for k, (bearing, heading) in enumerate(truth.branches):
        drawn = drawn_bearing(bearing, heading, error, ring)
        if drawn is not None and k in found[0] and k in found[1]:
            pairs.append((wrap(drawn - bearing), wrap(found[1][k] - found[0][k])))
    return pairs


def followed_share(pairs: Sequence[tuple[float, float]]) -> np.ndarray:
    """(M,) share of its drawn displacement that each branch followed, of those that were drawn clearly elsewhere."""
    return np.array([moved / drawn for drawn, moved in pairs if abs(drawn) > LEAST_RAD])


def lateral_errors(prediction: Prediction, truth: TrueRoads, ring: float, tolerance: float) -> list[float]:
    """How far, in m across the road, the published crossings are from the true ones; of branches matched within
    `tolerance` [rad]. ring: radius in m.
    """
    true = [bearing for bearing, _ in truth.branches]
    errors = []
    for k, t in match([b.bearing for b in prediction.branches], true, tolerance):
        bearing, heading = truth.branches[t]
        a = prediction.branches[k].bearing
        dx, dy = ring * (math.cos(a) - math.cos(bearing)), ring * (math.sin(a) - math.sin(bearing))
        errors.append(abs(-dx * math.sin(heading) + dy * math.cos(heading)))
    return errors


def switched(a: Prediction, b: Prediction, limit: float = FOUND_RAD) -> bool:
    """Whether both give a direction, and not the same branch."""
    if a.direction is None or b.direction is None:
        return False
    return bool(angle_between(a.direction.bearing, b.direction.bearing) > limit)
