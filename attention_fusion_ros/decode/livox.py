# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Livox's own CustomMsg -> PointCloud: livox_ros_driver2, livox_interfaces and livox_ros_driver describe it alike.

Points are x, y, z [m], reflectivity 0..255, and offset_time [ns] after `timebase`, which is the header's stamp too.
Returns that the sensor did not get are (0, 0, 0).
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import numpy as np

from attention_fusion_ros.contracts import PointCloud
from attention_fusion_ros.decode.cloud import measured_cloud
from attention_fusion_ros.decode.message import attribute, malformed, stamp_and_frame
from attention_fusion_ros.decode.point_time import PointTimes
from attention_fusion_ros.errors import InputError

POINT = attrgetter('x', 'y', 'z', 'reflectivity', 'offset_time')
COLUMNS = 5


def decode_livox(msg: Any) -> PointCloud:
    """One sweep in its sensor frame from a livox_ros_driver2/CustomMsg; see `decode_cloud`.

    Raises InputError: malformed_message, stamp_zero, empty_cloud, no_finite_points, no_returns.
    """
    stamp_ns, frame_id = stamp_and_frame(msg)
    points = attribute(msg, 'points')
    count = len(points) if hasattr(points, '__len__') else malformed('`points` must be a list of CustomPoint.')
    if not count:
        raise InputError('empty_cloud', 'The cloud has no points.', 'check that the sensor sees anything.')
    try:
        # float64 holds every uint32 exactly.
        values = np.fromiter((value for point in points for value in POINT(point)), np.float64, COLUMNS * count)
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        malformed(f'`points` must be a list of CustomPoint: {error}.')
    values = values.reshape(count, COLUMNS)
    with np.errstate(over='ignore', invalid='ignore'):
        xyz, intensity = values[:, :3].astype(np.float32), values[:, 3].astype(np.float32)
    offsets = values[:, 4]
    if not (np.isfinite(offsets) & (offsets >= 0) & (offsets < 2**32)).all():
        malformed('`offset_time` must be within 0 .. 4294967295.')
    times = PointTimes('offset_time', 'u4', offsets.astype(np.uint32))
    return measured_cloud(stamp_ns, frame_id, xyz, intensity, times)
