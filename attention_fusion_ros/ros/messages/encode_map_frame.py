# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the map image lies in the frame of odometry, for /tf (REP-105: a frame has one parent, so it is a child's name
of its own, not that of the map).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from attention_fusion_ros.contracts import MapAlignment, Motion
from attention_fusion_ros.geometry import inverse, rotation_2d
from attention_fusion_ros.ros.messages.encode_map import transform
from attention_fusion_ros.ros.messages.published_sweep import PublishedSweep
from attention_fusion_ros.ros.messages.sensors import header

LEAST_FIT = 0.5  # probability that the map fits at all, below which it has no place


def map_frame(motion: Motion, alignment: MapAlignment) -> np.ndarray | None:
    """(4, 4) pose of the map in the frame of odometry, put where the LiDAR says it belongs; None without odometry.

    Of a map image around the vehicle it is the vehicle's frame at the image's stamp; of a map with a place of its own,
    the frame that it is given in.
    """
    if motion.T_odom_base is None:
        return None
    moved = np.eye(4)
    moved[:2, :2], moved[:2, 3] = rotation_2d(alignment.dyaw), (alignment.dx, alignment.dy)
    placed = motion.T_odom_base @ moved  # the vehicle as the map has it, at the sweep's stamp
    if motion.T_map_base is not None:
        found: np.ndarray = placed @ inverse(motion.T_map_base)
    elif motion.T_odom_base_map is not None:
        found = placed @ inverse(motion.T_odom_base) @ motion.T_odom_base_map
    else:
        return None
    return found


def map_transform(sweep: PublishedSweep, child_frame_id: str) -> Any:
    """A tf2_msgs/TFMessage odometry -> `child_frame_id`; None where the map does not fit, or no frame is known."""
    motion, alignment = sweep.sweep.motion, sweep.result.alignment
    if alignment is None or alignment.fits < LEAST_FIT or not motion.odom_frame:
        return None
    T = map_frame(motion, alignment)
    return None if T is None else transform(T, header(sweep.result.stamp_ns, motion.odom_frame), child_frame_id)
