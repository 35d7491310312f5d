# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Health -> diagnostic_msgs: one status an aspect, cause and remedy in its message, the numbers beside it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.contracts import MapAlignment
from attention_fusion_ros.pipeline.supervisor import PipelineSupervisor
from attention_fusion_ros.ros.node.monitor import (
    ASPECTS,
    CLOUD,
    MAP,
    NETWORK,
    ODOMETRY,
    OUTPUT,
    TRANSFORM,
    Aspect,
    Health,
)
from attention_fusion_ros.stream.inputs import MAP_REASONS

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
RECENT = 3.0  # s: a problem is current for so long, and a silent input is missed after so long

SILENT_ALIGNMENT = ("map_alignment stays silent: checkpoint '{}' has no spatial transformer to register the map with. "
                    'Remedy: use a checkpoint trained with one (docs/attention.md), or end the subscription.')


@dataclass(frozen=True)
class Topic:
    """What the graph says about a topic of the node."""

    name: str  # resolved
    peers: int  # publishers of an input, subscribers of an output
    mismatches: tuple[str, ...] = ()  # peers whose QoS does not match ours: who and why


@dataclass
class NodeSnapshot:
    """What besides Health goes into a report."""

    state: str  # of the lifecycle
    config: NodeConfig | None = None
    error: str = ''  # why configuring failed
    engine: PipelineSupervisor | None = None
    inputs: dict[str, Topic] = field(default_factory=dict)  # by aspect
    outputs: tuple[Topic, ...] = ()
    map_age: float | None = None  # s, against the node's clock
    odometry_age: float | None = None
    alignment_wanted: bool = False  # whether anybody subscribes to map_alignment

    @property
    def active(self) -> bool:
        return self.state == 'active'


Line = tuple[int, str, dict]


