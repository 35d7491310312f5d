# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Parameters of the node: described from the one source, validated, applied, and never silently ignored."""

from __future__ import annotations

import threading

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('tf2_msgs', reason='tf2_msgs is not installed')

from rcl_interfaces.msg import ParameterType  # noqa: E402
from rcl_interfaces.srv import (  # noqa: E402
    DescribeParameters,
    GetParameters,
    ListParameters,
    SetParameters,
    SetParametersAtomically,
)
from rclpy.parameter import Parameter, parameter_value_to_python  # noqa: E402
from support.node_kit import UNTRAINED, Graph, map_image, wait_until  # noqa: E402

from attention_fusion_ros.config import parameters  # noqa: E402

TYPES = {bool: ParameterType.PARAMETER_BOOL, int: ParameterType.PARAMETER_INTEGER,
         float: ParameterType.PARAMETER_DOUBLE, str: ParameterType.PARAMETER_STRING,
         list: ParameterType.PARAMETER_DOUBLE_ARRAY}


@pytest.fixture(scope='module')
def graph():
    graph = Graph()
    yield graph
    graph.close()


def set_parameter(graph, name, value):
    request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
    return graph.call(SetParameters, 'set_parameters', request).results[0]


def get_parameter(graph, name):
    message = graph.call(GetParameters, 'get_parameters', GetParameters.Request(names=[name])).values[0]
    return parameter_value_to_python(message)


def test_every_parameter_is_declared_as_described(graph):
    infos = parameters()
    listed = graph.call(ListParameters, 'list_parameters', ListParameters.Request()).result.names
    assert {i.name for i in infos} <= set(listed)
    answer = graph.call(DescribeParameters, 'describe_parameters',
                        DescribeParameters.Request(names=[i.name for i in infos]))
    assert len(answer.descriptors) == len(infos)
    for info, told in zip(infos, answer.descriptors):
        assert told.type == TYPES[info.type], info.name
        assert info.description in told.description and info.unit in told.description
        assert told.read_only == info.read_only, info.name
        if info.low is not None and info.type is float:
            bounds = told.floating_point_range[0]
            assert (bounds.from_value, bounds.to_value) == (info.low, info.high)
        if info.low is not None and info.type is int:
            assert (told.integer_range[0].from_value, told.integer_range[0].to_value) == (info.low, info.high)
        if info.choices:
            assert all(choice in told.additional_constraints for choice in info.choices)


def test_defaults_are_those_of_the_source(graph):
    for info in parameters():
        if info.name not in {**UNTRAINED, 'use_tf': False}:
            value = graph.node.get_parameter(info.name).value
            assert (list(value) if info.type is list else value) == info.default, info.name


@pytest.mark.parametrize('name, value, words', [
    ('map.resolution', -1.0, ['map.resolution', '0.01']),
    ('map.max_age', float('nan'), ['map.max_age']),
    ('cloud.accumulate', 21, ['cloud.accumulate', '20']),
    ('map.orientation', 'south_up', ['map.orientation', 'heading_up', 'north_up']),
    ('map.anchor', [0.5], ['map.anchor', '2']),
    ('map.anchor', [0.5, float('inf')], ['map.anchor', 'finite']),
    ('map.resolution', 'coarse', ['type', 'DOUBLE', 'STRING']),
    ('map.max_agee', 1.0, ["'map.max_agee'", "'map.max_age'"]),
])
def test_a_wrong_value_is_rejected_with_the_reason(graph, name, value, words):
    before = graph.node.parameters.config()
    result = set_parameter(graph, name, value)
    assert not result.successful
    assert all(word in result.reason for word in words), result.reason
    assert graph.node.parameters.config() == before


def test_read_only_ones_are_rejected_with_the_reason(graph):
    values = {bool: True, int: 1, float: 1.0, str: 'cpu', list: [0.0] * 16}
    for info in parameters():
        if info.read_only:
            result = set_parameter(graph, info.name, values[info.type])
            assert not result.successful, info.name
            assert info.name in result.reason and 'read-only' in result.reason and 'parameter file' in result.reason


def test_several_at_once_are_all_or_nothing(graph):
    request = SetParametersAtomically.Request(parameters=[
        Parameter('map.max_future', value=0.3).to_parameter_msg(),
        Parameter('map.orientation', value='nonsense').to_parameter_msg()])
    result = graph.call(SetParametersAtomically, 'set_parameters_atomically', request).result
    assert not result.successful and 'nonsense' in result.reason
    assert get_parameter(graph, 'map.max_future') == 0.2


