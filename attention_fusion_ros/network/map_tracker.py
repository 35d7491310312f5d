# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the map belongs, carried from sweep to sweep by odometry: a Kalman filter over SE(2) that forgets, and knows
when it is lost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np

from attention_fusion_ros.contracts import PRIOR_SIZE, MapAlignment
from attention_fusion_ros.geometry import planar_motion, rotation_2d, wrap

FORGOTTEN = 0.3  # share of the knowledge that a sweep costs: errors of consecutive sweeps are alike
DRIFT = (0.02, 0.02, math.radians(0.1))  # m, m, rad standard deviation added between two sweeps
PER_METRE = (0.01, 0.01, math.radians(0.05))  # and for each metre driven
TRUST = 0.95  # of what is known from before, at most
LOST = 0.5  # below this probability that any pose fits, nothing is known
MAX_GAP_S = 3.0  # older knowledge is none


class TrackState(str, Enum):
    """What is known of the map's place."""

    NONE = 'none'  # no map, or no pose fits
    SINGLE = 'single'  # from one sweep
    TRACKED = 'tracked'  # from several
    LOST = 'lost'  # it was tracked, and now no pose fits


@dataclass(frozen=True)
class _Known:
    stamp_ns: int
    T_odom_base: np.ndarray  # (4, 4)
    mean: np.ndarray  # (3,) dx, dy, dyaw in base_link of then
    covariance: np.ndarray  # (3, 3)
    weight: float


class MapTracker:
    """Keeps what the registration found. Not thread-safe."""

    def __init__(self) -> None:
        self._known: _Known | None = None
        self._told_ns: int | None = None  # stamp of the sweep that was told what is known
        self.state = TrackState.NONE

    def clear(self) -> None:
        """Forget everything."""
        self._known, self._told_ns, self.state = None, None, TrackState.NONE

    def prior(self, stamp_ns: int, T_odom_base: np.ndarray | None) -> np.ndarray | None:
        """(PRIOR_SIZE,) float32 for `pose_volume.log_prior`, for a sweep at (4, 4); None where nothing is known."""
        known = self._known
        if known is None or T_odom_base is None:
            return None
        if not 0 <= stamp_ns - known.stamp_ns <= MAX_GAP_S * 1e9:
            return None
        motion = planar_motion(T_odom_base, known.T_odom_base)  # base then -> base now
        mean, covariance = moved(known.mean, known.covariance / (1.0 - FORGOTTEN), motion)
        driven = float(np.hypot(*motion[:2, 2]))
        covariance = covariance + np.diag(np.square(DRIFT) + driven * np.square(PER_METRE))
        prior = np.concatenate([mean, covariance.reshape(-1), [known.weight]]).astype(np.float32)
        assert prior.shape == (PRIOR_SIZE,)
        self._told_ns = stamp_ns
        return prior

    def update(self, stamp_ns: int, T_odom_base: np.ndarray | None, found: MapAlignment | None, present: float) -> None:
        """Take over what the registration found with that prior; present: probability 0..1 that a pose fits."""
        if found is None or found.covariance is None or present < LOST:
            was = self.state
            self._known = None
            tracked = was in (TrackState.TRACKED, TrackState.LOST)
            self.state = TrackState.LOST if tracked and found is not None else TrackState.NONE
            return
        told = self._known is not None and self._told_ns == stamp_ns
        self.state = TrackState.TRACKED if told else TrackState.SINGLE
        if T_odom_base is None:
            self._known = None
            return
        self._known = _Known(stamp_ns, T_odom_base, np.array([found.dx, found.dy, found.dyaw]),
                             np.asarray(found.covariance, np.float64), min(TRUST, present))


def moved(mean: np.ndarray, covariance: np.ndarray, motion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A correction (3,) and its covariance (3, 3) in one base_link, as seen from another one.

    motion (3, 3): base then -> base now. The correction is a motion of the map: seen from elsewhere it is
    `motion @ correction @ inverse(motion)`.
    """
    R, t = motion[:2, :2], motion[:2, 2]
    turn = rotation_2d(float(mean[2]))
    shift = R @ mean[:2] + t - turn @ t
    jacobian = np.eye(3)
    jacobian[:2, :2] = R
    c, s = math.cos(mean[2]), math.sin(mean[2])
    jacobian[:2, 2] = -np.array([[-s, -c], [c, -s]]) @ t
    return np.array([*shift, wrap(float(mean[2]))]), jacobian @ covariance @ jacobian.T
