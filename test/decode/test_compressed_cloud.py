# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Clouds as point_cloud_transport and Livox send them, whole and damaged."""

from __future__ import annotations

import gzip
import sys
import tracemalloc
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from support.messages import XYZI, cloud, field, header

from attention_fusion_ros.decode import REASONS, decode_cloud, decode_compressed_cloud, decode_livox, decode_sweep
from attention_fusion_ros.errors import InputError

zstd = pytest.importorskip('backports.zstd' if sys.version_info < (3, 14) else 'compression.zstd')
DRACO = Path(__file__).parents[1] / 'data' / 'draco'
PACK = {'zlib': gzip.compress, 'plain zlib': zlib.compress, 'zstd': zstd.compress}


def points(count, seed=0):
    rng = np.random.default_rng(seed)
    return {**{name: rng.uniform(-80, 80, count).astype(np.float32) for name in 'xyz'},
            'intensity': rng.integers(0, 200, count), 't': np.arange(count) * 100_000}


def compressed(plain, pack, name='zstd'):
    return SimpleNamespace(**{key: value for key, value in vars(plain).items() if key != 'data'},
                           compressed_data=pack(plain.data), format=name)


@pytest.mark.parametrize('name', ['draco', 'zlib', 'zstd', '', 'what else'])
@pytest.mark.parametrize('pack', PACK)
def test_compressed_clouds_are_those_that_were_compressed(pack, name):
    plain = cloud(points(600), (*XYZI, ('t', 'u4', 16)), 24, height=4, row_padding=8) if pack == 'zstd' else cloud(
        points(600), (*XYZI, ('t', 'u4', 16)), 24)
    got, wanted = decode_sweep(compressed(plain, PACK[pack], name)), decode_cloud(plain)
    np.testing.assert_array_equal(got.xyz, wanted.xyz)
    np.testing.assert_array_equal(got.intensity, wanted.intensity)
    assert (got.stamp_ns, got.frame_id) == (wanted.stamp_ns, wanted.frame_id) and got.times is not None


def test_numbers_beside_compressed_data_are_believed_as_little_as_beside_plain_data():
    plain = cloud(points(600), height=4)
    wanted = decode_cloud(plain).xyz
    for numbers in ({'row_step': 0}, {'row_step': 9600}, {'row_step': 2**32 - 1}, {'height': 0, 'width': 600}):
        np.testing.assert_array_equal(
            decode_sweep(compressed(SimpleNamespace(**{**vars(plain), **numbers}), zstd.compress)).xyz, wanted)


def change(**attributes):
    return lambda msg: vars(msg).update(attributes)


BAD = {
    'no data': (change(compressed_data=b''), 'empty_cloud'),
    'cut off': (lambda m: change(compressed_data=m.compressed_data[:-20])(m), 'truncated_data'),
    'damaged': (lambda m: change(compressed_data=m.compressed_data[:40] + bytes(60) + m.compressed_data[100:])(m),
                'undecodable'),
    'not compressed': (change(compressed_data=bytes(9600)), 'unknown_compression'),
    'cloudini': (change(compressed_data=b'CLOUDINI_V05\nversion: 5', format='cloudini'), 'unknown_compression'),
    'fewer points than it holds': (change(width=10), 'size_mismatch'),
    'more points than it holds': (change(width=1000, row_step=16_000), 'truncated_data'),
    'absurdly many points': (change(width=2**31), 'cloud_too_large'),
    'a bomb': (change(compressed_data=gzip.compress(bytes(50_000_000))), 'size_mismatch'),
    'a bomb of zstd': (change(compressed_data=zstd.compress(bytes(50_000_000))), 'size_mismatch'),
    'no format': (lambda m: delattr(m, 'format'), 'malformed_message'),
    'no width': (lambda m: delattr(m, 'width'), 'malformed_message'),
    'data text': (change(compressed_data='points'), 'malformed_message'),
    'draco that breaks off': (change(compressed_data=b'DRACO\x02\x03\x00\x00\x00\x80\x00\x01'), 'undecodable'),
    'a draco mesh': (change(compressed_data=b'DRACO\x02\x02\x01\x01\x00\x00' + bytes(90)), 'undecodable'),
    'draco of too many points': (change(compressed_data=b'DRACO\x02\x03\x00\x00\x00\x00' + b'\xff' * 4 + bytes(90)),
                                 'size_mismatch'),
}


@pytest.mark.parametrize('what', BAD)
@pytest.mark.parametrize('pack', ['zlib', 'zstd'])
def test_bad_compressed_clouds_are_refused_with_a_reason(what, pack):
    spoil, reason = BAD[what]
    msg = compressed(cloud(points(600)), PACK[pack])
    decode_compressed_cloud(msg)
    spoil(msg)
    with pytest.raises(InputError) as error:
        decode_compressed_cloud(msg)
    # Damaged data may also unpack to something of another length.
    assert error.value.reason in ({reason, 'truncated_data', 'size_mismatch'} if what == 'damaged' else {reason})
    assert error.value.reason in REASONS and error.value.remedy


