# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A recording through stream and pipeline: a record and a result a sweep, by the same code as the node's."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import numpy as np

from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.contracts import FusionResult, SyncedSweep
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.pipeline.fusion import FusionPipeline
from attention_fusion_ros.report.records import SweepRecord
from attention_fusion_ros.stream.inputs import MAP_REASONS
from attention_fusion_ros.stream.recorded_sweeps import DroppedSweep, synced_sweeps
from attention_fusion_ros.stream.recording import InputTopics, Recording
from attention_fusion_ros.sync.clocks import ClockDifference


class Replay:
    """Sweeps of a recording -> records."""

    def __init__(self, recording: Recording, topics: InputTopics, config: NodeConfig, pipeline: FusionPipeline):
        self._recording, self._topics, self._config, self._pipeline = recording, topics, config, pipeline
        self.remedies: dict[str, str] = {}  # drop reason -> the first message about it
        self.clocks: ClockDifference | None = None  # where sweeps and other inputs are stamped by different clocks
        self.map_warnings: Counter[str] = Counter()  # what was doubtful about map images that were used -> sweeps
        self.sweep: SyncedSweep | None = None  # of the result that `run` has just given
        self.input_drops: Counter[str] = Counter()  # '<topic>: <reason>' of inputs other than sweeps
        self.deskewed: Counter[str] = Counter()  # how the time of the points was used -> sweeps
        self.sweep_warnings: dict[str, tuple[int, str]] = {}  # reason -> sweeps, the first message about it

    def run(self, limit: int = 0) -> Iterator[tuple[SweepRecord, FusionResult | None]]:
        """Yield each sweep in recorded order, with its result while it is at hand.

        limit: only so many sweeps, 0 for all. Raises ConfigurationError when T_base_sensor is needed but is no rigid
        transform.
        """
        for sweep in synced_sweeps(self._recording, self._topics, self._config, limit, self._on_drop,
                                   on_clocks=self._on_clocks):
            yield self._fuse(sweep)

    def explain(self, result: FusionResult) -> dict[str, np.ndarray]:
        """Grad-CAM of the sweep that `run` has just given: {stage: (h, w) float32}; {} where there is none, the reason
        in `remedies`.
        """
        try:
            return self._pipeline.explain(result) if self._pipeline.explains else {}
        except InputError as error:  # as in the node, it costs this picture only
            self.remedies.setdefault(error.reason, str(error))
            return {}

    def _fuse(self, sweep: SyncedSweep | DroppedSweep) -> tuple[SweepRecord, FusionResult | None]:
        if isinstance(sweep, DroppedSweep):
            return self._dropped(sweep.stamp_ns, sweep.error), None
        for reason, text in sweep.warnings.items():
            count, first = self.sweep_warnings.get(reason, (0, text))
            self.sweep_warnings[reason] = count + 1, first
        if sweep.deskew:
            self.deskewed[sweep.deskew] += 1
        start = time.perf_counter()
        try:
            result = self._pipeline.run(sweep)
        except InputError as error:
            return self._dropped(sweep.cloud.stamp_ns, error), None
        self._note_map(sweep, result)
        self.sweep = sweep
        latency_ms = sweep.decode_ms + 1e3 * (time.perf_counter() - start)
        record = SweepRecord.of(result, latency_ms, {'decode': sweep.decode_ms, **result.stage_ms},
                                sweep.odometry_reason)
        return record, result

    def _note_map(self, sweep: SyncedSweep, result: FusionResult) -> None:
        """Remember cause and remedy of a map image that was used but is doubtful."""
        doubts = sweep.map_image.warnings if sweep.map_image is not None and not result.reason else ()
        self.map_warnings.update(doubts)
        for name in doubts:
            self.remedies.setdefault(name, str(MAP_REASONS[name]))

    def _dropped(self, stamp_ns: int, error: InputError) -> SweepRecord:
        self.remedies.setdefault(error.reason, str(error))
        return SweepRecord(stamp_ns, drop_reason=error.reason)

    def _on_clocks(self, difference: ClockDifference) -> None:
        self.clocks = difference

    def _on_drop(self, topic: str, error: InputError) -> None:
        self.input_drops[f'{topic}: {error.reason}'] += 1
        self.remedies.setdefault(error.reason, str(error))
