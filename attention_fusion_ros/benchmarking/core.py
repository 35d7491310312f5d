# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Times of the stages from the bytes of a sweep to the answer, without ROS."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from attention_fusion_ros.benchmarking import sweeps
from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.contracts import Mode, Motion, SyncedSweep
from attention_fusion_ros.decode import decode_cloud, decode_map_image, plain_messages
from attention_fusion_ros.network.config import NetworkConfig
from attention_fusion_ros.pipeline.fusion import FusionPipeline

STAGES = ('decode', 'bev', 'network', 'postprocess', 'total')
VARIETY = 4  # different sweeps, taken in turn
WARM_UP = 3  # runs that are not counted


@dataclass(frozen=True)
class Times:
    """Milliseconds over a number of runs."""

    median: float
    p95: float
    largest: float
    count: int
    p99: float
    p20: float
    p80: float

    @classmethod
    def of(cls, milliseconds: Sequence[float]) -> Times | None:
        """None when there are no values."""
        if not len(milliseconds):
            return None
        median, p95, largest, p99, p20, p80 = map(float, np.percentile(milliseconds, (50, 95, 100, 99, 20, 80)))
        return cls(median, p95, largest, len(milliseconds), p99, p20, p80)


@dataclass(frozen=True)
class CoreTimes:
    """stages: name -> Times, in the order of STAGES. fused: runs whose answer used the map image.

    processor: processor time of a sweep over all threads; unlike the others it does not grow when the machine is busy
    with other things.
    """

    stages: dict[str, Times]
    processor: Times
    points: int
    runs: int
    fused: int
    device: str
    device_note: str
    checkpoint: str
    threads: int
    backend: str
    network: NetworkConfig


def measure(config: NodeConfig, runs: int, points: int = sweeps.POINTS,
            progress: Callable[[Iterable], Iterable] = lambda runs: runs) -> CoreTimes:
    """Run the pipeline over synthetic sweeps with a map image.

    total: from the message to the answer. Raises ConfigurationError, see FusionPipeline.
    """
    pipeline = FusionPipeline(config)
    try:
        pipeline.warm_up()
        clouds = [sweeps.sweep(seed, points) for seed in range(VARIETY)]
        image = decode_map_image(plain_messages.image(sweeps.map_picture(), 10**9))
        motion = Motion(sweeps.T_BASE_SENSOR)
        times: dict[str, list[float]] = {stage: [] for stage in STAGES}
        processor_ms, fused = [], 0
        for i in progress(range(-WARM_UP, runs)):
            stamp_ns = 10**9 + (i + WARM_UP) * 10**8
            message = plain_messages.point_cloud(clouds[i % VARIETY], stamp_ns, sweeps.FRAME)
            start, used = time.perf_counter(), time.process_time()
            cloud = decode_cloud(message)
            decode_ms = 1e3 * (time.perf_counter() - start)
            result = pipeline.run(SyncedSweep(cloud, motion, image))
            total_ms, used_ms = 1e3 * (time.perf_counter() - start), 1e3 * (time.process_time() - used)
            if i < 0:
                continue
            fused += result.mode is Mode.FUSED
            processor_ms.append(used_ms)
            for stage, ms in {'decode': decode_ms, **result.stage_ms, 'total': total_ms}.items():
                times[stage].append(ms)
        info = pipeline.info
        return CoreTimes({stage: Times.of(ms) for stage, ms in times.items()}, Times.of(processor_ms), points, runs,
                         fused, info.device, info.device_note, info.checkpoint_name, pipeline.backend.threads,
                         info.backend, pipeline.backend.model.network)
    finally:
        pipeline.close()
