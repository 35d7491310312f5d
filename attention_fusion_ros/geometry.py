# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Bearings on the circle and rigid transforms (REP-103: right handed, radians)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, overload

import numpy as np

MAX_DISTANCE_M = 1e9  # no place on the earth is that far from another one; sums and products stay finite


@overload
def wrap(angle: float) -> float: ...


@overload
def wrap(angle: np.ndarray) -> np.ndarray: ...


def wrap(angle: float | np.ndarray) -> float | np.ndarray:
    """Angle(s) in radians -> the same in (-pi, pi]. Float or array of any shape."""
    if isinstance(angle, float):  # thousands of times a second: an array of one number takes ten times as long
        return -((math.pi - float(angle)) % (2 * math.pi)) + math.pi
    wrapped = -np.mod(-np.asarray(angle, dtype=np.float64) + np.pi, 2 * np.pi) + np.pi
    return float(wrapped) if np.ndim(angle) == 0 else wrapped


def angle_between(a: float | np.ndarray, b: float | np.ndarray) -> Any:
    """Absolute difference of two angles in radians, 0..pi: a number, or an array of the shape they broadcast to."""
    return np.abs(wrap(np.asarray(a) - np.asarray(b)))


def rotation_2d(yaw: float) -> np.ndarray:
    """(2, 2) rotation by `yaw` radians, counter-clockwise."""
    c, s = math.cos(yaw), math.sin(yaw)
    return np.array([[c, -s], [s, c]])


def se2(x: float, y: float, yaw: float) -> np.ndarray:
    """(3, 3) homogeneous planar transform."""
    T = np.eye(3)
    T[:2, :2] = rotation_2d(yaw)
    T[:2, 2] = x, y
    return T


def se3_from_quaternion(translation: Iterable[float], quaternion: Iterable[float]) -> np.ndarray:
    """(x, y, z) in metres and (qx, qy, qz, qw) -> (4, 4) transform.

    Raises ValueError when a value is not finite, the translation longer than MAX_DISTANCE_M along an axis, or the
    quaternion far from unit length.
    """
    # Plain floats: a busy /tf brings thousands of these a second, and arrays of four numbers cost more than they save.
    tx, ty, tz = map(float, translation)
    x, y, z, w = map(float, quaternion)
    if not all(map(math.isfinite, (tx, ty, tz, x, y, z, w))):
        raise ValueError('translation or quaternion is not finite')
    if max(abs(tx), abs(ty), abs(tz)) > MAX_DISTANCE_M:
        raise ValueError(f'translation is beyond {MAX_DISTANCE_M:g} m')
    norm = math.sqrt(x * x + y * y + z * z + w * w)
    if abs(norm - 1.0) > 0.1:
        raise ValueError(f'quaternion has length {norm:.3f}, expected 1')
    x, y, z, w = x / norm, y / norm, z / norm, w / norm
    return np.array([[1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w), tx],
                     [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w), ty],
                     [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y), tz],
                     [0.0, 0.0, 0.0, 1.0]])


def quaternion_from_yaw(yaw: float) -> tuple[float, float, float, float]:
    """Yaw in radians -> (qx, qy, qz, qw)."""
    return 0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2)


def yaw_of(T: np.ndarray) -> float:
    """Yaw in radians of a (4, 4) or (3, 3) homogeneous transform."""
    return math.atan2(T[1, 0], T[0, 0])


def planar(T: np.ndarray) -> np.ndarray:
    """(4, 4) -> (3, 3): the yaw and the x, y of a spatial transform, seen along the z axis of the parent frame.

    Of a motion between two poses of base_link take `planar_motion`: only the motion is a matter of the ground plane.
    """
    return se2(T[0, 3], T[1, 3], yaw_of(T))


def planar_motion(T_odom_now: np.ndarray, T_odom_then: np.ndarray) -> np.ndarray:
    """Two (4, 4) poses of base_link in one frame -> (3, 3) T_now_then on the ground plane of base_link now.

    The motion is taken in space first: how the common frame lies (upside down, tilted, LiDAR odometry that starts as
    the sensor's own frame) makes no difference.
    """
    return planar(inverse(T_odom_now) @ T_odom_then)