def test_an_accepted_value_is_applied_to_the_next_sweep(graph):
    graph.take(map_image(0.0))
    graph.sweep(2.0)
    assert graph.last.mode == 'fused'
    assert set_parameter(graph, 'map.max_age', 1).successful  # a whole number does for a float
    graph.sweep(2.1)
    assert (graph.last.mode, graph.last.reason) == ('lidar_only', 'map_too_old')
    assert set_parameter(graph, 'map.max_age', 3.0).successful
    graph.sweep(2.2)
    assert graph.last.mode == 'fused'
    assert set_parameter(graph, 'branches.min_probability', 0.99).successful
    graph.sweep(2.3)
    assert graph.last.branches == 0
    assert set_parameter(graph, 'branches.min_probability', 0.4).successful
    assert set_parameter(graph, 'cloud.deskew', False).successful  # what YAML makes of off
    assert graph.node.parameters.config().cloud.deskew == 'off'
    assert set_parameter(graph, 'cloud.deskew', 'auto').successful


def test_several_at_once_become_one_configuration(graph):
    """Whoever reads at the same time gets the old set or the new one, never half of each; and it is built once."""
    seen, stop = [graph.node.parameters.config()], threading.Event()

    def watch():
        while not stop.is_set():
            config = graph.node.parameters.config()
            if config is not seen[-1]:
                seen.append(config)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for i in range(1, 9):
            request = SetParametersAtomically.Request(parameters=[
                Parameter('map.max_age', value=10.0 * i).to_parameter_msg(),
                Parameter('map.max_future', value=1.0 * i).to_parameter_msg()])
            assert graph.call(SetParametersAtomically, 'set_parameters_atomically', request).result.successful
        wait_until(lambda: seen[-1].map.max_age == 80.0, 'the last set')
    finally:
        stop.set()
        watcher.join()
    assert all(config.map.max_age == pytest.approx(10 * config.map.max_future) for config in seen[1:])
    assert graph.node.parameters.config() is graph.node.parameters.config()
    assert set_parameter(graph, 'map.max_age', 3.0).successful
    assert set_parameter(graph, 'map.max_future', 0.2).successful


def test_on_humble_a_set_is_applied_when_every_check_has_accepted_it(ros_domain):
    """rclpy has no callback after setting there; one that is registered first is called last."""
    import rclpy
    from rcl_interfaces.msg import SetParametersResult

    from attention_fusion_ros.ros.compat import call_after_others
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=ros_domain)
    node = rclpy.create_node('old', context=context)
    try:
        node.declare_parameter('a', 1)
        applied = []
        call_after_others(node, applied.append)
        node.add_on_set_parameters_callback(lambda wanted: SetParametersResult(successful=wanted[0].value > 0))
        assert not node.set_parameters([Parameter('a', value=-5)])[0].successful and not applied
        assert node.set_parameters([Parameter('a', value=5)])[0].successful
        assert [p.value for p in applied[0]] == [5]
    finally:
        node.destroy_node()
        context.try_shutdown()


@pytest.mark.parametrize('given, words', [
    ({'map.resolutoin': 0.5}, ["'map.resolutoin'", "'map.resolution'"]),
    ({'devicee': 'cpu', 'map.max_aeg': 1.0}, ["'devicee'", "'device'", "'map.max_aeg'", "'map.max_age'"]),
    ({'map.resolution': 'coarse'}, ["'map.resolution'", 'number']),
    ({'cloud.accumulate': 0}, ["'cloud.accumulate'", '1']),
    ({'map.orientation': 'south_up'}, ["'map.orientation'", 'north_up']),
])
def test_what_is_wrong_in_the_parameter_file_fails_the_configure_transition(given, words):
    graph = Graph(given, active=False)
    try:
        graph.node.trigger_configure()
        assert graph.node.state == 'unconfigured'
        status = graph.status('network', lambda s: s.level == s.ERROR, 'the error')
        assert all(word in status.message for word in words), status.message
    finally:
        graph.close()


def test_a_parameter_file_as_ros_reads_it(tmp_path):
    """Whole numbers for floats, names that ROS owns, and one wrong value that is put right at run time."""
    path = tmp_path / 'parameters.yaml'
    path.write_text('/**:\n  ros__parameters:\n    use_sim_time: false\n    map:\n      resolution: 1\n'
                    '      anchor: [0, 1]\n      max_age: 0.0\n')
    graph = Graph(arguments=['--params-file', str(path)], active=False)
    try:
        graph.node.trigger_configure()
        status = graph.status('network', lambda s: s.level == s.ERROR, 'the error')
        assert "'map.max_age'" in status.message and 'use_sim_time' not in status.message
        assert set_parameter(graph, 'map.max_age', 2.0).successful
        graph.node.trigger_configure()
        assert graph.node.state == 'inactive'
        config = graph.node.parameters.config()
        assert (config.map.resolution, config.map.anchor, config.map.max_age) == (1.0, [0.0, 1.0], 2.0)
    finally:
        graph.close()
