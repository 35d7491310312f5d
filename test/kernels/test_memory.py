# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""From the bytes of a sweep to its grid nothing is allocated that grows with the cloud, and what is lent comes back."""

from __future__ import annotations

import array
import tracemalloc

import numpy as np
import pytest
import torch

from attention_fusion_ros.benchmarking import sweeps
from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.contracts import Motion, SyncedSweep
from attention_fusion_ros.decode import decode_cloud
from attention_fusion_ros.kernels.compiled import is_installed
from attention_fusion_ros.kernels.room import Room
from attention_fusion_ros.pipeline.preprocess import Preprocessor

needs_numba = pytest.mark.skipif(not is_installed(), reason='numba is not installed')
ALLOWED_BYTES = 150_000  # samples of the points, whose size goes up and down; a point takes 16


def message(points: int, spoil=None):
    made = sweeps.message(0, points)
    made.data = array.array('B', made.data)  # as rclpy hands it over
    if spoil is not None:
        spoil(np.frombuffer(made.data, sweeps.VELODYNE_POINT))
    return made


def with_no_returns(points):
    points['x'][::7] = np.nan
    for axis in 'xyz':
        points[axis][3::11] = 0.0
    points['intensity'][::5] = np.inf


@needs_numba
@pytest.mark.parametrize('spoil', [None, with_no_returns])
def test_no_allocation_grows_with_the_cloud(spoil):
    preprocess = Preprocessor(Grid(), torch.device('cpu'), NodeConfig())
    messages = {points: message(points, spoil) for points in (20_000, 200_000)}
    peaks = {}

    def once(points: int) -> None:
        preprocess(SyncedSweep(decode_cloud(messages[points]), Motion(sweeps.T_BASE_SENSOR)))
    for points in messages:
        for _ in range(3):
            once(points)
        tracemalloc.start()
        once(points)
        peaks[points] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peaks[200_000] - peaks[20_000] < ALLOWED_BYTES, peaks


def test_points_are_those_of_the_message():
    sent = message(1000)
    cloud = decode_cloud(sent)
    for values in (cloud.xyz, cloud.intensity):
        assert np.shares_memory(values, np.frombuffer(sent.data, np.uint8)) and not values.flags.writeable
    assert torch.from_numpy(np.ascontiguousarray(cloud.xyz)).shape == (1000, 3)


@needs_numba
def test_clouds_that_live_keep_their_points():
    """What is lent is lent again only when nobody holds it, views and tensors included."""
    clouds = [decode_cloud(message(1000 + k, with_no_returns)) for k in range(12)]
    copies = [(cloud.xyz.copy(), cloud.intensity.copy()) for cloud in clouds]
    part, shared = clouds[3].xyz[5:9], torch.from_numpy(clouds[4].xyz)
    kept = part.copy(), shared.clone()
    for k, cloud in enumerate(clouds):
        assert np.isfinite(cloud.xyz).all() and np.isfinite(cloud.intensity).all()
        np.testing.assert_array_equal(cloud.xyz, copies[k][0])
        np.testing.assert_array_equal(cloud.intensity, copies[k][1])
    del clouds, cloud
    more = [decode_cloud(message(900 + k, with_no_returns)) for k in range(12)]
    np.testing.assert_array_equal(part, kept[0])
    assert torch.equal(shared, kept[1]) and len(more) == 12


def test_what_was_lent_is_lent_again():
    room = Room()
    first = room.lent('a', (10, 3))
    address = first.ctypes.data
    assert room.lent('a', (10, 3)).ctypes.data != address  # held
    view = first[2:]
    del first
    assert room.lent('a', (10, 3)).ctypes.data != address  # held by a view
    del view
    assert room.lent('a', (7,)).ctypes.data == address
    assert room.lent('a', (100,)).size == 100 and room.lent('a', (5,), np.int64).dtype == np.int64


def test_zeros_are_zeros_again_after_an_error():
    room = Room()
    with pytest.raises(RuntimeError), room.zeros('a', (4,)) as values:
        values[:] = 1.0
        raise RuntimeError
    with room.zeros('a', (3,)) as values:
        assert not values.any()
