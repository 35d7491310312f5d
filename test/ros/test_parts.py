# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Parts of the node that need no graph: the worker's mailbox, monitor, log, diagnostics, pauses after errors."""

from __future__ import annotations

import dataclasses
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

from builtin_interfaces.msg import Time  # noqa: E402
from diagnostic_msgs.msg import DiagnosticStatus  # noqa: E402

from attention_fusion_ros.config import from_flat  # noqa: E402
from attention_fusion_ros.contracts import (  # noqa: E402
    MapAlignment,
    MapImage,
    Mode,
    Motion,
    PointCloud,
    SyncedSweep,
)
from attention_fusion_ros.errors import InputError  # noqa: E402
from attention_fusion_ros.pipeline.fusion import PipelineInfo  # noqa: E402
from attention_fusion_ros.ros.node.diagnostics import DiagnosticsBuilder, InputTask, NodeSnapshot  # noqa: E402
from attention_fusion_ros.ros.node.graph import TopicStatus  # noqa: E402
from attention_fusion_ros.ros.node.monitor import COMPONENTS, NodeMonitor, Rate  # noqa: E402
from attention_fusion_ros.ros.node.reporting import ProblemReporter, ThrottledLog, internal_error  # noqa: E402
from attention_fusion_ros.ros.node.spinning import LONGEST_PAUSE_S, Backoff  # noqa: E402
from attention_fusion_ros.ros.node.worker import Worker  # noqa: E402
from attention_fusion_ros.stream.inputs import MAP_REASONS, SWEEPS, input_named  # noqa: E402

TRUNCATED = InputError('truncated_data', 'half of it.', 'look at the cable.')


class Ticks:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


# -- worker -----------------------------------------------------------------------------------------------------------

def test_worker_processes_the_newest_and_counts_the_rest():
    done, overruns, gate, entered = [], [], threading.Event(), threading.Event()

    def work(item):
        entered.set()
        gate.wait(30.0)
        done.append(item)

    worker = Worker(work, lambda: overruns.append(1))
    worker.put('too early')
    worker.open()
    worker.put(0)
    assert entered.wait(30.0)
    for i in range(1, 6):
        worker.put(i)
    gate.set()
    end = time.monotonic() + 30.0
    while len(done) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    assert done == [0, 5] and len(overruns) == 4
    worker.close()
    worker.close()
    worker.put(6)
    assert done == [0, 5]


def test_worker_calls_functions_in_its_own_thread():
    items = []
    worker = Worker(lambda item: items.append(threading.get_ident()), lambda: None)
    ident = worker.call(threading.get_ident)
    assert ident != threading.get_ident()
    with pytest.raises(ValueError, match='as it was raised'):
        worker.call(lambda: (_ for _ in ()).throw(ValueError('as it was raised')))
    worker.open()
    worker.put(0)
    end = time.monotonic() + 30.0
    while not items and time.monotonic() < end:
        time.sleep(0.01)
    assert items == [ident]  # the same thread, still alive
    worker.close()
    with pytest.raises(RuntimeError, match='closed'):
        worker.call(lambda: None)


# -- monitor ----------------------------------------------------------------------------------------------------------

def test_rate_is_of_the_last_seconds():
    clock = Ticks()
    rate = Rate(clock)
    assert rate.snapshot().per_second == 0.0
    for _ in range(100):
        clock.now += 0.1
        rate.tick()
    assert rate.snapshot().per_second == pytest.approx(10.0)
    clock.now += 60.0
    assert rate.snapshot().per_second == 0.0 and rate.snapshot().count == 100


def test_no_input_is_expected_while_the_node_is_not_active():
    clock = Ticks()
    monitor = NodeMonitor(clock)
    assert monitor.snapshot().age_s(None) is None
    monitor.set_active(True)
    clock.now += 2.0
    assert monitor.snapshot().age_s(None) == 2.0
    monitor.set_active(False)
    assert monitor.snapshot().active_since_s is None and monitor.snapshot().age_s(None) is None


def test_a_snapshot_does_not_change_any_more():
    clock = Ticks()
    monitor = NodeMonitor(clock)
    monitor.set_active(True)
    monitor.received('map image')
    before = monitor.snapshot()
    seen = repr(before)
    clock.now += 1.0
    monitor.received('map image')
    monitor.dropped('map image', TRUNCATED)
    monitor.sweep_dropped(TRUNCATED)
    some_results(monitor, 1)
    assert repr(before) == seen and repr(monitor.snapshot()) != seen
    with pytest.raises(TypeError):
        before.components['map image'].dropped['truncated_data'] = 7
    with pytest.raises(dataclasses.FrozenInstanceError):
        before.results.count = 7


def test_a_snapshot_is_consistent_while_others_write():
    """Worker and executor count at the same time; what belongs together is seen together."""
    monitor, stop, failures = NodeMonitor(), threading.Event(), []

    def write():
        while not stop.is_set():
            monitor.received('input cloud')
            monitor.sweep_dropped(TRUNCATED)
            some_results(monitor, 1)

    def read():
        while not stop.is_set():
            seen = monitor.snapshot()
            drops = seen.components['input cloud'].dropped.get('truncated_data', 0)
            if drops != seen.sweep_drops['truncated_data'] or len(seen.latencies_ms) != min(seen.results.count, 200):
                failures.append(seen)

    threads = [threading.Thread(target=target) for target in (write, write, read, read)]
    for thread in threads:
        thread.start()
    time.sleep(1.0)
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert monitor.snapshot().results.count == monitor.snapshot().sweep_drops['truncated_data'] > 0


