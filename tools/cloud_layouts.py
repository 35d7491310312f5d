# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""How drivers lay out their clouds: the table in docs/inputs.md, and what `tools/conformance.py` encodes.

Read from the drivers' sources at the versions named. A further driver is an entry here, then
`python tools/conformance.py` and `python tools/update_docs.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

CLOUD = 'sensor_msgs/PointCloud2'
COMPRESSED = 'point_cloud_interfaces/CompressedPointCloud2'
XYZ = (('x', 'f4', 0), ('y', 'f4', 4), ('z', 'f4', 8))
XYZI = (*XYZ, ('intensity', 'f4', 12))
NAN, ZERO, OMITTED = 'NaN', '(0, 0, 0)', 'left out'
SINCE_STAMP, EPOCH = 'since the stamp', 'since the epoch'


@dataclass(frozen=True)
class Layout:
    """The messages of one driver.

    fields: name, numpy code and offset [bytes]. intensity: the field that is read as it, '' for none. time: field, unit
    [s] and what it counts from. rows: an organised cloud, row by row; else the points come column by column.
    row_step: 'right', or what the driver sends instead.
    """

    name: str  # of the files
    driver: str
    version: str
    source: str  # repository and file
    fields: tuple[tuple[str, str, int], ...]
    point_step: int
    intensity: str = 'intensity'
    time: tuple[str, float, str] | None = None
    no_return: str = OMITTED
    rows: bool = False
    row_step: str = 'right'
    big_endian: bool = False
    zero_counts: bool = False
    type: str = CLOUD
    format: str = ''  # of compressed clouds


LAYOUTS: tuple[Layout, ...] = (
    Layout('velodyne', 'velodyne_pointcloud (ROS 2)', '2.4.0', 'ros-drivers/velodyne, conversions/pointcloudXYZIRT.cpp',
           (*XYZI, ('ring', 'u2', 16), ('time', 'f4', 18)), 22, time=('time', 1.0, SINCE_STAMP)),
    Layout('velodyne_organised', 'velodyne_pointcloud, organize_cloud', '2.4.0',
           'ros-drivers/velodyne, conversions/organized_cloudXYZIRT.cpp',
           (*XYZI, ('ring', 'u2', 16), ('time', 'f4', 18)), 22, time=('time', 1.0, SINCE_STAMP), no_return=ZERO,
           rows=True),
    Layout('ouster_original', 'ouster-ros, point_type original', '0.15.0', 'ouster-lidar/ouster-ros, os_point.h',
           (*XYZ, ('intensity', 'f4', 16), ('t', 'u4', 20), ('reflectivity', 'u2', 24), ('ring', 'u2', 26),
            ('ambient', 'u2', 28), ('range', 'u4', 32)), 48, time=('t', 1e-9, SINCE_STAMP), no_return=ZERO, rows=True),
    Layout('ouster_native', 'ouster-ros, point_type native, RNG19_RFL8_SIG16_NIR16', '0.15.0',
           'ouster-lidar/ouster-ros, sensor_point_types.h',
           (*XYZ, ('t', 'u4', 16), ('ring', 'u2', 20), ('range', 'u4', 24), ('signal', 'u2', 28),
            ('reflectivity', 'u1', 30), ('flags', 'u1', 31), ('near_ir', 'u2', 32), ('window', 'u1', 34)), 48,
           intensity='reflectivity', time=('t', 1e-9, SINCE_STAMP), no_return=NAN, rows=True),
    Layout('ouster_xyzir', 'ouster-ros, point_type xyzir', '0.15.0', 'ouster-lidar/ouster-ros, common_point_types.h',
           (*XYZ, ('intensity', 'f4', 16), ('ring', 'u2', 20)), 32, no_return=NAN, rows=True),
    Layout('hesai', 'HesaiLidar_ROS_2.0', '2.0.12', 'HesaiTechnology/HesaiLidar_ROS_2.0, source_driver_ros2.hpp',
           (*XYZI, ('ring', 'u2', 16), ('timestamp', 'f8', 18)), 26, time=('timestamp', 1.0, EPOCH)),
    Layout('robosense_xyzirt', 'rslidar_sdk, XYZIRT', '1.5.19',
           'RoboSense-LiDAR/rslidar_sdk, source_pointcloud_ros.hpp',
           (*XYZI, ('ring', 'u2', 16), ('timestamp', 'f8', 18)), 26, time=('timestamp', 1.0, EPOCH), no_return=NAN,
           rows=True),
    Layout('robosense_xyzirtf', 'rslidar_sdk, XYZIRTF', '1.5.19',
           'RoboSense-LiDAR/rslidar_sdk, source_pointcloud_ros.hpp',
           (*XYZI, ('ring', 'u2', 16), ('timestamp', 'f8', 18), ('feature', 'u1', 26)), 27,
           time=('timestamp', 1.0, EPOCH), no_return=NAN),
    Layout('robosense_xyzi', 'rslidar_sdk, XYZI', '1.5.19', 'RoboSense-LiDAR/rslidar_sdk, source_pointcloud_ros.hpp',
           XYZI, 16, no_return=NAN),
    Layout('livox_cloud', 'livox_ros_driver2, PointCloud2', '1.2.6', 'Livox-SDK/livox_ros_driver2, lddc.cpp',
           (*XYZI, ('tag', 'u1', 16), ('line', 'u1', 17), ('timestamp', 'f8', 18)), 26,
           time=('timestamp', 1e-9, EPOCH), no_return=ZERO),
    Layout('livox_ros_driver2', 'livox_ros_driver2, CustomMsg', '1.2.6', 'Livox-SDK/livox_ros_driver2, CustomMsg.msg',
           (('offset_time', 'u4', 0), ('x', 'f4', 4), ('y', 'f4', 8), ('z', 'f4', 12), ('reflectivity', 'u1', 16),
            ('tag', 'u1', 17), ('line', 'u1', 18)), 19, intensity='reflectivity',
           time=('offset_time', 1e-9, SINCE_STAMP), no_return=ZERO, type='livox_ros_driver2/CustomMsg'),
    Layout('livox_interfaces', 'livox_ros2_driver, CustomMsg', '249be89', 'Livox-SDK/livox_ros2_driver, CustomMsg.msg',
           (('offset_time', 'u4', 0), ('x', 'f4', 4), ('y', 'f4', 8), ('z', 'f4', 12), ('reflectivity', 'u1', 16),
            ('tag', 'u1', 17), ('line', 'u1', 18)), 19, intensity='reflectivity',
           time=('offset_time', 1e-9, SINCE_STAMP), no_return=ZERO, type='livox_interfaces/CustomMsg'),
    Layout('sick_multiscan', 'sick_scan_xd, multiScan and picoScan, default fields', '3.9.0',
           'SICKAG/sick_scan_xd, ros_msgpack_publisher.cpp',
           (*XYZ, ('i', 'f4', 12), ('range', 'f4', 16), ('azimuth', 'f4', 20), ('elevation', 'f4', 24),
            ('layer', 'i1', 28), ('echo', 'i1', 29), ('reflector', 'i1', 30)), 31, intensity='i', no_return=ZERO),
    Layout('sick_multiscan_all', 'sick_scan_xd, multiScan and picoScan, all fields', '3.9.0',
           'SICKAG/sick_scan_xd, ros_msgpack_publisher.cpp',
           (*XYZ, ('i', 'f4', 12), ('range', 'f4', 16), ('azimuth', 'f4', 20), ('elevation', 'f4', 24), ('t', 'u4', 28),
            ('ts', 'f4', 32), ('lidar_sec', 'u4', 36), ('lidar_nsec', 'u4', 40), ('ring', 'i1', 44),
            ('layer', 'i1', 45), ('echo', 'i1', 46), ('reflector', 'i1', 47), ('infringed', 'i1', 48)), 49,
           intensity='i', time=('t', 1e-9, SINCE_STAMP), no_return=ZERO),
    Layout('sick_ldmrs', 'sick_scan_xd, LD-MRS', '3.9.0', 'SICKAG/sick_scan_xd, sick_ldmrs_driver.cpp',
           (*XYZ, ('echowidth', 'u2', 16), ('layer', 'u1', 18), ('echo', 'u1', 19), ('echo', 'u1', 20)), 32,
           intensity=''),
    Layout('autoware_xyzirc', 'Autoware PointXYZIRC', '1.9.0',
           'autowarefoundation/autoware_core, autoware_point_types/types.hpp',
           (*XYZ, ('intensity', 'u1', 12), ('return_type', 'u1', 13), ('channel', 'u2', 14)), 16),
    Layout('autoware_xyzircaedt', 'Autoware PointXYZIRCAEDT, Nebula', '1.9.0, 1.1.1',
           'autowarefoundation/autoware_core, autoware_point_types/types.hpp; tier4/nebula, point_types.hpp',
           (*XYZ, ('intensity', 'u1', 12), ('return_type', 'u1', 13), ('channel', 'u2', 14), ('azimuth', 'f4', 16),
            ('elevation', 'f4', 20), ('distance', 'f4', 24), ('time_stamp', 'u4', 28)), 32,
           time=('time_stamp', 1e-9, SINCE_STAMP)),
    Layout('autoware_xyziradrt', 'Autoware PointXYZIRADRT', '1.9.0',
           'autowarefoundation/autoware_core, autoware_point_types/types.hpp',
           (*XYZI, ('ring', 'u2', 16), ('azimuth', 'f4', 20), ('distance', 'f4', 24), ('return_type', 'u1', 28),
            ('time_stamp', 'f8', 32)), 40, time=('time_stamp', 1.0, EPOCH)),
    Layout('nebula_xyzir', 'Nebula PointXYZIR', '1.1.1', 'tier4/nebula, point_types.hpp',
           (*XYZ, ('intensity', 'f4', 16), ('ring', 'u2', 20)), 32),
    Layout('nebula_xyziradt', 'Nebula PointXYZIRADT', '1.1.1', 'tier4/nebula, point_types.hpp',
           (*XYZ, ('intensity', 'f4', 16), ('ring', 'u2', 20), ('azimuth', 'f4', 24), ('distance', 'f4', 28),
            ('return_type', 'u1', 32), ('time_stamp', 'f8', 40)), 48, time=('time_stamp', 1e-9, SINCE_STAMP)),
    Layout('blickfeld', 'blickfeld_qb2_ros2_driver', '2.1.0', 'Blickfeld/blickfeld_qb2_ros2_driver, qb2_ros2_utils.cpp',
           (*XYZ, ('intensity', 'u4', 12), ('point_id', 'u4', 16)), 20, no_return=NAN),
    Layout('kitti', 'kitti2bag', '00fbefe', 'tomas789/kitti2bag, kitti2bag.py', XYZI, 16),
    Layout('nuscenes', 'nuscenes2bag', '0a5a24f', 'clynamen/nuscenes2bag, LidarDirectoryConverterXYZIR.cpp',
           (*XYZI, ('ring', 'f4', 16)), 20),
    Layout('pcl_xyzi', 'pcl_conversions, PointXYZI', 'any', 'PointCloudLibrary/pcl, point_types.hpp',
           (*XYZ, ('intensity', 'f4', 16)), 32, no_return=NAN),
    Layout('xyz', 'any driver without intensity', '', 'sensor_msgs_py, create_cloud_xyz32', XYZ, 12, intensity=''),
    Layout('float64', 'simulators with float64 coordinates', '', 'sensor_msgs/PointField',
           (('x', 'f8', 0), ('y', 'f8', 8), ('z', 'f8', 16), ('intensity', 'u2', 24)), 26),
    Layout('row_step_of_the_whole', 'PointCloud2Modifier::resize(width, height)', 'before ros2/common_interfaces#340',
           'ros2/common_interfaces, point_cloud2_iterator.hpp', XYZI, 16, rows=True, row_step='of the whole cloud'),
    Layout('row_step_0', 'drivers that leave row_step out', '', 'sensor_msgs/PointCloud2', XYZI, 16, row_step='0'),
    Layout('row_step_in_points', 'scripts that count row_step in points', '', 'sensor_msgs/PointCloud2', XYZ, 12,
           intensity='', row_step='in points'),
    Layout('count_0', 'drivers that leave count out', '', 'sensor_msgs/PointField', XYZI, 16, zero_counts=True),
    Layout('big_endian', 'big-endian computers', '', 'sensor_msgs/PointCloud2',
           (*XYZI, ('t', 'u4', 16)), 20, time=('t', 1e-9, SINCE_STAMP), big_endian=True),
    Layout('zlib', 'zlib_point_cloud_transport', '5.0.1',
           'ros-perception/point_cloud_transport_plugins, zlib_publisher.cpp',
           (*XYZI, ('ring', 'u2', 16), ('time', 'f4', 18)), 22, time=('time', 1.0, SINCE_STAMP), type=COMPRESSED,
           format='zlib'),
    Layout('zstd', 'zstd_point_cloud_transport', '5.0.1',
           'ros-perception/point_cloud_transport_plugins, zstd_publisher.cpp',
           (*XYZI, ('ring', 'u2', 16), ('time', 'f4', 18)), 22, time=('time', 1.0, SINCE_STAMP), type=COMPRESSED,
           format='zstd'),
)
