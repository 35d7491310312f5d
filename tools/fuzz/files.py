# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Good files of every kind that is read, small: roads, recordings and what lies beside them, drives, checkpoints."""

from __future__ import annotations

import bz2
import functools
import gzip
import io
import json
import random
import struct
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from attention_fusion_ros.stream.typestore import typestore
from fuzz.clouds import CONFORMANCE, STAMP

ROADS = (('residential', 'no'), ('primary', 'yes'), ('footway', 'no'))
def osm_xml() -> bytes:
    """Three ways, and a turn that is forbidden."""
    nodes = ''.join(f'<node id="{n}" lat="{49.44 + 0.001 * n}" lon="{7.76 + 0.0015 * (n % 4)}"/>' for n in range(1, 12))
    ways = ''.join(f'<way id="{i}">' + ''.join(f'<nd ref="{n}"/>' for n in range(1 + 3 * i, 6 + 3 * i))
                   + f'<tag k="highway" v="{kind}"/><tag k="oneway" v="{oneway}"/><tag k="width" v="5.5 m"/>'
                   + '<tag k="layer" v="1"/><tag k="maxspeed" v="30 mph"/></way>'
                   for i, (kind, oneway) in enumerate(ROADS))
    turn = ('<relation id="1"><member type="way" ref="0" role="from"/><member type="node" ref="5" role="via"/>'
            '<member type="way" ref="1" role="to"/><tag k="type" v="restriction"/>'
            '<tag k="restriction" v="no_left_turn"/></relation>')
    return (f'<?xml version="1.0"?><osm version="0.6"><bounds minlat="49.4" minlon="7.7" maxlat="49.5" maxlon="7.8"/>'
            f'{nodes}{ways}{turn}</osm>').encode()


OSM_WORDS = (
    b'<nd ref="1"/>', b'<way id="1">', b'</way>', b'lat="91"', b'lon="1e400"', b'id="-5"', b'<!DOCTYPE a [', b'&lt;',
    b'"', b'<tag k="highway" v="road"/>', b'<relation id="1">', b'<member type="way" ref="1" role="from"/>',
    b'role="via"', b'v="only_u_turn"', b'v="no_exit"', b'99999999999999999999', b'nan', b'1,5',
    b'"lanes" v="\xc2\xb2', b'"lanes" v="' + b'9' * 400, b'"layer" v="1.5"', b'"junction" v="roundabout"')


@functools.cache
def _pbf() -> bytes:
    """The same as PBF, written by osmium."""
    import osmium
    with TemporaryDirectory() as folder:
        source, target = Path(folder) / 'a.osm', Path(folder) / 'a.osm.pbf'
        source.write_bytes(osm_xml())
        with osmium.SimpleWriter(str(target)) as writer:
            for item in osmium.FileProcessor(str(source)):
                writer.add(item)
        return target.read_bytes()


def pbf_blocks(file: bytes) -> list[tuple[bytes, bytes]]:
    """(kind, content) of the blocks of a PBF file whose blobs are packed by zlib, unpacked."""
    found, at = [], 0
    while at < len(file):
        length = struct.unpack_from('>I', file, at)[0]
        head = _fields(file[at + 4 : at + 4 + length])
        blob = _fields(file[at + 4 + length : at + 4 + length + head[3]])
        found.append((head[1], zlib.decompress(blob[3]) if 3 in blob else blob[1]))
        at += 4 + length + head[3]
    return found


def pbf_file(blocks: list[tuple[bytes, bytes]]) -> bytes:
    """The inverse of `pbf_blocks`."""
    out = b''
    for kind, content in blocks:
        packed = zlib.compress(content)
        blob = b'\x10' + _varint(len(content)) + b'\x1a' + _varint(len(packed)) + packed
        head = b'\x0a' + _varint(len(kind)) + kind + b'\x18' + _varint(len(blob))
        out += struct.pack('>I', len(head)) + head + blob
    return out


