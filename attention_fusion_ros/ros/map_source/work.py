# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a configured `map_source` has, and what it does with a message."""

from __future__ import annotations

import time
from collections import deque
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np
from nav_msgs.srv import GetPlan
from rclpy.clock import JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode

from attention_fusion_ros.errors import InputError
from attention_fusion_ros.maps.messages import decode_goal_pose
from attention_fusion_ros.maps.route import Route
from attention_fusion_ros.maps.settings import check
from attention_fusion_ros.maps.source import MapSource
from attention_fusion_ros.ros.map_source.feed import Feed
from attention_fusion_ros.ros.map_source.inputs import inputs_used
from attention_fusion_ros.ros.map_source.loading import Loader
from attention_fusion_ros.ros.map_source.outputs import (
    MAP_IMAGE,
    MAP_OUTPUTS,
    POSITION,
    POSITION_FIX,
    ROADS,
    ROUTE,
    ROUTE_GEOJSON,
)
from attention_fusion_ros.ros.map_source.publications import MapPublications
from attention_fusion_ros.ros.map_source.status import SourceStatus, status_of
from attention_fusion_ros.ros.messages import encode_map, sensors
from attention_fusion_ros.ros.node.graph import TopicStatus, output_topic
from attention_fusion_ros.ros.node.monitor import OUTPUT, NodeMonitor
from attention_fusion_ros.ros.node.parameters import NodeParameters
from attention_fusion_ros.ros.node.reporting import ThrottledLog, format_traceback, internal_error
from attention_fusion_ros.ros.node.subscriptions import Subscriptions
from attention_fusion_ros.ros.node.topic_names import check_topics
from attention_fusion_ros.ros.node.worker import MAX_WAITING, Worker
from attention_fusion_ros.stream.inputs import InputSpec, Transport

IMAGE = 'position'  # the component to which it is counted when there is no image
STEP_NS = 50_000_000  # between two looks at route and position
POSITION_NS = 100_000_000
MOVED_SHARE = 0.3  # of the radius of the roads that are shown, after which they are shown anew
TIMES = 200  # images whose processor time is kept
STATUS_S = 0.1
MAX_EARLY = 100  # messages that come once, and are kept while the file is read
OVERRUN = InputError('overrun', 'messages came faster than they were used.', 'publish odometry and tf less often, or '
                     'reduce roads.radius and the size of the image.')


class _Received(NamedTuple):
    spec: InputSpec
    transport: Transport
    message: Any
    session: object  # the activation that it belongs to


