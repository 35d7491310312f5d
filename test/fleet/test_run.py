# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Many recordings one after the other: what is kept, what is made again, what is told of those that fail."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import fleet_kit
from support.fleet_kit import Wish, run, task

from attention_fusion_ros.engines.engine import LOCAL, Sequential, engine_at
from attention_fusion_ros.errors import ConfigurationError

WAITS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from support.fleet_kit import Wish, run, task
from attention_fusion_ros.engines.engine import Sequential
run([sys.argv[2]], task(Wish(Path(sys.argv[4]), seconds=float(sys.argv[5]))), Path(sys.argv[3]), Sequential())
"""


@pytest.fixture
def wish(tmp_path) -> Wish:
    (tmp_path / 'marks').mkdir()
    return Wish(tmp_path / 'marks')


@pytest.fixture
def bags(tmp_path) -> Path:
    fleet_kit.write_recordings(tmp_path / 'bags')
    return tmp_path / 'bags'


def table(file: Path) -> list[dict[str, str]]:
    with open(file, newline='') as text:
        return list(csv.DictReader(text))


def made(wish: Wish) -> list[str]:
    """The recordings that were worked on since the last call."""
    marks = sorted(wish.marks.iterdir())
    for mark in marks:
        mark.unlink()
    return [mark.name.partition('-')[0] for mark in marks]


def test_a_folder_each_and_one_table_of_all_with_the_worst_first(bags, wish, tmp_path):
    many = run([str(bags)], task(wish), tmp_path / 'out', Sequential(), worst=7)
    assert made(wish) == list('abcdef') and many.count('ok') == 6 and many.again == 0
    rows = table(tmp_path / 'out' / 'recordings.csv')
    assert [row['name'] for row in rows] == list('fedcba')  # the largest is the worst
    assert {row['status'] for row in rows} == {'ok'} and rows[0]['bytes'] == '16'
    for row in rows:
        folder = tmp_path / 'out' / row['folder']
        assert (folder / 'whole.txt').read_text() == f'{row["bytes"]} bytes'
        assert f'reads {row["recording"]}' in (folder / 'fleet.log').read_text()
    worst = table(tmp_path / 'out' / 'worst_sweeps.csv')
    assert len(worst) == 7
    every = [float((7 * i + size) % 11) for size in range(11, 17) for i in range(5)]
    assert [float(row['badness']) for row in worst] == sorted(every, reverse=True)[:7]
    page = (tmp_path / 'out' / 'report.html').read_text()
    assert f'href="{rows[0]["folder"]}/"' in page and 'The worst sweeps' in page
    assert [path.name for path in (tmp_path / 'out' / '.work').iterdir()] == ['lock']


def test_what_was_done_is_kept_until_recording_settings_or_files_change(bags, wish, tmp_path):
    weights = tmp_path / 'weights'
    weights.write_text('1')
    out = tmp_path / 'out'
    run([str(bags)], task(wish, files=(weights,)), out, Sequential())
    before = {name: (out / name).read_bytes() for name in fleet_kit.TABLES}
    made(wish)
    many = run([str(bags)], task(wish, files=(weights,)), out, Sequential())
    assert not made(wish) and all(outcome.kept for outcome in many.outcomes)
    assert {name: (out / name).read_bytes() for name in fleet_kit.TABLES} == before
    (bags / 'b.mcap').write_bytes(b'other content')
    (bags / 'c.mcap').touch()  # read again, and found to be the same
    run([str(bags)], task(wish, files=(weights,)), out, Sequential())
    assert made(wish) == ['b']
    bags.rename(tmp_path / 'moved')
    many = run([str(tmp_path / 'moved' / '*')], task(wish, files=(weights,)), out, Sequential())
    assert not made(wish) and many.outcomes[0].recording == str(tmp_path / 'moved' / 'a.mcap')
    run([str(tmp_path / 'moved')], task(wish, (2,), (weights,)), out, Sequential())
    assert made(wish) == list('abcdef')
    weights.write_text('2')
    run([str(tmp_path / 'moved')], task(wish, files=(weights,)), out, Sequential())
    assert made(wish) == list('abcdef')


@pytest.mark.parametrize('damage', ['no record', 'half a record', 'another format'])
def test_results_without_a_whole_record_are_made_again(bags, wish, tmp_path, damage):
    out = tmp_path / 'out'
    first = run([str(bags / 'a.mcap'), str(bags / 'b.mcap')], task(wish), out, Sequential()).outcomes[0]
    record = out / first.folder / 'fleet.json'
    if damage == 'no record':
        record.unlink()
    else:
        text = record.read_text()
        half, other = text[:len(text) // 2], text.replace('"format": 1', '"format": 0')
        record.write_text(half if damage == 'half a record' else other)
    made(wish)
    again = run([str(bags / 'a.mcap'), str(bags / 'b.mcap')], task(wish), out, Sequential()).outcomes[0]
    assert made(wish) == ['a'] and again.folder == first.folder and json.loads(record.read_text())['format'] == 1


def test_one_that_fails_is_told_and_tried_again_and_the_others_go_on(bags, wish, tmp_path):
    (bags / 'b.mcap').write_text('broken')
    (bags / 'd.mcap').write_text('strange')
    out = tmp_path / 'out'
    many = run([str(bags)], task(wish), out, Sequential())
    assert made(wish) == list('abcdef') and many.count('failed') == 2
    failed = table(out / 'recordings.csv')[:2]  # before all others
    assert [(row['reason'], row['message']) for row in failed] == [
        ('made_up', 'It is broken. Remedy: mend it.'), ('unexpected', "KeyError('strange')")]
    logs = sorted((out / 'failed').iterdir())
    assert [log.name[0] for log in logs] == ['b', 'd'] and 'Traceback' in logs[1].read_text()
    assert len(list(out.glob('?-*'))) == 4  # nothing of them has a name
    page = (out / 'report.html').read_text()
    assert '2 recordings failed' in page and f'href="failed/{logs[0].name}"' in page
    (bags / 'b.mcap').write_text('mended')
    run([str(bags)], task(wish), out, Sequential())
    assert made(wish) == ['b', 'd'] and [log.name[0] for log in (out / 'failed').iterdir()] == ['d']


def test_the_same_recording_under_two_paths_and_two_of_one_name(bags, wish, tmp_path):
    (tmp_path / 'copy').mkdir()
    (tmp_path / 'copy' / 'a.mcap').write_bytes((bags / 'a.mcap').read_bytes())
    (tmp_path / 'copy' / 'b.mcap').write_text('another b')
    many = run([str(bags / '[ab].mcap'), str(tmp_path / 'copy')], task(wish), tmp_path / 'out', Sequential())
    folders = [outcome.folder for outcome in many.outcomes]
    assert folders[0] == folders[2] and len(set(folders)) == 3 and made(wish) == ['a', 'b', 'b']


def test_a_run_that_was_killed_goes_on_where_it_was(bags, wish, tmp_path):
    plain = tmp_path / 'plain'
    run([str(bags)], task(wish), plain, Sequential())
    made(wish)
    command = [sys.executable, '-c', WAITS, str(Path(__file__).parents[1]), str(bags), str(tmp_path / 'out'),
               str(wish.marks), '0.3']
    process = subprocess.Popen(command)
    while len(list(wish.marks.iterdir())) < 3 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = made(wish)
    assert done == list('abc')
    assert list((tmp_path / 'out').glob('.work/*/*/half.txt')) and not list((tmp_path / 'out').glob('c-*'))
    run([str(bags)], task(wish), tmp_path / 'out', Sequential())
    assert made(wish) == list('cdef')
    for name in fleet_kit.TABLES:
        assert (tmp_path / 'out' / name).read_bytes() == (plain / name).read_bytes()
    assert [path.name for path in (tmp_path / 'out' / '.work').iterdir()] == ['lock']


def test_two_runs_do_not_write_to_one_folder(bags, wish, tmp_path):
    class Second:
        name = 'a second run, begun while this one works'

        def run(self, function, items):
            with pytest.raises(ConfigurationError, match='another run writes to'):
                run([str(bags)], task(wish), tmp_path / 'out', Sequential())
            return Sequential().run(function, items)

    assert run([str(bags)], task(wish), tmp_path / 'out', Second()).count('ok') == 6


def test_ray_is_asked_for_by_the_line_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, 'ray', None)
    with pytest.raises(ConfigurationError, match=r"--ray needs ray .*pip install 'ray>=2.9'"), engine_at(LOCAL):
        pass
