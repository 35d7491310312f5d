# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Transitions of the node: each can be repeated, none leaves anything behind, impossible ones are refused."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('tf2_msgs', reason='tf2_msgs is not installed')

from lifecycle_msgs.msg import Transition  # noqa: E402
from lifecycle_msgs.srv import ChangeState, GetState  # noqa: E402
from support import discovered  # noqa: E402
from support.node_kit import Graph, NodeLog, map_image, wait_until  # noqa: E402

from attention_fusion_ros.pipeline.fusion import FusionPipeline  # noqa: E402
from attention_fusion_ros.ros.messages.types import is_installed  # noqa: E402
from attention_fusion_ros.ros.node.node import AttentionFusionNode  # noqa: E402
from attention_fusion_ros.stream.inputs import INPUTS  # noqa: E402

# Those whose message packages are not installed are left out.
INPUT_TOPICS = {f'/attention_fusion/{t.topic}' for spec in INPUTS for t in spec.transports
                if t.topic.startswith('input/') and (not t.optional or is_installed(t.type))}


def change(graph: Graph, transition: int) -> bool:
    request = ChangeState.Request()
    request.transition.id = transition
    return graph.call(ChangeState, 'change_state', request).success


def state(graph: Graph) -> str:
    return graph.call(GetState, 'get_state', GetState.Request()).current_state.label


def inputs_of(graph: Graph) -> set[str]:
    found = discovered.names(graph.probe.get_subscriber_names_and_types_by_node, 'attention_fusion')
    return {name for name in found if '/input/' in name}


def outputs_of(graph: Graph) -> set[str]:
    found = discovered.names(graph.probe.get_publisher_names_and_types_by_node, 'attention_fusion')
    return {name.removeprefix('/attention_fusion/') for name in found if name.startswith('/attention_fusion/')} \
        - {'transition_event'}


