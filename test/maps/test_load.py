# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Files of roads: formats, tags, what is cut where, and the cache."""

from __future__ import annotations

import gzip
import json
from types import SimpleNamespace

import numpy as np
import pytest

from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.maps import osm_file
from attention_fusion_ros.maps.frames import LocalFrame
from attention_fusion_ros.maps.kinds import DEFAULT_KINDS, KINDS
from attention_fusion_ros.maps.load import load_roads
from attention_fusion_ros.maps.tags import is_impassable, read_tags

osmium = pytest.importorskip('osmium', reason='needs osmium')
pytest.importorskip('pyproj', reason='needs pyproj')

TOWN = """<?xml version='1.0'?><osm version="0.6">
<node id="1" lat="49.430" lon="7.712"/><node id="2" lat="49.430" lon="7.715"/><node id="3" lat="49.430" lon="7.718"/>
<node id="4" lat="49.432" lon="7.715"/><node id="5" lat="49.434" lon="7.715"/>
<way id="1"><nd ref="1"/><nd ref="2"/><nd ref="3"/><tag k="highway" v="residential"/><tag k="name" v="Lange Gasse"/>
</way>
<way id="2"><nd ref="2"/><nd ref="4"/><nd ref="5"/><tag k="highway" v="tertiary"/><tag k="oneway" v="-1"/></way>
<way id="3"><nd ref="1"/><nd ref="4"/><tag k="highway" v="footway"/></way>
<way id="4"><nd ref="3"/><nd ref="5"/><tag k="highway" v="service"/></way>
<relation id="1"><member type="way" ref="2" role="from"/><tag k="type" v="restriction"/></relation></osm>"""


def load(path, **options):
    return load_roads(path, cache=None, **options)


def same(a, b) -> bool:
    return all(np.array_equal(x, b.arrays()[name]) for name, x in a.arrays().items())


def test_every_format_and_order_gives_the_same_roads(tmp_path):
    plain, packed, binary, turned, negative = (tmp_path / name for name in (
        'a.osm', 'a.osm.gz', 'a.osm.pbf', 'b.osm', 'c.osm'))
    plain.write_text(TOWN)
    packed.write_bytes(gzip.compress(TOWN.encode()))
    with osmium.SimpleWriter(str(binary)) as writer:
        for thing in osmium.FileProcessor(str(plain)):
            writer.add(thing)
    head, _, rest = TOWN.partition('<node')
    nodes, _, ways = rest.partition('<way')
    ways_first = f'{head}<way{ways}'.replace('</osm>', f'<node{nodes}</osm>')
    turned.write_text(ways_first)
    negative.write_text(ways_first.replace('node id="', 'node id="-').replace('ref="', 'ref="-'))
    roads = load(plain)
    assert len(roads) == 3 and roads.nodes == 4 and roads.name(0) == 'Lange Gasse' and not roads.name(2)
    assert all(same(roads, load(path)) for path in (packed, binary, turned))
    other = load(negative)  # nodes are numbered otherwise
    assert np.array_equal(other.latitudes, roads.latitudes) and np.array_equal(other.lengths, roads.lengths)
    # 0.003 degrees of longitude at 49.43 degrees north, and 0.004 of latitude
    assert sorted(roads.lengths.tolist()) == pytest.approx([217.2, 217.2, 444.8], rel=0.005)


def test_oneway_minus_one_is_driven_from_its_last_node(tmp_path):
    (tmp_path / 'a.osm').write_text(TOWN)
    roads = load(tmp_path / 'a.osm')
    edge, = np.flatnonzero(roads.oneway)
    line = slice(roads.first[edge], roads.first[edge + 1])
    assert roads.latitudes[line].tolist() == [49.434, 49.432, 49.430]


def test_which_kinds_count_is_a_choice(tmp_path):
    (tmp_path / 'a.osm').write_text(TOWN)
    assert len(load(tmp_path / 'a.osm', kinds=('service',))) == 1
    assert 'service' not in DEFAULT_KINDS and set(DEFAULT_KINDS) < set(KINDS)
    with pytest.raises(ConfigurationError, match=r"'footpath'.*Remedy.*residential"):
        load(tmp_path / 'a.osm', kinds=('residential', 'footpath'))
    with pytest.raises(ConfigurationError, match='no roads of the kinds motorway'):
        load(tmp_path / 'a.osm', kinds=('motorway',))


def test_a_missing_node_breaks_a_road(tmp_path):
    (tmp_path / 'a.osm').write_text(TOWN.replace('<node id="4" lat="49.432" lon="7.715"/>', ''))
    roads = load(tmp_path / 'a.osm')
    assert len(roads) == 2 and not roads.oneway.any(), 'the road across the gap is not drawn'


