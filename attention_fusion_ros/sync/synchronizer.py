# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which map image and which odometry go with a sweep. Node, `replay` and training share it: the same numbers for all.

Only what is stamped up to the sweep counts (a map image may be a little later, where there is no earlier one): the
result depends on stamps, not on when messages happened to arrive.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.contracts import Finding, MapImage, Motion
from attention_fusion_ros.decode.odometry import Odometry
from attention_fusion_ros.decode.transforms import Transforms
from attention_fusion_ros.errors import ConfigurationError, InputError
from attention_fusion_ros.geometry import is_rigid
from attention_fusion_ros.sync.clocks import ClockComparison, ClockDifference
from attention_fusion_ros.sync.motion_check import MotionCheck
from attention_fusion_ros.sync.odometry_buffer import OdometryBuffer, Placed
from attention_fusion_ros.sync.placed_map import PlacedMap
from attention_fusion_ros.sync.stamped_buffer import StampedBuffer
from attention_fusion_ros.sync.stamped_series import JUMP_BACK_NS, SECOND_NS
from attention_fusion_ros.sync.transform_buffer import TransformBuffer

STAMP_BACKWARDS = 'stamp_backwards'
# Names of the inputs that the synchronizer itself has buffers for.
MAP_IMAGE, ODOMETRY, TRANSFORMS = 'map_image', 'odometry', 'transforms'


class Buffer(Protocol):
    """What a further input brings along: its messages by stamp, see `StampedBuffer`."""

    @property
    def newest_ns(self) -> int | None:
        """Stamp of the newest item in ns, None without one."""

    def add(self, item: Any) -> None:
        """Add a decoded message."""

    def drop_after(self, stamp_ns: int) -> None:
        """Drop what is later than this."""

    def match(self, stamp_ns: int) -> tuple[Any | None, str]:
        """What goes with the sweep of this stamp, or None and the reason why there is nothing."""


@dataclass(frozen=True)
class SyncedInputs:
    """What goes with one sweep."""

    map_image: MapImage | None
    map_reason: str  # why there is none, '' when there is one
    motion: Motion
    epoch: int = 0  # how often time had jumped back, or odometry had changed its source
    companions: Mapping[str, Any] = field(default_factory=dict)  # further inputs by name; absent: no usable message
    companion_poses: Mapping[str, np.ndarray] = field(default_factory=dict)  # (4, 4) base <- frame; absent: not known
    odometry_reason: str = ''  # why there is no odometry for it, '' when there is
    odometry_extrapolation_s: float = 0.0  # by how much the pose goes beyond the newest odometry
    transform_extrapolation_s: float = 0.0  # the same for the sensor's transform
    findings: tuple[Finding, ...] = ()  # what is implausible about odometry


