# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""NodeSnapshot -> diagnostic_msgs: a task for each component; messages name cause and remedy, values hold the numbers.

The statuses of inputs are made from the table of inputs; what is particular to one of them is in `PARTICULARS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.contracts import MapAlignment
from attention_fusion_ros.pipeline.supervisor import PipelineSupervisor
from attention_fusion_ros.ros.node.graph import TopicStatus
from attention_fusion_ros.ros.node.monitor import NETWORK, OUTPUT, RECENT_S, LastResult, MonitorSnapshot
from attention_fusion_ros.stream.inputs import INPUTS, SWEEPS, InputSpec
from attention_fusion_ros.stream.sweeps import NOT_AT_THE_TIME
from attention_fusion_ros.sync.synchronizer import MAP_IMAGE, ODOMETRY, TRANSFORMS

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
WAITING = 'waiting for the first sweep'
NOTE_EXTRAPOLATION_S = 0.05  # beyond the newest transform or odometry: named in the message; less is only a value
NO_CLOCK = ('use_sim_time is true, but nothing has been received on /clock: ages mean nothing. '
            'Remedy: play with --clock, or set use_sim_time to false.')
NO_ALIGNMENT = ("map_alignment is not published: checkpoint '{}' does not register the map. "
                'Remedy: use a checkpoint that has one (docs/attention.md), or remove the subscription.')


@dataclass
class NodeSnapshot:
    """The node at one moment: everything that /diagnostics is made from."""

    state: str  # of the lifecycle
    monitor: MonitorSnapshot
    config: NodeConfig | None = None
    error: str = ''  # why configuring failed
    pipeline: PipelineSupervisor | None = None
    inputs: Mapping[str, TopicStatus] = field(default_factory=dict)  # by component
    ages_s: Mapping[str, float | None] = field(default_factory=dict)  # newest stamp against the node's clock, by input
    clocks: Mapping[str, str] = field(default_factory=dict)  # how sweeps are stamped against others, by input
    outputs: tuple[TopicStatus, ...] = ()
    messages: Mapping[str, int] = field(default_factory=dict)  # made so far, by name of the output
    clock_missing: bool = False  # use_sim_time is set, and nothing has come on /clock
    alignment_wanted: bool = False  # whether map_alignment has a subscriber

    @property
    def active(self) -> bool:
        """Whether the node is in state active."""
        return self.state == 'active'


@dataclass
class Status:
    """A status in the making. values: numbers and texts, None for unknown."""

    level: bytes
    message: str
    values: dict[str, Any]


Judgement = tuple[bytes, str]  # level, message
Task = Callable[[NodeSnapshot], Status]


class InputTask:
    """The status of one input: its values, and the first of the things that can be wrong with it."""

    def __init__(self, spec: InputSpec):
        self._spec = spec
        self._extra_values, self._extra_judgement = PARTICULARS.get(spec.name, (_no_values, _received_or_none))

    def __call__(self, node: NodeSnapshot) -> Status:
        """The status of the input at this moment."""
        level, message = self._judge(node)
        return Status(level, message, {**self._values(node), **self._extra_values(node)})

    def _values(self, node: NodeSnapshot) -> dict[str, Any]:
        component, topic = node.monitor.components[self._spec.component], node.inputs.get(self._spec.component)
        values: dict[str, Any] = {'received': component.received.count, 'rate_hz': component.received.per_second}
        if topic is not None:
            values.update(topic=topic.name, publishers=topic.peers)
        if self._spec.name in node.ages_s:
            values['newest_age_s'] = node.ages_s[self._spec.name]
        values.update(_drops(component.dropped))
        return values

    def _judge(self, node: NodeSnapshot) -> Judgement:
        spec, monitor = self._spec, node.monitor
        if not node.active:
            return OK, _inactive(node)
        topic = node.inputs.get(spec.component)
        if topic is not None and topic.mismatches:
            return (ERROR if spec.required else WARN), '; '.join(topic.mismatches)
        component = monitor.components[spec.component]
        age_s = monitor.age_s(component.received.last_s)
        silent_s = age_s if age_s is not None and age_s > RECENT_S else None
        if spec.required and silent_s is not None:
            return ERROR, _nothing_received(spec, topic, silent_s)
        if problem := monitor.recent_problem(spec.component):
            costs_sweeps = component.reason in monitor.sweep_drops
            notes = () if topic is None else topic.notes
            return (ERROR if costs_sweeps and not monitor.results_flow else WARN), ' '.join(
                [_with_clocks(node, spec, problem), *notes])
        level, message = self._extra_judgement(node, spec, silent_s if component.received.count else None)
        if monitor.results_flow and (found := _findings(node, spec)):
            return max(level, WARN), found if level == OK else f'{message}; {found}'
        return level, message


def _with_clocks(node: NodeSnapshot, spec: InputSpec, text: str) -> str:
    """The text, and how sweeps are stamped against this input where that cannot be latency."""
    return f'{text}; {node.clocks[spec.name]}' if spec.name in node.clocks else text


def _no_values(_: NodeSnapshot) -> dict[str, Any]:
    return {}


def _findings(node: NodeSnapshot, spec: InputSpec) -> str:
    """What the last sweep showed to be implausible about this input, '' when nothing was."""
    last = node.monitor.last
    return '; '.join(f'{f.name}: {f.message}' for f in (() if last is None else last.findings) if f.input == spec.name)


def _received_or_none(node: NodeSnapshot, spec: InputSpec, silent_s: float | None) -> Judgement:
    """Of an optional input. silent_s: seconds since its last message, when that is too long ago."""
    if silent_s is not None:
        topic = node.inputs.get(spec.component)
        where = f' on {topic.name}' if topic is not None else ''
        return WARN, _silent(node, spec, silent_s) or (f'no {spec.label}{where} for {silent_s:.0f} s. Remedy: check '
                                                       'its publisher.')
    return OK, 'received' if node.monitor.components[spec.component].received.count else 'none'


def _silent(node: NodeSnapshot, spec: InputSpec, silent_s: float) -> str:
    """Of an input that is silent and whose newest message was dropped: why that was. '' where it was not dropped."""
    problem = node.monitor.problem_of_newest(spec.component)
    return problem and f'no {spec.label} for {silent_s:.0f} s, and the last one was dropped: {problem}'


# -- what is particular to an input ------------------------------------------------------------------------------------

def _sweep_values(node: NodeSnapshot) -> dict[str, Any]:
    values = _drops(node.monitor.sweep_drops)  # those that other components are to blame for, too
    if (last := node.monitor.last) is not None:
        values.update(lidars=', '.join(last.lidars), messages_per_sweep=last.parts, deskew=last.deskew)
    if last is not None and last.seen is not None:
        values['coverage'] = last.seen
    return values


def _judge_sweeps(node: NodeSnapshot, spec: InputSpec, _: float | None) -> Judgement:
    received, last = node.monitor.components[spec.component].received, node.monitor.last
    if last is not None and last.warnings and node.monitor.results_flow:
        return WARN, '; '.join(f'{reason}: {text}' for reason, text in last.warnings.items())
    if not received.count:
        return OK, WAITING
    text = f'{received.per_second:.1f} sweeps per second'
    if last is not None and last.parts > 1:
        text = (f'{node.monitor.results.per_second:.1f} sweeps per second, of {last.parts} messages each from '
                + ' and '.join(f"'{frame}'" for frame in last.lidars))
    # No warning: a recording that is played without simulated time gives the same results.
    return OK, _with_clocks(node, spec, text)


def _map_values(node: NodeSnapshot) -> dict[str, Any]:
    last = node.monitor.last
    return {'age_at_sweep_s': None if last is None else last.map_age_s,
            **_alignment_values(None if last is None else last.alignment)}


def _judge_map(node: NodeSnapshot, spec: InputSpec, silent_s: float | None) -> Judgement:
    last = node.monitor.last
    if last is not None and last.mode == 'fused':
        doubts = [f'{name}: {spec.reasons[name]}' for name in last.map_warnings]
        return (WARN, f"used; {' '.join(doubts)}") if doubts else (OK, 'used')
    if last is None and node.monitor.components[spec.component].received.count:
        return OK, WAITING
    if silent_s is not None and (dropped := _silent(node, spec, silent_s)):
        return WARN, f'lidar_only: {dropped}'
    reason = 'no_map' if last is None else last.reason
    if reason in NOT_AT_THE_TIME and spec.name in node.clocks:
        return WARN, f'lidar_only, {reason}: {node.clocks[spec.name]}'
    return WARN, f"lidar_only, {reason}: {spec.reasons.get(reason, 'the map image is not used.')}"


def _odometry_values(node: NodeSnapshot) -> dict[str, Any]:
    last = node.monitor.last
    return {'extrapolated_s': None if last is None else last.odometry_extrapolation_s,
            'reason': None if last is None else last.odometry_reason}


def _judge_odometry(node: NodeSnapshot, spec: InputSpec, silent_s: float | None) -> Judgement:
    if silent_s is not None:
        return WARN, _silent(node, spec, silent_s) or (
            f'no odometry for {silent_s:.0f} s. Remedy: check its publisher; without odometry, map image and '
            'earlier sweeps are not moved to the time of the sweep.')
    if not node.monitor.components[spec.component].received.count:
        if node.monitor.last is not None and not node.monitor.last.odometry_reason:
            return OK, f'no message, used from /tf{_extrapolated(node.monitor.last)}'
        if node.config is not None and node.config.map.orientation == 'north_up':
            topic = node.inputs.get(spec.component)
            return WARN, ('no odometry, but map.orientation north_up needs it. Remedy: publish nav_msgs/Odometry on '
                          f'{topic.name if topic is not None else spec.transports[0].topic}, or remap input/odometry.')
        return OK, 'none: the map image is used as drawn, and earlier sweeps are not accumulated'
    last = node.monitor.last
    if last is None:
        return OK, WAITING
    if not last.odometry_reason:
        return OK, f'used{_extrapolated(last)}'
    cause = node.clocks.get(spec.name) or str(spec.reasons.get(last.odometry_reason, 'no sweep finds it.'))
    return WARN, f'received but not used, {last.odometry_reason}: {cause}'


def _transform_values(node: NodeSnapshot) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if node.config is not None:
        values['source'] = 'tf' if node.config.use_tf else 'parameter T_base_sensor'
        values['base_frame'] = node.config.frames.base
    last = node.monitor.last
    values['extrapolated_s'] = None if last is None else last.transform_extrapolation_s
    return values


def _judge_transforms(node: NodeSnapshot, _: InputSpec, __: float | None) -> Judgement:
    if not node.monitor.results.count:
        return OK, WAITING
    last = node.monitor.last
    seconds = 0.0 if last is None else last.transform_extrapolation_s
    if seconds < NOTE_EXTRAPOLATION_S:
        return OK, 'known'
    return OK, (f'known, from {seconds:.2f} s before the last sweep: extrapolated at constant velocity where it moves, '
                'held up to tf_max_age where it does not. Remedy: publish the transform more often, or on /tf_static.')


def _extrapolated(last: LastResult) -> str:
    seconds = last.odometry_extrapolation_s
    if seconds < NOTE_EXTRAPOLATION_S:
        return ''
    return (f', extrapolated at constant velocity by {seconds:.2f} s at the last sweep. Remedy: publish '
            'the odometry more often, or with less delay.')


Values = Callable[[NodeSnapshot], dict[str, Any]]
Judge = Callable[[NodeSnapshot, InputSpec, 'float | None'], Judgement]
PARTICULARS: dict[str, tuple[Values, Judge]] = {
    SWEEPS: (_sweep_values, _judge_sweeps),
    MAP_IMAGE: (_map_values, _judge_map),
    ODOMETRY: (_odometry_values, _judge_odometry),
    TRANSFORMS: (_transform_values, _judge_transforms),
}


# -- the rest of the node ----------------------------------------------------------------------------------------------

def network_task(node: NodeSnapshot) -> Status:
    """Device, checkpoint, and what is unusual about them."""
    values = _drops(node.monitor.components[NETWORK].dropped)
    if node.error:
        return Status(ERROR, f'not configured: {node.error}', values)
    if node.pipeline is None:
        return Status(WARN, f'{node.state}. Remedy: trigger the configure transition (the launch file does).', values)
    network = node.pipeline.info
    values.update(device=network.device, backend=network.backend, checkpoint=network.checkpoint_name,
                  trained=network.trained, restarts=node.pipeline.restarts, device_note=network.device_note)
    if node.config is not None:
        values['lookahead_m'] = node.config.lookahead
    if problem := node.monitor.recent_problem(NETWORK):
        return Status(ERROR, problem, values)
    if not network.trained:
        return Status(WARN, 'UNTRAINED weights: directions and heatmaps are meaningless. Remedy: set checkpoint to a '
                      'trained one (empty for the shipped one).', values)
    if network.device_fell_back:
        return Status(WARN, f'fell back to {network.device}: {network.device_note}. Remedy: set device to cpu if '
                      'that is intended; otherwise check CUDA driver and torch build, then configure again.', values)
    return Status(OK, f'{network.checkpoint_name} on {network.device}', values)


def output_task(node: NodeSnapshot) -> Status:
    """The last result, rates, latencies, and who subscribes."""
    level, message = _judge_output(node)
    return Status(level, message, _output_values(node))


def _output_values(node: NodeSnapshot) -> dict[str, Any]:
    monitor, last = node.monitor, node.monitor.last
    values: dict[str, Any] = {'state': node.state, 'results': monitor.results.count,
                              'rate_hz': monitor.results.per_second, 'overrun': monitor.sweep_drops.get('overrun', 0)}
    values.update(_drops(monitor.components[OUTPUT].dropped))
    if last is not None:
        values.update(stamp_ns=last.stamp_ns, mode=last.mode, reason=last.reason, branches=last.branches,
                      direction_reason=last.direction_reason)
        values.update({f'stage.{stage}_ms': ms for stage, ms in last.stage_ms.items()})
        values['total_p50_ms'], values['total_p95_ms'] = monitor.latency_ms(0.5), monitor.latency_ms(0.95)
    values.update({f'subscribers.{topic.name}': topic.peers for topic in node.outputs if topic.peers})
    values.update({f'messages.{name}': count for name, count in node.messages.items()})
    return values


def _judge_output(node: NodeSnapshot) -> Judgement:
    monitor, last = node.monitor, node.monitor.last
    if not node.active:
        return OK, _inactive(node)
    mismatches = [mismatch for topic in node.outputs for mismatch in topic.mismatches]
    if mismatches:
        return WARN, '; '.join(mismatches)
    if problem := monitor.recent_problem(OUTPUT):
        return WARN, problem
    if node.clock_missing:
        return WARN, NO_CLOCK
    if last is None:
        return OK, 'no result yet'
    silent_s = monitor.age_s(monitor.results.last_s)
    if silent_s is not None and silent_s > RECENT_S:
        return ERROR, f'no result for {silent_s:.0f} s; the statuses of the inputs name the cause'
    message = f'{last.mode}, {monitor.results.per_second:.1f} results per second'
    message = message if last.mode == 'fused' else f'{message} ({last.reason})'
    if node.alignment_wanted and node.pipeline is not None and not node.pipeline.info.registers_map:
        # Said, but no warning: map_source listens in case there is something to hear, and does without.
        message += f'; {NO_ALIGNMENT.format(node.pipeline.info.checkpoint_name)}'
    return OK, message


# -- the message -------------------------------------------------------------------------------------------------------

# In the order of the message.
TASKS: dict[str, Task] = {**{spec.component: InputTask(spec) for spec in INPUTS},
                          NETWORK: network_task, OUTPUT: output_task}


UNNAMED_WHILE_UNUSED = {spec.component for spec in INPUTS if spec.only_when_named}


class DiagnosticsBuilder:
    """Runs tasks, each a function NodeSnapshot -> Status, by component."""

    def __init__(self, tasks: Mapping[str, Task] | None = None):
        self._tasks = TASKS if tasks is None else tasks

    def message(self, node: NodeSnapshot, stamp: Any, hardware_id: str) -> DiagnosticArray:
        """The statuses of all tasks, in their order. stamp: builtin_interfaces/Time."""
        statuses = {component: task(node) for component, task in self._tasks.items()
                    if component not in UNNAMED_WHILE_UNUSED or _is_used(node, component)}
        return diagnostics_message('attention_fusion', statuses, stamp, hardware_id)


def diagnostics_message(name: str, statuses: Mapping[str, Status], stamp: Any, hardware_id: str) -> DiagnosticArray:
    """Statuses by component as a message. name: of the node, before that of the component."""
    message = DiagnosticArray()
    message.header.stamp = stamp
    for component, status in statuses.items():
        message.status.append(DiagnosticStatus(
            level=status.level, name=f'{name}: {component}', message=status.message, hardware_id=hardware_id,
            values=[KeyValue(key=key, value=_text(value)) for key, value in status.values.items()]))
    return message


def _is_used(node: NodeSnapshot, component: str) -> bool:
    """Whether anybody publishes an input, or has done so."""
    topic = node.inputs.get(component)
    return bool(node.monitor.components[component].received.count or (topic is not None and topic.peers))


def _inactive(node: NodeSnapshot) -> str:
    return f'not active ({node.state})'


def _drops(dropped: Mapping[str, int]) -> dict[str, Any]:
    return {f'dropped.{reason}': count for reason, count in sorted(dropped.items())}


def _nothing_received(spec: InputSpec, topic: TopicStatus | None, silent_s: float) -> str:
    name = topic.name if topic is not None else spec.transports[0].topic
    message = f'no {spec.label} received for {silent_s:.0f} s on {name}'
    if topic is None or not topic.peers:
        return f'{message}: {no_publisher(spec)}'
    return (f'{message}, although it has {topic.peers} publisher(s). Remedy: check with '
            f"'ros2 topic hz {name}' that they send.")


def no_publisher(spec: InputSpec) -> str:
    """Cause and remedy when the topic of an input has no publisher."""
    return f'the topic has no publisher. Remedy: start the driver, or remap {spec.transports[0].topic}.'


def _alignment_values(alignment: MapAlignment | None) -> dict[str, Any]:
    """Where the map belongs, in metres and degrees, each with its standard deviation; how probable it is that it fits
    anywhere, and what is known of it from earlier sweeps.
    """
    if alignment is None:
        return {}
    numbers = {'dx_m': (alignment.dx, alignment.std[0]), 'dy_m': (alignment.dy, alignment.std[1]),
               'dyaw_deg': (math.degrees(alignment.dyaw), math.degrees(alignment.std[2]))}
    values: dict[str, float] = {}
    for name, (value, std) in numbers.items():
        values[f'alignment.{name}'], values[f'alignment.{name}_std'] = float(value), float(std)
    fits = {} if alignment.covariance is None else {'alignment.fits': round(alignment.fits, 3)}
    return {**values, **fits, **({'alignment.state': alignment.state} if alignment.state else {})}


def _text(value: Any) -> str:
    if value is None:
        return ''
    if isinstance(value, bool):
        return 'true' if value else 'false'
    return f'{value:.3f}' if isinstance(value, float) else str(value)
