# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What fuzzing found in the readers of files, each as the smallest file that shows it.

Nothing here makes other software crash or hang: where a library would, the file is refused before the library sees it,
and the test holds a file that is only just refused.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import sqlite3
import struct
from pathlib import Path

import numpy as np
import pytest
from support import synthetic_bag

from attention_fusion_ros.commands.cli import read_parameter_file
from attention_fusion_ros.config import from_flat
from attention_fusion_ros.contracts import Calibration
from attention_fusion_ros.datasets import drives
from attention_fusion_ros.errors import ConfigurationError, InputError
from attention_fusion_ros.network import checkpoint as checkpoints
from attention_fusion_ros.network.config import NetworkConfig
from attention_fusion_ros.stream.recording import Recording
from attention_fusion_ros.stream.recording_hints import read_hints
from attention_fusion_ros.stream.storage import compression
from attention_fusion_ros.utils import arrays, outside

NODES = ''.join(f'<node id="{n}" lat="{49.44 + 0.001 * n}" lon="7.76"/>' for n in range(1, 4))
WAY = '<way id="1"><nd ref="1"/><nd ref="2"/><nd ref="3"/><tag k="highway" v="residential"/>{}</way>'


def roads(path, text):
    pytest.importorskip('osmium')
    from attention_fusion_ros.maps.load import load_roads
    path.write_text(f'<osm version="0.6">{text}</osm>')
    return load_roads(path, cache=None)


# -- roads -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('tag', ['lanes=²', 'lanes=' + '9' * 400, 'layer=' + '9' * 400, 'width=' + '9' * 400,
                                 'maxspeed=' + '9' * 400])
def test_a_tag_that_is_no_number_counts_as_not_given(tmp_path, tag):
    key, _, value = tag.partition('=')
    graph = roads(tmp_path / 'a.osm', NODES + WAY.format(f'<tag k="{key}" v="{value}"/>'))
    assert len(graph) == 1 and 2.0 <= graph.widths[0] <= 40.0 and 0 < graph.speeds[0] < 40.0


@pytest.mark.parametrize('text', [
    '<node id="1" lat="49/4" lon="7"/>' + WAY.format(''), '<node id="x" lat="49" lon="7"/>', NODES + '<way id="1"><nd',
    '<node id="1" lat="1e400" lon="7"/>'])
def test_a_damaged_file_of_roads_is_told_in_words(tmp_path, text):
    with pytest.raises(ConfigurationError, match='no OpenStreetMap extract|no roads'):
        roads(tmp_path / 'a.osm', text)


def geojson(path, text):
    pytest.importorskip('pyproj')
    from attention_fusion_ros.maps.load import load_roads
    path.write_text(text)
    return load_roads(path, cache=None)


@pytest.mark.parametrize('text', [
    '[' * 100_000, '{"features":' * 100_000,
    '{"type": "Feature", "geometry": {"type": "LineString", "coordinates": [[1, 2], [' + '9' * 400 + ', 3]]}}',
    '{"type": "Feature", "geometry": {"type": "LineString", "coordinates": [[1, 2], [' + '9' * 5000 + ', 3]]}}'])
def test_geojson_that_is_nested_too_deeply_or_has_giant_numbers(tmp_path, text):
    with pytest.raises(ConfigurationError, match='Remedy'):
        geojson(tmp_path / 'a.geojson', text)


# -- YAML and JSON -----------------------------------------------------------------------------------------------------

LAUGHS = 'a: &a [x]\n' + ''.join(f'{name}: &{name} [*{last}, *{last}]\n' for last, name in zip('abcdef', 'bcdefg'))


@pytest.mark.parametrize('text', ['/**:\n  ros__parameters:\n    map', '"*": {ros__parameters: [1]}',
                                  '"*": {ros__parameters: 7}'])
def test_parameters_that_are_no_mapping_are_told(tmp_path, text):
    (tmp_path / 'parameters.yaml').write_text(text)
    with pytest.raises(ConfigurationError, match='must be a mapping'):
        read_parameter_file(tmp_path / 'parameters.yaml')


