# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""MapSnapshot -> statuses: messages name cause and remedy, values hold the numbers in m and degrees."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from attention_fusion_ros.maps.config import MapSourceConfig
from attention_fusion_ros.ros.map_source.inputs import MAP_INPUTS, inputs_needed, inputs_used
from attention_fusion_ros.ros.map_source.status import SourceStatus
from attention_fusion_ros.ros.node.diagnostics import ERROR, NO_CLOCK, OK, WARN, Status
from attention_fusion_ros.ros.node.graph import TopicStatus
from attention_fusion_ros.ros.node.monitor import OUTPUT, RECENT_S, MonitorSnapshot
from attention_fusion_ros.stream.inputs import InputSpec

MAP, POSITION, ROUTE = 'map', 'position', 'route'
COMPONENTS = (*dict.fromkeys(spec.component for spec in MAP_INPUTS), MAP, POSITION, ROUTE, OUTPUT)
ROUTE_STATES = {
    'none': 'no goal', 'waiting': 'waits for a position', 'driving': 'driving', 'arrived': 'arrived',
    'off_route': 'the vehicle has left the route', 'no_route': 'no route'}


@dataclass
class MapSnapshot:
    """The node at one moment."""

    state: str  # of the lifecycle
    monitor: MonitorSnapshot
    config: MapSourceConfig
    configured: bool = False
    error: str = ''  # why configuring failed, or the file cannot be used
    source: SourceStatus | None = None
    inputs: Mapping[str, TopicStatus] = field(default_factory=dict)
    outputs: tuple[TopicStatus, ...] = ()
    messages: Mapping[str, int] = field(default_factory=dict)
    draw_ms: Sequence[float] = ()
    clock_missing: bool = False

    @property
    def active(self) -> bool:
        """Whether the node is in state active."""
        return self.state == 'active'


def statuses(node: MapSnapshot) -> dict[str, Status]:
    """By component, in the order of the message."""
    found = {MAP: _map(node)}
    needed = inputs_needed(node.config)
    for component in dict.fromkeys(spec.component for spec in inputs_used(node.config)):
        specs = [spec for spec in inputs_used(node.config) if spec.component == component]
        found[component] = _input(node, specs, any(spec.name in needed for spec in specs))
    found.update({POSITION: _position(node), ROUTE: _route(node), OUTPUT: _output(node)})
    return found


def _input(node: MapSnapshot, specs: list[InputSpec], needed: bool) -> Status:
    spec = specs[0]
    component, topic = node.monitor.components[spec.component], node.inputs.get(spec.component)
    values: dict[str, Any] = {'received': component.received.count, 'rate_hz': component.received.per_second}
    if topic is not None:
        values.update(topic=topic.name, publishers=topic.peers)
    values.update({f'dropped.{reason}': count for reason, count in sorted(component.dropped.items())})
    if not node.active:
        return Status(OK, f'not active ({node.state})', values)
    if topic is not None and topic.mismatches:
        return Status(WARN, '; '.join(topic.mismatches), values)
    if problem := node.monitor.recent_problem(spec.component):
        return Status(WARN, problem, values)
    silent_s = node.monitor.age_s(component.received.last_s)
    if silent_s is not None and silent_s > RECENT_S:
        where = topic.name if topic is not None else spec.transports[0].topic
        if needed:
            return Status(WARN, f'no {spec.label} on {where} for {silent_s:.0f} s. Remedy: start the driver, or remap '
                          f'~/{spec.transports[0].topic.lstrip("/")}.', values)
        if component.received.count and spec.component in ('odometry', 'heading'):
            return Status(WARN, f'no {spec.label} on {where} for {silent_s:.0f} s. Remedy: check its publisher.',
                          values)
    return Status(OK, 'received' if component.received.count else 'none', values)


def _map(node: MapSnapshot) -> Status:
    values: dict[str, Any] = {'file': node.config.file}
    if node.error:
        return Status(ERROR, f'not configured: {node.error}' if not node.configured else node.error, values)
    if not node.configured:
        return Status(WARN, f'{node.state}. Remedy: trigger the configure transition (the launch file does).', values)
    if node.source is None:
        return Status(WARN, 'map_loading: the file of roads is being read; images come when it has been.', values)
    values['roads'] = node.source.roads
    if node.source.datum is None:
        return Status(OK, f'{node.source.roads} stretches of road; no datum yet', values)
    latitude, longitude = node.source.datum
    values.update(datum=f'{latitude:.7f}, {longitude:.7f}', datum_given=node.source.datum_given)
    return Status(OK, f'{node.source.roads} stretches of road; datum {latitude:.5f}, {longitude:.5f}', values)


