# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""An extended Kalman filter: fixes and headings now and then, odometry in between.

State: position [m] and yaw [rad] of base_link in the local frame, how much longer ways are than odometry says (share),
how odometry's yaw drifts [rad per m], and how far the fixes are off [m, east and north]. The last is what makes the
deviations honest: errors of satellite positions last for minutes (a first-order Gauss-Markov process here), so that
averaging a hundred fixes of one minute is worth little more than one of them. Brown and Hwang, Introduction to Random
Signals and Applied Kalman Filtering, 4th edition 2012, chapters 5 and 9.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from attention_fusion_ros.geometry import wrap
from attention_fusion_ros.maps.odometry_track import Pose2

X, Y, YAW, SCALE, DRIFT, EAST, NORTH = range(7)


@dataclass(frozen=True)
class FilterSettings:
    """What is assumed of sensors that do not say it themselves."""

    scale_std: float = 0.015  # share that odometry is too short or too long
    drift_std: float = math.radians(0.005)  # rad per m that its yaw drifts steadily
    walk: float = 0.02  # m per square root of a metre driven
    yaw_walk: float = math.radians(0.03)  # rad per square root of a metre driven
    wander_share: float = 0.85  # of a fix's deviation that lasts; the rest is new with every fix
    wander_s: float = 100.0  # time constant of what lasts
    gate: float = 13.8  # squared Mahalanobis distance of fixes: 1 of 1000 good ones is beyond
    yaw_gate: float = 10.8
    pose_gate: float = 16.3
    restart_s: float = 30.0  # of fixes that are all refused and agree with each other: they are believed then
    unaided_speed: float = 15.0  # m/s that the vehicle may have moved at where there is no odometry


