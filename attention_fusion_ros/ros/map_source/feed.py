# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Messages -> map source: decoded, and moved to the vehicle frame by tf where their sensor is mounted elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from attention_fusion_ros.decode.odometry import Odometry
from attention_fusion_ros.decode.transforms import Transforms
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.geometry import inverse, tilt_of, yaw_of
from attention_fusion_ros.maps.config import MapSourceConfig
from attention_fusion_ros.maps.fix import Fix, fix_from_message
from attention_fusion_ros.maps.flat_odometry import FlatOdometry
from attention_fusion_ros.maps.guide import Place
from attention_fusion_ros.maps.heading import Heading
from attention_fusion_ros.maps.messages import WGS84, Alignment, GivenPath, Goal, deviations
from attention_fusion_ros.maps.settings import Degrees, parse_degrees
from attention_fusion_ros.maps.source import MapSource
from attention_fusion_ros.ros.map_source import inputs
from attention_fusion_ros.stream.inputs import InputSpec, Transport
from attention_fusion_ros.sync.transform_buffer import TransformBuffer

SAME_NS = 10_000_000  # poses from /tf are not taken more often than this
ODOMETRY_GONE_NS = 1_000_000_000  # without odometry for so long, images are drawn for fixes
TILTED_RAD = math.radians(30.0)  # of a frame of odometry that does not lie level
TF_STD_M = 1.0  # of poses on /tf, which carry no covariance
TF_YAW_STD_RAD = math.radians(1.0)


