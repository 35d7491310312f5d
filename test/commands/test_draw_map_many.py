# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`draw_map` for many recordings: each as it would be drawn alone."""

from __future__ import annotations

import csv

import pytest
from support import fix_drive
from support.fix_drive import SMALL, images, pixels

from attention_fusion_ros.commands import draw_map

pytest.importorskip('pyproj', reason='needs pyproj')


def test_many_are_drawn_as_one_by_one(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    roads = fix_drive.roads_file(tmp_path)
    fix_drive.write(tmp_path / 'bags' / 'one')
    (tmp_path / 'bags' / 'none.mcap').touch()
    words = ['--osm', str(roads), *SMALL]
    assert draw_map.main([str(tmp_path / 'bags' / 'one'), '--out', str(tmp_path / 'alone'), *words]) == 0
    assert draw_map.main([f'{tmp_path}/bags/*', '--out', str(tmp_path / 'out'), *words]) == 1
    with open(tmp_path / 'out' / 'recordings.csv', newline='') as file:
        failed, drawn = csv.DictReader(file)
    assert failed['reason'] == 'recording_unreadable' and drawn['status'] == 'ok'
    alone, found = images(tmp_path / 'alone'), images(tmp_path / 'out' / drawn['folder'])
    assert len(found) == len(alone) == int(drawn['images'])
    assert all((pixels(a) == pixels(b)).all() for a, b in zip(alone, found))
    assert (tmp_path / 'out' / drawn['folder'] / 'replay.yaml').read_bytes() == (
        tmp_path / 'alone' / 'replay.yaml').read_bytes()
    with open(tmp_path / 'out' / 'worst_sweeps.csv', newline='') as file:
        worst = [float(row['badness']) for row in csv.DictReader(file)]
    assert worst == sorted(worst, reverse=True) and f'{worst[0]:.3f}' == drawn['largest [m]']


def test_roads_are_asked_for_before_anything_is_opened(tmp_path, capsys):
    assert draw_map.main(['a', 'b', '--out', str(tmp_path / 'out')]) == 2
    assert 'no file of roads was given' in capsys.readouterr().err
    assert draw_map.main(['a', 'b', '--out', str(tmp_path / 'out'), '--osm', 'gone.osm']) == 2
    assert "'gone.osm' does not exist" in capsys.readouterr().err