def test_every_transition_can_be_repeated():
    pipelines = []

    def create(config):
        pipeline = FusionPipeline(config)
        pipelines.append(weakref.ref(pipeline))
        return pipeline

    graph = Graph(create_pipeline=create, active=False)
    try:
        wait_until(lambda: 'attention_fusion' in graph.probe.get_node_names(), 'the node is discovered')
        threads = threading.active_count()
        for round_number in range(3):
            assert state(graph) == 'unconfigured'
            assert not inputs_of(graph) and not outputs_of(graph)
            assert change(graph, Transition.TRANSITION_CONFIGURE)
            assert state(graph) == 'inactive'
            wait_until(lambda: {'direction', 'branches', 'heatmap/image'} <= outputs_of(graph), 'the outputs appear')
            assert not inputs_of(graph)
            for step in range(2):
                assert change(graph, Transition.TRANSITION_ACTIVATE)
                wait_until(lambda: inputs_of(graph) == INPUT_TOPICS, 'the inputs appear')
                seconds = 10.0 * (2 * round_number + step)
                graph.take(map_image(seconds))
                graph.sweep(seconds + 0.1)
                assert graph.last.mode == 'fused'
                assert change(graph, Transition.TRANSITION_DEACTIVATE)
                wait_until(lambda: not inputs_of(graph), 'the inputs disappear')
            assert change(graph, Transition.TRANSITION_CLEANUP)
            wait_until(lambda: not outputs_of(graph), 'the outputs disappear')
            gc.collect()
            assert pipelines[-1]() is None, 'the network is still in memory'
            assert not [t for t in threading.enumerate() if t.name == 'sweeps']
        assert len(pipelines) == 3
        assert threading.active_count() <= threads + 4  # the executor starts its own on demand
        assert change(graph, Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
        assert state(graph) == 'finalized'
    finally:
        graph.close()


def test_a_subscription_that_the_executor_still_holds_keeps_nothing_else(monkeypatch):
    """rclpy's executor keeps the one that it looked at last, until it looks again."""
    held, images = [], []

    class Watched(FusionPipeline):
        def run(self, sweep):
            images.append(weakref.ref(sweep.map_image.road))
            return super().run(sweep)

    subscribe = AttentionFusionNode.create_subscription

    def holding(self, *arguments, **options):
        held.append(subscribe(self, *arguments, **options))
        return held[-1]
    monkeypatch.setattr(AttentionFusionNode, 'create_subscription', holding)
    graph = Graph(create_pipeline=Watched)
    try:
        graph.take(map_image(1.0))
        graph.sweep(1.1)
        assert graph.last.mode == 'fused'
        assert change(graph, Transition.TRANSITION_DEACTIVATE) and change(graph, Transition.TRANSITION_CLEANUP)
        gc.collect()
        assert held and images and not [image for image in images if image() is not None]
    finally:
        graph.close()


@pytest.mark.parametrize('active', [True, False])
def test_shutdown_from_a_running_node_frees_everything(active, capfd):
    log, graph = NodeLog(capfd), Graph()
    try:
        if not active:
            assert change(graph, Transition.TRANSITION_DEACTIVATE)
        assert change(graph, Transition.TRANSITION_ACTIVE_SHUTDOWN if active
                      else Transition.TRANSITION_INACTIVE_SHUTDOWN)
        assert state(graph) == 'finalized'
        assert log.entries('finalized')  # the process goes on, and nothing leads back
        wait_until(lambda: not inputs_of(graph) and not outputs_of(graph), 'the topics disappear')
        assert not [t for t in threading.enumerate() if t.name == 'sweeps']
    finally:
        graph.close()


def test_impossible_transitions_are_refused_and_the_node_lives():
    graph = Graph(active=False)
    try:
        assert not change(graph, Transition.TRANSITION_ACTIVATE)
        assert not change(graph, 200)
        assert change(graph, Transition.TRANSITION_CONFIGURE)
        assert not change(graph, Transition.TRANSITION_CONFIGURE)
        assert change(graph, Transition.TRANSITION_ACTIVATE)
        assert not change(graph, Transition.TRANSITION_ACTIVATE)
        assert state(graph) == 'active'
        graph.sweep(0.0)
    finally:
        graph.close()


@pytest.mark.parametrize('parameters, words', [
    ({'checkpoint': '/nowhere/best.safetensors'}, ['/nowhere/best.safetensors']),
    ({'allow_untrained': False}, ['allow_untrained']),
    ({'device': 'cuda:99'}, ['cuda:99']),
    ({'lookahead': 33.0}, ['lookahead', '33']),
    ({'T_base_sensor': [2.0] + [0.0] * 15}, ['T_base_sensor', 'rigid']),
])
def test_what_cannot_be_configured_is_an_error_with_its_cause(parameters, words):
    graph = Graph(parameters, active=False)
    try:
        assert not change(graph, Transition.TRANSITION_CONFIGURE)
        assert state(graph) == 'unconfigured'
        status = graph.status('network', lambda s: s.level == s.ERROR, 'the error')
        assert all(word in status.message for word in words), status.message
        assert not change(graph, Transition.TRANSITION_CONFIGURE)  # and again, not a crash
    finally:
        graph.close()


@pytest.mark.parametrize('error, words', [
    (OSError(24, 'Too many open files', 'a file'), ('Too many open files', 'ulimit -n', 'configure again')),
    (ZeroDivisionError('of no consequence'), ('ZeroDivisionError: of no consequence', 'traceback in the log'))])
def test_why_it_could_not_be_configured_is_one_line_and_it_can_be_tried_again(error, words):
    fails = [error]

    def create(config):
        if fails:
            raise fails.pop()
        return FusionPipeline(config)

    graph = Graph(create_pipeline=create, active=False)
    try:
        assert not change(graph, Transition.TRANSITION_CONFIGURE)
        status = graph.status('network', lambda s: s.level == s.ERROR, 'the error')
        assert all(word in status.message for word in words) and 'Remedy' in status.message, status.message
        assert 'Traceback' not in status.message and '\n' not in status.message
        assert change(graph, Transition.TRANSITION_CONFIGURE) and change(graph, Transition.TRANSITION_ACTIVATE)
        graph.sweep(0.0)
    finally:
        graph.close()
