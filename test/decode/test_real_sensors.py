# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""One real sweep each of eight sensors, as PointCloud2 of the layout in which it was stored."""

from __future__ import annotations

import numpy as np
import pytest
from support.pcd import pcd_points

from attention_fusion_ros.decode import decode_cloud
from attention_fusion_ros.decode.plain_messages import point_cloud

STAMP_NS = 1_700_000_000 * 10**9
SENSORS = ('40p', '64', 'ot128', 'qt128', 'vlp16', 'vlp32', 'vls128', 'xt32')


@pytest.mark.parametrize('sensor', SENSORS)
def test_real_sweeps_are_decoded_point_by_point(shared_folder, sensor):
    path = shared_folder / 'data' / 'sensors' / f'{sensor}.pcd'
    if not path.exists():
        pytest.skip(f'{path} is not there')
    points = pcd_points(path)
    cloud = decode_cloud(point_cloud(points, STAMP_NS, sensor))
    xyz = np.stack([points[axis] for axis in 'xyz'], 1)
    seen = np.isfinite(xyz).all(1) & (np.abs(xyz) >= 0.05).any(1)
    assert len(cloud.xyz) > 10_000 and cloud.frame_id == sensor
    np.testing.assert_array_equal(cloud.xyz, xyz[seen])
    if 'intensity' in points.dtype.names:
        np.testing.assert_array_equal(cloud.intensity, points['intensity'][seen])
    else:
        assert cloud.intensity is None
    if 'time_stamp' in points.dtype.names:
        np.testing.assert_array_equal(cloud.times.values(), points['time_stamp'][seen])
    else:
        assert cloud.times is None
