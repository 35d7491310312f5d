# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""OpenStreetMap extracts: every format, every order of its parts, and what cannot be used."""

from __future__ import annotations

import gzip
import subprocess
import sys

import numpy as np
import pytest

from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.simulation.world.generate import generate_world
from attention_fusion_ros.simulation.world.osm import load_extract
from attention_fusion_ros.simulation.world.polyline import arc_length

osmium = pytest.importorskip('osmium', reason='needs osmium')

EXTRACT = """<?xml version='1.0'?><osm version="0.6"><bounds minlat="49.42" minlon="7.70" maxlat="49.44" maxlon="7.73"/>
<node id="1" lat="49.430" lon="7.712"/><node id="2" lat="49.430" lon="7.715"/><node id="3" lat="49.430" lon="7.718"/>
<node id="4" lat="49.432" lon="7.715"/>
<way id="1"><nd ref="1"/><nd ref="2"/><nd ref="3"/><tag k="highway" v="residential"/></way>
<way id="2"><nd ref="2"/><nd ref="4"/><tag k="highway" v="tertiary"/><tag k="lanes" v="4"/></way>
<way id="3"><nd ref="1"/><nd ref="4"/><tag k="highway" v="footway"/></way></osm>"""


def test_an_extract_becomes_stretches_between_joints(tmp_path):
    (tmp_path / 'town.osm').write_text(EXTRACT)
    extract = load_extract(tmp_path / 'town.osm')
    assert len(extract.lines) == 3 and sorted(extract.lanes) == [0, 0, 4] and len(extract.joints) == 1
    # 0.003 degrees of longitude at 49.43 degrees north, and 0.002 of latitude
    lengths = sorted(arc_length(line)[-1] for line in extract.lines)
    assert lengths == pytest.approx([217.2, 217.2, 222.6], abs=0.3)
    assert list((tmp_path / 'cache').rglob('*.npz'))
    worlds = [generate_world(seed, 'osm', osm=tmp_path / 'town.osm') for seed in range(4)]
    assert max(len(w.roads) for w in worlds) == 3 and {r.lanes for w in worlds for r in w.roads} == {2, 4}


@pytest.mark.parametrize('content', [None, b'', b'<osm>', b'<osm version="0.6"/>', b'\x1f\x8b broken'])
def test_extracts_that_cannot_be_used(tmp_path, content):
    path = tmp_path / 'bad.osm.gz'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match='bad.osm.gz'):
        load_extract(path)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


def same(a, b) -> bool:
    return (len(a.lines) == len(b.lines) and all(np.array_equal(p, q) for p, q in zip(a.lines, b.lines))
            and np.array_equal(a.ends, b.ends) and a.kinds == b.kinds and np.array_equal(a.lanes, b.lanes)
            and a.half_size == b.half_size)


def test_every_format_gives_the_same_roads(tmp_path):
    plain, packed, binary = (tmp_path / f'town{ending}' for ending in ('.osm', '.osm.gz', '.osm.pbf'))
    plain.write_text(EXTRACT)
    packed.write_bytes(gzip.compress(EXTRACT.encode()))
    box = osmium.osm.Box(7.70, 49.42, 7.73, 49.44)
    header = osmium.io.Header()
    header.add_box(box)
    with osmium.SimpleWriter(str(binary), header=header) as writer:
        for thing in osmium.FileProcessor(str(plain)):
            writer.add(thing)
    extract = load_extract(plain)
    assert same(extract, load_extract(packed)) and same(extract, load_extract(binary))


def test_the_order_of_nodes_and_ways_and_negative_numbers_do_not_matter(tmp_path):
    (tmp_path / 'a.osm').write_text(EXTRACT)
    head, _, rest = EXTRACT.partition('<node')
    nodes, _, ways = rest.partition('<way')
    turned = f'{head}<way{ways}'.replace('</osm>', f'<node{nodes}</osm>')
    (tmp_path / 'b.osm').write_text(turned)
    negative = turned.replace('node id="', 'node id="-').replace('ref="', 'ref="-').replace('way id="', 'way id="-')
    (tmp_path / 'c.osm').write_text(negative)  # as editors number what is not uploaded
    extracts = [load_extract(tmp_path / name) for name in ('a.osm', 'b.osm', 'c.osm')]
    assert same(extracts[0], extracts[1]) and same(extracts[0], extracts[2])


def test_bounds_as_osmosis_once_wrote_them(tmp_path):
    (tmp_path / 'a.osm').write_text(EXTRACT)
    old = EXTRACT.replace('<bounds minlat="49.42" minlon="7.70" maxlat="49.44" maxlon="7.73"/>',
                          '<bound box="49.42,7.70,49.44,7.73" origin="http://example.org"/>')
    (tmp_path / 'b.osm').write_text(old)
    assert same(load_extract(tmp_path / 'a.osm'), load_extract(tmp_path / 'b.osm'))


def test_nodes_that_are_missing_shorten_a_road(tmp_path):
    (tmp_path / 'a.osm').write_text(EXTRACT.replace('<node id="3" lat="49.430" lon="7.718"/>', ''))
    assert sorted(len(line) for line in load_extract(tmp_path / 'a.osm').lines) == [2, 2]
    (tmp_path / 'b.osm').write_text(EXTRACT.replace('<node', '<!-- node').replace('"/>\n', '"/>-->\n', 2))
    with pytest.raises(ConfigurationError, match='OpenStreetMap'):
        load_extract(tmp_path / 'b.osm')


def test_a_damaged_cache_is_made_again(tmp_path):
    (tmp_path / 'a.osm').write_text(EXTRACT)
    code = ('import sys; from attention_fusion_ros.simulation.world.osm import load_extract; '
            'print(len(load_extract(sys.argv[1]).lines))')

    def lines() -> str:
        return subprocess.run([sys.executable, '-c', code, tmp_path / 'a.osm'], capture_output=True, text=True,
                              check=True).stdout.strip()
    assert lines() == '3'
    cache, = (tmp_path / 'cache').rglob('*.npz')
    cache.write_bytes(cache.read_bytes()[:100])
    assert lines() == '3' and cache.stat().st_size > 100


def test_without_osmium_one_line_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / 'a.osm').write_text(EXTRACT)
    monkeypatch.setitem(sys.modules, 'osmium', None)
    with pytest.raises(ConfigurationError, match="pip install 'osmium>=4'"):
        load_extract(tmp_path / 'a.osm')


# Stretches, joints, vertices, sum of all coordinates [m], half the size [m].
FIGURES = (2589, 1877, 10622, 22280278.17200803, (3764.2030220514152, 2170.730070468917))


def test_real_extract_is_read_as_before(shared_folder):
    """Figures of the parser that came before osmium, over all arrays; every node and stretch was equal."""
    extract = load_extract(shared_folder / 'data/osm/kaiserslautern.osm.gz')
    assert (len(extract.lines), int(extract.ends.max()) + 1) == FIGURES[:2]
    assert sum(len(line) for line in extract.lines) == FIGURES[2]
    assert np.abs(np.concatenate(extract.lines)).sum() == pytest.approx(FIGURES[3], rel=1e-12)
    assert extract.half_size == pytest.approx(FIGURES[4])