@pytest.mark.parametrize('name', ['/**(', 'attention_fusion[', 'attention.fusion', '(attention)?_fusion', 'a{9', '~'])
def test_names_of_nodes_are_no_regular_expressions(tmp_path, name):
    (tmp_path / 'parameters.yaml').write_text(f"'{name}':\n  ros__parameters:\n    max_speed: 1.0\n")
    with pytest.raises(ConfigurationError, match='none for /attention_fusion'):
        read_parameter_file(tmp_path / 'parameters.yaml')


@pytest.mark.parametrize('text', [
    '[' * 20_000, '2001-99-99', '0b', LAUGHS, 'a: &a {b: *a}', '? {a: 1}\n: 2', '&a', '*a', '9' * 5000, '!!binary x',
    '!!python/object/apply:os.system [ls]', '1:99:99:' + '9' * 400])
def test_yaml_gives_a_value_or_a_value_error(tmp_path, text):
    try:
        outside.parse_yaml(text)
    except ValueError:
        pass
    (tmp_path / 'parameters.yaml').write_text(text)
    with pytest.raises(ConfigurationError):
        read_parameter_file(tmp_path / 'parameters.yaml')
    (tmp_path / 'replay.yaml').write_text(text)
    assert read_hints(tmp_path).problem or not read_hints(tmp_path).topics


def test_aliases_are_refused_before_they_grow(tmp_path):
    with pytest.raises(ValueError, match='aliases'):
        outside.parse_yaml(LAUGHS)


def test_large_files_are_refused_before_they_are_read(tmp_path):
    path = tmp_path / 'a.json'
    path.write_text('[1, 2, 3]')
    assert outside.read_json(path, limit=9) == [1, 2, 3]
    with pytest.raises(ValueError, match='more than'):
        outside.read_json(path, limit=8)


def test_a_parameter_of_hundreds_of_digits():
    with pytest.raises(ConfigurationError, match='map.max_age'):
        from_flat({'map.max_age': 10**400})


# -- recordings --------------------------------------------------------------------------------------------------------


def read(path):
    """Stamps of the clouds that are read, and what is said to be lost."""
    with Recording(path) as recording:
        return [raw.stamp_ns for raw in recording.raw_messages(['/lidar/points'])], recording.losses


@pytest.mark.parametrize('column, value', [('data', None), ('data', 'text'), ('timestamp', 'text'), ('timestamp', 1.5)])
def test_sqlite_holds_anything_in_any_column(tmp_path, column, value):
    bag = synthetic_bag.write(tmp_path / 'bag', synthetic_bag.drive(3), 'sqlite3')
    file, = bag.glob('*.db3')
    with sqlite3.connect(file) as database:
        last, = database.execute('SELECT max(id) FROM messages').fetchone()
        database.execute('PRAGMA ignore_check_constraints = ON')
        try:
            database.execute(f'UPDATE messages SET {column} = ? WHERE id = ?', (value, last))
        except sqlite3.IntegrityError:
            pytest.skip('the file itself forbids it')
    database.close()
    stamps, losses = read(bag)
    assert stamps == [synthetic_bag.T0, synthetic_bag.T0 + synthetic_bag.PERIOD] and any('damaged' in t for t in losses)


def test_a_damaged_index_of_sqlite_costs_no_message(tmp_path):
    bag = synthetic_bag.write(tmp_path / 'bag', synthetic_bag.drive(3), 'sqlite3')
    file, = bag.glob('*.db3')
    with sqlite3.connect(file) as database:
        page, = database.execute("SELECT rootpage FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
                                 ).fetchone()
        size, = database.execute('PRAGMA page_size').fetchone()
    database.close()
    content = bytearray(file.read_bytes())
    content[(page - 1) * size : (page - 1) * size + 16] = b'\xff' * 16
    file.write_bytes(content)
    stamps, _ = read(bag)
    assert len(stamps) == 3


def mcap_record(kind, content):
    return struct.pack('<BQ', kind, len(content)) + content


