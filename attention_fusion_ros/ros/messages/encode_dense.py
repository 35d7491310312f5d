# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""FusionResult -> messages as large as the grid, the picture or the cloud: what the network looked at."""

from __future__ import annotations

import array

import numpy as np
from nav_msgs.msg import OccupancyGrid
from sensor_msgs.msg import Image, PointCloud2, PointField
from sensor_msgs_py.point_cloud2 import create_cloud
from std_msgs.msg import Header

from attention_fusion_ros.contracts import FusionResult, PointCloud
from attention_fusion_ros.visualization.panels import compose_picture, gradcam_heatmap, point_attention, spatial_heatmap

try:
    from cv_bridge import CvBridge
except (ImportError, AttributeError):  # AttributeError: a cv_bridge compiled against another major version of numpy
    CvBridge = None

POINT_FIELDS = ('x', 'y', 'z', 'attention')


def spatial(result: FusionResult, head: Header) -> OccupancyGrid:
    """Spatial attention 0..100 on the ground."""
    return _on_ground(spatial_heatmap(result), result, head)


def gradcam(result: FusionResult, maps: dict[str, np.ndarray], head: Header) -> OccupancyGrid | None:
    """Grad-CAM 0..100 on the ground, on the grid of `spatial`; None when there was no answer to explain."""
    return _on_ground(gradcam_heatmap(result, maps), result, head) if maps else None


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


def picture(result: FusionResult, head: Header) -> Image:
    """BEV, map, heatmap and arrows side by side, bgr8."""
    pixels = np.ascontiguousarray(compose_picture(result))
    if CvBridge is None:
        return _packed(pixels, head)
    message = CvBridge().cv2_to_imgmsg(pixels, encoding='bgr8')
    message.header = head
    return message


def _packed(pixels: np.ndarray, head: Header) -> Image:
    """The plain twin of cv_bridge for (H, W, 3) uint8, where that is missing."""
    height, width, depth = pixels.shape
    message = Image(header=head, height=height, width=width, encoding='bgr8', is_bigendian=0, step=width * depth)
    message.data = array.array('B', pixels.tobytes())
    return message


def attention_points(result: FusionResult, cloud: PointCloud, T_base_sensor: np.ndarray, head: Header) -> PointCloud2:
    """The sweep, in its own frame, with the attention of the cell in which each point lies (0 outside the grid)."""
    xyz_base = cloud.xyz @ T_base_sensor[:3, :3].T.astype(np.float32) + T_base_sensor[:3, 3].astype(np.float32)
    points = np.empty(len(cloud.xyz), dtype=[(name, np.float32) for name in POINT_FIELDS])
    points['x'], points['y'], points['z'] = cloud.xyz.T
    points['attention'] = point_attention(result, xyz_base)
    fields = [PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
              for i, name in enumerate(POINT_FIELDS)]
    return create_cloud(head, fields, points)
