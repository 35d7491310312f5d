# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Parts of the node that need no graph: the worker's mailbox, the wait for companions, rates, the report."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

from builtin_interfaces.msg import Time  # noqa: E402

from attention_fusion_ros.config import from_flat  # noqa: E402
from attention_fusion_ros.contracts import MapAlignment  # noqa: E402
from attention_fusion_ros.errors import InputError  # noqa: E402
from attention_fusion_ros.ros.node.diagnostics import MAP_REASONS, NodeSnapshot, Report, Topic  # noqa: E402
from attention_fusion_ros.ros.node.monitor import ASPECTS, Health, LastResult, Rate  # noqa: E402
from attention_fusion_ros.ros.node.worker import Worker  # noqa: E402


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


# -- health and report ------------------------------------------------------------------------------------------------

def test_rate_is_of_the_last_seconds():
    clock = Ticks()
    rate = Rate(clock)
    assert rate.per_second() == 0.0
    for _ in range(100):
        clock.now += 0.1
        rate.tick()
    assert rate.per_second() == pytest.approx(10.0)
    clock.now += 60.0
    assert rate.per_second() == 0.0 and rate.count == 100


def test_warnings_are_logged_once_in_a_while():
    clock = Ticks()
    health = Health(clock)
    assert health.log_due('a', 5.0) and not health.log_due('a', 5.0) and health.log_due('b', 5.0)
    clock.now += 5.1
    assert health.log_due('a', 5.0)


class FakeEngine:
    device, checkpoint_name, trained, restarts, device_note, fell_back = 'cuda:0', 'roads', True, 0, '', False
    registers_map = False


@pytest.fixture
def running():
    """A node that has been running well: (clock, health, situation)."""
    clock = Ticks()
    health = Health(clock)
    health.activated(True)
    for _ in range(20):
        clock.now += 0.1
        health.received('input cloud')
        health.received('map image')
        health.received('odometry')
        health.results.tick()
        health.latencies.append(50.0)
    health.last = LastResult(1, 'fused', '', '', 2, {'total': 50.0}, 0.1)
    situation = NodeSnapshot('active', from_flat({}), '', FakeEngine(), {
        'input cloud': Topic('/lidar', 1), 'map image': Topic('/map', 1), 'odometry': Topic('/odom', 1)}, (), 0.1, 0.1)
    return clock, health, situation


def report(running):
    clock, health, situation = running
    message = Report(health, situation, clock).message(Time(), 'attention_fusion')
    assert [s.name for s in message.status] == [f'attention_fusion: {a}' for a in ASPECTS]
    return {s.name.removeprefix('attention_fusion: '): s for s in message.status}


def test_all_is_well(running):
    assert {a: (s.level, s.message) for a, s in report(running).items() if s.level != s.OK} == {}
    text = {v.key: v.value for v in report(running)['output'].values}
    assert text['rate_hz'] == '10.000' and text['total_p95_ms'] == '50.000' and text['mode'] == 'fused'


def test_a_driver_that_stops(running):
    running[0].now += 10.0
    told = report(running)
    assert told['input cloud'].level == told['input cloud'].ERROR
    assert '/lidar' in told['input cloud'].message and '10 s' in told['input cloud'].message
    assert told['output'].level == told['output'].ERROR
    assert told['odometry'].level == told['odometry'].WARN and 'Remedy' in told['odometry'].message


@pytest.mark.parametrize('reason', [*MAP_REASONS, 'something_new'])
def test_every_reason_for_lidar_only_is_explained(running, reason):
    running[1].last = LastResult(1, 'lidar_only', reason, '', 2, {'total': 50.0}, None)
    status = report(running)['map image']
    assert status.level == status.WARN and reason in status.message
    assert 'Remedy' in status.message or reason == 'something_new'


def test_a_single_bad_sweep_is_a_warning_and_nothing_but_bad_ones_an_error(running):
    clock, health, _ = running
    health.sweep_dropped(InputError('truncated_data', 'half of it.', 'look at the cable.'))
    status = report(running)['input cloud']
    assert status.level == status.WARN and 'look at the cable' in status.message
    clock.now += 3.5
    health.received('input cloud')
    health.sweep_dropped(InputError('truncated_data', 'half of it.', 'look at the cable.'))
    status = report(running)['input cloud']
    assert status.level == status.ERROR and {v.key: v.value for v in status.values}['dropped.truncated_data'] == '2'
    clock.now += 3.5
    for _ in range(5):
        health.received('input cloud')
        health.results.tick()
    assert report(running)['input cloud'].level == status.OK


@pytest.mark.parametrize('changes, words', [
    ({'trained': False}, 'UNTRAINED'),
    ({'device': 'cpu', 'device_note': 'cuda:0 failed: out of memory', 'fell_back': True}, 'cuda:0 failed'),
])
def test_what_is_odd_about_the_network_is_a_warning(running, changes, words):
    running[2].engine = type('Engine', (FakeEngine,), changes)()
    status = report(running)['network']
    assert status.level == status.WARN and words in status.message and 'Remedy' in status.message


def test_a_machine_without_cuda_is_no_reason_to_warn(running):
    running[2].engine = type('Engine', (FakeEngine,), {'device': 'cpu', 'device_note': 'no CUDA device is there'})()
    status = report(running)['network']
    assert status.level == status.OK and 'cpu' in status.message
    assert {v.key: v.value for v in status.values}['device_note'] == 'no CUDA device is there'


def test_without_odometry_nothing_is_wrong_but_said(running):
    _, health, situation = running
    situation.config = from_flat({'cloud.accumulate': 3})
    health.aspects['odometry'].received.count, health.aspects['odometry'].received.last = 0, None
    status = report(running)['odometry']
    assert status.level == status.OK and 'earlier sweeps are not used' in status.message


def test_where_the_map_belongs_is_told_in_metres_and_degrees(running):
    assert not any(v.key.startswith('alignment') for v in report(running)['map image'].values)
    running[1].last = replace(running[1].last, alignment=MapAlignment(1.0, -2.0, 0.1, (0.5, 0.25, 0.01)))
    told = {v.key: v.value for v in report(running)['map image'].values if v.key.startswith('alignment')}
    assert told == {'alignment.dx_m': '1.000', 'alignment.dx_m_std': '0.500', 'alignment.dy_m': '-2.000',
                    'alignment.dy_m_std': '0.250', 'alignment.dyaw_deg': '5.730', 'alignment.dyaw_deg_std': '0.573'}


def test_a_subscriber_of_map_alignment_is_told_why_nothing_comes(running):
    running[2].alignment_wanted = True
    status = report(running)['output']
    assert status.level == status.WARN and 'map_alignment' in status.message and 'Remedy' in status.message
    running[2].engine = type('Engine', (FakeEngine,), {'registers_map': True})()
    assert report(running)['output'].level == status.OK


def test_states_other_than_active():
    health = Health(Ticks())
    told = report((health._clock, health, NodeSnapshot('unconfigured')))
    assert told['network'].level == told['network'].WARN and 'configure' in told['network'].message
    told = report((health._clock, health, NodeSnapshot('unconfigured', error='no such checkpoint')))
    assert told['network'].level == told['network'].ERROR and 'no such checkpoint' in told['network'].message