# -- log --------------------------------------------------------------------------------------------------------------

class Lines:
    """A logger that keeps what it is given."""

    def __init__(self):
        self.warnings, self.errors = [], []
        self.warning, self.error = self.warnings.append, self.errors.append


def test_warnings_are_logged_once_in_a_while():
    clock, lines = Ticks(), Lines()
    log = ThrottledLog(lines, lambda: 5.0, clock)
    for key in 'aab':
        log.warn(key, key)
    assert lines.warnings == ['a', 'b']
    clock.now += 5.1
    log.warn('a', 'again')
    assert lines.warnings == ['a', 'b', 'again']
    clock.now += 5.1
    log.warn('a', 'too early', period_s=20.0)
    assert lines.warnings == ['a', 'b', 'again']


def test_an_internal_error_is_logged_with_the_traceback_of_its_cause():
    """And with no other: an earlier error must not be shown as the cause of a later one."""
    monitor, lines = NodeMonitor(), Lines()
    problems = ProblemReporter(monitor, ThrottledLog(lines, lambda: 0.0))
    for cause in ('the first', 'the second'):
        try:
            raise KeyError(cause)
        except KeyError as error:
            problems.sweep_dropped(internal_error(error))
    assert len(lines.errors) == 2 and not lines.warnings
    assert 'Traceback' in lines.errors[1] and 'the second' in lines.errors[1] and 'the first' not in lines.errors[1]
    assert monitor.snapshot().sweep_drops['internal_error'] == 2


def test_a_picture_that_cannot_be_made_is_no_dropped_sweep():
    monitor, lines = NodeMonitor(), Lines()
    problems = ProblemReporter(monitor, ThrottledLog(lines, lambda: 0.0))
    try:
        raise KeyError('stage9')
    except KeyError as error:
        problems.explanation_failed(internal_error(error))
    seen = monitor.snapshot()
    assert not seen.sweep_drops and seen.components['network'].dropped == {'internal_error': 1}
    assert 'Traceback' in lines.errors[0] and 'stage9' in lines.errors[0] and 'heatmap/gradcam' in lines.errors[0]


def test_an_output_that_fails_is_no_dropped_sweep():
    monitor, lines = NodeMonitor(), Lines()
    ProblemReporter(monitor, ThrottledLog(lines, lambda: 0.0)).output_failed('/x/direction', ValueError('no such bin'))
    seen = monitor.snapshot()
    assert not seen.sweep_drops and seen.components['output'].dropped == {'publish_failed': 1}
    assert '/x/direction' in lines.errors[0] and 'no such bin' in lines.errors[0]


# -- errors in callbacks ----------------------------------------------------------------------------------------------

def test_pauses_after_errors_grow_and_start_over():
    clock = Ticks()
    backoff = Backoff(clock)
    pauses = [backoff.next_pause_s() for _ in range(12)]
    assert pauses == sorted(pauses) and pauses[0] < 0.05 and pauses[-1] == LONGEST_PAUSE_S
    clock.now += 60.0
    assert backoff.next_pause_s() == pauses[0]


def test_an_error_that_repeats_is_one_line_each():
    backoff = Backoff(Ticks())
    texts = []
    for _ in range(3):
        backoff.next_pause_s()
        try:
            raise ValueError('always the same')
        except ValueError as error:
            texts.append(backoff.describe(error))
    assert 'Traceback' in texts[0]
    assert all(text.count('\n') == 0 and 'always the same' in text for text in texts[1:])


# -- diagnostics ------------------------------------------------------------------------------------------------------

CLOUD = PointCloud(0, 'lidar', np.zeros((0, 3), np.float32), None)
SWEEP = SyncedSweep(CLOUD, Motion(np.eye(4)))


def result(mode=Mode.FUSED, reason='', alignment=None, stamp_ns=10**9):
    """What the monitor reads of a FusionResult."""
    return SimpleNamespace(stamp_ns=stamp_ns, mode=mode, reason=reason, direction_reason='', branches=(1, 2),
                           alignment=alignment)


def some_results(monitor, count, found=None, sweep=SWEEP):
    for _ in range(count):
        monitor.result(found or result(), sweep, {'total': 50.0})


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
    assert [s.name for s in message.status] == [f'attention_fusion: {component}' for component in COMPONENTS]
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


def test_a_subscriber_of_map_alignment_is_told_why_nothing_comes(running):
    running.node.alignment_wanted = True
    status = running.report()['output']
    assert status.level == status.WARN and 'map_alignment' in status.message and 'Remedy' in status.message
    running.node.pipeline = pipeline(registers_map=True)
    assert running.report()['output'].level == status.OK


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


def test_the_cloud_is_the_only_required_input():
    from attention_fusion_ros.stream.inputs import INPUTS
    assert [spec.name for spec in INPUTS if spec.required] == [SWEEPS]