class Feed:
    """Hands messages to a map source. Not thread-safe."""

    def __init__(self, source: MapSource, config: MapSourceConfig):
        self._source, self._config = source, config
        self.transforms = TransformBuffer()
        self._odometry_ns: int | None = None  # of the newest odometry, by message or tf
        self._by_message = False
        self._pose_ns: int | None = None  # of the newest pose from tf
        self._T_odom_base = np.eye(4)  # at _odometry_ns
        self._flat: FlatOdometry | None = None  # where the frame of odometry lies on its side
        self._on: dict[str, Callable[[Any, Any], int | None]] = {
            inputs.FIX: self._fix, inputs.ODOMETRY: self._odometry, inputs.IMU: self._heading,
            inputs.ALIGNMENT: self._alignment, inputs.GOAL_POSE: self._goal_pose, inputs.GOAL_FIX: self._goal_fix,
            inputs.PATH: self._path, inputs.TF: self._transforms}

    @property
    def needs_moving_transforms(self) -> bool:
        """Whether /tf has to be listened to."""
        return self._config.position.source == 'tf' or not self._by_message

    def take(self, spec: InputSpec, transport: Transport, message: Any) -> int | None:
        """Use one message; the stamp [ns] for which an image may be drawn now, None where that makes no sense.

        Raises InputError.
        """
        if spec.name == inputs.FIX:
            return self._fix(fix_from_message(message, self._config.position.fix_std), message)
        return self._on[spec.name](transport.decode(message), message)

    def time_went_back(self, now_ns: int) -> None:
        """The clock was set back: forget transforms that are later."""
        self.transforms.drop_after(now_ns)
        self._odometry_ns = self._pose_ns = None

    # -- position ------------------------------------------------------------------------------------------------------

    def _fix(self, fix: Fix, _: Any) -> int | None:
        x, y = self._config.position.antenna
        mounted = self._mounted(fix.frame_id, fix.stamp_ns)
        if mounted is not None:
            x, y = mounted[0, 3], mounted[1, 3]
        self._source.add_fix(fix, (float(x), float(y)))
        driven = self._odometry_ns is not None and abs(fix.stamp_ns - self._odometry_ns) < ODOMETRY_GONE_NS
        return None if driven else fix.stamp_ns

    def _odometry(self, odometry: Odometry, message: Any) -> int | None:
        T = odometry.T_odom_child
        if odometry.child_frame_id not in ('', self._config.frames.base):
            T = T @ self.transforms.lookup(odometry.child_frame_id, self._config.frames.base, odometry.stamp_ns)
        self._by_message, self._odometry_ns = True, odometry.stamp_ns
        if self._config.position.source == 'odometry':
            self._source.add_absolute(odometry.stamp_ns, T, *deviations(message))
        else:
            self._way(odometry.stamp_ns, T)
        return odometry.stamp_ns

    def _way(self, stamp_ns: int, T_odom_base: np.ndarray) -> None:
        """Odometry in a frame that may lie anywhere."""
        self._T_odom_base = T_odom_base
        if self._flat is None and tilt_of(T_odom_base) > TILTED_RAD:
            self._flat = FlatOdometry()
        pose = _planar(T_odom_base) if self._flat is None else self._flat.add(stamp_ns, T_odom_base)
        if pose is not None:
            self._source.add_odometry(stamp_ns, *pose)

    def odom_in_map(self, stamp_ns: int) -> np.ndarray:
        """T_map_odom (4, 4), for tf. Raises InputError: no_position, no_heading, position_stale."""
        if self._flat is None:
            return matrix(*self._source.odom_in_map(stamp_ns))
        return np.asarray(matrix(*self._source.estimate(stamp_ns).pose) @ inverse(self._T_odom_base))

    def _heading(self, heading: Heading, _: Any) -> None:
        R = heading.R_enu_sensor
        mounted = self._mounted(heading.frame_id, heading.stamp_ns)
        if mounted is not None:
            R = R @ mounted[:3, :3].T
        self._source.add_yaw(heading.stamp_ns, yaw_of(R) + self._config.position.imu_yaw, heading.std)

    def _mounted(self, frame_id: str, stamp_ns: int) -> np.ndarray | None:
        """T_base_sensor (4, 4), None where tf does not know it."""
        if not frame_id or frame_id == self._config.frames.base:
            return None
        try:
            return self.transforms.lookup(self._config.frames.base, frame_id, stamp_ns)
        except InputError:
            return None

    def _transforms(self, decoded: Transforms, _: Any) -> int | None:
        for item in decoded.items:
            self.transforms.add(item)
        stamps = {item.child: item.stamp_ns for item in decoded.items if not item.static}
        stamp_ns = self._pose_from_tf(stamps) if stamps else None
        if decoded.problem is not None:
            raise decoded.problem
        return stamp_ns

    def _pose_from_tf(self, stamps: dict[str, int]) -> int | None:
        """Position or odometry from /tf, where no message brings it. stamps: by child frame, of what has just come."""
        frames = self._config.frames
        absolute = self._config.position.source == 'tf'
        if not absolute and self._by_message:
            return None
        parent = frames.earth if absolute else frames.odom
        moved = self.transforms.moving_frames(parent, frames.base) & stamps.keys()
        if not moved:
            return None
        stamp_ns = max(stamps[child] for child in moved)
        if self._pose_ns is not None and 0 <= stamp_ns - self._pose_ns < SAME_NS:
            return None
        self._pose_ns = self._odometry_ns = stamp_ns
        T = self.transforms.lookup(parent, frames.base, stamp_ns)
        if not absolute:
            self._way(stamp_ns, T)
            return stamp_ns
        try:
            T_odom_base = self.transforms.lookup(frames.odom, frames.base, stamp_ns)
            odometry = _planar(T_odom_base)
        except InputError:
            odometry = None
        self._source.add_absolute(stamp_ns, T, TF_STD_M, TF_YAW_STD_RAD, odometry)
        return stamp_ns

    def _alignment(self, alignment: Alignment, _: Any) -> None:
        self._source.add_alignment(alignment.stamp_ns, alignment.dx, alignment.dy, alignment.dyaw,
                                   alignment.covariance)

    # -- goals ---------------------------------------------------------------------------------------------------------

    def _goal_pose(self, goal: Goal, _: Any) -> int | None:
        self._source.guide.set_goals([self.place(goal)])
        return None

    def _goal_fix(self, goal: Degrees, _: Any) -> int | None:
        self._source.guide.set_goals([goal])
        return None

    def _path(self, path: GivenPath, _: Any) -> int | None:
        if not len(path.points):
            self._source.guide.clear()
            return None
        roads = self._source.roads
        if path.frame_id == WGS84 and roads is not None:
            points = roads.frame.to_metres(path.points[:, 1], path.points[:, 0])
        else:
            points = self._in_map(path.frame_id, path.points)
        if roads is None:
            raise InputError('no_position', 'a path came before there was a position.', 'send it again.')
        self._source.guide.set_path(points, roads)
        return None

    def place(self, goal: Goal) -> Place:
        """A goal in degrees or in the local frame. Raises InputError: unknown_frame, goal_malformed, no_position."""
        if goal.frame_id == WGS84:
            longitude, latitude = goal.place
            return parse_degrees(f'{latitude!r}, {longitude!r}')
        point: np.ndarray = self._in_map(goal.frame_id, np.array([goal.place]))[0]
        return point

    def _in_map(self, frame_id: str, points: np.ndarray) -> np.ndarray:
        """(P, 2) m in a frame -> in the local frame, as of now."""
        frames, source = self._config.frames, self._source
        if frame_id in ('', frames.map):
            source.estimate()  # without a position there is no datum
            return points
        estimate = source.estimate()
        T_map_base = matrix(*estimate.pose)
        if frame_id == frames.base:
            T = T_map_base
        else:
            try:
                T = T_map_base @ self.transforms.lookup(frames.base, frame_id, estimate.stamp_ns)
            except InputError as error:
                if frame_id != frames.odom:
                    raise InputError('unknown_frame', f"a goal or path is given in the frame '{frame_id}', which is "
                                     f"not connected to '{frames.map}'.", f"give it in '{frames.map}', "
                                     f"'{frames.odom}', '{frames.base}' or '{WGS84}' (x longitude, y latitude), or "
                                     'publish the transform.') from error
                T = matrix(*source.odom_in_map())
        return np.asarray(points @ T[:2, :2].T + T[:2, 3])


def _planar(T: np.ndarray) -> tuple[float, float, float]:
    """x, y [m] and yaw [rad] of a (4, 4) pose."""
    return float(T[0, 3]), float(T[1, 3]), yaw_of(T)


def matrix(x: float, y: float, yaw: float) -> np.ndarray:
    """(4, 4) of a pose on the ground."""
    T = np.eye(4)
    c, s = np.cos(yaw), np.sin(yaw)
    T[:2, :2] = [[c, -s], [s, c]]
    T[:2, 3] = x, y
    return T
