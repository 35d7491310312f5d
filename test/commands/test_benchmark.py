# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`benchmark` measures what it says: sizes by hand, sweeps as promised, drops and growth counted right."""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import json
import os
import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import torch

from attention_fusion_ros import benchmarking
from attention_fusion_ros.benchmarking import floor, ledger, memory, providers, sweeps
from attention_fusion_ros.benchmarking.core import Times
from attention_fusion_ros.commands import benchmark
from attention_fusion_ros.config import from_flat
from attention_fusion_ros.contracts import Calibration
from attention_fusion_ros.decode import decode_cloud, decode_map_image, plain_messages
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.network import checkpoint as checkpoints
from attention_fusion_ros.network.config import NetworkConfig
from attention_fusion_ros.network.cost import network_size
from attention_fusion_ros.network.model import FusionNetwork

SMALL = NetworkConfig(cells=32, bins=24, lidar_width=8, map_width=8, widths=(8,), blocks=(1,), polar_ranges=8,
                      polar_widths=(8,), head_width=8)


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp('checkpoint') / 'small.safetensors'
    checkpoints.save(path, FusionNetwork(SMALL), Calibration(), {})
    return path


def load_tool(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[2] / 'tools' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_sweeps_have_the_promised_points_and_lie_in_a_street():
    points = sweeps.sweep(3)
    cloud = decode_cloud(plain_messages.point_cloud(points, 5, sweeps.FRAME))
    assert cloud.xyz.shape == (120_000, 3) and cloud.stamp_ns == 5
    np.testing.assert_array_equal(cloud.xyz[:, 1], points['y'])
    np.testing.assert_array_equal(cloud.intensity, points['intensity'])
    height = cloud.xyz[:, 2] + sweeps.SENSOR_HEIGHT_M
    assert -0.2 < height.min() and (np.abs(height) < 0.1).mean() > 0.4  # much ground, nothing below it
    assert np.abs(cloud.xyz[:, 1]).max() < sweeps.FACADES_M + 0.2 and np.ptp(cloud.xyz[:, 0]) > 100
    assert not np.array_equal(points['x'], sweeps.sweep(4)['x'])


def test_the_map_picture_has_road_and_route():
    image = decode_map_image(plain_messages.image(sweeps.map_picture(), 5))
    middle = sweeps.MAP_SIZE_PX // 2
    assert image.road[10, middle] > 0.5 and image.road[10, 10] == 0 and image.route[10, middle] > 0.5


def test_times():
    times = Times.of([1.0, 2.0, 3.0, 4.0, 100.0])
    assert (times.median, times.largest, times.count) == (3.0, 100.0, 5) and 4 < times.p95 < 100
    assert Times.of([]) is None


def test_operations_of_the_network_are_those_of_its_layers():
    network = FusionNetwork(SMALL).eval()
    macs = []

    def count(module, inputs, output):
        if isinstance(module, torch.nn.Linear):
            macs.append(output.numel() * module.in_features)
        else:
            macs.append(output.numel() * module.weight[0].numel())
    for module in network.modules():
        if isinstance(module, (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Linear)):
            module.register_forward_hook(count)
    size = network_size(network)
    assert size.gmacs == pytest.approx(sum(macs) / 1e9, rel=0.01)
    assert size.parameters == sum(p.numel() for p in network.parameters())


@pytest.fixture(scope='module')
def compared(small, tmp_path_factory):
    """What `benchmark` writes and prints with all providers that need no compiler."""
    out = tmp_path_factory.mktemp('compared')
    printed = io.StringIO()
    with redirect_stdout(printed):
        assert benchmark.main(['--runs', '3', '--points', '5000', '--device', 'cpu', '-p', f'checkpoint:={small}',
                               '--against', 'plain,user', '--out', str(out), '--ledger', str(out / 'l.csv')]) == 0
    return out, printed.getvalue(), json.loads((out / 'benchmark.json').read_text())


def test_the_pipeline_is_measured_beside_what_it_replaces(small, compared):
    out, printed, stored = compared
    measured = stored['sizes']['5000']['providers']
    assert list(measured) == ['default', 'plain', 'user'] and stored['runs'] == 3
    for one in measured.values():
        assert one['fused'] == 3
        for kind in ('wall', 'processor', 'ratio', 'processor_ratio'):
            assert list(one[kind]) == list(providers.STAGES) and all(t['count'] == 3 for t in one[kind].values())
        total = one['wall']['total']
        assert 0 < total['p20'] <= total['median'] <= total['p80'] <= total['p95'] <= total['p99'] <= total['largest']
        parts = sum(one['wall'][stage]['median'] for stage in providers.STAGES if stage != 'total')
        assert 0 < parts < 1.5 * total['largest'] and one['processor']['total']['median'] > 0
    assert all(t['median'] == t['p99'] == 1.0 for t in measured['default']['ratio'].values())
    assert measured['plain']['apart'] < 1e-3  # the same answers
    for stage, work in stored['sizes']['5000']['work'].items():
        assert work['bytes'] > 0 and work['operations'] > 0 and work['floor_ms'] > 0, stage
    assert min(stored['measured_machine'].values()) > 0 and 'numpy' in stored['versions']
    page = (out / 'benchmark.md').read_text()
    for words in ('GMACs', 'Machine:', 'Commit:', 'Versions:', 'GB/s', '5,000 points'):
        assert words in printed and words in page, words
    # Where files lie is nobody's business.
    assert 'small.safetensors' in printed and str(small.parent) not in printed.replace(str(out), '') + page


def test_its_figures_go_to_the_ledger_and_from_there_to_the_page(compared):
    out, _, stored = compared
    rows = ledger.read(out / 'l.csv')
    total = next(r for r in rows if (r.operation, r.provider, r.metric) == ('total', 'plain', 'ms'))
    of_json = stored['sizes']['5000']['providers']['plain']['wall']['total']
    assert (total.size, total.commit) == ('5000', stored['commit'])
    assert total.median == pytest.approx(of_json['median'], rel=1e-4) and total.p20 <= total.median <= total.p80
    later = dataclasses.replace(total, median=77.7, date='2100-01-01')
    ledger.add(out / 'l.csv', [later])
    assert ledger.read(out / 'l.csv') == [*rows, later]  # nothing is lost
    assert len(ledger.newest([*rows, later])) == len(rows) and later in ledger.newest([*rows, later])
    page = load_tool('performance_page')
    text = page.performance([*rows, later])
    assert '77.7' in text and 'plain torch' in text and 'as a user would write it' in text
    assert page.draw([*rows, later]).startswith(b'\x89PNG')
    assert 'benchmark' in page.performance([])  # how it is measured, where it has not been


def test_a_file_that_is_no_ledger_is_not_written_to(tmp_path):
    for text in ('a,b\n1,2\n', ','.join(ledger.COLUMNS) + '\nbev,plain,1,ms,fast,1,1,here,c,d\n'):
        (tmp_path / 'l.csv').write_text(text)
        with pytest.raises(ConfigurationError, match='l.csv'):
            ledger.add(tmp_path / 'l.csv', [])
        assert (tmp_path / 'l.csv').read_text() == text


def test_the_floor_is_set_by_what_takes_longer():
    machine = floor.Machine(bandwidth_gb_s=10.0, peak_gflops=50.0)
    moving, counting = floor.Work(10**7, 10**6), floor.Work(10**3, 10**9)
    assert (moving.floor_ms(machine), moving.bound(machine)) == (pytest.approx(1.0), 'memory')
    assert (counting.floor_ms(machine), counting.bound(machine)) == (pytest.approx(20.0), 'arithmetic')


def test_what_a_user_would_write_finds_the_same_street(small):
    """It counts the points of nearly the same cells, and lays the map where it belongs."""
    config = from_flat({'checkpoint': str(small), 'device': 'cpu'})
    user, usual = providers.UserProvider(config), providers.default(config)
    image = decode_map_image(plain_messages.image(sweeps.map_picture(), 10**9))
    message = sweeps.message(0, 20_000)
    mine, theirs = (p.run(p.message(message), image, 10**9).result for p in (user, usual))
    density = [r.lidar_bev[3].reshape(-1) for r in (mine, theirs)]
    assert np.corrcoef(*density)[0, 1] > 0.95
    assert np.abs(mine.map_bev[[0, 2]] - theirs.map_bev[[0, 2]]).mean() < 0.02  # it does not average
    user.close()
    usual.close()


def test_a_compiler_that_does_not_work_is_named(small, monkeypatch):
    def fail(network):
        raise RuntimeError('no working C++ compiler\nmore')
    monkeypatch.setattr(torch, 'compile', fail)
    provider, why = providers.create('compiled', from_flat({'checkpoint': str(small), 'device': 'cpu'}))
    assert provider is None and why.endswith('no working C++ compiler')


def test_plain_and_compiled_loops_are_measured_in_pairs(tmp_path, capsys, monkeypatch):
    from attention_fusion_ros.benchmarking import kernels
    from attention_fusion_ros.kernels import compiled
    monkeypatch.setattr(compiled, 'available', lambda: True)  # without numba plain torch is measured twice
    assert benchmark.main(['--kernels', '--runs', '3', '--points', '3000', '--out', str(tmp_path)]) == 0
    pairs = json.loads((tmp_path / 'benchmark_kernels.json').read_text())['pairs']
    assert [pair['step'] for pair in pairs] == list(kernels.STEPS) and {pair['points'] for pair in pairs} == {3000}
    for pair in pairs:
        assert pair['runs'] == 3 and min(pair['plain_ms'], pair['fast_ms'], pair['plain_processor_ms']) > 0
        assert pair['ratio_20'] <= pair['ratio'] <= pair['ratio_80']
    assert 'together' in capsys.readouterr().out


def test_without_compiled_loops_there_is_nothing_to_compare(capsys, monkeypatch):
    from attention_fusion_ros.kernels import compiled
    monkeypatch.setattr(compiled, 'available', lambda: False)
    assert benchmark.main(['--kernels', '--runs', '3', '--points', '3000']) == 1
    assert 'numba' in capsys.readouterr().err


def test_growth_leaves_the_first_minute_out():
    seconds = np.arange(0, 301, 2.0)
    start = np.minimum(500 + 10 * seconds, 1000)  # until 50 s
    assert memory.growth(seconds, start) == pytest.approx(0.0)
    assert memory.growth(seconds, start * (1 + 0.1 * (seconds - 60).clip(0) / 240)) == pytest.approx(10, abs=0.5)
    assert memory.growth(seconds[seconds < 70], start[seconds < 70]) is None
    assert memory.growth([], []) is None
    assert memory.draw(seconds, start, 'title').startswith(b'\x89PNG')


@pytest.mark.parametrize('arguments', [['--runs', '0'], ['--node', '0'], ['--node', '1', '--soak', '1'],
                                       ['--bag', 'x'], ['--rate', '-1'], ['--against', 'nobody']])
def test_impossible_options(arguments, capsys):
    with pytest.raises(SystemExit, match='2'):
        benchmark.main(arguments)
    assert 'benchmark: error:' in capsys.readouterr().err


@pytest.mark.parametrize('arguments, words', [
    (['-p', 'checkpoint:=/nowhere.safetensors'], 'does not exist'),
    (['--untrained', '-p', 'no_such:=1'], 'no_such'),
    (['--node', '1', '-p', 'no_such:=1'], 'no_such')])
def test_mistakes_are_one_line(arguments, words, capsys):
    if '--node' in arguments:
        pytest.importorskip('rclpy', reason='needs ROS 2')
    assert benchmark.main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error and error.count('\n') == 1


def test_without_ros(monkeypatch, capsys):
    monkeypatch.delattr(benchmarking, 'live', raising=False)
    monkeypatch.delitem(sys.modules, 'attention_fusion_ros.benchmarking.live', raising=False)
    monkeypatch.setitem(sys.modules, 'attention_fusion_ros.ros.clients.result_listener', None)
    assert benchmark.main(['--node', '1']) == 2
    assert 'needs ROS 2' in capsys.readouterr().err


# -- with the node -----------------------------------------------------------------------------------------------------

@pytest.fixture
def ros(monkeypatch):
    pytest.importorskip('rclpy', reason='needs ROS 2')
    monkeypatch.setitem(os.environ, 'ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')


@pytest.mark.slow
def test_the_node_is_measured(ros, small, tmp_path, capsys):
    assert benchmark.main(['--node', '6', '--points', '5000', '--rate', '5', '--device', 'cpu', '-p', 'threads:=1',
                           '-p', f'checkpoint:={small}', '-p', 'branches.min_direction_probability:=0.0',
                           '--out', str(tmp_path), '--sample', '1']) == 0, capsys.readouterr()
    stored = json.loads((tmp_path / 'benchmark_node.json').read_text())
    assert 0 < stored['answered'] <= stored['sent'] <= 31
    assert stored['received'] >= stored['answered'] and stored['results'] >= stored['answered']
    assert stored['answer_ms']['count'] == stored['answered'] and 0 < stored['answer_ms']['median'] < 60_000
    assert stored['answer_ms']['median'] >= 0.3 * stored['node_p50_ms'] > 0  # the way there and back comes on top
    assert stored['results_per_second'] == pytest.approx(stored['answered'] / stored['sending'])
    assert stored['mode'] == 'fused' and stored['restarts'] == 0 and not stored['ended']
    assert len(stored['rss_mb']) >= 3 and 50 < stored['rss_mb'][-1] < 5000
    assert stored['rss_growth_percent'] is None
    assert (tmp_path / 'node_memory.png').stat().st_size > 5000 and (tmp_path / 'node.log').exists()
    out = capsys.readouterr().out
    assert f"answers that came back                   {stored['answered']:>7}".split() == [
        *next(line for line in out.splitlines() if line.startswith('answers')).split()]


def test_sweeps_that_are_late_are_left_out_not_sent_in_a_burst(ros, monkeypatch):
    from attention_fusion_ros.ros.clients import load_generator as load

    class Topic:
        def __init__(self):
            self.stamps = []

        def publish(self, message):
            self.stamps.append(clock.now)

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

        def time_ns(self):
            return int(self.now * 1e9)

    class Node:
        topics = {}

        def create_publisher(self, kind, topic, qos):
            return self.topics.setdefault(topic, Topic())
    clock = Clock()
    monkeypatch.setattr(load, 'time', clock)
    source = load.LoadGenerator(Node(), [sweeps.sweep(0, 128)], sweeps.FRAME, sweeps.map_picture(), 10.0)
    for step in range(300):  # 3 s, of which half a second is slept through
        clock.now = 100.0 + step / 100 + (0.5 if step >= 150 else 0.0)
        source.tick()
    sent = Node.topics['/lidar/points'].stamps
    assert len(source.sent) == len(sent) and 26 <= len(sent) <= 30
    assert source.skipped in (4, 5) and min(np.diff(sent)) > 0.04
    assert len(Node.topics['/map_image'].stamps) in (3, 4) and len(Node.topics['/odom'].stamps) > 55
    assert Node.topics['/map_image'].stamps[0] < sent[0]


def test_node_player_and_measurement_share_a_domain_of_their_own(ros, ros_domain, monkeypatch, tmp_path):
    """Neither the vehicle's graph nor another measurement on this machine gets in the way."""
    from support import synthetic_bag as bag

    from attention_fusion_ros.benchmarking import live
    domains = {}

    class Player:
        def __init__(self, path, pace, environment):
            domains['player'] = int(environment['ROS_DOMAIN_ID'])

    class Node:
        def __init__(self, session, parameters, remaps, log, domain_id, environment):
            domains.update(session=session.context.get_domain_id(), node=domain_id)
            raise live.NodeError('enough is known')

    monkeypatch.setattr(live, 'ReservedDomain', lambda: nullcontext(ros_domain))
    monkeypatch.setattr(live, 'BagSource', Player)
    monkeypatch.setattr(live, 'NodeProcess', Node)
    with pytest.raises(live.NodeError, match='enough is known'):
        live.run({}, 1.0, 10.0, tmp_path / 'log', bag.write(tmp_path / 'drive', bag.drive(2)))
    assert domains == dict.fromkeys(('player', 'session', 'node'), ros_domain)


def test_nothing_arrived_is_an_error(ros, monkeypatch, capsys):
    from attention_fusion_ros.benchmarking import live
    result = live.LiveResult(seconds=1.0, sending=1.0, rate=10.0, sent=10, answered=0, received=10,
                             drops={'bad_transform': 10})
    monkeypatch.setattr(live, 'run', lambda *_: result)
    assert benchmark.main(['--untrained', '--node', '1']) == 1
    captured = capsys.readouterr()
    assert 'no answer arrived' in captured.err and 'bad_transform' in captured.err
    assert 'drops' in captured.out and '10 (100.0 %)' in captured.out


def test_a_recording_is_played_at_the_wanted_rate(ros, tmp_path):
    from support import synthetic_bag as bag

    from attention_fusion_ros.benchmarking import live
    path = bag.write(tmp_path / 'drive', bag.drive(5))
    remaps, pace = live.remaps_and_pace(path, 2 * 1e9 / bag.PERIOD)
    assert remaps['~/input/pointcloud'] == '/lidar/points' and remaps['~/input/odometry'] == '/odom'
    assert pace == pytest.approx(2.0, rel=0.01)