def _varint(value: int) -> bytes:
    out = b''
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def _fields(data: bytes) -> dict[int, Any]:
    """The fields of a protobuf message: numbers and bytes."""
    found: dict[int, Any] = {}
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
    while at < len(data):
        key = number()
        value: Any = number()
        if key & 7 == 2:
            value, at = data[at : at + value], at + value
        found[key >> 3] = value
    return found


def osm(choices: random.Random) -> tuple[str, bytes]:
    """A file of OpenStreetMap, (name, content)."""
    kind = choices.choice(('.osm', '.osm', '.osm.gz', '.osm.bz2', '.osm.pbf'))
    packers: dict[str, Any] = {'.osm.gz': gzip.compress, '.osm.bz2': bz2.compress}
    return 'roads' + kind, _pbf() if kind == '.osm.pbf' else packers.get(kind, bytes)(osm_xml())


def geojson(choices: random.Random) -> Any:
    """Lines, or a route graph of nav2."""
    line = [[7.76, 49.44], [7.761, 49.441], [7.77, 49.45]]
    if choices.randrange(2):
        return {'type': 'FeatureCollection', 'features': [
            {'type': 'Feature', 'properties': {'highway': 'residential', 'oneway': True, 'width': 5},
             'geometry': {'type': 'LineString', 'coordinates': line}},
            {'type': 'Feature', 'properties': None,
             'geometry': {'type': 'MultiLineString', 'coordinates': [line, line]}}]}
    points = [{'type': 'Feature', 'properties': {'id': i},
               'geometry': {'type': 'Point', 'coordinates': [10.0 * i, 5.0]}} for i in range(3)]
    edges = [{'type': 'Feature', 'properties': {'id': 9 + a, 'startid': a, 'endid': b},
              'geometry': {'type': 'MultiLineString', 'coordinates': [[[10.0 * a, 5.0], [10.0 * b, 5.0]]]}}
             for a, b in ((0, 1), (1, 0), (1, 2))]
    return {'type': 'FeatureCollection', 'crs': {'type': 'name', 'properties': {'name': 'urn:ogc:def:crs:EPSG::3857'}},
            'features': points + edges}


# ----------------------------------------------------------------------------------------------------------- recordings


@functools.cache
def recordings() -> tuple[tuple[str, bytes], ...]:
    """A recording of two clouds, an odometry message and a transform in each storage: (name of the file, content)."""
    from rosbags.rosbag1 import Writer as Ros1Writer
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    ros2, ros1, found = typestore(), get_typestore(Stores.ROS1_NOETIC), []
    kind, data = 'sensor_msgs/msg/PointCloud2', (CONFORMANCE / 'ouster_legacy.cdr')
    data = data if data.exists() else sorted(CONFORMANCE.glob('*.cdr'))[-1]
    cloud = next(path.read_bytes() for path in (data, *sorted(CONFORMANCE.glob('*.cdr')))
                 if json.loads(path.with_suffix('.json').read_text())['type'] == kind)
    with TemporaryDirectory() as folder:
        for name, storage, mode in (('a.mcap', StoragePlugin.MCAP, None), ('a.db3', StoragePlugin.SQLITE3, None),
                                    ('a.mcap', StoragePlugin.MCAP, CompressionMode.STORAGE),
                                    ('a.db3', StoragePlugin.SQLITE3, CompressionMode.MESSAGE),
                                    ('a.db3.zstd', StoragePlugin.SQLITE3, CompressionMode.FILE)):
            place = Path(folder) / f'{len(found)}'
            writer = Writer(place, version=9, storage_plugin=storage)
            if mode is not None:
                writer.set_compression(mode, CompressionFormat.ZSTD)
            with writer as bag:
                link = bag.add_connection('/points', kind, typestore=ros2)
                for i in range(2):
                    bag.write(link, STAMP * 10**9 + i * 10**8, cloud)
            file = next(path for path in sorted(place.iterdir()) if path.suffix != '.yaml')
            found.append((name, file.read_bytes()))
            found.append(('metadata.yaml', (place / 'metadata.yaml').read_bytes()))
        place = Path(folder) / 'a.bag'
        with Ros1Writer(place) as bag:
            link = bag.add_connection('/points', kind, typestore=ros1)
            for i in range(2):
                message = ros2.deserialize_cdr(cloud, kind)
                T = ros1.types
                head = T['std_msgs/msg/Header'](i, T['builtin_interfaces/msg/Time'](STAMP, i), 'lidar')
                fields = [T['sensor_msgs/msg/PointField'](f.name, f.offset, f.datatype, f.count)
                          for f in message.fields]
                old = T[kind](head, message.height, message.width, fields, message.is_bigendian, message.point_step,
                              message.row_step, message.data, message.is_dense)
                bag.write(link, STAMP * 10**9 + i * 10**8, ros1.serialize_ros1(old, kind))
        found.append(('a.bag', place.read_bytes()))
    return tuple(found)


