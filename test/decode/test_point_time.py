# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The time of every point, in the types, units and origins of the drivers (see docs/lidars.md)."""

from __future__ import annotations

import numpy as np
import pytest

from attention_fusion_ros.decode import decode_cloud
from attention_fusion_ros.decode.plain_messages import point_cloud
from attention_fusion_ros.errors import InputError

STAMP = 1_764_000_000_123_456_789
COLUMNS, RINGS = 512, 8
TURN_S = 0.1


def turn(name: str, kind: str, times: np.ndarray, order: np.ndarray | None = None, big_endian: bool = False):
    """A message of one turn of a spinning LiDAR, column by column; times: (columns,) in the field's own unit."""
    azimuth = np.repeat(np.linspace(-np.pi, np.pi, COLUMNS, endpoint=False), RINGS)
    byte_order = '>' if big_endian else '<'
    points = np.zeros(COLUMNS * RINGS, [(axis, f'{byte_order}f4') for axis in 'xyz'] + [(name, byte_order + kind)])
    points['x'], points['y'] = 20 * np.cos(azimuth), 20 * np.sin(azimuth)
    points[name] = np.repeat(times, RINGS)
    if order is not None:
        points = points[order]
    if not big_endian:
        return point_cloud(points, STAMP, 'lidar')
    message = point_cloud(points.astype(points.dtype.newbyteorder('<')), STAMP, 'lidar')
    message.data, message.is_bigendian = points.tobytes(), True
    return message


def offsets(message):
    cloud = decode_cloud(message)
    return cloud.times.offsets_s(cloud.stamp_ns, cloud.xyz)


RISING = np.linspace(0, TURN_S, COLUMNS)  # s
DRIVERS = {
    'ouster': ('t', 'u4', RISING * 1e9, RISING, 't (uint32) in ns after the stamp'),
    'velodyne, since the end': ('time', 'f4', RISING - TURN_S, RISING - TURN_S, 'time (float32) in s after the stamp'),
    'velodyne, since the start': ('time', 'f4', RISING, RISING, 'time (float32) in s after the stamp'),
    'hesai, robosense': ('timestamp', 'f8', STAMP / 1e9 + RISING, RISING, 'timestamp (float64) in s since the epoch'),
    'robosense, stamped at the end': ('timestamp', 'f8', STAMP / 1e9 + RISING - TURN_S, RISING - TURN_S,
                                      'timestamp (float64) in s since the epoch'),
    'livox_ros_driver2': ('timestamp', 'f8', float(STAMP) + RISING * 1e9, RISING,
                          'timestamp (float64) in ns since the epoch'),
    'livox, since boot': ('timestamp', 'f8', 5e12 + RISING * 1e9, RISING,
                          'timestamp (float64) in ns of another clock: the first point is taken to be at the stamp'),
    'livox, offsets': ('offset_time', 'u4', RISING * 1e9, RISING, 'offset_time (uint32) in ns after the stamp'),
    'autoware': ('time_stamp', 'u4', RISING * 1e9, RISING, 'time_stamp (uint32) in ns after the stamp'),
    'sick': ('ts', 'f4', RISING, RISING, 'ts (float32) in s after the stamp'),
    'float64 seconds': ('time', 'f8', RISING, RISING, 'time (float64) in s after the stamp'),
    'float64 nanoseconds': ('t', 'f8', RISING * 1e9, RISING, 't (float64) in ns after the stamp'),
    'microseconds': ('t', 'u4', RISING * 1e6, RISING, 't (uint32) in us after the stamp'),
    'absolute microseconds': ('timestamp', 'u8', STAMP // 1000 + RISING * 1e6, RISING,
                              'timestamp (uint64) in us since the epoch'),
    'absolute nanoseconds': ('timestamp', 'u8', STAMP + (RISING * 1e9).astype(np.int64), RISING,
                             'timestamp (uint64) in ns since the epoch'),
    'signed nanoseconds': ('t', 'i4', (RISING - TURN_S) * 1e9, RISING - TURN_S, 't (int32) in ns after the stamp'),
    'a tenth of a turn': ('t', 'u4', RISING * 1e8, RISING / 10, 't (uint32) in ns after the stamp'),
    'within the second': ('t', 'u4', RISING * 1e9 + 3e9, RISING, 't (uint32) in ns of another clock: the first point '
                          'is taken to be at the stamp'),
}


