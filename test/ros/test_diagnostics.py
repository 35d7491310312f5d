# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The text and level of every status in /diagnostics."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from support.node_parts import SWEEP, TRUNCATED, Ticks, result, some_results

pytest.importorskip('rclpy', reason='no ROS 2 here')

from builtin_interfaces.msg import Time  # noqa: E402
from diagnostic_msgs.msg import DiagnosticStatus  # noqa: E402

from attention_fusion_ros.config import from_flat  # noqa: E402
from attention_fusion_ros.contracts import Finding, MapAlignment, MapImage, Mode  # noqa: E402
from attention_fusion_ros.errors import InputError  # noqa: E402
from attention_fusion_ros.pipeline.fusion import PipelineInfo  # noqa: E402
from attention_fusion_ros.ros.node.diagnostics import (  # noqa: E402
    UNNAMED_WHILE_UNUSED,
    DiagnosticsBuilder,
    InputTask,
    NodeSnapshot,
)
from attention_fusion_ros.ros.node.graph import TopicStatus  # noqa: E402
from attention_fusion_ros.ros.node.monitor import COMPONENTS, NodeMonitor  # noqa: E402
from attention_fusion_ros.stream.inputs import INPUTS, MAP_REASONS, ODOMETRY_REASONS, input_named  # noqa: E402


def pipeline(**changes):
    """What diagnostics read of a PipelineSupervisor."""
    info = PipelineInfo('torch', 'cuda:0', '', False, 'roads', True, False)
    return SimpleNamespace(info=replace(info, **changes), restarts=0)


class Running:
    """A node that has been running well for two seconds."""

    def __init__(self):
        self.clock = Ticks()
        self.monitor = NodeMonitor(self.clock)
        self.monitor.set_active(True)
        for _ in range(20):
            self.clock.now += 0.1
            for component in ('input cloud', 'map image', 'odometry'):
                self.monitor.received(component)
            some_results(self.monitor, 1)
        self.node = NodeSnapshot('active', self.monitor.snapshot(), from_flat({}), '', pipeline(), {
            'input cloud': TopicStatus('/lidar', 1), 'map image': TopicStatus('/map', 1),
            'odometry': TopicStatus('/odom', 1)}, {'map_image': 0.1, 'odometry': 0.1})

    def report(self):
        self.node.monitor = self.monitor.snapshot()
        return report(self.node)


@pytest.fixture
def running():
    return Running()


def report(node):
    message = DiagnosticsBuilder().message(node, Time(), 'attention_fusion')
    named = [f'attention_fusion: {c}' for c in COMPONENTS if c not in UNNAMED_WHILE_UNUSED]
    assert [s.name for s in message.status] == named
    return {s.name.removeprefix('attention_fusion: '): s for s in message.status}


def values(status):
    return {item.key: item.value for item in status.values}


def test_all_is_well(running):
    statuses = running.report()
    assert {name: (s.level, s.message) for name, s in statuses.items() if s.level != s.OK} == {}
    output = values(statuses['output'])
    assert output['rate_hz'] == '10.000' and output['total_p95_ms'] == '50.000' and output['mode'] == 'fused'


def test_a_driver_that_stops(running):
    running.clock.now += 10.0
    statuses = running.report()
    cloud = statuses['input cloud']
    assert cloud.level == cloud.ERROR and '/lidar' in cloud.message and '10 s' in cloud.message
    assert statuses['output'].level == cloud.ERROR
    assert statuses['odometry'].level == cloud.WARN and 'Remedy' in statuses['odometry'].message


@pytest.mark.parametrize('reason', [*MAP_REASONS, 'something_new'])
def test_every_reason_for_lidar_only_is_explained(running, reason):
    some_results(running.monitor, 1, result(Mode.LIDAR_ONLY, reason))
    status = running.report()['map image']
    assert status.level == status.WARN and reason in status.message
    assert 'Remedy' in status.message or reason == 'something_new'


def test_a_single_bad_sweep_is_a_warning_and_nothing_but_bad_ones_an_error(running):
    running.monitor.sweep_dropped(TRUNCATED)
    status = running.report()['input cloud']
    assert status.level == status.WARN and 'look at the cable' in status.message
    running.clock.now += 3.5
    running.monitor.received('input cloud')
    running.monitor.sweep_dropped(TRUNCATED)
    status = running.report()['input cloud']
    assert status.level == status.ERROR and values(status)['dropped.truncated_data'] == '2'
    running.clock.now += 3.5
    for _ in range(5):
        running.monitor.received('input cloud')
        some_results(running.monitor, 1)
    assert running.report()['input cloud'].level == status.OK