@pytest.mark.parametrize('record', [
    mcap_record(3, b'\1'), mcap_record(4, b'\1\0\0\0\xff\xff\xff\xff'), mcap_record(5, b'\1\0'),
    mcap_record(6, b'\0' * 28 + struct.pack('<I', 2**32 - 1) + b'\0' * 20),  # the name of its compression is longer
    mcap_record(6, b'\0' * 32 + struct.pack('<Q', 21) + b'\0' * 20), mcap_record(6, b'\0' * 39)])  # its records are
def test_a_record_of_mcap_that_contradicts_itself_costs_nothing_else(tmp_path, record):
    bag = synthetic_bag.write(tmp_path / 'bag', synthetic_bag.drive(3))
    file, = bag.glob('*.mcap')
    content = file.read_bytes()
    head = 8 + 9 + struct.unpack_from('<Q', content, 9)[0]  # after the magic and the header
    file.write_bytes(content[:head] + record + content[head:-8 - 20 - 9])  # without the footer: no index is believed
    stamps, losses = read(bag)
    assert len(stamps) == 3 and losses


@pytest.mark.parametrize('name', ['zstd', 'lz4', 'bz2'])
def test_a_message_that_unpacks_to_gigabytes_is_refused(name):
    pack = {'zstd': compression._zstd().compress, 'lz4': compression._lz4().compress, 'bz2': bz2.compress}[name]
    good, bomb = bytes(pack(b'a' * 10_000)), bytes(pack(b'a' * 10_001))
    assert len(compression.decompress(good, name, limit=10_000)) == 10_000
    assert len(compression.decompress(bytes(pack(b'a')) * 2, name, limit=10_000)) == 2  # two frames
    for large in (bomb, good + bytes(pack(b'a'))):
        with pytest.raises(ValueError, match='unpacks to more'):
            compression.decompress(large, name, limit=10_000)
    with pytest.raises(ValueError, match='breaks off|ended before'):
        compression.decompress(good[:-3], name, limit=10_000)


# -- drives ------------------------------------------------------------------------------------------------------------


def npz(**values):
    file = io.BytesIO()
    np.savez_compressed(file, **values)
    return file.getvalue()


SWEEP = dict(xyz_mm=np.full((3, 5), 1000, np.int32), intensity=np.arange(5), intensity_scale=np.float32(1), stamp_ns=7)


