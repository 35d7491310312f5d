# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The extract that ships with the package, and the tool that cut it."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

from attention_fusion_ros.maps import example_extract
from attention_fusion_ros.maps.frames import LocalFrame
from attention_fusion_ros.maps.load import load_roads
from attention_fusion_ros.maps.local_roads import LocalRoads
from attention_fusion_ros.maps.route import RoutePlanner

pytest.importorskip('osmium', reason='needs osmium')
ROOT = Path(__file__).resolve().parents[2]
BOX = (42.3400, -71.0530, 42.3535, -71.0245)


def test_it_holds_the_roads_that_it_should_and_routes_lead_through_it():
    graph = load_roads(example_extract(), cache=None)
    assert len(graph) == 435
    south, west, north, east = graph.bounds
    frame = LocalFrame((south + north) / 2, (west + east) / 2)
    width, height = frame.to_metres(north, east) - frame.to_metres(south, west)
    assert 1500 < width < 3000 and 1500 < height < 3000
    roads = LocalRoads(graph, frame)
    route = RoutePlanner(roads).plan([frame.to_metres(42.3467, -71.0298)], frame.to_metres(42.3490, -71.0395))
    assert 800 < route.length < 1200


def test_it_says_whose_data_it_is_and_is_small():
    assert example_extract().stat().st_size < 300_000
    head = gzip.decompress(example_extract().read_bytes())[:1500].decode()
    readme = (example_extract().parent / 'README.md').read_text()
    for text in (head, readme, (ROOT / 'docs/maps.md').read_text()):
        assert 'OpenStreetMap contributors' in text and 'Open Data' in text
    assert 'opendatacommons.org/licenses/odbl' in head and 'www.openstreetmap.org/copyright' in head


def cut(*arguments):
    return subprocess.run([sys.executable, ROOT / 'tools/cut_extract.py', *map(str, arguments)], capture_output=True,
                          text=True, timeout=120)


def test_the_tool_makes_the_same_file_again(tmp_path):
    target = tmp_path / 'again.osm.gz'
    done = cut(example_extract(), target, '--box', *BOX)
    assert done.returncode == 0, done.stderr
    assert target.read_bytes() == example_extract().read_bytes()


def test_whole_ways_are_kept_and_an_empty_box_is_said(tmp_path):
    target = tmp_path / 'corner.osm.gz'
    assert cut(example_extract(), target, '--box', 42.3470, -71.0320, 42.3480, -71.0300).returncode == 0
    whole, part = load_roads(example_extract(), cache=None), load_roads(target, cache=None)
    assert 3 <= len(part) < len(whole)
    places = set(zip(whole.latitudes.tolist(), whole.longitudes.tolist()))
    assert set(zip(part.latitudes.tolist(), part.longitudes.tolist())) <= places
    none = cut(example_extract(), tmp_path / 'sea.osm.gz', '--box', 42.0, -70.0, 42.1, -69.9)
    assert none.returncode == 2 and 'no roads within' in none.stderr and not (tmp_path / 'sea.osm.gz').exists()