def _position(node: MapSnapshot) -> Status:
    source = node.source
    values: dict[str, Any] = {}
    if source is not None and (estimate := source.estimate) is not None:
        values.update(position_std_m=estimate.position_std, heading_std_deg=math.degrees(estimate.heading_std),
                      x_m=estimate.pose.x, y_m=estimate.pose.y, yaw_deg=math.degrees(estimate.pose.yaw),
                      fix_age_s=None if math.isinf(estimate.fix_age_s) else estimate.fix_age_s)
    if source is not None and source.degrees is not None:
        latitude, longitude = source.degrees
        values.update(latitude_deg=f'{latitude:.7f}', longitude_deg=f'{longitude:.7f}')
    if source is not None and source.corrected_m is not None:
        values.update(corrected_m=source.corrected_m, corrected_deg=math.degrees(source.corrected_rad or 0.0))
    if source is not None:
        values.update({f'refused.{reason}': count for reason, count in sorted(source.refused.items())})
        values['reason'] = '' if source.problem is None else source.problem.reason
    dropped = node.monitor.components[POSITION].dropped
    values.update({f'no_image.{reason}': count for reason, count in sorted(dropped.items())})
    if not node.active:
        return Status(OK, f'not active ({node.state})', values)
    if source is None or source.estimate is None:
        why = None if source is None else source.problem
        return Status(WARN, f'{why.reason}: {why}' if why is not None else
                      'no_position: nothing has come that tells where the vehicle is. Remedy: see the statuses of the '
                      'inputs.',
                      values)
    text = (f'known to {source.estimate.position_std:.1f} m and '
            f'{math.degrees(source.estimate.heading_std):.1f} deg (1 standard deviation)')
    if source.problem is not None:
        return Status(WARN, f'no image, {source.problem.reason}: {source.problem}', values)
    return Status(OK, text, values)


def _route(node: MapSnapshot) -> Status:
    if node.source is None:
        return Status(OK, 'no roads yet' if node.configured else f'not active ({node.state})', {})
    guidance = node.source.guidance
    values: dict[str, Any] = {'state': guidance.state, 'goal': node.config.goal, 'replanned': node.source.replanned}
    if guidance.route is not None:
        values.update(length_m=guidance.route.length, seconds=guidance.route.seconds,
                      streets=', '.join(guidance.route.names), u_turn=guidance.route.u_turn)
    if guidance.progress is not None:
        values.update(left_m=guidance.progress.left, away_m=guidance.progress.away)
    values['reason'] = '' if guidance.problem is None else guidance.problem.reason
    text = ROUTE_STATES[guidance.state]
    if guidance.problem is not None:
        return Status(WARN, f'{text}, {guidance.problem.reason}: {guidance.problem}', values)
    if guidance.state == 'driving' and guidance.progress is not None:
        text = f'{text}, {guidance.progress.left:.0f} m to go'
    return Status(WARN if guidance.state == 'off_route' else OK, text, values)


def _output(node: MapSnapshot) -> Status:
    images = node.monitor.results
    values: dict[str, Any] = {'state': node.state, 'images': images.count, 'rate_hz': images.per_second}
    if node.draw_ms:
        ordered = sorted(node.draw_ms)
        values.update(draw_p50_ms=ordered[len(ordered) // 2], draw_p95_ms=ordered[int(0.95 * (len(ordered) - 1))])
    values.update({f'subscribers.{topic.name}': topic.peers for topic in node.outputs if topic.peers})
    values.update({f'messages.{name}': count for name, count in node.messages.items()})
    values.update({f'dropped.{reason}': count
                   for reason, count in sorted(node.monitor.components[OUTPUT].dropped.items())})
    if not node.active:
        return Status(OK, f'not active ({node.state})', values)
    mismatches = [mismatch for topic in node.outputs for mismatch in topic.mismatches]
    if mismatches:
        return Status(WARN, '; '.join(mismatches), values)
    if problem := node.monitor.recent_problem(OUTPUT):
        return Status(WARN, problem, values)
    if node.clock_missing:
        return Status(WARN, NO_CLOCK, values)
    silent_s = node.monitor.age_s(images.last_s)
    if silent_s is not None and silent_s > RECENT_S + node.config.map.max_period:
        why = None if node.source is None else node.source.problem
        cause = '; the statuses of the inputs name the cause' if why is None else f', {why.reason}: {why}'
        return Status(ERROR, f'no map image for {silent_s:.0f} s{cause}', values)
    return Status(OK, f'{images.per_second:.1f} images per second' if images.count else 'no image yet', values)
