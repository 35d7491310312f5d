# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Messages -> arrays, strictly: clouds, images, odometry and transforms as they are on the wire, without ROS.

The functions read attributes only (`msg.header.stamp.sec`, `msg.data`, ...), so rclpy messages, rosbags messages and
plain namespaces all work. `data` may be `array.array('B')` (rclpy), `numpy.uint8` (rosbags), `bytes` or a memoryview.
Whatever is wrong with a message ends in `errors.InputError` with a reason, never in another error or in a guess.
"""

from __future__ import annotations

from attention_fusion_ros.decode.cloud import decode_cloud
from attention_fusion_ros.decode.compressed import decode_compressed_map_image
from attention_fusion_ros.decode.compressed_cloud import decode_compressed_cloud
from attention_fusion_ros.decode.grid import decode_map_grid
from attention_fusion_ros.decode.image import decode_map_image
from attention_fusion_ros.decode.livox import decode_livox
from attention_fusion_ros.decode.odometry import Odometry, decode_odometry
from attention_fusion_ros.decode.sweep import decode_sweep
from attention_fusion_ros.decode.transforms import (
    StampedTransform,
    Transforms,
    decode_static_transforms,
    decode_transforms,
)

# Every reason that the decoders give, and what it means; /diagnostics counts by these names.
REASONS = {
    'malformed_message': 'a value is missing, of the wrong kind or out of its range',
    'stamp_zero': 'the stamp in the header was never filled in',
    'empty_cloud': 'width x height is zero',
    'missing_field': 'x, y or z is not there',
    'unknown_datatype': 'a field is of no known datatype, or x, y, z are not floating point',
    'field_out_of_point': 'a field reaches beyond point_step',
    'fields_overlap': 'two of x, y and z share bytes',
    'size_mismatch': 'width, height and steps contradict each other, or there is more data than they say',
    'truncated_data': 'there is less data than width, height and steps say, or a compressed file breaks off',
    'no_finite_points': 'every point is NaN or infinite',
    'implausible_time': 'the time of the points is constant, spans more than a second, or is in no order; the cloud is '
                        'used without it',
    'no_returns': "every point lies at the sensor's origin, or all lie at one and the same place",
    'unknown_compression': 'a compressed cloud is none of draco, zlib and zstd',
    'decoder_missing': 'the package that unpacks a compressed cloud is not installed',
    'cloud_too_large': 'a compressed cloud claims an absurd size',
    'empty_image': 'the map image has no pixels',
    'unknown_encoding': 'the map image has an encoding that is not read',
    'dim_image': 'every pixel of the map image is 1, which is next to nothing',
    'no_finite_pixels': 'every pixel of a 32FC1 map image is NaN or infinite',
    'bad_grid': 'the resolution or the origin of a map grid is not finite, or no size or pose',
    'undecodable': 'a compressed cloud or map image is damaged',
    'image_too_large': 'a map image or grid has, or a compressed one claims, more than 36 million pixels',
    'bad_odometry': 'the pose of odometry is not finite or absurdly far away, or its quaternion is not of length 1',
    'bad_transform': 'a transform is not finite or absurdly long, its quaternion is not of length 1, or its frames '
                     'have no names',
}

__all__ = ['REASONS', 'Odometry', 'StampedTransform', 'Transforms', 'decode_cloud', 'decode_compressed_cloud',
           'decode_compressed_map_image', 'decode_livox', 'decode_map_grid', 'decode_map_image', 'decode_odometry',
           'decode_static_transforms', 'decode_sweep', 'decode_transforms']
