# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The lifecycle node `attention_fusion`: clouds and map images in, road directions and attention heatmaps out.

Callbacks only hand messages over; decoding sweeps, the network and the encoding of results run in one worker thread, so
map images, odometry, parameters and lifecycle services are served meanwhile.
"""

from __future__ import annotations

import gc
import threading
import time
import traceback
from collections.abc import Callable

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.exceptions import InvalidHandle
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import PointCloud2

from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.contracts import FusionResult, SyncedSweep
from attention_fusion_ros.decode import decode_cloud
from attention_fusion_ros.errors import ConfigurationError, InputError
from attention_fusion_ros.pipeline.fusion import FusionPipeline
from attention_fusion_ros.pipeline.supervisor import PipelineSupervisor
from attention_fusion_ros.ros.node.diagnostics import NodeSnapshot, Report
from attention_fusion_ros.ros.node.graph import output_topic
from attention_fusion_ros.ros.node.monitor import CLOUD, MAP, NETWORK, ODOMETRY, Health
from attention_fusion_ros.ros.node.parameters import NodeParameters
from attention_fusion_ros.ros.node.publications import MAP_ALIGNMENT, Fused, Outputs
from attention_fusion_ros.ros.node.subscriptions import Inputs, transform_message
from attention_fusion_ros.ros.node.worker import Worker
from attention_fusion_ros.ros.transport import configure_fastdds_shared_memory
from attention_fusion_ros.sync.stamp_waiter import StampWaiter
from attention_fusion_ros.sync.synchronizer import STAMP_BACKWARDS, Synchronizer

NAME = 'attention_fusion'
FOLLOW_PERIOD = 0.2  # s, how often the subscriptions adapt to new publishers
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class AttentionFusionNode(LifecycleNode):
    """Its topics and parameters are in the README's tables.

    create_pipeline is called with the configuration at every configure transition.
    """

    def __init__(self, create_pipeline: Callable[[NodeConfig], FusionPipeline] = FusionPipeline, **options):
        super().__init__(NAME, **options)
        self._create_pipeline = create_pipeline
        self.parameters = NodeParameters(self)
        self.health = Health()
        self._transition = threading.RLock()  # transitions and the report do not overlap
        self._config: NodeConfig | None = None
        self._error = ''
        self._engine: PipelineSupervisor | None = None
        self._pairer: Synchronizer | None = None
        self._worker: Worker[tuple[PointCloud2, float]] | None = None
        self._companions: StampWaiter | None = None
        self.outputs: Outputs | None = None
        self._inputs: Inputs | None = None
        self._tf_message: type | None = None
        self._jumps = None
        self._reset_wanted = threading.Event()
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        # By a steady clock: /diagnostics has something to say when simulated time stands still, too.
        steady, group = Clock(clock_type=ClockType.STEADY_TIME), MutuallyExclusiveCallbackGroup()
        period = self.get_parameter('diagnostics.period').value
        self._timers = [self.create_timer(period, self._report, callback_group=group, clock=steady),
                        self.create_timer(FOLLOW_PERIOD, self._follow, callback_group=group, clock=steady)]
        self._refuse_impossible_transitions()

    # -- parameters ----------------------------------------------------------------------------------------------------

    def set_parameters_atomically(self, parameter_list: list[Parameter]) -> SetParametersResult:
        """As rclpy does, but with reasons that help for unknown and read-only names, and 2 taken for 2.0."""
        refusal = self.parameters.refuse(parameter_list)
        return refusal or super().set_parameters_atomically(self.parameters.in_own_type(parameter_list))

    # -- lifecycle -----------------------------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the network, run it once, advertise the outputs."""
        with self._transition:
            try:
                self._configure()
            except ConfigurationError as error:
                self._fail(str(error))
                return FAILURE
            except Exception as error:
                self._fail(f'{type(error).__name__}: {error}\n{traceback.format_exc()}')
                return FAILURE
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe."""
        with self._transition:
            super().on_activate(state)  # publishers first: the first sweep may come at once
            worker = self._worker
            self._pairer.reset()
            self._companions = StampWaiter(MAP, ODOMETRY)
            self._reset_wanted.set()
            worker.open()
            try:
                self._inputs = Inputs(self, self._pairer, self._companions, self.health, self._tf_message,
                                      lambda message: worker.put((message, time.perf_counter())), self._drop_input)
            except Exception:
                self.get_logger().error(traceback.format_exc())  # rclpy would swallow it
                raise
            self.health.activated(True)
            self.get_logger().info('active')
        return SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe; a sweep in work is finished, but its result is not published."""
        with self._transition:
            self._deactivate()
            self.get_logger().info('inactive')
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free network, threads and topics."""
        self._free()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As cleanup, from any state."""
        self._free()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """A transition raised: everything is freed, and the node can be configured again."""
        self._free()
        return super().on_error(state)

    def destroy_node(self) -> None:
        """Free everything, then the node. May be called in any state."""
        self._free()
        super().destroy_node()

    def _configure(self) -> None:
        self.health.clear()
        self._error = ''
        config = self.parameters.config()
        self._tf_message = transform_message() if config.use_tf else None
        self._pairer = Synchronizer(config)
        self._worker = Worker(self._process, self._overrun)
        # In the thread that uses it: the first run in a thread is slow, however warm the network is in another one.
        self._engine = self._worker.call(lambda: PipelineSupervisor(config, self._create_pipeline))
        self._config = config
        self.outputs = Outputs(self, config.frames.base)
        self._jumps = self.get_clock().create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True),
            post_callback=self._on_time_jump)
        engine, log = self._engine, self.get_logger()
        log.info(f'configured: {engine.checkpoint_name} on {engine.device}')
        if not engine.trained:
            log.warning('UNTRAINED weights: directions and heatmaps mean nothing')

    def _fail(self, error: str) -> None:
        self._free()
        self._error = error
        if self.context.ok():  # else the process was told to stop meanwhile
            self.get_logger().error(f'cannot be configured: {error}')

    def _deactivate(self) -> None:
        if self._worker is not None:
            self._worker.pause()
        if self._inputs is not None:
            self._inputs.close()
            self._inputs = None
        self.health.activated(False)

    def _free(self) -> None:
        """Give back everything that configure and activate took. May be repeated."""
        with self._transition:
            self._deactivate()
            if self._jumps is not None:
                self._jumps.unregister()
            if self._worker is not None:
                self._worker.close()
            if self.outputs is not None:
                self.outputs.close()
            if self._engine is not None:
                self._engine.close()
            self._jumps = self._worker = self.outputs = self._engine = self._pairer = self._companions = None
            self._config, self._error = None, ''

    def _refuse_impossible_transitions(self) -> None:
        """rclpy answers a transition that the state does not allow with an exception that ends the executor."""
        change = self._service_change_state.callback

        def checked(request, response):
            if request.transition.id not in [t[0] for t in self._state_machine.available_transitions] \
                    and not request.transition.label:
                self.get_logger().warning(f'transition {request.transition.id} is not possible in state '
                                          f"'{self._state_machine.current_state[1]}'")
                response.success = False
                return response
            return change(request, response)

        self._service_change_state.callback = checked

    # -- sweeps, in the worker's thread --------------------------------------------------------------------------------

    def _process(self, item: tuple[PointCloud2, float]) -> None:
        """One sweep from message to messages; whatever is wrong with it costs this sweep only."""
        try:
            self._fuse_and_publish(*item)
        except InputError as error:
            self._drop_sweep(error)
        except Exception as error:  # encoding and publishing: the context may be gone
            if not rclpy.ok(context=self.context):
                return
            self.get_logger().error(traceback.format_exc())
            self._drop_sweep(InputError('internal_error', f'the result could not be published: {error}.',
                                        'report it, with the traceback in the log.'))

    def _fuse_and_publish(self, message: PointCloud2, received: float) -> None:
        self._take_over_parameters()
        start = time.perf_counter()
        cloud = decode_cloud(message)
        stage_ms = {'decode': 1e3 * (time.perf_counter() - start)}
        self._companions.wait(cloud.stamp_ns)
        self._wait_for_transform(cloud.frame_id, cloud.stamp_ns)
        try:
            pairing = self._pairer.match(cloud.stamp_ns, cloud.frame_id)
        except InputError as error:
            if error.reason == STAMP_BACKWARDS:
                self._engine.reset()
            raise
        result = self._engine.run(SyncedSweep(cloud, pairing.motion, pairing.map_image, pairing.map_reason))
        self.outputs.publish(Fused(result, cloud, pairing, self._explain))
        stage_ms.update(result.stage_ms)
        stage_ms['total'] = 1e3 * (time.perf_counter() - received)
        stage_ms['data_age'] = (self.get_clock().now().nanoseconds - result.stamp_ns) / 1e6
        self.outputs.publish_times(stage_ms)
        image, before = pairing.map_image, self.health.last
        self.health.result(result, stage_ms, None if image is None else (result.stamp_ns - image.stamp_ns) / 1e9)
        if result.reason and (before is None or before.reason != result.reason):
            self._warn(result.reason, f'without map image: {result.reason} (see /diagnostics)')
        if self._config.use_tf:
            self._want_moving_transforms(self._pairer.needs_dynamic_transforms(cloud.frame_id))

    def _explain(self, result: FusionResult) -> dict[str, np.ndarray]:
        """Grad-CAM by stage; a failure costs this picture, and not the sweep, whose answer is out by now."""
        try:
            return self._engine.explain(result)
        except InputError as error:
            self.health.dropped(NETWORK, error)
            self._warn(f'gradcam {error.reason}', f'heatmap/gradcam not made, {error.reason}: {error}')
            return {}

    def _take_over_parameters(self) -> None:
        config = self.parameters.config()
        if config is not self._config:
            self._config = config
            self._pairer.update(config)
            self._engine.update(config)
        if self._reset_wanted.is_set():
            self._reset_wanted.clear()
            self._engine.reset()

    def _wait_for_transform(self, frame_id: str, stamp_ns: int) -> None:
        """A transform may be a little later than the sweep; when none comes, pairing says what is missing."""
        end = time.monotonic() + 0.05
        while not self._pairer.has_transform(frame_id, stamp_ns) and time.monotonic() < end:
            time.sleep(0.005)

    # -- what went wrong -----------------------------------------------------------------------------------------------

    def _drop_sweep(self, error: InputError) -> None:
        self.health.sweep_dropped(error)
        self._warn(error.reason, f'sweep dropped, {error.reason}: {error}')
        if error.reason == 'internal_error' and self._engine is not None:
            self.get_logger().error(self._engine.last_traceback)
        if error.reason == 'transform_missing':
            self._want_moving_transforms(True)

    def _drop_input(self, aspect: str, error: InputError) -> None:
        if aspect == CLOUD:
            self._drop_sweep(error)
            return
        self.health.dropped(aspect, error)
        self._warn(f'{aspect} {error.reason}', f'{aspect} dropped, {error.reason}: {error}')
        if error.reason == 'odometry_frame':
            self._want_moving_transforms(True)

    def _want_moving_transforms(self, wanted: bool) -> None:
        inputs = self._inputs  # deactivating takes it away
        if inputs is not None:
            inputs.want_moving_transforms(wanted)

    def _overrun(self) -> None:
        self._drop_sweep(InputError('overrun', 'a sweep was replaced by a newer one before its turn came.',
                                    'see stage times; fewer points, device cuda or fewer subscribers make it faster.'))

    def _warn(self, key: str, text: str) -> None:
        if self.health.log_due(key, self.get_parameter('diagnostics.log_throttle').value):
            self.get_logger().warning(text)

    def _on_time_jump(self, jump) -> None:
        """The clock was set back (a bag that starts again): what is later has not happened yet."""
        pairer = self._pairer
        if pairer is not None:
            pairer.on_time_jump(self.get_clock().now().nanoseconds)
            self._reset_wanted.set()

    def _follow(self) -> None:
        if self._transition.acquire(blocking=False):
            try:
                if self._inputs is not None:
                    self._inputs.follow()
            finally:
                self._transition.release()

    # -- diagnostics ---------------------------------------------------------------------------------------------------

    def _report(self) -> None:
        # A transition in progress may take seconds (loading the network): report the state as it was left.
        if not self._transition.acquire(blocking=False):
            return
        try:
            inputs, now = self._inputs, self.get_clock().now()
            situation = NodeSnapshot(
                state=self._state_machine.current_state[1], config=self._config, error=self._error,
                engine=self._engine, inputs=inputs.topics() if inputs is not None else {},
                outputs=tuple(output_topic(self, p) for p in self.outputs.all()) if self.outputs is not None else (),
                map_age=self._pairer.age_s('map_image', now.nanoseconds) if self._pairer is not None else None,
                odometry_age=self._pairer.age_s('odometry', now.nanoseconds) if self._pairer is not None else None,
                alignment_wanted=self.outputs is not None and self.outputs.wanted(MAP_ALIGNMENT))
        finally:
            self._transition.release()
        self._diagnostics.publish(Report(self.health, situation).message(now.to_msg(), NAME))


