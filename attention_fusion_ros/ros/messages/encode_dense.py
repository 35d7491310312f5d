# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Messages as large as the grid, the picture or the cloud: what the network paid attention to. See `encode`."""

from __future__ import annotations

import array

import numpy as np

from attention_fusion_ros.contracts import FusionResult
from attention_fusion_ros.geometry import transform_points
from attention_fusion_ros.ros.messages.classes import Header, Image, OccupancyGrid, PointCloud2
from attention_fusion_ros.ros.messages.published_sweep import PublishedSweep
from attention_fusion_ros.ros.messages.sensors import image, point_cloud
from attention_fusion_ros.visualization.panels import compose_picture, point_attention

ATTENTION_POINT = np.dtype([(name, np.float32) for name in ('x', 'y', 'z', 'attention')])


def spatial(sweep: PublishedSweep, head: Header) -> OccupancyGrid:
    """Spatial attention 0..100 on the ground."""
    return _on_ground(sweep.heatmap, sweep.result, head)


def gradcam(sweep: PublishedSweep, head: Header) -> OccupancyGrid | None:
    """Grad-CAM 0..100 on the ground, on the grid of `spatial`; None when there is nothing to explain."""
    return None if sweep.gradcam is None else _on_ground(sweep.gradcam, sweep.result, head)


def picture(sweep: PublishedSweep, head: Header) -> Image:
    """BEV, map, heatmap and arrows side by side, bgr8."""
    return image(compose_picture(sweep.result), head, 'bgr8')


def attention_points(sweep: PublishedSweep, head: Header) -> PointCloud2:
    """The sweep, in its own frame, with the attention of the cell in which each point lies (0 outside the grid)."""
    xyz, T = sweep.sweep.cloud.xyz, sweep.sweep.motion.T_base_sensor.astype(np.float32)
    xyz_base = transform_points(T, xyz)
    points = np.empty(len(xyz), ATTENTION_POINT)
    points['x'], points['y'], points['z'] = xyz.T
    points['attention'] = point_attention(sweep.result, xyz_base, sweep.heatmap)
    return point_cloud(points, head)


def _on_ground(heatmap: np.ndarray, result: FusionResult, head: Header) -> OccupancyGrid:
    """(H, W) in 0..1 on the BEV grid -> 0..100 in the vehicle frame.

    The BEV's first row is farthest ahead and its first column farthest left; an OccupancyGrid starts at the smallest x
    and y and runs along x first.
    """
    heat = np.rint(100.0 * heatmap).astype(np.int8)
    message = OccupancyGrid(header=head)
    message.info.map_load_time = head.stamp
    message.info.height, message.info.width = heat.shape
    message.info.resolution = 2 * result.extent / heat.shape[0]
    message.info.origin.position.x = message.info.origin.position.y = -result.extent
    message.info.origin.orientation.w = 1.0
    message.data = array.array('b', np.ascontiguousarray(heat[::-1, ::-1].T).tobytes())
    return message
