# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What says its own size is bounded before it is unpacked. Everything here is small: the limits are, too."""

from __future__ import annotations

import bz2
import shutil
import struct
import zlib
from collections import namedtuple

import numpy as np
import pytest
from rosbags.rosbag1 import Writer
from support.storage_kit import read, ros1_bag

from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.maps.osm_file import read_ways
from attention_fusion_ros.stream.storage import compression, ros1
from attention_fusion_ros.utils.arrays import read_arrays
from attention_fusion_ros.utils.damaged import Damaged
from attention_fusion_ros.utils.sealed_tensors import read_sealed
from attention_fusion_ros.utils.stored_json import read_checked_json, write_checked_json

ZEROS = bytes(100_000)


def packed(name: str) -> bytes:
    if name == 'bz2':
        return bz2.compress(ZEROS)
    return compression._zstd().compress(ZEROS) if name == 'zstd' else compression._lz4().compress(ZEROS)


@pytest.mark.parametrize('name', ['zstd', 'lz4', 'bz2'])
def test_a_chunk_is_unpacked_no_further_than_its_limit(name):
    data = packed(name)
    assert compression.decompress(data, name, len(ZEROS)) == ZEROS
    assert compression.decompress(data + data, name, 2 * len(ZEROS)) == 2 * ZEROS
    with pytest.raises(ValueError, match='more than'):
        compression.decompress(data, name, len(ZEROS) - 1)
    with pytest.raises(ValueError):
        compression.decompress(data[:-4], name)
    assert len(compression.decompress_beginning(data, name, 1000)) <= 2000


def test_a_recording_that_is_packed_as_a_whole_leaves_room_on_the_disk(tmp_path, monkeypatch):
    (tmp_path / 'a.mcap.zstd').write_bytes(packed('zstd'))
    usage = namedtuple('usage', 'total used free')
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage(10**6, 900_000, 100_000))
    with pytest.raises(OSError, match='would fill the disk'):
        compression.unpack(tmp_path / 'a.mcap.zstd', 'zstd', tmp_path / 'a.mcap')
    assert (tmp_path / 'a.mcap').stat().st_size < len(ZEROS)
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage(10**6, 0, 10**6))
    assert compression.unpack(tmp_path / 'a.mcap.zstd', 'zstd', tmp_path / 'a.mcap')


@pytest.mark.parametrize('name', ['bz2', 'lz4'])
def test_rosbags_unpacks_chunks_within_our_limit(tmp_path, monkeypatch, name):
    bag = ros1_bag(tmp_path / 'a.bag', compression=Writer.CompressionFormat[name.upper()])
    limits = []

    def bounded(data, name):
        limits.append(name)
        return compression.decompress(data, name)
    monkeypatch.setattr(ros1, 'decompress', bounded)
    read(bag)
    assert set(limits) == {name}


def test_arrays_larger_than_they_may_be_are_not_unpacked(tmp_path):
    np.savez_compressed(tmp_path / 'a.npz', a=np.zeros(1000), b=np.zeros(1000))
    assert set(read_arrays(tmp_path / 'a.npz', limit=20_000)) == {'a', 'b'}
    with pytest.raises(Damaged, match='at most 10000'):
        read_arrays(tmp_path / 'a.npz', limit=10_000)


def test_a_header_that_claims_more_than_the_file_has(tmp_path):
    (tmp_path / 'a.safetensors').write_bytes(struct.pack('<Q', 2**40) + b'{}')
    with pytest.raises(Damaged, match='header'):
        read_sealed(tmp_path / 'a.safetensors')
    with pytest.raises(Damaged, match='at most 5'):
        read_sealed(tmp_path / 'a.safetensors', limit=5)
    write_checked_json(tmp_path / 'a.json', {'a': 1})
    with pytest.raises(Damaged):
        read_checked_json(tmp_path / 'a.json', limit=10)


def pbf_blob(kind: bytes, content: bytes, raw_size: int) -> bytes:
    """A block of a .pbf file that says how large it is unpacked."""
    def number(value: int) -> bytes:
        low, rest = value & 127, value >> 7
        return bytes([low | 128]) + number(rest) if rest else bytes([low])

    def text(field: int, value: bytes) -> bytes:
        return number(field << 3 | 2) + number(len(value)) + value
    blob = number(2 << 3) + number(raw_size) + text(3, zlib.compress(content))
    head = text(1, kind) + number(3 << 3) + number(len(blob))
    return struct.pack('>I', len(head)) + head + blob


@pytest.mark.parametrize('name, content', [
    ('entities.osm', b'<?xml version="1.0"?><!DOCTYPE osm [<!ENTITY a "x"><!ENTITY b "&a;&a;">]><osm version="0.6">'
                     b'<node id="1" lat="1" lon="1"><tag k="a" v="&b;"/></node></osm>'),
    ('block.osm.pbf', pbf_blob(b'OSMHeader', b'"\x0eOsmSchema-V0.6', 2**30))])
def test_osmium_refuses_entities_and_blocks_of_any_size(tmp_path, name, content):
    """Those of XML, and of more than 32 MiB; by the library: this is what holds it to that."""
    pytest.importorskip('osmium')
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match='entities|blob size'):
        read_ways(tmp_path / name, ('residential',))