@pytest.mark.parametrize('changes, words', [
    ({'trained': False}, 'UNTRAINED'),
    ({'device': 'cpu', 'device_note': 'cuda:0 failed: out of memory', 'device_fell_back': True}, 'cuda:0 failed'),
])
def test_what_is_odd_about_the_network_is_a_warning(running, changes, words):
    running.node.pipeline = pipeline(**changes)
    status = running.report()['network']
    assert status.level == status.WARN and words in status.message and 'Remedy' in status.message


def test_a_machine_without_cuda_is_no_reason_to_warn(running):
    running.node.pipeline = pipeline(device='cpu', device_note='no CUDA device')
    status = running.report()['network']
    assert status.level == status.OK and 'cpu' in status.message
    assert values(status)['device_note'] == 'no CUDA device'


def test_without_odometry_nothing_is_wrong_but_said():
    monitor = NodeMonitor()
    monitor.set_active(True)
    status = report(NodeSnapshot('active', monitor.snapshot(), from_flat({'cloud.accumulate': 3})))['odometry']
    assert status.level == status.OK and 'not accumulated' in status.message


def test_odometry_on_tf_alone_is_told():
    monitor = NodeMonitor()
    monitor.set_active(True)
    some_results(monitor, 1)
    status = report(NodeSnapshot('active', monitor.snapshot(), from_flat({'map.orientation': 'north_up'})))['odometry']
    assert status.level == status.OK and 'used from /tf' in status.message
    some_results(monitor, 1, sweep=replace(SWEEP, odometry_reason='no_odometry'))
    assert report(NodeSnapshot('active', monitor.snapshot(), from_flat({})))['odometry'].message.startswith('none')


def test_a_map_image_that_is_not_used_yet_has_an_age(running):
    image = MapImage(10**9 - 250_000_000, 'base_link', np.zeros((2, 2), np.float32), None)
    some_results(running.monitor, 1, sweep=replace(SWEEP, map_image=image))
    status = values(running.report()['map image'])
    assert status['age_at_sweep_s'] == '0.250' and status['newest_age_s'] == '0.100'


def test_where_the_map_belongs_is_told_in_metres_and_degrees(running):
    assert not any(key.startswith('alignment') for key in values(running.report()['map image']))
    some_results(running.monitor, 1, result(alignment=MapAlignment(1.0, -2.0, 0.1, (0.5, 0.25, 0.01))))
    told = {k: v for k, v in values(running.report()['map image']).items() if k.startswith('alignment')}
    assert told == {'alignment.dx_m': '1.000', 'alignment.dx_m_std': '0.500', 'alignment.dy_m': '-2.000',
                    'alignment.dy_m_std': '0.250', 'alignment.dyaw_deg': '5.730', 'alignment.dyaw_deg_std': '0.573'}


@pytest.mark.parametrize('component, field', [('odometry', 'odometry_extrapolation_s'),
                                              ('transform', 'transform_extrapolation_s')])
def test_what_is_extrapolated_is_named(running, component, field):
    some_results(running.monitor, 1, sweep=replace(SWEEP, **{field: 0.31}))
    status = running.report()[component]
    assert status.level == status.OK and 'extrapolated' in status.message and '0.31 s' in status.message
    assert values(status)['extrapolated_s'] == '0.310'


@pytest.mark.parametrize('reason', ODOMETRY_REASONS)
def test_odometry_that_no_sweep_finds_is_not_ok(running, reason):
    some_results(running.monitor, 1, sweep=replace(SWEEP, odometry_reason=reason))
    status = running.report()['odometry']
    assert status.level == status.WARN and 'not used' in status.message and 'Remedy' in status.message
    assert values(status)['reason'] == reason
    some_results(running.monitor, 1)
    status = running.report()['odometry']
    assert status.level == status.OK and status.message == 'used'


def test_inputs_that_another_clock_stamps_say_so_instead_of_publish_more_often(running):
    words = 'sweeps are 37.0 s ahead of it, steadily. Remedy: PTP.'
    running.node.clocks = {name: words for name in ('pointcloud', 'map_image', 'odometry', 'transforms')}
    assert running.report()['odometry'].message == 'used'  # sweeps find it all the same
    some_results(running.monitor, 1, result(Mode.LIDAR_ONLY, 'map_too_old'),
                 replace(SWEEP, odometry_reason='odometry_too_old'))
    statuses = running.report()
    for component in ('map image', 'odometry'):
        assert statuses[component].level == DiagnosticStatus.WARN and words in statuses[component].message
        assert 'more often' not in statuses[component].message
    assert statuses['input cloud'].level == DiagnosticStatus.OK and words in statuses['input cloud'].message
    running.monitor.sweep_dropped(InputError('transform_missing', 'too old.', 'raise tf_max_age.'))
    assert words in running.report()['transform'].message


