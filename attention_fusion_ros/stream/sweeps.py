# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Messages -> synchronised sweeps: decoding, frames, map image, odometry, transforms, waiting and counting drops.

`SweepStream` is pushed into by callbacks (the node); `recorded_sweeps` pulls a recording through one of them.
"""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.contracts import Motion, PointCloud, SyncedSweep
from attention_fusion_ros.decode.message import stamp_and_frame
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.kernels import chosen
from attention_fusion_ros.stream.assemble import SweepAssembler
from attention_fusion_ros.stream.decoded import DecodedSweep as DecodedSweep
from attention_fusion_ros.stream.inputs import INPUTS, SWEEPS, InputSpec, Transport, cloud_inputs, input_named
from attention_fusion_ros.stream.merge import merge
from attention_fusion_ros.sync.clocks import RECEIVED, ClockDifference
from attention_fusion_ros.sync.frozen_cloud import FROZEN_CLOUD, FrozenClouds
from attention_fusion_ros.sync.motion_check import ODOMETRY_JUMP
from attention_fusion_ros.sync.stamp_waiter import MAX_WAIT_S, StampWaiter
from attention_fusion_ros.sync.synchronizer import MAP_IMAGE, ODOMETRY, TRANSFORMS, SyncedInputs, Synchronizer
from attention_fusion_ros.sync.transform_buffer import TRANSFORM_MISSING

MAX_WAIT_NS = round(MAX_WAIT_S * 1e9)
# Every sweep waits for the transform of its frame for so long; at the start, it comes at any moment.
TRANSFORM_PATIENCE_NS = 3 * 10**9
JUDGED_SWEEPS = 8  # for naming the inputs that sweeps do not find
NOT_AT_THE_TIME = ('map_too_old', 'map_from_future', 'no_odometry_at_map_stamp')  # reasons that clocks may explain
OnBasePose = Callable[[int, np.ndarray], None]


class SweepStream:
    """Takes messages as they come and gives each sweep with all that belongs to it.

    on_drop(spec, error) is called when a message other than a sweep cannot be used. on_base_pose(stamp_ns,
    T_odom_base) is called with every odometry, converted to the base frame. inputs: the table of inputs.
    max_wait_s: the longest a sweep waits. Thread-safe: messages may be taken in one thread while another one asks for
    sweeps.
    """

    def __init__(self, config: NodeConfig, on_drop: Callable[[InputSpec, InputError], None] | None = None,
                 on_base_pose: OnBasePose | None = None, inputs: tuple[InputSpec, ...] = INPUTS,
                 max_wait_s: float = MAX_WAIT_S):
        """Raises ConfigurationError when T_base_sensor is needed but is no rigid transform."""
        buffers = {spec.name: spec.make_buffer() for spec in inputs if spec.make_buffer is not None}
        self._synchronizer = Synchronizer(config, buffers, on_base_pose)
        self._inputs = inputs
        self._on_drop = on_drop
        self._max_wait_s = max_wait_s
        self._companions = tuple(spec.name for spec in inputs if spec.waits)
        self._first = input_named(SWEEPS, inputs)
        self._deskew, self._kernels = config.cloud.deskew == 'auto', config.kernels
        self._assembler = SweepAssembler({spec.name: spec.transports[0].topic for spec in cloud_inputs(inputs)}
                                         ) if config.cloud.assemble == 'auto' else None
        self._waiter = StampWaiter(*self._companions)
        self._frozen = FrozenClouds()
        # The newest sweeps by input: whether nothing of it was of their time.
        self._missed: dict[str, deque[bool]] = {name: deque(maxlen=JUDGED_SWEEPS)
                                                for name in (MAP_IMAGE, ODOMETRY, TRANSFORMS)}
        # Sensor frames whose transform was waited for in vain, and since when: stamp in ns.
        self._missing_since_ns: dict[str, int] = {}

    @property
    def waiting_for_ns(self) -> int | None:
        """Stamp of the sweep that waits now for what belongs to it, None when none does."""
        return self._waiter.waiting_for_ns

    def update(self, config: NodeConfig) -> None:
        """Take over parameters that may change while running."""
        self._synchronizer.update(config)
        self._deskew = config.cloud.deskew == 'auto'

    def reset(self) -> None:
        """Forget everything but static transforms."""
        self._synchronizer.reset()
        self._waiter = StampWaiter(*self._companions)
        self._missing_since_ns.clear()
        if self._assembler is not None:
            self._assembler.reset()

    def on_time_jump(self, stamp_ns: int) -> None:
        """The clock was set back to this time: forget what is later."""
        self._waiter.drop_after(self._synchronizer.on_time_jump(stamp_ns))

    def take(self, spec: InputSpec, transport: Transport, message: Any, received_ns: int | None = None) -> None:
        """Take in a message of any input but the sweeps; what cannot be used goes to on_drop.

        received_ns: when it was received, in ROS time or in that of the recording: for the comparison of clocks.
        """
        try:
            stamp_ns = self._synchronizer.add(spec.name, transport.decode(message), received_ns)
        except InputError as error:
            self._waiter.notify()  # other transforms of the message may be good
            if self._on_drop is not None:
                self._on_drop(spec, error)
            return
        if spec.waits and stamp_ns is not None:
            self._waiter.on_message(spec.name, stamp_ns)
        else:
            self._waiter.notify()

    def announce(self, spec: InputSpec, message: Any) -> None:
        """A message of an input with clouds has come, and will be decoded in its turn."""
        if spec.name != self._first.name or self.needs_every_cloud:  # it may be a part of the sweep that waits
            return
        try:
            stamp_ns, _ = stamp_and_frame(message)
        except InputError:
            return  # `decode` will say so
        self._waiter.on_sweep(stamp_ns)

    def sweep(self, message: Any, received_ns: int | None = None) -> SyncedSweep:
        """Decode a message as a sweep of its own, wait for what belongs to it, and put the two together.

        received_ns: as for `take`.
        Raises InputError when the sweep has to be dropped: what `decode_cloud` raises, and as `wait_and_complete`.
        """
        return self.wait_and_complete(self.decode(message, received_ns))

    def wait_and_complete(self, decoded: DecodedSweep) -> SyncedSweep:
        """Wait up to max_wait_s for what belongs to a sweep, and put the two together.

        Raises InputError: stamp_backwards, transform_missing, frozen_cloud.
        """
        self._waiter.wait(decoded.stamp_ns, self._max_wait_s, ready=lambda: self._transforms_ready(decoded))
        return self._match(decoded)

    def decode(self, message: Any, received_ns: int | None = None, spec: InputSpec | None = None,
               transport: Transport | None = None) -> DecodedSweep:
        """Decode a message of an input with clouds, default the first. Raises InputError.

        received_ns: as for `take`.
        """
        start = time.perf_counter()
        spec = spec or self._first
        with chosen(self._kernels):
            cloud = (transport or spec.transports[0]).decode(message)
        return DecodedSweep(cloud, 1e3 * (time.perf_counter() - start), received_ns, spec.name)

    # -- several messages to one sweep: `assemble` what is decoded, `complete` what comes of it ------------------------

    def assemble(self, decoded: DecodedSweep, now_ns: int) -> list[DecodedSweep]:
        """The sweeps that are whole with this message; see `SweepAssembler`. now_ns: of any clock that never jumps.

        A LiDAR whose pose is not known is left out, and its message dropped, where there are others.
        """
        if self._assembler is None:
            return [decoded]
        cloud, others = decoded.cloud, self._assembler.frames
        if others and cloud.frame_id not in others:
            try:
                self._synchronizer.sensor_pose(cloud.frame_id, cloud.stamp_ns)
            except InputError as error:
                if self._on_drop is not None:
                    self._on_drop(input_named(decoded.input_name, self._inputs), error)
                return []
        return self._assembler.add(decoded, now_ns)

    def overdue(self, now_ns: int) -> list[DecodedSweep]:
        """The sweeps that have waited for other LiDARs, or other parts of the turn, for long enough."""
        return [] if self._assembler is None else self._assembler.due(now_ns)

    def rest(self, now_ns: int) -> list[DecodedSweep]:
        """The sweeps that wait, for no message will come any more."""
        return [] if self._assembler is None else self._assembler.flush(now_ns)

    @property
    def due_ns(self) -> int | None:
        """When `overdue` has something to give; None while nothing waits."""
        return None if self._assembler is None else self._assembler.due_ns

    @property
    def needs_every_cloud(self) -> bool:
        """Whether sweeps consist of several messages (or may: it is not known yet), so that none may be passed over."""
        return self._assembler is not None and self._assembler.assembles

    @property
    def clouds_come_in_bursts(self) -> bool:
        """Whether several clouds come on one topic where one LiDAR would send one."""
        return self._assembler is not None and self._assembler.sends_parts

    def is_ready(self, decoded: DecodedSweep) -> bool:
        """Whether nothing is missing any more that a sweep waits for."""
        return not self._waiter.missing(decoded.stamp_ns) and self._transforms_ready(decoded)

    def complete(self, decoded: DecodedSweep) -> SyncedSweep:
        """The sweep with what belongs to it, as far as it is there by now.

        Raises InputError: stamp_backwards, transform_missing, frozen_cloud.
        """
        self._waiter.judge(decoded.stamp_ns)
        return self._match(decoded)

    def needs_dynamic_transforms(self, frame_id: str) -> bool:
        """Whether /tf matters for sweeps of this frame or for odometry (False: static transforms are enough)."""
        return self._synchronizer.needs_dynamic_transforms(frame_id)

    def has_transform(self, frame_id: str, stamp_ns: int) -> bool:
        """Whether the transform of a sensor frame is known at this time."""
        return self._synchronizer.has_transform(frame_id, stamp_ns)

    def age_s(self, input_name: str, now_ns: int) -> float | None:
        """Seconds since the newest stamp of an input; None without any, for transforms and for sweeps."""
        return self._synchronizer.age_s(input_name, now_ns)

    def learn_sensor_frame(self, frame_id: str) -> None:
        """The frame of the sweeps' sensor, where it is known before a sweep: for odometry of this frame."""
        self._synchronizer.learn_sensor_frame(frame_id)

    def clock_difference(self, *names: str, received: str = '') -> ClockDifference | None:
        """How sweeps are stamped against inputs, where that is steady and no latency.

        names: of inputs; default those that most of the last sweeps were not matched with. received: what to call the
        clock that tells when messages are received; it is named where it differs as those inputs do.
        """
        names = names or tuple(name for name, missed in self._missed.items() if 2 * sum(missed) > len(missed))
        labels = {spec.name: spec.label for spec in self._inputs} | {RECEIVED: received}
        return self._synchronizer.clock_difference(names, labels, with_received=bool(received))

    def sweeps_against_reception(self, received: str) -> ClockDifference | None:
        """How sweeps are stamped against the clock that tells when they are received, which is called `received`."""
        return self._synchronizer.clock_difference((RECEIVED,), {RECEIVED: received})

    def _transforms_ready(self, decoded: DecodedSweep) -> bool:
        # Waiting for a frame that nobody publishes would cost more than the sweeps that are dropped anyway.
        clouds = {part.cloud.frame_id: part.cloud for part in decoded.messages()}
        return all(self._is_given_up(cloud) or self._synchronizer.has_transform(cloud.frame_id, cloud.stamp_ns)
                   for cloud in clouds.values())

    def _is_given_up(self, cloud: PointCloud) -> bool:
        """Whether the transform of a cloud's frame was waited for in vain."""
        since_ns = self._missing_since_ns.get(cloud.frame_id)
        return since_ns is not None and abs(cloud.stamp_ns - since_ns) > TRANSFORM_PATIENCE_NS

    def _match(self, decoded: DecodedSweep) -> SyncedSweep:
        start = time.perf_counter()
        known = self._with_known_first(decoded)
        stamp_ns, frame = known.stamp_ns, known.cloud.frame_id
        try:
            latest = max(known.messages(), key=lambda part: part.cloud.stamp_ns)
            found = self._synchronizer.match(stamp_ns, frame, latest.received_ns)
        except InputError as error:
            if error.reason == TRANSFORM_MISSING:
                self._missing_since_ns.setdefault(frame, stamp_ns)
                self._missed[TRANSFORMS].append(True)
            raise
        self._missed[TRANSFORMS].append(False)
        self._missed[ODOMETRY].append(bool(found.odometry_reason))
        self._missed[MAP_IMAGE].append(found.map_reason in NOT_AT_THE_TIME)
        self._missing_since_ns.pop(frame, None)
        known, motion = self._without_frozen(known, found)
        with chosen(self._kernels):
            merged = merge(known, motion.T_base_sensor, self._synchronizer, self._deskew, stamp_ns)
        decode_ms = sum(part.decode_ms for part in decoded.messages()) + 1e3 * (time.perf_counter() - start)
        return SyncedSweep(
            merged.cloud, motion, found.map_image, found.map_reason, companions=found.companions,
            companion_poses=found.companion_poses, epoch=found.epoch, decode_ms=decode_ms,
            odometry_extrapolation_s=found.odometry_extrapolation_s,
            transform_extrapolation_s=found.transform_extrapolation_s, odometry_reason=found.odometry_reason,
            parts=merged.parts, deskew=merged.deskew, warnings=merged.warnings, findings=found.findings)

    def _without_frozen(self, decoded: DecodedSweep, found: SyncedInputs) -> tuple[DecodedSweep, Motion]:
        """The sweep without messages that bring old points again, and its motion, which is that of the first sensor.

        Raises InputError: frozen_cloud where nothing is left, transform_missing.
        """
        messages = list(decoded.messages())
        frozen = self._frozen.find((((part.input_name, part.cloud.frame_id), part.cloud) for part in messages),
                                   found.motion.T_odom_base, found.epoch,
                                   any(finding.name == ODOMETRY_JUMP for finding in found.findings))
        if not frozen:
            return decoded, found.motion
        left = [part for k, part in enumerate(messages) if k not in frozen]
        if not left:
            raise next(iter(frozen.values()))
        what = dict.fromkeys(str(error) for error in frozen.values())
        warnings = {**decoded.warnings, FROZEN_CLOUD: f"sweeps go on without what is frozen: {' '.join(what)}"}
        first, motion = left[0], found.motion
        if first.cloud.frame_id != decoded.cloud.frame_id:
            motion = dataclasses.replace(motion, T_base_sensor=self._synchronizer.sensor_pose(first.cloud.frame_id,
                                                                                              decoded.stamp_ns))
        return dataclasses.replace(first, others=tuple(dataclasses.replace(part, others=()) for part in left[1:]),
                                   several=decoded.several, warnings=warnings), motion

    def _with_known_first(self, decoded: DecodedSweep) -> DecodedSweep:
        """Of several messages, one whose sensor's pose is known comes first: the others are placed by it."""
        if not decoded.others:
            return decoded
        known = {part.cloud.frame_id: self._synchronizer.has_transform(part.cloud.frame_id, part.cloud.stamp_ns)
                 for part in decoded.messages()}
        for frame, is_known in known.items():
            if is_known:
                self._missing_since_ns.pop(frame, None)
            else:
                self._missing_since_ns.setdefault(frame, decoded.stamp_ns)
        first, *others = sorted(decoded.messages(), key=lambda part: not known[part.cloud.frame_id])
        return dataclasses.replace(first, others=tuple(dataclasses.replace(part, others=()) for part in others),
                                   several=decoded.several, warnings=decoded.warnings)
