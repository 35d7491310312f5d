# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A LiDAR whose driver sends the same points again, under new stamps, while odometry says that the vehicle moves."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np

from attention_fusion_ros.contracts import PointCloud
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.geometry import inverse

FROZEN_CLOUD = 'frozen_cloud'
MAX_MOVED_M, MAX_TURNED_RAD = 0.5, math.radians(3.0)  # since the points first came
MIN_POINTS = 50  # fewer, of a coarse sensor, may be the same by chance: returns from the vehicle itself
SAMPLE = 64  # points by which clouds are told apart; where these are equal, and the vehicle moved, all are compared


@dataclass
class _Known:
    """The points of a message, and where the vehicle was when they first came."""

    xyz: np.ndarray
    stamp_ns: int
    T_odom_base: np.ndarray | None  # None until odometry tells
    frozen: str = ''  # how the vehicle moved meanwhile, in words


class FrozenClouds:
    """Remembers the messages of the last sweep of each LiDAR. Not thread-safe.

    A message that brings the points of one of them again is frozen once the vehicle has moved or turned, and stays so
    until other points come. Where the vehicle stands, equal points are as they should be (simulators without noise),
    and without odometry nothing is said.
    """

    def __init__(self) -> None:
        self._epoch = 0
        self._known: dict[Hashable, dict[bytes, _Known]] = {}

    def find(self, messages: Iterable[tuple[Hashable, PointCloud]], T_odom_base: np.ndarray | None, epoch: int,
             jumped: bool = False) -> dict[int, InputError]:
        """{index of each message that is frozen: the error `frozen_cloud`} among those of one sweep.

        messages: of which LiDAR each is, and its cloud. T_odom_base: (4, 4) at the sweep's stamp, None without
        odometry. epoch: another one forgets everything (time went back, odometry has another source). jumped: odometry
        has moved as no vehicle does, so that the way since then only counts.
        """
        if epoch != self._epoch:
            self._epoch = epoch
            self._known.clear()
        now: dict[Hashable, dict[bytes, _Known]] = {}
        found: dict[int, InputError] = {}
        for k, (lidar, cloud) in enumerate(messages):
            own = now.setdefault(lidar, {})
            if len(cloud.xyz) < MIN_POINTS:
                continue
            name = _sample(cloud.xyz)
            known = self._known.get(lidar, {}).get(name) or own.get(name)
            moved = ''
            if known is not None:
                if known.T_odom_base is None or (jumped and not known.frozen):
                    known.T_odom_base = T_odom_base
                moved = _judge(known, cloud, T_odom_base)
            if known is None or (moved and not np.array_equal(known.xyz, cloud.xyz)):
                own[name] = _Known(cloud.xyz, cloud.stamp_ns, T_odom_base)
                continue
            own[name] = known
            if moved:
                known.frozen = moved
                found[k] = _error(known, cloud)
        self._known.update(now)
        return found


def _sample(xyz: np.ndarray) -> bytes:
    """A few points of a cloud (N, 3), and how many there are: what other points hardly ever share."""
    return len(xyz).to_bytes(8, 'little') + xyz[::max(1, len(xyz) // SAMPLE) | 1].tobytes()


def _judge(known: _Known, cloud: PointCloud, T_odom_base: np.ndarray | None) -> str:
    """How the vehicle moved since these points, if they are the same, came first; '' where that is no fault."""
    if cloud.stamp_ns == known.stamp_ns:
        return ''
    if known.T_odom_base is None or T_odom_base is None:
        return known.frozen
    motion = inverse(known.T_odom_base) @ T_odom_base
    moved = math.hypot(*motion[:3, 3].tolist())
    turned = math.acos(max(-1.0, min(1.0, (float(np.trace(motion[:3, :3])) - 1.0) / 2.0)))
    if moved > MAX_MOVED_M or turned > MAX_TURNED_RAD:
        return f'{moved:.1f} m and turned {math.degrees(turned):.0f} degrees'
    return known.frozen


def _error(known: _Known, cloud: PointCloud) -> InputError:
    return InputError(
        FROZEN_CLOUD, f"'{cloud.frame_id}' sends the points of {(cloud.stamp_ns - known.stamp_ns) / 1e9:.1f} s ago "
        f'again, but the vehicle has moved {known.frozen} since, by odometry.', 'restart the driver of the LiDAR, and '
        'look for a filter before this node that repeats its last cloud; where the vehicle stands, for odometry that '
        'drifts.')
