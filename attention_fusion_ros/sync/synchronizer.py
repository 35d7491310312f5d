# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which map image and which odometry go with a sweep. Node and `replay` share it, so both give the same numbers.

Only what is stamped up to the sweep counts (a map image may be a little later, where there is no earlier one): the
answer depends on stamps, not on when messages happened to arrive.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.contracts import FusionResult, MapImage, Motion, PointCloud, SyncedSweep
from attention_fusion_ros.decode.odometry import decode_odometry
from attention_fusion_ros.errors import ConfigurationError, InputError
from attention_fusion_ros.geometry import is_rigid
from attention_fusion_ros.sync.map_buffer import MapBuffer
from attention_fusion_ros.sync.pose_buffer import JUMP_BACK_NS, SECOND, PoseBuffer
from attention_fusion_ros.sync.transform_buffer import TransformBuffer

STAMP_BACKWARDS = 'stamp_backwards'


@dataclass(frozen=True)
class SyncedInputs:
    """What goes with one sweep."""

    map_image: MapImage | None
    map_reason: str  # why there is none, '' when there is one
    motion: Motion


class Synchronizer:
    """Collects map images, odometry and transforms, and pairs them with sweeps. Thread-safe.

    Stamps of sweeps that run backwards (a bag that starts again, a reset simulation) drop that sweep, as InputError
    `stamp_backwards`, and everything later than it from every buffer; the next sweep is paired as usual.
    """

    def __init__(self, config: NodeConfig):
        """Raises ConfigurationError when T_base_sensor is needed but is no rigid transform."""
        self._lock = threading.Lock()
        self._maps, self._transforms = MapBuffer(), TransformBuffer()
        self._odometry = PoseBuffer(config.odometry.max_age, config.odometry.history)
        self._odometry_frame = ''  # of the latest odometry, where it is not the base frame
        self._last_sweep: int | None = None
        self._config = config
        self._T_base_sensor = sensor_pose(config)

    def update(self, config: NodeConfig) -> None:
        """Take over parameters that may change while running."""
        with self._lock:
            self._config = config
            self._odometry.max_age = config.odometry.max_age

    def reset(self) -> None:
        """Forget everything but static knowledge of frames."""
        with self._lock:
            self._last_sweep = None
            self._forget_after(-1)

    def on_time_jump(self, stamp_ns: int) -> None:
        """The clock was set back to this time: forget what is later."""
        with self._lock:
            if self._last_sweep is not None and self._last_sweep > stamp_ns:
                self._last_sweep = None
            self._forget_after(stamp_ns + JUMP_BACK_NS)

    def add_map_image(self, image: MapImage) -> None:
        """Add a decoded map image."""
        with self._lock:
            self._maps.add(image)

    def add_odometry(self, msg: Any) -> int:
        """Add a nav_msgs/Odometry; returns its stamp in ns.

        Raises InputError: what `decode_odometry` raises, and odometry_frame when its child frame is neither the base
        frame nor connected to it by a transform.
        """
        stamp_ns, child, T_odom_child = decode_odometry(msg)
        base = self._config.frames.base
        with self._lock:
            self._odometry_frame = child if child != base else ''
            if self._odometry_frame:
                try:
                    T_odom_child = T_odom_child @ self._transforms.lookup(child, base, stamp_ns)
                except InputError as error:
                    raise InputError(
                        'odometry_frame', f"odometry is of frame '{child}', which no transform connects with '{base}'.",
                        f"set frames.base to '{child}' or publish the transform.") from error
            self._odometry.add(stamp_ns, T_odom_child)
        return stamp_ns

    def add_transforms(self, msg: Any, static: bool) -> None:
        """Add a tf2_msgs/TFMessage. Raises InputError `bad_transform`."""
        with self._lock:
            self._transforms.add_message(msg, static)

    def needs_moving_transforms(self, frame_id: str) -> bool:
        """Whether /tf matters for the sweep's sensor or for odometry (False: static transforms are enough)."""
        with self._lock:
            return any(self._transforms.moves(self._config.frames.base, frame)
                       for frame in (frame_id, self._odometry_frame) if frame)

    def has_transform(self, frame_id: str, stamp_ns: int) -> bool:
        """Whether the sweep's transform is known by now."""
        try:
            with self._lock:
                self._sensor(frame_id, stamp_ns)
        except InputError:
            return False
        return True

    def pair(self, stamp_ns: int, frame_id: str) -> SyncedInputs:
        """What goes with the sweep of this stamp and sensor frame.

        Without odometry a heading_up map image is used as it is, a north_up one not at all.
        Raises InputError: stamp_backwards, transform_missing.
        """
        with self._lock:
            self._check_time(stamp_ns)
            T_base_sensor = self._sensor(frame_id, stamp_ns)
            image, reason = self._maps.choose(stamp_ns, self._config.map.max_age, self._config.map.max_future)
            T_odom_base = self._odometry.pose(stamp_ns, known_until_ns=stamp_ns)
            if image is None:
                return SyncedInputs(None, reason, Motion(T_base_sensor, T_odom_base))
            if T_odom_base is None:
                if self._config.map.orientation == 'north_up':
                    return SyncedInputs(None, 'north_up_without_odometry', Motion(T_base_sensor))
                return SyncedInputs(image, '', Motion(T_base_sensor))
            T_odom_base_map = self._odometry.pose(image.stamp_ns, known_until_ns=stamp_ns)
            if T_odom_base_map is None:
                return SyncedInputs(None, 'no_odometry_at_map_stamp', Motion(T_base_sensor, T_odom_base))
            return SyncedInputs(image, '', Motion(T_base_sensor, T_odom_base, T_odom_base_map))

    def map_age(self, now_ns: int) -> float | None:
        """Seconds since the newest map image's stamp; None without one."""
        with self._lock:
            return None if self._maps.newest is None else (now_ns - self._maps.newest) / SECOND

    def odometry_age(self, now_ns: int) -> float | None:
        """Seconds since the newest odometry's stamp; None without any."""
        with self._lock:
            return None if self._odometry.newest is None else (now_ns - self._odometry.newest) / SECOND

    def _check_time(self, stamp_ns: int) -> None:
        last, self._last_sweep = self._last_sweep, stamp_ns
        if last is not None and stamp_ns < last:
            self._forget_after(stamp_ns + JUMP_BACK_NS)
            raise InputError(STAMP_BACKWARDS, f'the sweep is stamped {(last - stamp_ns) / 1e9:.3f} s before the one '
                             'before it; every buffer is reset.', 'nothing to do when a bag starts again; otherwise '
                             'look for a second publisher on the topic or an unsteady sensor clock.')

    def _forget_after(self, stamp_ns: int) -> None:
        self._maps.drop_after(stamp_ns)
        self._odometry.drop_after(stamp_ns)
        self._transforms.drop_after(stamp_ns)

    def _sensor(self, frame_id: str, stamp_ns: int) -> np.ndarray:
        if self._T_base_sensor is not None:
            return self._T_base_sensor
        return self._transforms.lookup(self._config.frames.base, frame_id, stamp_ns)


def sensor_pose(config: NodeConfig) -> np.ndarray | None:
    """T_base_sensor (4, 4) of the configuration, None when it comes from tf.

    Raises ConfigurationError when it is no rigid transform.
    """
    if config.use_tf:
        return None
    T = np.asarray(config.T_base_sensor, dtype=np.float64).reshape(4, 4)
    if not is_rigid(T):
        raise ConfigurationError("parameter 'T_base_sensor' is no rigid transform: give a row-major 4x4 matrix with an "
                                 'orthonormal right-handed rotation and a last row of 0 0 0 1')
    return T


def fuse(pairer: Synchronizer, pipeline: Any, cloud: PointCloud) -> tuple[FusionResult, SyncedInputs]:
    """One decoded sweep through pairing and pipeline (a `FusionPipeline`), as node and `replay` do it.

    Raises InputError when the sweep has to be dropped.
    """
    try:
        pairing = pairer.pair(cloud.stamp_ns, cloud.frame_id)
    except InputError as error:
        if error.reason == STAMP_BACKWARDS:
            pipeline.reset()
        raise
    return pipeline.run(SyncedSweep(cloud, pairing.motion, pairing.map_image, pairing.map_reason)), pairing