def npy(array, shape):
    """A .npy whose header says another shape."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {'descr': array.dtype.str, 'fortran_order': False, 'shape': shape})
    return file.getvalue() + array.tobytes()


@pytest.mark.parametrize('content', [
    b'', b'\x80\x04N.', b'PK\3\4', npz(**SWEEP)[:200], npz(**SWEEP)[:60] + b'\xff' * 8 + npz(**SWEEP)[68:],
    npz(**{**SWEEP, 'stamp_ns': np.array([1, 2])}), npz(**{**SWEEP, 'xyz_mm': np.zeros(3)}),
    npz(**{**SWEEP, 'xyz_mm': np.array('a')}), npz(**{name: SWEEP[name] for name in ('xyz_mm', 'stamp_ns')})])
def test_a_sweep_that_is_damaged_is_told_in_words(tmp_path, content):
    path = tmp_path / '0.npz'
    path.write_bytes(npz(**SWEEP))
    assert drives.cloud_message(path).width == 5
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match='no sweep of a drive.*Remedy'):
        drives.cloud_message(path)


def test_arrays_are_compared_with_their_bytes_before_they_are_made(tmp_path):
    import zipfile
    path = tmp_path / 'a.npz'
    for shape in ((10**12,), (5, 10**9)):
        with zipfile.ZipFile(path, 'w') as archive:
            archive.writestr('a.npy', npy(np.arange(5), shape))
        with pytest.raises(ValueError):
            arrays.read_arrays(path, ('a',))
    path.write_bytes(npz(a=np.zeros(1000)))
    assert arrays.read_arrays(path, ('a',), limit=8200)['a'].shape == (1000,)
    with pytest.raises(ValueError):
        arrays.read_arrays(path, ('a',), limit=8000)
    np.savez(path, a=np.array([{}], dtype=object))
    with pytest.raises(ValueError):
        arrays.read_arrays(path, ('a',))


RING = {'20': [0.0, 0.1]}


@pytest.mark.parametrize('truth', [
    None, [None], [[]], {'a': 1}, [{}], [{'path_ahead': RING}], [{'path_ahead': {'20': 5}, 'path_behind': RING}],
    [{'path_ahead': {'20': [0.0]}, 'path_behind': RING}], [{'path_ahead': RING, 'path_behind': RING, 'branches': [1]}],
    [{'path_ahead': RING, 'path_behind': RING, 'branches': {'20': [[float('inf'), 0.0]]}}]])
def test_truth_of_a_drive_that_is_none(tmp_path, truth):
    meta = {'name': 'a', 'sensor': 'lidar', 'T_base_sensor': np.eye(4).tolist()}
    (tmp_path / 'drive.json').write_text(json.dumps(meta))
    (tmp_path / 'truth.json').write_text(json.dumps(truth))
    (tmp_path / 'poses.csv').write_text('stamp_ns,x,y,z,qx,qy,qz,qw\n7,0,0,0,0,0,0,1\n')
    (tmp_path / 'sweeps').mkdir()
    (tmp_path / 'sweeps' / '0.npz').write_bytes(npz(**SWEEP))
    with pytest.raises(ConfigurationError, match='is not a drive'):
        drives.load_drive(tmp_path)
    good = [{'path_ahead': RING, 'path_behind': {'20': None}, 'branches': {'20': [[0.0, 0.1]]}}]
    (tmp_path / 'truth.json').write_text(json.dumps(good))
    assert drives.load_drive(tmp_path).truth == tuple(good)
    (tmp_path / 'poses.csv').write_text('stamp_ns,x,y,z,qx,qy,qz,qw\n' + '9' * 30 + ',0,0,0,0,0,0,1\n')
    with pytest.raises(ConfigurationError, match='is not a drive'):
        drives.load_drive(tmp_path)


# -- checkpoints -------------------------------------------------------------------------------------------------------

CALIBRATION = '{"fused": [1, 0], "lidar_only": [1, 0]}'
SMALL = NetworkConfig(cells=64, bins=24, lidar_width=8, map_width=4, widths=(8,), blocks=(1,), polar_ranges=8,
                      polar_widths=(8,), head_width=8)


@pytest.mark.parametrize('changes', [
    {'widths': [10**9]}, {'widths': [4096], 'blocks': [64]}, {'blocks': [10**6]}, {'bins': 10**9},
    {'cells': 16 * 10**6},
    {'widths': ['a']}, {'widths': [1.5]}, {'widths': [True]}, {'widths': [8] * 40, 'blocks': [1] * 40}, {'bins': None},
    {'polar_max': 'far'}, {'extent': [40.0]}, {'fusion': {'name': 'cbam_channel', 'reduction': 'a'}},
    {'fusion': {'name': ['se']}}, {'lookahead': float('nan')}, {'head_width': 4096}])
def test_settings_that_make_no_network_or_one_that_fills_the_memory(tmp_path, changes):
    from safetensors.torch import save_file
    path = tmp_path / 'a.safetensors'
    loaded = checkpoints.untrained(SMALL)
    checkpoints.save(path, loaded.network, Calibration(), {})
    assert checkpoints.load(path).network.config == SMALL
    meta = {'kind': checkpoints.KIND, 'version': '1', 'calibration': CALIBRATION,
            'network': json.dumps({**SMALL.to_dict(), **changes})}
    save_file({k: v.contiguous() for k, v in loaded.network.state_dict().items()}, path, meta)
    with pytest.raises(ConfigurationError, match=str(path)):
        checkpoints.load(path)


@pytest.mark.parametrize('name, text', [
    ('network', '[' * 100_000), ('calibration', '[]'), ('calibration', '{"fused": "ab", "lidar_only": [1, 0]}'),
    ('calibration', '{"fused": [1], "lidar_only": [1, 0]}'),
    ('calibration', '{"fused": [NaN, 0], "lidar_only": [1, 0]}'),
    ('calibration', '{"fused": [1, 0], "lidar_only": [1, 0], "other_rings": [["a", {}]]}'), ('training', '{')])
def test_a_description_that_cannot_be_read(tmp_path, name, text):
    from safetensors.torch import save_file
    path = tmp_path / 'a.safetensors'
    loaded = checkpoints.untrained(SMALL)
    meta = {'kind': checkpoints.KIND, 'version': '1', 'calibration': CALIBRATION,
            'network': json.dumps(SMALL.to_dict()), name: text}
    save_file({k: v.contiguous() for k, v in loaded.network.state_dict().items()}, path, meta)
    with pytest.raises(ConfigurationError, match=str(path)):
        checkpoints.load(path)


# -- sizes of files of roads -------------------------------------------------------------------------------------------


def test_a_file_says_how_large_it_is_unpacked(tmp_path):
    osmium = pytest.importorskip('osmium')
    from attention_fusion_ros.maps.pbf_sizes import unpacked_bytes
    source, packed, target = tmp_path / 'a.osm', tmp_path / 'a.osm.gz', tmp_path / 'a.osm.pbf'
    nodes = ''.join(f'<node id="{n}" lat="49.{n}" lon="7.{n}"/>' for n in range(1, 9000))
    source.write_text(f'<osm version="0.6">{nodes}{WAY.format("")}</osm>')
    packed.write_bytes(gzip.compress(source.read_bytes()))
    with osmium.SimpleWriter(str(target)) as writer:
        for item in osmium.FileProcessor(str(source)):
            writer.add(item)
    assert unpacked_bytes(str(source)) == source.stat().st_size
    assert unpacked_bytes(str(packed)) == float('inf')
    assert 90_000 < unpacked_bytes(str(target)) < 120_000 and target.stat().st_size < 1000
    content = target.read_bytes()
    for damaged in (content[:50], b'\xff' * 100, b'\0\0\0\5' + b'\xff' * 40, b''):
        target.write_bytes(damaged)
        assert unpacked_bytes(str(target)) >= 0


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('place', [[1e38, 1.0], [1.0, -1e300], [3e8, 1.0]])
def test_projected_coordinates_that_are_nowhere_on_earth_are_refused(tmp_path, place):
    pytest.importorskip('pyproj')
    from attention_fusion_ros.maps.load import load_roads
    line = {'type': 'LineString', 'coordinates': [[1e6, 1e6], place]}
    (tmp_path / 'a.geojson').write_text(json.dumps({
        'type': 'FeatureCollection', 'crs': {'type': 'name', 'properties': {'name': 'urn:ogc:def:crs:EPSG::3857'}},
        'features': [{'type': 'Feature', 'properties': {'highway': 'road'}, 'geometry': line}]}))
    with pytest.raises(ConfigurationError, match='nowhere on earth|not finite'):
        load_roads(tmp_path / 'a.geojson', cache=None)


def test_roads_of_more_than_a_country_are_refused(tmp_path, monkeypatch):
    pytest.importorskip('osmium')
    from attention_fusion_ros.maps import osm_file
    for limit in ('MAX_REFS', 'MAX_WAYS', 'MAX_TAG_LETTERS'):
        with monkeypatch.context() as patch:
            patch.setattr(osm_file, limit, 2)
            patch.setattr('attention_fusion_ros.maps.load.read_ways', osm_file.read_ways)  # in this process
            with pytest.raises(ConfigurationError, match='osmium extract'):
                roads(tmp_path / 'a.osm', NODES + WAY.format('') + WAY.format('').replace('id="1"', 'id="2"') * 3)


def test_packed_files_of_roads_read_as_plain_ones(tmp_path):
    pytest.importorskip('osmium')
    from attention_fusion_ros.maps.load import load_roads
    plain = roads(tmp_path / 'a.osm', NODES + WAY.format(''))
    (tmp_path / 'b.osm.gz').write_bytes(gzip.compress((tmp_path / 'a.osm').read_bytes()))
    packed = load_roads(tmp_path / 'b.osm.gz', cache=None)
    for name, values in plain.arrays().items():
        np.testing.assert_array_equal(values, packed.arrays()[name])


def test_a_recording_that_is_not_there_is_still_an_input_error(tmp_path):
    with pytest.raises(InputError):
        Recording(Path(tmp_path) / 'nothing')