class MapWork:
    """Roads, worker thread and publishers: made by the configure transition, freed by cleanup.

    Everything but the subscriptions belongs to the worker's thread: decoding, filter, route and drawing.
    """

    def __init__(self, node: LifecycleNode, parameters: NodeParameters, monitor: NodeMonitor, log: ThrottledLog):
        """Raises ConfigurationError when parameters or file cannot be used; nothing is left behind."""
        self._node, self._parameters, self._monitor, self._log = node, parameters, monitor, log
        self.config = config = parameters.config()
        check(config)
        self.inputs = inputs_used(config)
        check_topics(node, self.inputs, MAP_OUTPUTS)
        self.status: SourceStatus | None = None
        self.draw_ms: deque[float] = deque(maxlen=TIMES)
        self._loader = Loader(config)
        self._feed: Feed | None = None
        self._source: MapSource | None = None
        self._subscriptions: Subscriptions | None = None
        self._session: object = None
        self._early: list[_Received] = []
        self._goals_given = parameters.times_set['goal']
        self._forget()
        self._use(self._loader.wait())
        with ExitStack() as undo:
            self._worker: Worker[_Received] = Worker(self._process, self._on_overrun, self._status_due_s,
                                                     self._leave_status)
            undo.callback(self._worker.close)
            self.publications = MapPublications(node, config.publish_tf, self._on_output_failed)
            undo.callback(self.publications.close)
            service = node.create_service(GetPlan, '~/set_goal', self._on_set_goal)
            undo.callback(node.destroy_service, service)
            undo.callback(self._worker.close)  # before what it uses
            jumps = node.get_clock().create_jump_callback(
                JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True),
                post_callback=self._on_time_jump)
            undo.callback(jumps.unregister)
            undo.callback(self.deactivate)
            self._undo = undo.pop_all()

    def activate(self) -> None:
        """Subscribe. What is known about roads, datum and position stays."""
        self._worker.open()
        self._worker.call(self._forget)
        self._session = object()
        self._subscriptions = Subscriptions(self._node, self.inputs, self._on_message, lambda spec, count: None)

    def deactivate(self) -> None:
        """Unsubscribe. May be repeated."""
        self._worker.pause()
        self._session = None
        subscriptions, self._subscriptions = self._subscriptions, None
        if subscriptions is not None:
            subscriptions.close()

    def close(self) -> None:
        """Free everything; returns when the message in work is finished. May be repeated."""
        self._undo.close()

    def follow_publishers(self) -> None:
        """Adapt the subscriptions to the publishers there are; notice when the file has been read."""
        if self._subscriptions is not None:
            self._subscriptions.update_qos()
            if self._worker.call(self._loaded) is None and self._loader.problem is not None:
                self._log.error('map_unusable', str(self._loader.problem))

    def input_topics(self) -> dict[str, TopicStatus]:
        """What the graph knows about the inputs, by component; {} while the node is not active."""
        return {} if self._subscriptions is None else self._subscriptions.topics()

    def output_topics(self) -> tuple[TopicStatus, ...]:
        """What the graph knows about the outputs."""
        return tuple(output_topic(self._node, publisher) for publisher in self.publications.all())

    @property
    def load_problem(self) -> InputError | None:
        """Why the file, which took long to read, cannot be used."""
        return self._loader.problem

    # -- in the worker's thread ----------------------------------------------------------------------------------------

    def _forget(self) -> None:
        """Everything is to be published anew."""
        self._step_ns: int | None = None
        self._tried_ns: int | None = None
        self._position_ns: int | None = None
        self._roads_at: tuple[float, np.ndarray, Any] | None = None
        self._route_sent: Route | None | str = 'none'
        self._status_s, self._status_old = 0.0, False
        self._problem: InputError | None = None

    def _loaded(self) -> Feed | None:
        if self._feed is None:
            self._use(self._loader.now())
        return self._feed

    def _use(self, source: MapSource | None) -> None:
        if source is not None:
            self._source, self._feed = source, Feed(source, self.config)
            self.status = status_of(source, None)
            early, self._early = self._early, []
            for item in early:
                self._process(item)

    def _process(self, item: _Received) -> None:
        """One message; whatever is wrong with it costs this message only."""
        feed = self._loaded()
        if item.session is not self._session:
            return
        if feed is None or self._source is None:
            if item.transport.may_latch:  # comes once only: goals, static transforms
                self._early = [*self._early[1 - MAX_EARLY:], item]
            return
        try:
            self._take_over_parameters(self._source)
            stamp_ns = feed.take(item.spec, item.transport, item.message)
        except InputError as error:
            self._dropped(item.spec.component, item.spec.label, error)
        except Exception as error:
            self._dropped(item.spec.component, item.spec.label, internal_error(error))
        else:
            subscriptions = self._subscriptions
            if subscriptions is not None:
                subscriptions.set_dynamic_tf_enabled(feed.needs_moving_transforms)
            if stamp_ns is not None:
                self._advance(self._source, stamp_ns)
        self._status_old = True
        if time.monotonic() >= self._status_s + STATUS_S:
            self._leave_status()

    def _advance(self, source: MapSource, stamp_ns: int) -> None:
        """Route, position and image for a time."""
        try:
            if self.config.publish_tf and self._feed is not None:
                self._send_tf(self._feed, stamp_ns)
            if self._step_ns is None or not 0 <= stamp_ns - self._step_ns < STEP_NS:
                self._step_ns = stamp_ns
                source.follow(stamp_ns)
                self._send_route(source)
                self._send_position(source, stamp_ns)
                self._send_roads(source, stamp_ns)
            self._send_image(source, stamp_ns)
        except InputError as error:
            self._no_image(error)
        except Exception as error:
            if self._node.context.ok():  # else shutdown has taken the node from under it
                self._no_image(internal_error(error))
                self._log.error('advance', format_traceback(error))

    def _send_image(self, source: MapSource, stamp_ns: int) -> None:
        period_ns = int(self.config.map.min_period * 1e9)
        if self._problem is not None and self._tried_ns is not None and 0 <= stamp_ns - self._tried_ns < period_ns:
            return
        if not source.image_due(stamp_ns, self.publications.has_subscribers(MAP_IMAGE)):
            return
        self._tried_ns = stamp_ns
        start = time.thread_time()
        drawing = source.draw(stamp_ns)
        self.publications.send(MAP_IMAGE, sensors.image, drawing.pixels,
                               sensors.header(drawing.stamp_ns, self.config.frames.base))
        self.draw_ms.append(1e3 * (time.thread_time() - start))
        self._monitor.made()
        self._problem = None

    def _no_image(self, error: InputError) -> None:
        self._problem = error
        self._dropped(IMAGE, 'no map image', error)

    def _send_tf(self, feed: Feed, stamp_ns: int) -> None:
        frames = self.config.frames
        self.publications.send('/tf', encode_map.transform, feed.odom_in_map(stamp_ns),
                               sensors.header(stamp_ns, frames.map), frames.odom)

    def _send_route(self, source: MapSource) -> None:
        route = source.guide.route
        if route is self._route_sent:
            return
        self._route_sent = route
        head = sensors.header(self._step_ns or 0, self.config.frames.map)
        self.publications.send(ROUTE, encode_map.route_path, route, head)
        self.publications.send(ROUTE_GEOJSON, encode_map.route_geojson, route)

    def _send_position(self, source: MapSource, stamp_ns: int) -> None:
        if self._position_ns is not None and 0 <= stamp_ns - self._position_ns < POSITION_NS:
            return
        self._position_ns = stamp_ns
        estimate = source.estimate(stamp_ns)
        if self.publications.has_subscribers(POSITION):
            self.publications.send(POSITION, encode_map.position, estimate,
                                   sensors.header(stamp_ns, self.config.frames.map))
        if self.publications.has_subscribers(POSITION_FIX):
            self.publications.send(POSITION_FIX, encode_map.position_fix, estimate, source.frame,
                                   sensors.header(stamp_ns, self.config.frames.base))

    def _send_roads(self, source: MapSource, stamp_ns: int) -> None:
        place, radius = np.array(source.estimate(stamp_ns).pose[:2]), self.config.roads.radius
        if self._roads_at is not None:
            sent_s, at, roads = self._roads_at
            if time.monotonic() - sent_s < self.config.roads.period:
                return
            if roads is source.roads and np.hypot(*(place - at)) < MOVED_SHARE * radius:
                return
        self._roads_at = time.monotonic(), place, source.roads
        self.publications.send(ROADS, encode_map.roads_around, source.roads, place, radius,
                               sensors.header(stamp_ns, self.config.frames.map))

    def _take_over_parameters(self, source: MapSource) -> None:
        config = self._parameters.config()
        if config is not self.config:
            goals, self._goals_given = self._goals_given, self._parameters.times_set['goal']
            self.config = config
            source.update(config, goal_given=self._goals_given != goals)

    def _status_due_s(self) -> float | None:
        return self._status_s + STATUS_S if self._status_old else None

    def _leave_status(self) -> None:
        self._status_old, self._status_s = False, time.monotonic()
        if self._source is not None:
            self.status = status_of(self._source, self._problem)

    def _dropped(self, component: str, label: str, error: InputError) -> None:
        self._monitor.dropped(component, error)
        text = f'{label}, {error.reason}: {error}'
        if error.reason == 'internal_error' and error.__cause__ is not None:
            self._log.error(f'{component} {error.reason}', f'{text}\n{format_traceback(error.__cause__)}')
        else:
            self._log.warn(f'{component} {error.reason}', text)

    # -- in the executor's thread --------------------------------------------------------------------------------------

    def _on_message(self, spec: InputSpec, transport: Transport, message: Any) -> None:
        self._monitor.received(spec.component)
        self._worker.put(_Received(spec, transport, message, self._session), keep=MAX_WAITING)

    def _on_set_goal(self, request: Any, response: Any) -> Any:
        """nav_msgs/GetPlan: the goal becomes the goal; the plan is the route to it, without poses if there is none."""
        def plan() -> Route:
            feed, source = self._loaded(), self._source
            if feed is None or source is None:
                raise InputError('map_loading', 'a goal came before the roads were read.', 'ask again.')
            self._take_over_parameters(source)
            source.guide.set_goals([feed.place(decode_goal_pose(request.goal))])
            return source.plan()
        try:
            route = self._worker.call(plan)
        except InputError as error:
            self._dropped('goal', 'no route', error)
        except Exception as error:
            self._dropped('goal', 'no route', internal_error(error))
        else:
            response.plan = encode_map.route_path(
                route, sensors.header(self._node.get_clock().now().nanoseconds, self.config.frames.map))
        return response

    def _on_time_jump(self, _: TimeJump) -> None:
        """The clock was set back (a bag that starts again)."""
        now_ns = self._node.get_clock().now().nanoseconds

        def forget() -> None:
            if self._feed is not None:
                self._feed.time_went_back(now_ns)
        self._worker.call(forget)

    def _on_overrun(self) -> None:
        self._monitor.dropped(OUTPUT, OVERRUN)
        self._log.warn(OVERRUN.reason, f'{OVERRUN.reason}: {OVERRUN}')

    def _on_output_failed(self, topic: str, error: Exception) -> None:
        if self._node.context.ok():  # else it is the shutdown
            failure = InputError('publish_failed', f'no message on {topic}: {type(error).__name__}: {error}.',
                                 'please report it, with the traceback in the log.')
            self._monitor.dropped(OUTPUT, failure)
            self._log.error(f'{topic} {type(error).__name__}', f'{failure}\n{format_traceback(error)}')