@pytest.mark.parametrize(('tags', 'direction', 'routable'), [
    ({}, 0, True), ({'oneway': 'yes'}, 1, True), ({'oneway': '-1'}, -1, True), ({'oneway': 'reversible'}, 0, False),
    ({'junction': 'roundabout'}, 1, True), ({'highway': 'motorway'}, 1, True),
    ({'highway': 'motorway', 'oneway': 'no'}, 0, True), ({'access': 'private'}, 0, False),
    ({'access': 'no', 'motor_vehicle': 'yes'}, 0, True), ({'oneway': 'yes', 'oneway:motor_vehicle': 'no'}, 0, True),
    ({'access': 'destination'}, 0, True), ({'motor_vehicle': 'agricultural;forestry'}, 0, False),
    ({'motor_vehicle': 'agricultural; destination'}, 0, True), ({'oneway': 'no', 'oneway:motorcar': 'yes'}, 1, True)])
def test_direction_and_access(tags, direction, routable):
    found = read_tags({'highway': 'residential', **tags})
    assert (found.direction, found.routable) == (direction, routable)


@pytest.mark.parametrize(('tags', 'impassable'), [
    ({}, False), ({'barrier': 'bollard'}, True), ({'barrier': 'bollard', 'bollard': 'rising'}, False),
    ({'barrier': 'bollard', 'motor_vehicle': 'yes'}, False), ({'barrier': 'gate'}, False),
    ({'barrier': 'gate', 'access': 'private'}, True), ({'barrier': 'lift_gate', 'access': 'customers'}, False),
    ({'barrier': 'cycle_barrier', 'bicycle': 'yes'}, True), ({'barrier': 'toll_booth'}, False),
    ({'highway': 'crossing', 'access': 'no'}, False)])
def test_barriers(tags, impassable):
    assert is_impassable(tags) == impassable


def test_roads_are_cut_at_bollards(tmp_path):
    bollard = TOWN.replace('<node id="4" lat="49.432" lon="7.715"/>',
                           '<node id="4" lat="49.432" lon="7.715"><tag k="barrier" v="bollard"/></node>')
    for k, text in enumerate((bollard, bollard.replace('v="bollard"', 'v="gate"'))):
        (tmp_path / f'{k}.osm').write_text(text)
    cut, whole = (load(tmp_path / f'{k}.osm') for k in (0, 1))
    assert (len(cut), len(cut.barred)) == (4, 1) and (len(whole), len(whole.barred)) == (3, 0)
    place, = cut.barred
    assert cut.latitudes[cut.first[:-1][cut.ends[:, 0] == place]].tolist() == [49.432]


@pytest.mark.parametrize('node', ['', '<nd ref="7" lat="49.43" lon="7.71"/><nd ref="8" lat="49.44" lon="7.71"/>'])
def test_roads_without_their_nodes_are_named(tmp_path, node):
    """As Overpass exports them with `out body` or `out geom` alone."""
    (tmp_path / 'a.osm').write_text('<osm version="0.6"><way id="1">' + (node or '<nd ref="1"/><nd ref="2"/>')
                                    + '<tag k="highway" v="residential"/></way></osm>')
    with pytest.raises(ConfigurationError, match=r'1 roads, but not the places.*Remedy: export the nodes too'):
        load(tmp_path / 'a.osm')


@pytest.mark.parametrize(('tags', 'layer'), [
    ({}, 0), ({'bridge': 'yes'}, 1), ({'tunnel': 'yes'}, -1), ({'tunnel': 'building_passage'}, 0),
    ({'bridge': 'yes', 'layer': '2'}, 2), ({'layer': 'high'}, 0), ({'bridge': 'no', 'tunnel': 'no'}, 0)])
def test_layers(tags, layer):
    assert read_tags({'highway': 'residential', **tags}).layer == layer


@pytest.mark.parametrize(('tags', 'width', 'kmh'), [
    ({'width': '7.5 m', 'maxspeed': '30'}, 7.5, 30), ({'width': '20 ft', 'maxspeed': '20 mph'}, 6.096, 32.187),
    ({'lanes': '4', 'maxspeed': 'walk'}, 13.0, 7), ({'width': 'wide', 'maxspeed': 'DE:urban'}, 6.0, 30),
    ({'width': '900', 'maxspeed': '1'}, 40.0, 5), ({'oneway': 'yes', 'maxspeed': 'signals'}, 4.5, 30)])
def test_width_and_speed(tags, width, kmh):
    found = read_tags({'highway': 'residential', **tags})
    assert (found.width, found.speed * 3.6) == pytest.approx((width, kmh), rel=1e-3)


