# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Message definitions that are not among the standard ones, for recordings that hold none (sqlite3 before Iron).

Names, types and order of the fields are what the packages send: point_cloud_interfaces 5.0, livox_ros_driver2 1.2,
livox_interfaces and livox_ros_driver 2.6.
"""

from __future__ import annotations

COMPRESSED_CLOUD = 'point_cloud_interfaces/msg/CompressedPointCloud2'
LIVOX_PACKAGES = ('livox_ros_driver2', 'livox_interfaces', 'livox_ros_driver')
LIVOX_CLOUDS = tuple(f'{package}/msg/CustomMsg' for package in LIVOX_PACKAGES)

_COMPRESSED_CLOUD_FIELDS = """std_msgs/Header header
uint32 height
uint32 width
sensor_msgs/PointField[] fields
bool is_bigendian
uint32 point_step
uint32 row_step
uint8[] compressed_data
bool is_dense
string format
"""
_LIVOX_CLOUD_FIELDS = """std_msgs/Header header
uint64 timebase
uint32 point_num
uint8 lidar_id
uint8[3] rsvd
CustomPoint[] points
"""
_LIVOX_POINT_FIELDS = """uint32 offset_time
float32 x
float32 y
float32 z
uint8 reflectivity
uint8 tag
uint8 line
"""

# {type: definition in the language of .msg files}
DEFINITIONS: dict[str, str] = {
    COMPRESSED_CLOUD: _COMPRESSED_CLOUD_FIELDS,
    **{f'{package}/msg/CustomMsg': _LIVOX_CLOUD_FIELDS for package in LIVOX_PACKAGES},
    **{f'{package}/msg/CustomPoint': _LIVOX_POINT_FIELDS for package in LIVOX_PACKAGES},
}
