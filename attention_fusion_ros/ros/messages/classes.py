# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The message classes that encoders use: those of ROS where it is installed, stand-ins with the same fields elsewhere.

So `replay` writes what the node publishes, on machines without ROS as well. A further class is a name in both lists.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

HAVE_ROS = all(find_spec(name) is not None for name in ('rclpy', 'diagnostic_msgs', 'nav_msgs', 'visualization_msgs'))

if TYPE_CHECKING or HAVE_ROS:
    from builtin_interfaces.msg import Duration as Duration
    from diagnostic_msgs.msg import DiagnosticArray as DiagnosticArray
    from diagnostic_msgs.msg import DiagnosticStatus as DiagnosticStatus
    from diagnostic_msgs.msg import KeyValue as KeyValue
    from geometry_msgs.msg import Point as Point
    from geometry_msgs.msg import Pose as Pose
    from geometry_msgs.msg import PoseArray as PoseArray
    from geometry_msgs.msg import PoseStamped as PoseStamped
    from geometry_msgs.msg import PoseWithCovarianceStamped as PoseWithCovarianceStamped
    from geometry_msgs.msg import Quaternion as Quaternion
    from geometry_msgs.msg import TransformStamped as TransformStamped
    from nav_msgs.msg import OccupancyGrid as OccupancyGrid
    from nav_msgs.msg import Odometry as Odometry
    from nav_msgs.msg import Path as Path
    from rosgraph_msgs.msg import Clock as Clock
    from sensor_msgs.msg import Image as Image
    from sensor_msgs.msg import Imu as Imu
    from sensor_msgs.msg import LaserScan as LaserScan
    from sensor_msgs.msg import NavSatFix as NavSatFix
    from sensor_msgs.msg import PointCloud2 as PointCloud2
    from sensor_msgs.msg import PointField as PointField
    from std_msgs.msg import ColorRGBA as ColorRGBA
    from std_msgs.msg import Float32MultiArray as Float32MultiArray
    from std_msgs.msg import Float64 as Float64
    from std_msgs.msg import Header as Header
    from std_msgs.msg import MultiArrayDimension as MultiArrayDimension
    from std_msgs.msg import String as String
    from visualization_msgs.msg import Marker as Marker
    from visualization_msgs.msg import MarkerArray as MarkerArray
else:
    from attention_fusion_ros.ros.messages.standins import standin

    for _package, _names in {
            'builtin_interfaces': ('Duration',),
            'diagnostic_msgs': ('DiagnosticArray', 'DiagnosticStatus', 'KeyValue'),
            'geometry_msgs': ('Point', 'Pose', 'PoseArray', 'PoseStamped', 'PoseWithCovarianceStamped', 'Quaternion',
                              'TransformStamped'),
            'nav_msgs': ('OccupancyGrid', 'Odometry', 'Path'),
            'rosgraph_msgs': ('Clock',),
            'sensor_msgs': ('Image', 'Imu', 'LaserScan', 'NavSatFix', 'PointCloud2', 'PointField'),
            'std_msgs': ('ColorRGBA', 'Float32MultiArray', 'Float64', 'Header', 'MultiArrayDimension',
                         'String'),
            'visualization_msgs': ('Marker', 'MarkerArray')}.items():
        for _name in _names:
            globals()[_name] = standin(f'{_package}/msg/{_name}')


def serialize(message: Any) -> bytes:
    """A message of one of these classes as CDR bytes."""
    if HAVE_ROS:
        from rclpy.serialization import serialize_message
        return bytes(serialize_message(message))
    from attention_fusion_ros.ros.messages import standins
    return standins.serialize(message)