def tilt_of(T: np.ndarray) -> float:
    """Angle in radians, 0..pi, between the z axes of the two frames of a (4, 4) transform."""
    return math.atan2(math.hypot(T[0, 2], T[1, 2]), T[2, 2])


def inverse(T: np.ndarray) -> np.ndarray:
    """Inverse of a rigid (4, 4) or (3, 3) transform, without a general matrix inverse."""
    n = T.shape[0] - 1
    inv = np.eye(n + 1)
    inv[:n, :n] = T[:n, :n].T
    inv[:n, n] = -T[:n, :n].T @ T[:n, n]
    return inv


def transform_points(T: Any, xyz: Any) -> Any:
    """Points (N, 3) in frame b -> the same in frame a, given T_a_b (4, 4).

    Two numpy arrays or two torch tensors on one device; the result has the type of `xyz @ T`.
    """
    return xyz @ T[:3, :3].T + T[:3, 3]


def is_rigid(T: np.ndarray, tolerance: float = 1e-3) -> bool:
    """True when T is a finite (4, 4) with an orthonormal right-handed rotation and last row 0 0 0 1."""
    if T.shape != (4, 4) or not np.isfinite(T).all():
        return False
    # Plain numbers: asked of every sweep, and products of small arrays take twenty times as long.
    *rows, last = T.tolist()
    a, b, c = (row[:3] for row in rows)
    skew = max(abs(sum(p * q for p, q in zip(first, second)) - (first is second))
               for first, second in ((a, a), (b, b), (c, c), (a, b), (a, c), (b, c)))
    volume = (a[0] * (b[1] * c[2] - b[2] * c[1]) + a[1] * (b[2] * c[0] - b[0] * c[2])
              + a[2] * (b[0] * c[1] - b[1] * c[0]))
    return bool(skew <= tolerance and volume > 0
                and max(abs(value - wanted) for value, wanted in zip(last, (0, 0, 0, 1))) <= 1e-5)


def interpolate_se3(T0: np.ndarray, T1: np.ndarray, fraction: float) -> np.ndarray:
    """Pose between two (4, 4) poses: linear in translation, spherical in rotation (0 -> T0, 1 -> T1).

    The rotation takes the shorter way (of two equal ways, at 180 degrees, either); Shoemake, "Animating rotation with
    quaternion curves", 1985. Fractions outside 0..1 extrapolate.
    """
    T = np.eye(4)
    T[:3, 3] = (1 - fraction) * T0[:3, 3] + fraction * T1[:3, 3]
    x, y, z, w = quaternion_from_rotation(T0[:3, :3].T @ T1[:3, :3])
    sine = math.sqrt(x * x + y * y + z * z)  # of half the angle between the two
    if sine < 1e-12:
        T[:3, :3] = T0[:3, :3]
        return T
    half = fraction * math.atan2(sine, w)
    scale = math.sin(half) / sine
    T[:3, :3] = T0[:3, :3] @ se3_from_quaternion((0, 0, 0), (x * scale, y * scale, z * scale, math.cos(half)))[:3, :3]
    return T


def quaternion_from_rotation(R: np.ndarray) -> tuple[float, float, float, float]:
    """Rotation matrix (3, 3) -> unit quaternion (qx, qy, qz, qw) with qw >= 0.

    By the largest of the four components, so that no angle is ill-conditioned (Shepperd 1978).
    """
    (a, b, c), (d, e, f), (g, h, i) = R.tolist()
    squares = (1 + a - e - i, 1 - a + e - i, 1 - a - e + i, 1 + a + e + i)  # 4 q^2 of x, y, z, w
    largest = squares.index(max(squares))
    rows = ((squares[0], b + d, c + g, h - f), (b + d, squares[1], f + h, c - g),
            (c + g, f + h, squares[2], d - b), (h - f, c - g, d - b, squares[3]))
    x, y, z, w = rows[largest]
    norm = math.copysign(math.sqrt(x * x + y * y + z * z + w * w), w)
    return x / norm, y / norm, z / norm, w / norm


def bin_bearings(bins: int) -> np.ndarray:
    """(K,) bearing of every bin's centre, radians."""
    return -math.pi + (np.arange(bins) + 0.5) * (2 * math.pi / bins)
