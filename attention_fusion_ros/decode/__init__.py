"""Messages -> arrays, strictly: `sensor_msgs` clouds and images as they are on the wire, without ROS.

The functions read attributes only (`msg.header.stamp.sec`, `msg.data`, ...), so rclpy messages, rosbags messages and
plain namespaces all work. `data` may be `array.array('B')` (rclpy), `numpy.uint8` (rosbags), `bytes` or a memoryview.
Whatever is wrong with a message ends in `contracts.InputError` with a reason, never in another error or in a guess.
"""

from __future__ import annotations

from attention_fusion_ros.decode.cloud import decode_cloud
from attention_fusion_ros.decode.compressed import decode_compressed_map_image
from attention_fusion_ros.decode.image import decode_map_image

__all__ = ['decode_cloud', 'decode_compressed_map_image', 'decode_map_image']