@pytest.mark.parametrize('pack', PACK)
def test_a_bomb_is_not_unpacked_beyond_the_size_that_is_stated(pack):
    msg = compressed(cloud(points(600)), PACK[pack])
    msg.compressed_data = PACK[pack](bytes(50_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(InputError):
            decode_compressed_cloud(msg)
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize('name, modules', [('zstd', ('compression.zstd', 'backports.zstd')), ('draco', ('DracoPy',))])
def test_a_missing_decoder_is_named_with_the_line_that_installs_it(monkeypatch, name, modules):
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)
    msg = compressed(cloud(points(600)), zstd.compress) if name == 'zstd' else draco('sequential')
    with pytest.raises(InputError, match='pip install') as error:
        decode_compressed_cloud(msg)
    assert error.value.reason == 'decoder_missing'


# -- draco: files of test/data/draco/make.cpp, which encodes as draco_point_cloud_transport does ---

DRACO_FIELDS = (('x', 0, 7), ('y', 4, 7), ('z', 8, 7), ('intensity', 12, 2), ('ring', 14, 4), ('t', 16, 6))


def draco(name):
    data = (DRACO / f'{name}.drc').read_bytes()
    return SimpleNamespace(header=header(), height=1, width=200, is_bigendian=False, is_dense=True, point_step=20,
                           row_step=4000, fields=[field(*row) for row in DRACO_FIELDS], compressed_data=data,
                           format='draco')


def draco_points():
    """What make.py of the same folder wrote for make.cpp."""
    rng = np.random.default_rng(0)
    xyz = np.stack([rng.uniform(-30, 30, 200) for _ in 'xyz'], 1).astype(np.float32)
    return xyz, rng.integers(0, 255, 200), np.arange(200) * 500_000


@pytest.mark.parametrize('name, tolerance', [('sequential', 0), ('sequential_16_bit', 1e-3), ('kd_tree_16_bit', 1e-3)])
def test_draco_clouds(name, tolerance):
    pytest.importorskip('DracoPy', reason='needs DracoPy')
    got = decode_sweep(draco(name))
    xyz, intensity, t = draco_points()
    order = np.argsort(got.times.values())  # a kd-tree keeps no order; the time tells it
    np.testing.assert_allclose(got.xyz[order], xyz, atol=tolerance)
    np.testing.assert_array_equal(got.intensity[order], intensity)
    np.testing.assert_array_equal(got.times.values()[order], t)


@pytest.mark.parametrize('spoil, reason', [
    (lambda m: m.fields.pop(), 'undecodable'),
    (change(width=199), 'size_mismatch'),
    (lambda m: change(compressed_data=m.compressed_data[:-500])(m), 'undecodable'),
], ids=['a field less', 'a point less', 'cut off'])
def test_bad_draco_clouds(spoil, reason):
    pytest.importorskip('DracoPy', reason='needs DracoPy')
    msg = draco('sequential')
    spoil(msg)
    with pytest.raises(InputError) as error:
        decode_sweep(msg)
    assert error.value.reason == reason


# -- Livox -------------------------------------------------------------------------------------------------------------

def livox(xyz, reflectivity, offset_time):
    listed = [SimpleNamespace(x=float(x), y=float(y), z=float(z), reflectivity=int(r), offset_time=int(t))
              for (x, y, z), r, t in zip(xyz, reflectivity, offset_time)]
    return SimpleNamespace(header=header(), timebase=12_000_000_034, point_num=len(listed), lidar_id=0, rsvd=[0, 0, 0],
                           points=listed)


def test_livox_messages():
    rng = np.random.default_rng(1)
    xyz = rng.uniform(-30, 30, (500, 3)).astype(np.float32)
    xyz[::5] = 0.0  # not returned
    reflectivity, times = rng.integers(0, 256, 500), np.arange(500) * 200_000
    got = decode_sweep(livox(xyz, reflectivity, times))
    seen = np.arange(500) % 5 != 0
    np.testing.assert_array_equal(got.xyz, xyz[seen])
    np.testing.assert_array_equal(got.intensity, reflectivity[seen])
    offsets, told = got.times.offsets_s(got.stamp_ns, got.xyz)
    np.testing.assert_allclose(offsets, times[seen] / 1e9, atol=1e-6)
    assert 'offset_time' in told and (got.stamp_ns, got.frame_id) == (12_000_000_034, 'lidar')


@pytest.mark.parametrize('spoil, reason', [
    (change(points=[]), 'empty_cloud'),
    (change(points=None), 'malformed_message'),
    (change(points=[None]), 'malformed_message'),
    (lambda m: change(offset_time=-1)(m.points[3]), 'malformed_message'),
    (lambda m: change(x='far')(m.points[3]), 'malformed_message'),
    (lambda m: change(stamp=SimpleNamespace(sec=0, nanosec=0))(m.header), 'stamp_zero'),
    (lambda m: change(points=m.points[:1] * 200)(m), 'no_returns'),
])
def test_bad_livox_messages(spoil, reason):
    msg = livox(np.ones((9, 3)) * np.arange(1, 10)[:, None], range(9), range(9))
    decode_livox(msg)
    spoil(msg)
    with pytest.raises(InputError) as error:
        decode_livox(msg)
    assert error.value.reason == reason
