# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A file of OpenStreetMap that ends its library does not end us: it is read in a process of its own."""

from __future__ import annotations

import bz2
import gzip
import signal

import numpy as np
import pytest

from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.maps import osm_apart, osm_file

KINDS = ('residential', 'tertiary')
TOWN = """<osm version="0.6"><bounds minlat="49.4" minlon="7.7" maxlat="49.5" maxlon="7.8"/>
<node id="1" lat="49.430" lon="7.712"/><node id="2" lat="49.430" lon="7.715"/><node id="3" lat="49.432" lon="7.715"/>
<way id="1"><nd ref="1"/><nd ref="2"/><tag k="highway" v="residential"/><tag k="name" v="Löwengäßchen 🦁"/></way>
<way id="2"><nd ref="2"/><nd ref="3"/><tag k="highway" v="tertiary"/></way></osm>"""


def test_what_is_read_there_is_what_is_read_here(tmp_path):
    pytest.importorskip('osmium')
    path = tmp_path / 'a town.osm'
    path.write_text(TOWN, encoding='utf-8')
    here, there = osm_file.read_ways(path, KINDS), osm_apart.read_ways(path, KINDS)
    assert len(here.tags) == 2 and here.tags == there.tags and here.bounds == there.bounds is not None
    for name in ('refs', 'first', 'node_ids', 'latitudes', 'longitudes'):
        np.testing.assert_array_equal(getattr(here, name), getattr(there, name))


def test_what_is_wrong_is_told_in_the_same_words(tmp_path):
    pytest.importorskip('osmium')
    path = tmp_path / 'a.osm'
    path.write_text('<osm version="0.6"><node id="x" lat="49" lon="7"/></osm>')
    told = []
    for reader in (osm_file, osm_apart):
        with pytest.raises(ConfigurationError, match='no OpenStreetMap extract') as caught:
            reader.read_ways(path, KINDS)
        told.append(str(caught.value))
    assert told[0] == told[1]


@pytest.mark.parametrize('name, content, remedy', [
    ('a.osm', gzip.compress(b'<osm version="0.6"/>'), 'let that end in .osm.gz'),
    ('a.osm.gz', b'<?xml version="1.0"?><osm version="0.6"/>', 'let that end in .osm'),
    ('a.osm', b'<?xml version="1.0"?><html><body>rate_limited</body></html>', 'no message of the server'),
    ('a.osm', TOWN[:len(TOWN) // 2].encode(), 'whole')], ids=['gzip', 'plain', 'server', 'half'])
def test_a_file_that_is_none_comes_with_a_remedy(tmp_path, name, content, remedy):
    pytest.importorskip('osmium')
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=f'no OpenStreetMap extract.*Remedy: .*{remedy}'):
        osm_apart.read_ways(tmp_path / name, KINDS)


@pytest.mark.parametrize('ending, pack', [('.osm', bytes), ('.osm.gz', gzip.compress), ('.osm.bz2', bz2.compress)])
@pytest.mark.parametrize('mark', ["action='delete' visible='true'", 'visible="false"'])
def test_ways_that_are_deleted_are_no_roads(tmp_path, monkeypatch, mark, ending, pack):
    """An editor keeps them in its file until they are uploaded, and a history for ever."""
    pytest.importorskip('osmium')
    monkeypatch.setattr(osm_file, 'PIECE_BYTES', 7)  # tags are cut
    path = tmp_path / f'a{ending}'
    way = '<way id="{}" {}><nd ref="-1"/><nd ref="-2"/><tag k="highway" v="residential"/></way>'
    text = ('<osm version="0.6"><node id="-1" lat="49" lon="7"/><node id="-2" lat="49.001" lon="7"/>'
            f'{way.format(-3, mark)}{way.format(-4, "")}</osm>')
    path.write_bytes(pack(text.encode()))
    assert len(osm_file.read_ways(path, KINDS).tags) == 1


@pytest.mark.parametrize('name, words', [
    ('SIGSEGV', r'damaged.*SIGSEGV.*Remedy: get the file again'), ('SIGKILL', 'memory.*Remedy: cut out the region')])
def test_a_library_that_ends_the_process_is_an_error(tmp_path, monkeypatch, name, words):
    """The library is a stand-in that does; the real one stays that of this process."""
    pytest.importorskip('osmium')
    (tmp_path / 'osmium.py').write_text(
        f'import os, signal\ndef FileProcessor(*_): os.kill(os.getpid(), signal.{signal.Signals[name].name})\n'
        'class osm: NODE = WAY = 1\nclass filter: KeyFilter = EntityFilter = print\n')
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'a.osm').write_text('<osm version="0.6"/>')
    with pytest.raises(ConfigurationError, match=words):
        osm_apart.read_ways(tmp_path / 'a.osm', KINDS)
