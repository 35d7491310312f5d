# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Thousands of malformed clouds and images, compressed or not: only the documented error ever comes out, and never a
bad value.

Each example starts from a message as drivers send it and spoils one to four things; some stay good by luck, and what is
decoded from those must hold what the contracts promise.
"""

from __future__ import annotations

import copy
import gzip
import sys
import tracemalloc
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.messages import XYZI, cloud, compressed, field, image

from attention_fusion_ros.decode import (
    REASONS,
    decode_cloud,
    decode_compressed_cloud,
    decode_compressed_map_image,
    decode_map_image,
)
from attention_fusion_ros.decode.image import ENCODINGS
from attention_fusion_ros.errors import InputError

zstd = pytest.importorskip('backports.zstd' if sys.version_info < (3, 14) else 'compression.zstd')
EXAMPLES = {'clouds': 2000, 'compressed clouds': 1500, 'images': 1500, 'files': 800}
# Bytes; the messages themselves are below 10 kB. A damaged file may claim as many pixels as its bytes could hold.
MEMORY_LIMIT, FILE_MEMORY_LIMIT = 5e6, 2e8

uint32 = st.integers(0, 2**32 - 1) | st.integers(0, 40) | st.sampled_from([2**31 - 1, 2**31, 2**32 - 1])
# What Python objects can hold although a message cannot.
nonsense = st.one_of(st.none(), st.text(max_size=3), st.floats(), st.integers(-(2**70), 2**70), st.just([]),
                     st.binary(max_size=3))
raw = st.binary(max_size=300) | st.builds(lambda n, b: bytes([b]) * n, st.integers(0, 3000), st.integers(0, 255))


def attributes_of(names, values):
    """Strategy: (name, value) to overwrite; mostly plausible values, sometimes nonsense."""
    return st.tuples(st.sampled_from(names), st.integers(0, 7).flatmap(lambda n: values if n else nonsense))


header_spoilers = st.one_of(
    st.tuples(st.just('stamp'), attributes_of(['sec', 'nanosec'], uint32)),
    st.tuples(st.just('header'), attributes_of(['frame_id', 'stamp'], st.text(max_size=4))),
    st.tuples(st.just('delete'), st.sampled_from(
        ['header', 'data', 'width', 'height', 'format', 'fields', 'encoding'])))
data_spoilers = st.one_of(
    st.tuples(st.just('data'), raw | nonsense),
    st.tuples(st.just('cut'), st.integers(0, 400)),
    st.tuples(st.just('extend'), st.binary(min_size=1, max_size=40)),
    st.tuples(st.just('noise'), st.lists(
        st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=30)))
cloud_spoilers = st.one_of(
    header_spoilers, data_spoilers, data_spoilers,
    st.tuples(st.just('set'), attributes_of(['width', 'height', 'point_step', 'row_step', 'is_bigendian'], uint32)),
    st.tuples(st.just('set'), st.tuples(st.just('fields'), nonsense)),
    st.tuples(st.just('field'), st.tuples(st.integers(0, 3), attributes_of(
        ['offset', 'datatype', 'count'], uint32 | st.integers(0, 16)))),
    st.tuples(st.just('field'), st.tuples(st.integers(0, 3), attributes_of(
        ['name'], st.sampled_from(['x', 'y', 'z', 'intensity', 'i', '', 'ring'])))),
    st.tuples(st.just('add'), st.builds(
        field, st.sampled_from(['x', 'z', 'intensity', '', 't']), uint32, uint32, uint32)),
    st.tuples(st.just('remove'), st.integers(0, 3)))
image_spoilers = st.one_of(
    header_spoilers, data_spoilers, data_spoilers,
    st.tuples(st.just('set'), attributes_of(['width', 'height', 'step', 'is_bigendian'], uint32)),
    st.tuples(st.just('set'), st.tuples(st.just('encoding'), st.sampled_from([*ENCODINGS, '8UC3', 'bayer_rggb8', 'x'])
                                        | nonsense)))


def spoil(msg, how):
    kind, what = how
    if kind == 'delete':
        vars(msg).pop(what, None)
    elif kind == 'add' and isinstance(getattr(msg, 'fields', None), list):
        msg.fields.append(what)
    elif kind == 'remove' and isinstance(getattr(msg, 'fields', None), list):
        del msg.fields[what:what + 1]
    elif kind == 'field' and isinstance(getattr(msg, 'fields', None), list) and what[0] < len(msg.fields):
        setattr(msg.fields[what[0]], *what[1])
    elif kind == 'set':
        setattr(msg, *what)
    elif kind == 'data':
        msg.data = what
    elif kind in ('stamp', 'header') and hasattr(msg, 'header'):
        target = msg.header if kind == 'header' else getattr(msg.header, 'stamp', None)
        if hasattr(target, '__dict__'):
            setattr(target, *what)
    elif isinstance(getattr(msg, 'data', None), bytes):
        data = bytearray(msg.data)
        if kind == 'cut':
            data = data[: max(0, len(data) - what)]
        elif kind == 'extend':
            data += what
        elif kind == 'noise':
            for at, value in what:
                if data:
                    data[at % len(data)] = value
        msg.data = bytes(data)


def outcome(decode, msg, spoilers, seen, memory_limit=MEMORY_LIMIT):
    """What the decoder gives for the spoiled copy, or None when it refused it with a documented reason."""
    msg = copy.deepcopy(msg)
    for how in spoilers:
        spoil(msg, how)
    tracemalloc.start()
    try:
        result = decode(msg)
    except InputError as error:
        assert error.reason in REASONS and error.remedy
        seen[error.reason] = seen.get(error.reason, 0) + 1
        return None
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < memory_limit
    seen['good'] = seen.get('good', 0) + 1
    assert result.stamp_ns > 0 and isinstance(result.frame_id, str)
    return result


def check_map(result):
    for plane in (result.road, result.route):
        if plane is not None:
            assert plane.dtype == np.float32 and plane.ndim == 2 and plane.size
            assert np.isfinite(plane).all() and plane.min() >= 0 and plane.max() <= 1 + 1e-6


def fuzz(name):
    return settings(max_examples=EXAMPLES[name], deadline=None, database=None, print_blob=True,
                    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


rng = np.random.default_rng(0)
VALUES = {name: rng.normal(0, 20, 24) for name, _, _ in XYZI} | {'ring': np.arange(24)}
ODD = [('x', 'f8', 1), ('y', 'f8', 9), ('z', 'f8', 17), ('intensity', 'u2', 25), ('ring', 'u1', 27)]
CLOUDS = [
    cloud(VALUES, height=4, row_padding=3),
    cloud(VALUES, ODD, 28, big=True),
    cloud({name: np.where(np.arange(24) % 5, column, np.nan) for name, column in VALUES.items()}),
]
COMPRESSED_CLOUDS = [SimpleNamespace(**{**vars(CLOUDS[0]), 'data': pack(CLOUDS[0].data), 'format': name})
                     for name, pack in (('zlib', gzip.compress), ('zstd', zstd.compress))]
DRACO_FIELDS = (('x', 0, 7), ('y', 4, 7), ('z', 8, 7), ('intensity', 12, 2), ('ring', 14, 4), ('t', 16, 6))
if find_spec('DracoPy'):
    COMPRESSED_CLOUDS += [
        SimpleNamespace(header=CLOUDS[0].header, height=1, width=200, is_bigendian=False, is_dense=True, point_step=20,
                        row_step=4000, format='draco', data=path.read_bytes(),
                        fields=[field(*row) for row in DRACO_FIELDS])
        for path in sorted((Path(__file__).parents[1] / 'data' / 'draco').glob('*.drc'))]
SHAPES = {'u1': (np.uint8, 255), 'u2': (np.uint16, 65535), 'f4': (np.float32, 2)}
IMAGES = [
    image((rng.uniform(0, SHAPES[encoding.dtype][1], (9, 11, len(encoding.order)))).astype(SHAPES[encoding.dtype][0]),
          name, padding=2, big=big)
    for name, encoding in ENCODINGS.items() for big in (False, True)]
PICTURE = cv2.line(np.zeros((30, 40, 3), np.uint8), (0, 5), (39, 25), (0, 0, 255), 5, cv2.LINE_AA)
GREY = PICTURE[..., 2]
FILES = [compressed(cv2.imencode(suffix, picture)[1].tobytes(), suffix[1:]) for suffix, picture in (
    ('.png', PICTURE), ('.png', GREY), ('.png', GREY.astype(np.uint16) * 257), ('.jpg', PICTURE), ('.jpg', GREY))]


@pytest.mark.slow
def test_malformed_clouds():
    seen = {}

    @fuzz('clouds')
    @given(st.sampled_from(CLOUDS), st.lists(cloud_spoilers, min_size=1, max_size=4))
    def run(msg, spoilers):
        result = outcome(decode_cloud, msg, spoilers, seen)
        if result is not None:
            assert result.xyz.dtype == np.float32 and result.xyz.shape[1:] == (3,) and len(result.xyz)
            assert np.isfinite(result.xyz).all()
            if result.intensity is not None:
                assert result.intensity.shape == (len(result.xyz),) and np.isfinite(result.intensity).all()

    run()
    print(seen)
    assert sum(seen.values()) >= EXAMPLES['clouds']
    assert seen.keys() >= {'good', 'size_mismatch', 'truncated_data', 'field_out_of_point', 'malformed_message'}


@pytest.mark.slow
def test_malformed_compressed_clouds():
    seen = {}

    def decode(msg):
        return decode_compressed_cloud(SimpleNamespace(
            **{'compressed_data' if name == 'data' else name: value for name, value in vars(msg).items()}))

    @fuzz('compressed clouds')
    @given(st.sampled_from(COMPRESSED_CLOUDS), st.lists(cloud_spoilers, min_size=1, max_size=3))
    def run(msg, spoilers):
        result = outcome(decode, msg, spoilers, seen)
        if result is not None:
            assert result.xyz.shape[1:] == (3,) and len(result.xyz) and np.isfinite(result.xyz).all()

    run()
    print(seen)
    assert sum(seen.values()) >= EXAMPLES['compressed clouds']
    assert seen.keys() >= {'good', 'undecodable', 'truncated_data', 'size_mismatch', 'unknown_compression',
                           'cloud_too_large', 'malformed_message'}


@pytest.mark.slow
def test_malformed_images():
    seen = {}

    @fuzz('images')
    @given(st.sampled_from(IMAGES), st.lists(image_spoilers, min_size=1, max_size=4))
    def run(msg, spoilers):
        result = outcome(decode_map_image, msg, spoilers, seen)
        if result is not None:
            check_map(result)

    run()
    print(seen)
    assert sum(seen.values()) >= EXAMPLES['images']
    assert seen.keys() >= {'good', 'size_mismatch', 'truncated_data', 'unknown_encoding', 'malformed_message'}


@pytest.mark.slow
def test_malformed_files():
    seen = {}

    @fuzz('files')
    @given(st.sampled_from(FILES), st.lists(header_spoilers | data_spoilers | data_spoilers, min_size=1, max_size=3))
    def run(msg, spoilers):
        result = outcome(decode_compressed_map_image, msg, spoilers, seen, FILE_MEMORY_LIMIT)
        if result is not None:
            check_map(result)

    run()
    print(seen)
    assert sum(seen.values()) >= EXAMPLES['files']
    assert seen.keys() >= {'good', 'undecodable', 'truncated_data', 'unknown_encoding', 'malformed_message'}