def test_the_cache_follows_content_and_settings_and_mends_itself(tmp_path):
    path, cache = tmp_path / 'a.osm', tmp_path / 'cache'
    path.write_text(TOWN)
    roads = load_roads(path, cache=cache)
    kept, = cache.iterdir()
    assert same(roads, load_roads(path.rename(tmp_path / 'moved.osm'), cache=cache)) and len(list(cache.iterdir())) == 1
    whole = kept.read_bytes()
    for damage in (whole[:100], whole[:-3000] + b'x' * 3000, whole.replace(b'\x40', b'\x41'), b''):
        kept.write_bytes(damage)
        assert same(roads, load_roads(tmp_path / 'moved.osm', cache=cache)) and kept.read_bytes() == whole
    load_roads(tmp_path / 'moved.osm', kinds=('tertiary',), cache=cache)
    (tmp_path / 'moved.osm').write_text(TOWN.replace('7.718', '7.719'))
    load_roads(tmp_path / 'moved.osm', cache=cache)
    assert len(list(cache.iterdir())) == 3


def test_the_cache_is_read_and_written(tmp_path, monkeypatch):
    (tmp_path / 'a.osm').write_text(TOWN)
    roads = load_roads(tmp_path / 'a.osm', cache=tmp_path)
    monkeypatch.setitem(__import__('sys').modules, 'osmium', None)
    assert same(roads, load_roads(tmp_path / 'a.osm', cache=tmp_path))
    for missing in (None, SimpleNamespace(__name__='osmium')):  # the second: one without FileProcessor, of before 4
        monkeypatch.setitem(__import__('sys').modules, 'osmium', missing)
        with pytest.raises(ConfigurationError, match="pip install 'osmium>=4'"):
            load(tmp_path / 'a.osm')


def geojson(path, features, **extra):
    path.write_text(json.dumps({'type': 'FeatureCollection', **extra, 'features': [
        {'type': 'Feature', 'properties': p, 'geometry': {'type': t, 'coordinates': c}} for p, t, c in features]}))
    return path


def test_road_lines_of_geojson_meet_at_their_vertices(tmp_path):
    path = geojson(tmp_path / 'a.geojson', [
        ({'name': 'A', 'oneway': True}, 'LineString', [[7.712, 49.43, 210.0], [7.715, 49.43], [7.718, 49.43]]),
        ({'highway': 'tertiary', 'lanes': 2}, 'MultiLineString', [[[7.715, 49.43], [7.715, 49.434]]]),
        ({'highway': 'footway'}, 'LineString', [[7.715, 49.43], [7.715, 49.434]]),
        (None, 'Polygon', [[[7.7, 49.4], [7.8, 49.4], [7.7, 49.4]]])])
    roads = load(path)
    assert len(roads) == 3 and roads.nodes == 4 and roads.oneway.sum() == 2
    assert roads.widths.tolist() == [4.5, 4.5, 6.5] and roads.name(0) == 'A'
    assert roads.turns.shape == (0, 4), 'GeoJSON has no restrictions'


LINE = [[7.712, 49.43], [7.715, 49.43]]


@pytest.mark.parametrize(('properties', 'edges'), [
    ({'highway': ['footway', 'tertiary'], 'lanes': ['4', '2'], 'oneway': True, 'name': ['A', 'B']},
     [('tertiary', 13.0, True, 'A')]),  # as OSMnx merges ways
    ({'highway': 'tertiary', 'lanes': '4', 'oneway': 'True', 'name': 'A'}, [('tertiary', 13.0, True, 'A')]),
    ({'highway': 'tertiary', 'railway': None, 'other_tags': '"oneway"=>"yes","lanes"=>"4"', 'name': 'A'},
     [('tertiary', 13.0, True, 'A')]),  # as GDAL and QGIS export the layer of lines
    ({'highway': 'tertiary', 'lanes': 4, 'oneway': 'yes', 'name': 'A', 'other_tags': '"name:de"=>"say \\"A\\""'},
     [('tertiary', 13.0, True, 'A')]),
    ({'highway': 'tertiary', 'lanes': [None, '4'], 'oneway': 'yes', 'name': 'A', '@relations': [{'rel': 1}], 'x': [[]]},
     [('tertiary', 13.0, True, 'A')]),  # as Overpass Turbo exports roads with bus routes
    ({'highway': None, 'railway': 'rail'}, []), ({'highway': None}, []), ({'waterway': 'river'}, []),
    ({'other_tags': '"railway"=>"tram"'}, []), ({'railway': 'no'}, [('road', 6.0, False, '')])])
def test_what_other_programs_make_of_roads(tmp_path, properties, edges):
    path = geojson(tmp_path / 'a.geojson', [(properties, 'LineString', LINE),
                                            ({'highway': 'motorway'}, 'LineString', LINE)])
    roads = load(path)
    found = [(list(KINDS)[roads.kinds[e]], float(roads.widths[e]), bool(roads.oneway[e]), roads.name(e))
             for e in range(len(roads)) if roads.kinds[e]]
    assert found == edges