@pytest.mark.parametrize('driver', DRIVERS)
@pytest.mark.parametrize('big_endian', [False, True])
def test_the_times_of_every_driver_become_seconds_after_the_stamp(driver, big_endian):
    name, kind, sent, expected, words = DRIVERS[driver]
    found, how = offsets(turn(name, kind, sent.astype(kind), big_endian=big_endian))
    assert how == words
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.repeat(expected, RINGS), atol=2e-6)


def test_organised_clouds_are_in_order_row_by_row():
    by_row = np.arange(COLUMNS * RINGS).reshape(COLUMNS, RINGS).T.reshape(-1)
    found, _ = offsets(turn('t', 'u4', (RISING * 1e9).astype('u4'), by_row))
    np.testing.assert_allclose(found.reshape(RINGS, COLUMNS), np.tile(RISING, (RINGS, 1)), atol=1e-6)


def test_points_in_any_order_have_times_in_the_order_of_their_directions():
    shuffled = np.random.default_rng(0).permutation(COLUMNS * RINGS)
    found, _ = offsets(turn('t', 'u4', (RISING * 1e9).astype('u4'), shuffled))
    np.testing.assert_allclose(found, np.repeat(RISING, RINGS)[shuffled], atol=1e-6)


def test_times_belong_to_the_points_that_are_kept():
    message = turn('t', 'u4', (RISING * 1e9).astype('u4'))
    points = np.frombuffer(message.data, [(axis, '<f4') for axis in 'xyz'] + [('t', '<u4')]).copy()
    points['x'][::3] = np.nan
    points['t'][::3] = 4_000_000_000  # nobody reads it
    message.data = points.tobytes()
    found, _ = offsets(message)
    kept = np.repeat(RISING, RINGS)[np.isfinite(points['x'])]
    np.testing.assert_allclose(found, kept, atol=1e-6)


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('kind', ['f4', 'f8'])
@pytest.mark.parametrize('odd', [(np.nan, np.nan), (np.inf, np.inf), (np.inf, -np.inf)])
def test_times_that_are_not_finite_are_left_out_without_a_warning(kind, odd):
    sent = RISING.astype(kind)
    sent[[10, 20]] = odd
    found, _ = offsets(turn('time', kind, sent))
    expected = np.where(np.isfinite(sent), RISING, 0.0)
    np.testing.assert_allclose(found, np.repeat(expected, RINGS), atol=2e-6)


@pytest.mark.parametrize('what, kind, sent', [
    ('every point has', 'f4', np.full(COLUMNS, 0.05)),
    ('every point has', 'f4', np.full(COLUMNS, 1.764e9)),  # the time of day does not fit into float32
    ('a sweep takes 1 s at most', 'f4', RISING * 50),
    ('a sweep takes 1 s at most', 'f8', RISING * 50),
    ('a sweep takes 1 s at most', 'u4', RISING * 4e10),
    ('a sweep takes 1 s at most', 'u4', np.arange(COLUMNS)),  # an index, not a time
    ('no value is finite', 'f4', np.full(COLUMNS, np.nan)),
    ('neither the order', 'f4', np.random.default_rng(0).uniform(0, TURN_S, COLUMNS)),
])
def test_what_is_no_time_of_a_sweep_is_refused_by_name(what, kind, sent):
    order = np.random.default_rng(1).permutation(COLUMNS * RINGS)
    cloud = decode_cloud(turn('time', kind, sent.astype(kind), order))
    with pytest.raises(InputError, match=what) as caught:
        cloud.times.offsets_s(cloud.stamp_ns, cloud.xyz)
    assert caught.value.reason == 'implausible_time' and "'time (" in str(caught.value)


@pytest.mark.parametrize('name, kind', [('curvature', 'f4'), ('t', 'u1'), ('ring', 'u2')])
def test_other_fields_are_no_times(name, kind):
    assert decode_cloud(turn(name, kind, np.arange(COLUMNS) % 200)).times is None
