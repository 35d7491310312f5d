# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A Ray cluster of two nodes on this machine, whose workers and nodes die half-way, gives what the plain loop gives.

`make fleet-test` installs Ray and runs these; they are skipped where it is not installed.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support import fleet_kit
from support.fleet_kit import Wish, run, task

from attention_fusion_ros.engines.engine import Resources, Sequential, engine_at
from attention_fusion_ros.engines.ray_engine import PATIENCE
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.fleet.work import Task

ray = pytest.importorskip('ray', reason='Ray is not installed: make fleet-test')
pytestmark = [pytest.mark.fleet, pytest.mark.slow, pytest.mark.timeout(900)]
STORE_BYTES = 100 * 2**20
TESTS = Path(__file__).parents[1]


@pytest.fixture(scope='module')
def cluster():
    """Two nodes of one CPU each."""
    from ray.cluster_utils import Cluster
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('RAY_USAGE_STATS_ENABLED', '0')
        patch.setenv('RAY_AUTH_MODE', 'disabled')  # whatever token a cluster on this machine has left at home
        patch.setenv('OMP_NUM_THREADS', '1')
        patch.setenv('PYTHONPATH', os.pathsep.join([str(TESTS.parent), str(TESTS)]))  # workers import `support`
        for name, value in PATIENCE.items():
            patch.setenv(name, value)
        found = Cluster()
        found.add_node(num_cpus=1, object_store_memory=STORE_BYTES, include_dashboard=False)
        found.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
        yield found
        ray.shutdown()
        found.shutdown()


@pytest.fixture
def wish(tmp_path) -> Wish:
    (tmp_path / 'marks').mkdir()
    return Wish(tmp_path / 'marks')


@pytest.fixture
def bags(tmp_path):
    fleet_kit.write_recordings(tmp_path / 'bags', 'abcdefgh')
    (tmp_path / 'bags' / 'g.mcap').write_text('broken')
    return tmp_path / 'bags'


def assert_same_tables(one, other):
    for name in fleet_kit.TABLES:
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_a_worker_killed_half_way_changes_nothing(cluster, bags, wish, tmp_path):
    run([str(bags)], task(wish), tmp_path / 'plain', Sequential())
    [mark.unlink() for mark in wish.marks.iterdir()]
    with engine_at(cluster.address) as engine:
        found = run([str(bags)], task(replace(wish, dies_at='d')), tmp_path / 'ray', engine)
    assert found.again == 1 and found.count('ok') == 7
    assert len(list(wish.marks.glob('d-*'))) == 2 and len(list(wish.marks.iterdir())) == 9
    assert_same_tables(tmp_path / 'plain', tmp_path / 'ray')
    assert [path.name for path in (tmp_path / 'ray' / '.work').iterdir()] == ['lock']
    with engine_at(cluster.address) as engine:  # and what is there is kept
        found = run([str(bags)], task(wish), tmp_path / 'ray', engine)
    assert sum(outcome.kept for outcome in found.outcomes) == 7
    assert_same_tables(tmp_path / 'plain', tmp_path / 'ray')


def test_a_recording_whose_worker_dies_every_time_fails_and_the_others_go_on(cluster, bags, wish, tmp_path):
    with engine_at(cluster.address, Resources(retries=1)) as engine:
        found = run([str(bags)], task(replace(wish, dies_at='d', times=9)), tmp_path / 'out', engine)
    assert len(list(wish.marks.glob('d-*'))) == 2 and found.count('ok') == 6
    lost, = (outcome for outcome in found.outcomes if outcome.reason == 'worker_lost')
    assert lost.name == 'd' and 'died' in lost.message


def test_workers_are_compared_with_who_asks(cluster, bags, wish, tmp_path, monkeypatch):
    from attention_fusion_ros.engines import ray_engine
    monkeypatch.setattr(ray_engine, 'code_digest', lambda: 'other code')
    with pytest.raises(ConfigurationError, match='has another attention_fusion_ros .* Remedy: install the same'), \
            engine_at(cluster.address) as engine:
        run([str(bags)], task(wish), tmp_path / 'out', engine)
    monkeypatch.undo()
    with pytest.raises(ConfigurationError, match='has no GPU'), \
            engine_at(cluster.address, Resources(gpus=1)) as engine:
        run([str(bags)], task(wish), tmp_path / 'out', engine)


def test_no_cluster_is_said_in_one_line(tmp_path, bags, capsys):
    from attention_fusion_ros.commands import replay
    status = replay.main([str(bags / 'a.mcap'), '--out', str(tmp_path / 'out'), '--ray', '127.0.0.1:1'])
    told = capsys.readouterr().err.splitlines()[-1]
    assert status == 2 and told.startswith('error: no Ray cluster answers at 127.0.0.1:1')


def test_replay_on_ray_with_a_worker_killed_is_replay_one_by_one(cluster, tmp_path, monkeypatch):
    from support import synthetic_bag as bag

    from attention_fusion_ros.commands import many, replay
    from attention_fusion_ros.commands.replay_many import COLUMNS
    checkpoint = bag.lively_checkpoint(tmp_path / 'lively.safetensors')
    for number, name in enumerate('abc'):
        bag.write(tmp_path / 'bags' / name, bag.drive(2 + number))
    arguments = [str(tmp_path / 'bags'), str(tmp_path / 'bags' / 'a'), '--pictures', '0', '--device', 'cpu', '-p',
                 f'checkpoint:={checkpoint}', '-p', 'threads:=1', '-p', 'branches.min_direction_probability:=0.0']
    assert replay.main([*arguments, '--out', str(tmp_path / 'plain')]) == 0
    (tmp_path / 'marks').mkdir()
    wish, run_many = Wish(tmp_path / 'marks', 'b'), many.run_many

    def deadly(options, named, made, words):
        dying = Task(made.name, fleet_kit.deadly_replay, (made.settings, wish), made.depends, made.files, COLUMNS,
                     made.bad_sweep, made.bad_recording)
        return run_many(options, named, dying, words)

    monkeypatch.setattr(many, 'run_many', deadly)
    assert replay.main([*arguments, '--out', str(tmp_path / 'ray'), '--ray', cluster.address]) == 0
    assert (tmp_path / 'marks' / 'replayed-b').exists()
    assert_same_tables(tmp_path / 'plain', tmp_path / 'ray')
    for folder in (tmp_path / 'plain').glob('*-*'):
        assert (tmp_path / 'ray' / folder.name / 'branches.csv').read_bytes() == (folder / 'branches.csv').read_bytes()
        assert (folder / 'report.html').exists()


def test_a_node_that_goes_takes_nothing_with_it(cluster, bags, wish, tmp_path):
    run([str(bags)], task(wish), tmp_path / 'plain', Sequential())
    [mark.unlink() for mark in wish.marks.iterdir()]
    node = sorted(cluster.worker_nodes, key=str)[-1]

    def go() -> None:
        while len(list(wish.marks.iterdir())) < 4:
            time.sleep(0.05)
        cluster.remove_node(node, allow_graceful=False)

    gone = threading.Thread(target=go)
    gone.start()
    with engine_at(cluster.address) as engine:
        found = run([str(bags)], task(replace(wish, seconds=1.0)), tmp_path / 'ray', engine)
    gone.join()
    assert found.count('ok') == 7 and found.again >= 1
    assert_same_tables(tmp_path / 'plain', tmp_path / 'ray')
    assert os.path.isdir(tmp_path / 'ray')