class Synchronizer:
    """Collects map images, odometry and transforms, and finds those that go with a sweep. Thread-safe.

    Stamps of sweeps that run backwards (a bag that starts again, a reset simulation) drop that sweep, as InputError
    `stamp_backwards`, and everything later than it from every buffer; the next sweep is matched as usual.

    buffers: of further inputs, by name. on_base_pose(stamp_ns, T_odom_base) is called with every odometry that is
    taken in, after its conversion to the base frame.
    """

    def __init__(self, config: NodeConfig, buffers: Mapping[str, Buffer] | None = None,
                 on_base_pose: Callable[[int, np.ndarray], None] | None = None):
        """Raises ConfigurationError when T_base_sensor is needed but is no rigid transform."""
        self._lock = threading.Lock()
        self._maps: StampedBuffer[MapImage] = StampedBuffer('map', config.map.max_age, config.map.max_future)
        self._T_base_sensor = sensor_pose(config)
        self._transforms = TransformBuffer(config.tf_max_age)
        self._odometry = OdometryBuffer(config, self._transforms, self._T_base_sensor)
        self._placed_map = PlacedMap(self._transforms)
        self._odom_frame = ''  # of the latest odometry message
        self._odometry_on_tf = False  # at the latest sweep
        self._clocks = ClockComparison()
        self._buffers = dict(buffers or {})
        self._on_base_pose = on_base_pose
        self._sensor_frame = ''  # of the latest sweep
        self._last_sweep_ns: int | None = None
        self._epoch = 0
        self._motion = MotionCheck()
        self._config = config

    def update(self, config: NodeConfig) -> None:
        """Take over parameters that may change while running."""
        with self._lock:
            self._config = config
            self._odometry.poses.max_age_s = config.odometry.max_age
            self._transforms.max_age_s = config.tf_max_age
            self._maps.max_age_s, self._maps.max_future_s = config.map.max_age, config.map.max_future

    def reset(self) -> None:
        """Forget everything but static transforms."""
        with self._lock:
            self._last_sweep_ns = None
            self._placed_map.image = None
            self._drop_after(-1)

    def on_time_jump(self, stamp_ns: int) -> int:
        """The clock was set back to this time: forget what is later; returns the last stamp in ns that is kept.

        That is JUMP_BACK_NS later than this time: messages of after the jump may overtake the clock.
        """
        keep_ns = stamp_ns + JUMP_BACK_NS
        with self._lock:
            if self._last_sweep_ns is not None and self._last_sweep_ns > stamp_ns:
                self._last_sweep_ns = None
            self._drop_after(keep_ns)
        return keep_ns

    def add(self, name: str, item: Any, received_ns: int | None = None) -> int | None:
        """Add the decoded message of an input, by the input's name; returns its stamp in ns, None for transforms.

        received_ns: when it was received, for the comparison of clocks. Raises InputError when it cannot be used.
        """
        if received_ns is not None:
            with self._lock:
                self._compare_clock(name, item, received_ns)
        if name == MAP_IMAGE:
            stamp_ns = self.add_map_image(item)
            return stamp_ns if item.placement is None else None  # no sweep carries its stamp
        if name == ODOMETRY:
            return self.add_odometry(item)
        if name == TRANSFORMS:
            self.add_transforms(item)
            return None
        with self._lock:
            self._buffers[name].add(item)
        return int(item.stamp_ns)

    def add_map_image(self, image: MapImage) -> int:
        """Add a map image; returns its stamp in ns."""
        with self._lock:
            if image.placement is None:
                self._maps.add(image)
            else:
                self._placed_map.image = image
        return image.stamp_ns

    def add_odometry(self, odometry: Odometry) -> int:
        """Add odometry; returns its stamp in ns.

        Raises InputError `odometry_frame` when its child frame is neither the base frame nor connected to it by a
        transform (or, with `use_tf` false, is the sensor's frame). It is kept, and counts as soon as it is.
        """
        with self._lock:
            self._odom_frame = odometry.frame_id
            T = self._odometry.add(odometry)
        self._tell([] if T is None else [(odometry.stamp_ns, T)])
        return odometry.stamp_ns

    def add_transforms(self, transforms: Transforms) -> None:
        """Add transforms; with `use_tf` false they are ignored, for the node does not listen to them then.

        Raises InputError `bad_transform` when some were unusable; the others count.
        """
        if not self._config.use_tf:
            return
        with self._lock:
            for item in transforms.items:
                self._transforms.add(item)
            placed = self._odometry.place()
        self._tell(placed)
        if transforms.problem is not None:
            raise transforms.problem

    def needs_dynamic_transforms(self, frame_id: str) -> bool:
        """Whether /tf matters for the sweep's sensor or for odometry (False: static transforms are enough)."""
        with self._lock:
            placed = self._placed_map.needs_transforms(self._config.frames.base)
            return placed or self._odometry.on_tf or any(self._transforms.is_dynamic(self._config.frames.base, frame)
                       for frame in (frame_id, self._odometry.frame) if frame)

    def has_transform(self, frame_id: str, stamp_ns: int) -> bool:
        """Whether the sweep's transform is known by now."""
        try:
            with self._lock:
                self._sensor(frame_id, stamp_ns)
        except InputError:
            return False
        return True

    def base_poses(self, stamps_ns: Sequence[int]) -> list[np.ndarray | None]:
        """(4, 4) T_odom_base at each stamp, None where odometry does not reach; later odometry does not count."""
        with self._lock:
            known_until_ns = max(stamps_ns)
            return [self._odometry.poses.pose(stamp_ns, known_until_ns) for stamp_ns in stamps_ns]

    def sensor_pose(self, frame_id: str, stamp_ns: int) -> np.ndarray:
        """(4, 4) T_base_sensor. Raises InputError `transform_missing`."""
        with self._lock:
            return self._sensor(frame_id, stamp_ns)[0]

    def match(self, stamp_ns: int, frame_id: str, received_ns: int | None = None) -> SyncedInputs:
        """What goes with the sweep of this stamp and sensor frame.

        Without odometry a heading_up map image is used as it is, a north_up one not at all. received_ns: as for `add`.
        Raises InputError: stamp_backwards, transform_missing.
        """
        self.learn_sensor_frame(frame_id)
        with self._lock:
            self._check_time(stamp_ns)
            if received_ns is not None:
                self._clocks.on_sweep(stamp_ns, received_ns)
            T_base_sensor, transform_extrapolation_s = self._sensor(frame_id, stamp_ns)
            if self._odometry.on_tf != self._odometry_on_tf:  # poses of before are of another odometry frame
                self._odometry_on_tf = not self._odometry_on_tf
                self._epoch += 1
                self._motion.clear()
            T_odom_base = self._odometry.pose(stamp_ns, known_until_ns=stamp_ns)
            if self._odometry_on_tf and T_odom_base is not None:  # messages are compared as they come
                self._motion.add(stamp_ns, T_odom_base)
            image, reason = self._maps.match(stamp_ns)
            T_odom_base_map = T_map_base = None
            if image is None and self._placed_map.image is not None:
                image, T_map_base, reason = self._match_placed(stamp_ns)
            if T_map_base is not None:
                pass  # it needs no odometry
            elif image is not None and T_odom_base is None:
                if self._config.map.orientation == 'north_up':
                    image, reason = None, 'north_up_without_odometry'
            elif image is not None and T_odom_base is not None:
                T_odom_base_map = self._odometry.pose(image.stamp_ns, known_until_ns=stamp_ns)
                if T_odom_base_map is None:
                    image, reason = None, 'no_odometry_at_map_stamp'
                elif self._config.map.orientation == 'north_up' and self._odometry.leans_with_its_sensor(T_odom_base):
                    image, reason = None, 'north_up_not_level'
            companions = self._companions(stamp_ns)
            motion = Motion(T_base_sensor, T_odom_base, T_odom_base_map, T_map_base, self._odom())
            return SyncedInputs(
                image, reason, motion, self._epoch, companions, self._poses(companions, stamp_ns),
                self._odometry.reason(stamp_ns) if T_odom_base is None else '',
                0.0 if T_odom_base is None else self._odometry.extrapolation_s(stamp_ns),
                transform_extrapolation_s, () if (jump := self._motion.finding(stamp_ns)) is None else (jump,))

    def learn_sensor_frame(self, frame_id: str) -> None:
        """The frame of the sweeps' sensor, for odometry of this frame; `match` learns it from the sweep."""
        with self._lock:
            self._sensor_frame = frame_id
            placed = self._odometry.take_sensor_frame(frame_id)
        self._tell(placed)

    def age_s(self, name: str, now_ns: int) -> float | None:
        """Seconds since the newest stamp of an input; None without any, and for transforms."""
        with self._lock:
            buffers: dict[str, Any] = {MAP_IMAGE: self._maps, ODOMETRY: self._odometry.poses, **self._buffers}
            newest_ns = buffers[name].newest_ns if name in buffers else None
        return None if newest_ns is None else (now_ns - newest_ns) / SECOND_NS

    def clock_difference(self, names: Iterable[str], labels: Mapping[str, str], with_received: bool = False
                         ) -> ClockDifference | None:
        """How sweeps are stamped against these inputs, see `ClockComparison.difference`."""
        with self._lock:
            return self._clocks.difference(names, labels, with_received)

    def _compare_clock(self, name: str, item: Any, received_ns: int) -> None:
        if getattr(item, 'placement', None) is not None:
            return  # a map that is published once
        if name != TRANSFORMS:
            self._clocks.on_message(name, int(item.stamp_ns), received_ns)
            return
        base = self._config.frames.base
        watched = frozenset().union(*(self._transforms.moving_frames(base, frame)
                                      for frame in (self._sensor_frame, self._odometry.frame) if frame))
        for transform in item.items:
            if not transform.static and transform.child in watched:
                self._clocks.on_message(name, transform.stamp_ns, received_ns)

    def _match_placed(self, stamp_ns: int) -> tuple[MapImage | None, np.ndarray | None, str]:
        config = self._config
        return self._placed_map.match(stamp_ns, config.frames.base, self._odom(),
                                      lambda t: self._odometry.pose(t, known_until_ns=stamp_ns), config.map.max_age)

    def _odom(self) -> str:
        """The frame of odometry, '' when nobody says."""
        return getattr(self._config.frames, 'odom', '') if self._odometry.on_tf else self._odom_frame

    def _tell(self, placed: Placed) -> None:
        for stamp_ns, T in placed:
            self._motion.add(stamp_ns, T)
        if self._on_base_pose is not None:
            for stamp_ns, T in placed:
                self._on_base_pose(stamp_ns, T)

    def _companions(self, stamp_ns: int) -> dict[str, Any]:
        found = {name: buffer.match(stamp_ns)[0] for name, buffer in self._buffers.items()}
        return {name: item for name, item in found.items() if item is not None}

    def _poses(self, companions: Mapping[str, Any], stamp_ns: int) -> dict[str, np.ndarray]:
        """Where the companions' sensors are at the sweep's time, as far as tf knows."""
        poses = {}
        for name, item in companions.items():
            try:
                poses[name] = self._transforms.lookup(self._config.frames.base, getattr(item, 'frame_id', ''), stamp_ns)
            except InputError:
                continue
        return poses

    def _check_time(self, stamp_ns: int) -> None:
        last_ns, self._last_sweep_ns = self._last_sweep_ns, stamp_ns
        if last_ns is not None and stamp_ns < last_ns:
            self._drop_after(stamp_ns + JUMP_BACK_NS)
            raise InputError(STAMP_BACKWARDS, f'the sweep is stamped {(last_ns - stamp_ns) / 1e9:.3f} s before the one '
                             'before it; every buffer is reset.', 'nothing to do when a bag starts again; otherwise '
                             'look for a second publisher on the topic or an unsteady sensor clock.')

    def _drop_after(self, stamp_ns: int) -> None:
        self._epoch += 1
        self._clocks.clear()
        self._maps.drop_after(stamp_ns)
        self._odometry.drop_after(stamp_ns)
        self._transforms.drop_after(stamp_ns)
        for buffer in self._buffers.values():
            buffer.drop_after(stamp_ns)

    def _sensor(self, frame_id: str, stamp_ns: int) -> tuple[np.ndarray, float]:
        """T_base_sensor (4, 4), and by how many seconds it is extrapolated."""
        if self._T_base_sensor is not None:
            return self._T_base_sensor, 0.0
        base = self._config.frames.base
        return (self._transforms.lookup(base, frame_id, stamp_ns),
                self._transforms.extrapolation_s(base, frame_id, stamp_ns))


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