def test_a_subscriber_of_map_alignment_is_told_why_nothing_comes(running):
    running.node.alignment_wanted = True
    some_results(running.monitor, 1)
    status = running.report()['output']
    assert status.level == status.OK, 'map_source listens with every checkpoint'
    assert 'map_alignment is not published' in status.message and 'Remedy' in status.message
    running.node.pipeline = pipeline(registers_map=True)
    assert 'map_alignment' not in running.report()['output'].message


def test_a_further_input_of_the_table_has_a_status_of_its_own():
    """With texts that fit any optional input; only what is particular needs code."""
    clock = Ticks()
    monitor = NodeMonitor(clock)
    monitor.set_active(True)
    spec = replace(input_named('odometry'), name='gnss', label='GNSS fix')
    task = InputTask(spec)
    assert task(NodeSnapshot('active', monitor.snapshot())).message == 'none'
    monitor.received('odometry')
    assert task(NodeSnapshot('active', monitor.snapshot())).message == 'received'
    clock.now += 5.0
    assert task(NodeSnapshot('active', monitor.snapshot())).message.startswith('no GNSS fix for 5 s. Remedy')


@pytest.mark.parametrize('name', ['gnss', 'odometry'])
def test_an_input_whose_messages_were_dropped_keeps_its_reason_while_it_is_silent(name):
    clock = Ticks()
    monitor = NodeMonitor(clock)
    monitor.set_active(True)
    task = InputTask(replace(input_named('odometry'), name=name))
    monitor.received('odometry')
    monitor.dropped('odometry', TRUNCATED)
    clock.now += 60.0
    status = task(NodeSnapshot('active', monitor.snapshot()))
    words = ('no odometry for 60 s', 'truncated_data: half of it.', 'look at the cable')
    assert status.level == DiagnosticStatus.WARN and all(word in status.message for word in words), status.message
    monitor.received('odometry')  # a good one
    clock.now += 60.0
    assert 'truncated_data' not in task(NodeSnapshot('active', monitor.snapshot())).message


def test_a_map_image_that_was_refused_is_not_said_to_be_missing():
    """Published once, as map servers do: the reason must not go away with time."""
    clock = Ticks()
    monitor = NodeMonitor(clock)
    monitor.set_active(True)
    monitor.received('map image')
    monitor.dropped('map image', TRUNCATED)
    for _ in range(3):
        clock.now += 60.0
        some_results(monitor, 1, result(Mode.LIDAR_ONLY, 'no_map'))
        status = InputTask(input_named('map_image'))(NodeSnapshot('active', monitor.snapshot()))
        assert status.level == DiagnosticStatus.WARN and 'truncated_data: half of it.' in status.message, status.message
        assert 'no map image has been received' not in status.message


def test_states_other_than_active():
    statuses = report(NodeSnapshot('unconfigured', NodeMonitor().snapshot()))
    assert statuses['network'].level == statuses['network'].WARN and 'configure' in statuses['network'].message
    statuses = report(NodeSnapshot('unconfigured', NodeMonitor().snapshot(), error='no such checkpoint'))
    assert statuses['network'].level == statuses['network'].ERROR
    assert 'no such checkpoint' in statuses['network'].message


@pytest.mark.parametrize('spec', [spec for spec in INPUTS if spec.name in ('pointcloud', 'transforms', 'odometry')],
                         ids=lambda spec: spec.name)
def test_what_is_implausible_about_an_input_is_a_warning_of_that_input(spec):
    monitor = NodeMonitor()
    monitor.set_active(True)
    for each in INPUTS:
        monitor.received(each.component)
    found = result()
    found.findings = (Finding('strange_thing', spec.name, 'it is strange. Remedy: look.'),)
    some_results(monitor, 3, found)
    node = NodeSnapshot('active', monitor.snapshot())
    statuses = {each.name: InputTask(each)(node) for each in INPUTS}
    assert statuses[spec.name].level == DiagnosticStatus.WARN
    assert 'strange_thing: it is strange' in statuses[spec.name].message
    assert not any('strange_thing' in status.message for name, status in statuses.items() if name != spec.name)