REPLAY = b"""attention_fusion:
  ros__parameters:
    map: {resolution: 0.25, anchor: [0.5, 0.5]}
recording:
  ros__parameters: {pointcloud: /points, map_image: /map}
"""
YAML_WORDS = (b'&a ', b'*a', b'[', b'{', b': ', b'- ', b'!!python/object:os.system', b'.nan', b'1e400', b'!!binary ',
              b'? ', b'<<: *a', b'\t', b'"', b'2001-12-14', b'0b', b'1:30', b'!!set {a}')

# --------------------------------------------------------------------------------------------------------------- drives


def drive_files() -> dict[str, bytes]:
    """A drive of two sweeps, as a folder."""
    pose = b'0.0,0.0,0.0,0.0,0.0,0.0,1.0'
    meta = {'name': 'fuzz', 'sensor': 'lidar', 'T_base_sensor': np.eye(4).tolist()}
    ring = {'20': [0.0, 0.0]}
    truth = [{'path_ahead': ring, 'path_behind': ring, 'branches': {'20': [[0.0, 0.0]]}} for _ in range(2)]
    files = {'drive.json': json.dumps(meta).encode(), 'truth.json': json.dumps(truth).encode(),
             'poses.csv': b'stamp_ns,x,y,z,qx,qy,qz,qw\n' + b''.join(b'%d,%s\n' % (STAMP * 10**9 + i, pose)
                                                                     for i in range(3)),
             'roads.csv': b'road,x,y\na,0,0\na,10,0\nb,5,5\n'}
    for i in range(2):
        file = io.BytesIO()
        np.savez_compressed(file, xyz_mm=np.arange(60, dtype=np.int32).reshape(3, 20) * 100, intensity=np.arange(20),
                            intensity_scale=np.float32(1.0), stamp_ns=np.int64(STAMP * 10**9 + i))
        files[f'sweeps/{i:03d}.npz'] = file.getvalue()
    return files


# ---------------------------------------------------------------------------------------------------------- checkpoints


@functools.cache
def checkpoint() -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Description and weights of a network as small as one can be, without the checksum: whoever changes one of them
    would never get behind it.
    """
    from safetensors import safe_open

    from attention_fusion_ros.network import checkpoint as checkpoints
    from attention_fusion_ros.network.config import NetworkConfig
    from attention_fusion_ros.utils.sealed_tensors import CHECKSUM
    config = NetworkConfig(cells=64, bins=24, lidar_width=8, map_width=4, widths=(8,), blocks=(1,), polar_ranges=8,
                           polar_widths=(8,), head_width=8, fusion={'name': 'none'}, stage_attention={'name': 'none'})
    with TemporaryDirectory() as folder:
        path = Path(folder) / 'a.safetensors'
        loaded = checkpoints.untrained(config)
        checkpoints.save(path, loaded.network, loaded.calibration, {'step': 1})
        with safe_open(str(path), framework='np') as file:
            meta = {name: text for name, text in file.metadata().items() if name != CHECKSUM}
            return meta, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def safetensors_file(meta: dict[str, str], tensors: dict[str, np.ndarray]) -> bytes:
    """The file of a description and weights."""
    from safetensors.numpy import save
    return bytes(save(tensors, metadata=meta))