class Report:
    """Makes the DiagnosticArray of one moment."""

    def __init__(self, health: Health, situation: NodeSnapshot, clock: Callable[[], float] = time.monotonic):
        self.health, self.at = health, situation
        self.now = clock()

    def message(self, stamp, hardware_id: str) -> DiagnosticArray:
        """stamp: builtin_interfaces/Time. Every aspect, in the order of ASPECTS."""
        lines = {CLOUD: self.cloud, MAP: self.map_image, ODOMETRY: self.odometry, TRANSFORM: self.transform,
                 NETWORK: self.network, OUTPUT: self.output}
        message = DiagnosticArray()
        message.header.stamp = stamp
        for aspect in ASPECTS:
            level, text, values = lines[aspect]()
            message.status.append(DiagnosticStatus(
                level=level, name=f'attention_fusion: {aspect}', message=text, hardware_id=hardware_id,
                values=[KeyValue(key=key, value=_text(value)) for key, value in values.items()]))
        return message

    def cloud(self) -> Line:
        aspect = self.health.aspects[CLOUD]
        values = self._input_values(CLOUD, aspect)
        values.update({f'dropped.{reason}': n for reason, n in sorted(self.health.sweep_drops.items())})
        if not self.at.active:
            return OK, f'not active ({self.at.state})', values
        if (mismatch := self._mismatch(CLOUD)) is not None:
            return ERROR, mismatch, values
        silent = self._silent(aspect.received.last)
        if silent is not None and silent > RECENT:
            return ERROR, self._nothing_heard(CLOUD, 'point cloud', 'input/pointcloud', silent, aspect), values
        if (problem := self._recent(aspect)) is not None:
            return (WARN if self._results_flow() else ERROR), problem, values
        if aspect.received.count == 0:
            return OK, 'waiting for the first sweep', values
        return OK, f'{aspect.received.per_second():.1f} sweeps a second', values

    def map_image(self) -> Line:
        aspect, last = self.health.aspects[MAP], self.health.last
        values = self._input_values(MAP, aspect)
        values['newest_age_s'] = self.at.map_age
        values['age_at_sweep_s'] = None if last is None else last.map_age
        values.update(_alignment(last.alignment if last is not None else None))
        if not self.at.active:
            return OK, f'not active ({self.at.state})', values
        if (problem := self._recent(aspect)) is not None:
            return WARN, problem, values
        if (mismatch := self._mismatch(MAP)) is not None:
            return WARN, mismatch, values
        if last is None:
            return (OK, 'waiting for the first sweep', values) if aspect.received.count else (
                WARN, self._explain('no_map'), values)
        if last.mode == 'fused':
            return OK, 'used', values
        return WARN, self._explain(last.reason), values

    def odometry(self) -> Line:
        aspect = self.health.aspects[ODOMETRY]
        values = self._input_values(ODOMETRY, aspect)
        values['newest_age_s'] = self.at.odometry_age
        if not self.at.active:
            return OK, f'not active ({self.at.state})', values
        if (problem := self._recent(aspect)) is not None:
            return WARN, problem, values
        if (mismatch := self._mismatch(ODOMETRY)) is not None:
            return WARN, mismatch, values
        config, needed = self.at.config, []
        if config is not None and config.map.orientation == 'north_up':
            needed.append('map.orientation north_up')
        silent = self._silent(aspect.received.last)
        if aspect.received.count and silent is not None and silent > RECENT:
            return WARN, (f'no odometry for {silent:.0f} s. Remedy: check its publisher; without it map image and '
                          'earlier sweeps are not moved to the sweep.'), values
        if needed and not aspect.received.count:
            return WARN, (f"no odometry, although {' and '.join(needed)} needs it. Remedy: publish nav_msgs/Odometry "
                          f'on {self._name(ODOMETRY)} or remap input/odometry.'), values
        if not aspect.received.count:
            return OK, ('none; the map image is taken as drawn for the time of the sweep, and earlier sweeps are not '
                        'used'), values
        return OK, 'used', values

    def transform(self) -> Line:
        aspect = self.health.aspects[TRANSFORM]
        values = {f'dropped.{reason}': n for reason, n in sorted(aspect.dropped.items())}
        if self.at.config is not None:
            values['source'] = 'tf' if self.at.config.use_tf else 'parameter T_base_sensor'
            values['base_frame'] = self.at.config.frames.base
        if not self.at.active:
            return OK, f'not active ({self.at.state})', values
        if (problem := self._recent(aspect)) is not None:
            return (WARN if self._results_flow() else ERROR), problem, values
        if (mismatch := self._mismatch(TRANSFORM)) is not None:
            return WARN, mismatch, values
        return OK, 'known' if self.health.results.count else 'waiting for the first sweep', values

    def network(self) -> Line:
        engine, aspect = self.at.engine, self.health.aspects[NETWORK]
        values = {f'dropped.{reason}': n for reason, n in sorted(aspect.dropped.items())}
        if self.at.error:
            return ERROR, f'not configured: {self.at.error}', values
        if engine is None:
            return WARN, f'{self.at.state}. Remedy: trigger the configure transition (the launch file does).', values
        values.update(device=engine.device, checkpoint=engine.checkpoint_name, trained=engine.trained,
                      restarts=engine.restarts, device_note=engine.device_note)
        values['lookahead_m'] = self.at.config.lookahead
        if (problem := self._recent(aspect)) is not None:
            return ERROR, problem, values
        if not engine.trained:
            return WARN, ('UNTRAINED weights: directions and heatmaps mean nothing. Remedy: set checkpoint to a '
                          'trained one (empty for the one shipped).'), values
        if engine.fell_back:
            return WARN, (f'device fallen back to {engine.device}: {engine.device_note}. Remedy: set device to cpu if '
                          'that is meant; otherwise check the CUDA driver and build, and configure again.'), values
        return OK, f'{engine.checkpoint_name} on {engine.device}', values

    def output(self) -> Line:
        health, last = self.health, self.health.last
        values = {'state': self.at.state, 'results': health.results.count, 'rate_hz': health.results.per_second(),
                  'overrun': health.sweep_drops['overrun']}
        if last is not None:
            values.update(stamp_ns=last.stamp_ns, mode=last.mode, reason=last.reason, branches=last.branches,
                          direction_reason=last.direction_reason)
            values.update({f'stage.{stage}_ms': ms for stage, ms in last.stage_ms.items()})
            ordered = sorted(health.latencies)
            values['total_p50_ms'] = ordered[len(ordered) // 2]
            values['total_p95_ms'] = ordered[min(len(ordered) - 1, math.ceil(0.95 * len(ordered)) - 1)]
        for topic in self.at.outputs:
            if topic.peers:
                values[f'subscribers.{topic.name}'] = topic.peers
        if not self.at.active:
            return OK, f'not active ({self.at.state})', values
        mismatches = [m for topic in self.at.outputs for m in topic.mismatches]
        if mismatches:
            return WARN, '; '.join(mismatches), values
        if (problem := self._recent(health.aspects[OUTPUT])) is not None:
            return WARN, problem, values
        if last is None:
            return OK, 'no result yet', values
        silent = self._silent(health.results.last)
        if silent is not None and silent > RECENT:
            return ERROR, f'no result for {silent:.0f} s; see the inputs for the cause', values
        if self.at.alignment_wanted and not self.at.engine.registers_map:
            return WARN, SILENT_ALIGNMENT.format(self.at.engine.checkpoint_name), values
        text = f'{last.mode}, {health.results.per_second():.1f} results a second'
        return OK, text if last.mode == 'fused' else f'{text} ({last.reason})', values

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _input_values(self, name: str, aspect: Aspect) -> dict:
        topic = self.at.inputs.get(name)
        values = {'received': aspect.received.count, 'rate_hz': aspect.received.per_second()}
        if topic is not None:
            values.update(topic=topic.name, publishers=topic.peers)
        values.update({f'dropped.{reason}': n for reason, n in sorted(aspect.dropped.items())})
        return values

    def _name(self, aspect: str) -> str:
        topic = self.at.inputs.get(aspect)
        return topic.name if topic is not None else aspect

    def _explain(self, reason: str) -> str:
        return f"lidar_only, {reason}: {MAP_REASONS.get(reason, 'the map image is not used.')}"

    def _mismatch(self, aspect: str) -> str | None:
        topic = self.at.inputs.get(aspect)
        if topic is None or not topic.mismatches:
            return None
        return '; '.join(topic.mismatches)

    def _nothing_heard(self, name: str, what: str, argument: str, silent: float, aspect: Aspect) -> str:
        topic = self.at.inputs.get(name)
        peers = 0 if topic is None else topic.peers
        since = f'no {what} for {silent:.0f} s on {self._name(name)}'
        if not peers:
            return f'{since}: nobody publishes there. Remedy: start the driver, or remap {argument}.'
        return (f"{since}, although {peers} publisher(s) are there. Remedy: check with 'ros2 topic hz' that they send.")

    def _silent(self, last: float | None) -> float | None:
        """Seconds since the last message, or since there could have been one; None while none is expected."""
        since = max((t for t in (last, self.health.active_since) if t is not None), default=None)
        return None if since is None else self.now - since

    def _recent(self, aspect: Aspect) -> str | None:
        if aspect.problem_at is None or self.now - aspect.problem_at > RECENT:
            return None
        return f'{aspect.reason}: {aspect.problem}'

    def _results_flow(self) -> bool:
        return self.health.results.last is not None and self.now - self.health.results.last < RECENT


def _alignment(found: MapAlignment | None) -> dict[str, float]:
    """Where the map belongs, in metres and degrees, each with its standard deviation."""
    if found is None:
        return {}
    numbers = {'dx_m': (found.dx, found.std[0]), 'dy_m': (found.dy, found.std[1]),
               'dyaw_deg': (math.degrees(found.dyaw), math.degrees(found.std[2]))}
    return {f'alignment.{name}{part}': float(value) for name, pair in numbers.items()
            for part, value in zip(('', '_std'), pair)}


def _text(value) -> str:
    if value is None:
        return ''
    if isinstance(value, bool):
        return 'true' if value else 'false'
    return f'{value:.3f}' if isinstance(value, float) else str(value)