def test_a_road_there_and_back_is_one(tmp_path):
    """OSMnx writes an edge for each direction."""
    roads = load(geojson(tmp_path / 'a.geojson', [
        ({'highway': 'tertiary', 'oneway': 'False', 'reversed': 'False'}, 'LineString', LINE),
        ({'highway': 'tertiary', 'oneway': 'False', 'reversed': 'True'}, 'LineString', LINE[::-1])]))
    assert len(roads) == 1 and not roads.oneway.any()


def test_json_of_overpass_is_named(tmp_path):
    (tmp_path / 'a.json').write_text(json.dumps({'version': 0.6, 'elements': [
        {'type': 'way', 'id': 1, 'nodes': [1, 2], 'tags': {'highway': 'residential'}}]}))
    with pytest.raises(ConfigurationError, match=r"a\.json' is JSON of Overpass, not GeoJSON\. Remedy: .*\.osm"):
        load(tmp_path / 'a.json')


def test_a_route_graph_of_nav2_lies_at_its_datum(tmp_path):
    crs = {'crs': {'type': 'name', 'properties': {'name': 'urn:ogc:def:crs:EPSG::3857'}}}
    places = {1: [0.0, 0.0], 2: [30.0, 0.0], 3: [30.0, 40.0]}
    points = [({'id': k, 'frame': 'map'}, 'Point', xy) for k, xy in places.items()]
    edges = [({'id': 10 + k, 'startid': a, 'endid': b}, 'MultiLineString', [line]) for k, (a, b, line) in enumerate([
        (1, 2, [[0.0, 0.0], [30.0, 0.0]]), (2, 1, [[30.0, 0.0], [0.0, 0.0]]), (2, 3, [[30.0, 0.1], [30.0, 40.0]])])]
    path = geojson(tmp_path / 'a.geojson', points + edges, **crs)
    roads = load(path, datum=(49.43, 7.76))
    assert len(roads) == 2 and roads.nodes == 3 and roads.oneway.tolist() == [False, True], 'there and back is one road'
    xy = LocalFrame(49.43, 7.76).to_metres(roads.latitudes, roads.longitudes)
    assert xy == pytest.approx(np.array([[0, 0], [30, 0], [30, 0], [30, 40]]), abs=2e-3)
    with pytest.raises(ConfigurationError, match='datum'):
        load(path)
    with pytest.raises(ConfigurationError, match='not there'):
        load(geojson(tmp_path / 'b.geojson', edges, **crs), datum=(49.43, 7.76))


@pytest.mark.parametrize('content', [
    '', '{}', '[]', '{"type": "FeatureCollection", "features": 3}', 'null',
    '{"type": "FeatureCollection", "features": [{"geometry": {"type": "LineString"}}]}'])
def test_geojson_that_cannot_be_used(tmp_path, content):
    (tmp_path / 'a.geojson').write_text(content)
    with pytest.raises(ConfigurationError, match=r'a\.geojson.*Remedy'):
        load(tmp_path / 'a.geojson')


def test_metres_that_claim_to_be_degrees_are_named(tmp_path):
    path = geojson(tmp_path / 'a.json', [({}, 'LineString', [[410000.0, 5476000.0], [410100.0, 5476000.0]])])
    with pytest.raises(ConfigurationError, match='no degrees'):
        load(path)


@pytest.mark.parametrize(('name', 'content'), [('a.osm', None), ('a.osm', b''), ('a.osm', b'<osm version="0.6"/>'),
                                               ('a.osm.pbf', b'\0\0\0\x0d'), ('a.shp', b'x')])
def test_files_that_cannot_be_used(tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=name):
        load(tmp_path / name)


def test_real_extracts(shared_folder):
    roads = load(shared_folder / 'data/osm/kaiserslautern.osm.gz')
    assert (len(roads), len(roads.latitudes)) == (2589, 10622)  # as the simulator reads it
    assert roads.lengths.sum() == pytest.approx(241e3, rel=0.3)
    assert (roads.layers != 0).sum() > 20 and roads.roundabout.any() and roads.oneway.mean() > 0.1


@pytest.mark.parametrize('missing', ['', '<node id="4" lat="49.432" lon="7.715"/>'])
def test_files_that_are_too_large_for_all_their_nodes_are_read_in_two_passes(tmp_path, monkeypatch, missing):
    (tmp_path / 'a.osm').write_text(TOWN.replace(missing, ''))
    roads = load(tmp_path / 'a.osm')
    monkeypatch.setattr('attention_fusion_ros.maps.osm_file.SMALL_BYTES', 0)
    monkeypatch.setattr('attention_fusion_ros.maps.load.read_ways', osm_file.read_ways)  # in this process
    assert same(roads, load(tmp_path / 'a.osm'))