class PositionFilter:
    """The filter once it has started. Measurements of the past are moved to now by odometry: see `lever`."""

    def __init__(self, pose: Pose2, covariance: np.ndarray, fix_std: float, settings: FilterSettings):
        """covariance: (3, 3) of the pose. fix_std: m; > 0 when the position came from fixes, whose error it shares."""
        self.settings = settings
        self.x = np.zeros(7)
        self.x[:3] = pose
        self.wander = settings.wander_share * fix_std
        self.P: np.ndarray = np.zeros((7, 7))
        self.P[:3, :3] = covariance
        self.P[SCALE, SCALE], self.P[DRIFT, DRIFT] = settings.scale_std**2, settings.drift_std**2
        for place, wander in ((X, EAST), (Y, NORTH)):
            self.P[wander, wander] = self.wander**2
            if self.P[place, place] > self.wander**2 > 0:  # a fix is the position and its wander together
                self.P[place, wander] = self.P[wander, place] = -self.wander**2

    @property
    def pose(self) -> Pose2:
        """The estimate."""
        return Pose2(float(self.x[X]), float(self.x[Y]), float(self.x[YAW]))

    @property
    def covariance(self) -> np.ndarray:
        """(3, 3) of x, y [m] and yaw [rad]."""
        return self.P[:3, :3].copy()

    @property
    def position_std(self) -> float:
        """m along the longer axis of the ellipse."""
        return math.sqrt(max(float(np.linalg.eigvalsh(self.P[:2, :2])[-1]), 0.0))

    @property
    def yaw_std(self) -> float:
        """rad."""
        return math.sqrt(max(float(self.P[YAW, YAW]), 0.0))

    def move(self, step: Pose2, seconds: float) -> None:
        """A step of odometry, in the frame of the vehicle before it."""
        c, s = math.cos(self.x[YAW]), math.sin(self.x[YAW])
        long, length = 1.0 + self.x[SCALE], math.hypot(step.x, step.y)
        dx, dy = c * step.x - s * step.y, s * step.x + c * step.y
        F = np.eye(7)
        F[X, YAW], F[Y, YAW] = -long * dy, long * dx
        F[X, SCALE], F[Y, SCALE] = dx, dy
        F[YAW, DRIFT] = length
        self.x[X] += long * dx
        self.x[Y] += long * dy
        self.x[YAW] = wrap(self.x[YAW] + step.yaw + self.x[DRIFT] * length)
        self.P = F @ self.P @ F.T
        q = self.settings
        self.P[[X, Y], [X, Y]] += q.walk**2 * length
        self.P[YAW, YAW] += q.yaw_walk**2 * length
        self.P[SCALE, SCALE] += (0.01 * q.scale_std)**2 * length / 10.0
        self.P[DRIFT, DRIFT] += (0.01 * q.drift_std)**2 * length / 10.0
        self._age(seconds)

    def wait(self, seconds: float, turning: float | None = None) -> None:
        """Time without odometry: the vehicle may have driven anywhere, and turned in some of it (default: in all)."""
        moved = self.settings.unaided_speed * seconds
        self.P[[X, Y], [X, Y]] += moved**2
        self.turn(seconds if turning is None else turning)
        self._age(seconds)

    def turn(self, seconds: float) -> None:
        """Time in which the vehicle may have turned, and nothing tells how far."""
        self.P[YAW, YAW] = min(self.P[YAW, YAW] + (0.3 * seconds)**2, math.pi**2)

    def _age(self, seconds: float) -> None:
        keep = math.exp(-max(seconds, 0.0) / self.settings.wander_s)
        self.x[EAST:] *= keep
        self.P[EAST:, :] *= keep
        self.P[:, EAST:] *= keep
        self.P[[EAST, NORTH], [EAST, NORTH]] += self.wander**2 * (1.0 - keep**2)

    def fix(self, place: np.ndarray, std: float, lever: Pose2) -> bool:
        """A position (2,) m of the antenna; False when it is too far off to be true.

        lever: the antenna at the time of the fix as seen from base_link now.
        """
        wander = self.settings.wander_share * std
        if not self.wander:  # it started from something else than fixes
            self.P[[EAST, NORTH], [EAST, NORTH]] = wander**2
            self.wander = wander
        self.wander = 0.9 * self.wander + 0.1 * wander
        c, s = math.cos(self.x[YAW]), math.sin(self.x[YAW])
        rx, ry = c * lever.x - s * lever.y, s * lever.x + c * lever.y
        H = np.zeros((2, 7))
        H[0, [X, YAW, EAST]] = 1.0, -ry, 1.0
        H[1, [Y, YAW, NORTH]] = 1.0, rx, 1.0
        residual = place - self.x[:2] - (rx, ry) - self.x[EAST:]
        white = (1.0 - self.settings.wander_share**2) * std**2
        return self._update(residual, H, np.eye(2) * max(white, 1e-4), self.settings.gate)

    def yaw(self, yaw: float, std: float, turned: float) -> bool:
        """An absolute yaw [rad]; turned: the yaw then, as seen from now. False when too far off."""
        H = np.zeros((1, 7))
        H[0, YAW] = 1.0
        residual = np.array([wrap(yaw - turned - self.x[YAW])])
        return self._update(residual, H, np.array([[std**2]]), self.settings.yaw_gate)

    def whole_pose(self, pose: Pose2, covariance: np.ndarray, lever: Pose2) -> bool:
        """A pose of base_link; lever: that of then as seen from now. covariance: (3, 3). False when too far off."""
        c, s = math.cos(self.x[YAW]), math.sin(self.x[YAW])
        rx, ry = c * lever.x - s * lever.y, s * lever.x + c * lever.y
        H = np.zeros((3, 7))
        H[0, [X, YAW]] = 1.0, -ry
        H[1, [Y, YAW]] = 1.0, rx
        H[2, YAW] = 1.0
        residual = np.array([pose.x - self.x[X] - rx, pose.y - self.x[Y] - ry,
                             wrap(pose.yaw - lever.yaw - self.x[YAW])])
        return self._update(residual, H, covariance, self.settings.pose_gate)

    def _update(self, residual: np.ndarray, H: np.ndarray, R: np.ndarray, gate: float) -> bool:
        S = H @ self.P @ H.T + R
        solved = np.linalg.solve(S, np.column_stack([residual, H @ self.P]))
        if not float(residual @ solved[:, 0]) <= gate:
            return False
        K = solved[:, 1:].T
        self.x += K @ residual
        self.x[YAW] = wrap(self.x[YAW])
        rest = np.eye(7) - K @ H
        self.P = rest @ self.P @ rest.T + K @ R @ K.T  # Joseph's form: stays symmetric and positive
        self.P = (self.P + self.P.T) / 2
        return True