def run(arguments: list[str], activate: bool = False) -> int:
    """Run the node until it is stopped; returns the exit status.

    arguments: of the command line, with those after --ros-args.
    activate: configure and activate at once, where no launch file does so.
    """
    configure_fastdds_shared_memory()
    rclpy.init(args=arguments)
    node = None
    try:
        node = AttentionFusionNode()
        executor = SingleThreadedExecutor(context=node.context)  # first: a signal must not find it half made
        gc.freeze()  # the modules stay: looking through all of them for garbage takes longer than a sweep
        if activate and not (node.trigger_configure() == SUCCESS and node.trigger_activate() == SUCCESS):
            return 1
        spin(node, executor=executor)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception:
        if rclpy.ok():  # else a transition was cut short by the shutdown
            raise
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


def spin(node: AttentionFusionNode, on_error: Callable[[Exception], None] | None = None,
         executor: SingleThreadedExecutor | None = None) -> None:
    """Serve callbacks until the node's context is shut down; an error in one of them is logged and ends nothing.

    Raises KeyboardInterrupt and ExternalShutdownException.
    """
    # One thread: callbacks are short and sweeps have a worker of their own. More threads cost a core in wait sets.
    executor = executor or SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    on_error = on_error or (lambda error: node.get_logger().error(
        ''.join(traceback.format_exception(type(error), error, error.__traceback__))))
    try:
        while node.context.ok():
            try:
                executor.spin()
            except (KeyboardInterrupt, ExternalShutdownException):
                raise
            except InvalidHandle:
                pass  # a subscription was destroyed (deactivate, new QoS) while the executor was about to serve it
            except Exception as error:
                if node.context.ok():  # else it is the shutdown itself that a callback ran into
                    on_error(error)
    finally:
        executor.shutdown(timeout_sec=2.0)

