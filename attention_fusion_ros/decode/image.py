# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""sensor_msgs/Image -> MapImage: a strided view over the message's bytes, then `map_style`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from attention_fusion_ros.contracts import MapImage
from attention_fusion_ros.decode.map_style import road_and_route
from attention_fusion_ros.decode.message import byte_view, flag, row_stride, stamp_and_frame, text, whole_number
from attention_fusion_ros.decode.photograph import frame_warnings
from attention_fusion_ros.errors import InputError

MAX_PIXELS = 36_000_000  # 6000 x 6000


class Encoding(NamedTuple):
    """How the pixels of one sensor_msgs/image_encodings name are laid out."""

    dtype: str  # numpy code without byte order
    order: str  # channel letters: one letter is grey


ENCODINGS = {
    'mono8': Encoding('u1', 'v'), '8UC1': Encoding('u1', 'v'),
    'mono16': Encoding('u2', 'v'), '16UC1': Encoding('u2', 'v'),
    '32FC1': Encoding('f4', 'v'),
    'rgb8': Encoding('u1', 'rgb'), 'bgr8': Encoding('u1', 'bgr'),
    'rgba8': Encoding('u1', 'rgba'), 'bgra8': Encoding('u1', 'bgra'),
}  # fmt: skip

WITHOUT_ORDER = {'8UC3': 'bgr8', '8UC4': 'bgra8'}  # as cv_bridge names them unless it is told; those of OpenCV


def decode_map_image(msg: Any) -> MapImage:
    """Road and route of a topological map image from a sensor_msgs/Image; `map_style` says what counts as which.

    Rows may be padded (step); is_bigendian counts for 16 and 32 bit.
    Raises InputError: malformed_message, stamp_zero, empty_image, unknown_encoding, size_mismatch, truncated_data,
    image_too_large, and what `map_style.road_and_route` raises.
    """
    stamp_ns, frame_id = stamp_and_frame(msg)
    width, height, step = whole_number(msg, 'width'), whole_number(msg, 'height'), whole_number(msg, 'step')
    name = text(msg, 'encoding')
    if width * height == 0:
        raise InputError('empty_image', f'The map image has no pixels ({width} x {height}).',
                         'publish the image only once it is drawn.')
    ordered = WITHOUT_ORDER.get(name, name)
    if ordered not in ENCODINGS:
        raise InputError('unknown_encoding', f"The map image has encoding '{name}'; known are {', '.join(ENCODINGS)}.",
                         'convert the image to one of these.')
    encoding = ENCODINGS[ordered]
    order = '>' if flag(msg, 'is_bigendian') else '<'
    dtype = np.dtype(order + encoding.dtype)
    channels = len(encoding.order)
    pixel_bytes = dtype.itemsize * channels
    data = byte_view(msg)
    step = row_stride('map image', len(data), height, width * pixel_bytes, step, 'step')
    if width * height > MAX_PIXELS:
        raise InputError('image_too_large', f'The map image has {width} x {height} pixels; at most {MAX_PIXELS} are '
                         'read.', 'crop the map to the surroundings of the vehicle.')

    pixels: np.ndarray = np.ndarray((height, width, channels), dtype, data, 0, (step, pixel_bytes, dtype.itemsize))
    if name in WITHOUT_ORDER and (pixels[..., 0] != pixels[..., 2]).any():
        raise InputError('unknown_encoding', f"The map image has encoding '{name}', which does not say whether its "
                         'first channel is red or blue.', 'name the order where the message is made, as in '
                         f"CvBridge().cv2_to_imgmsg(image, encoding='{ordered}') for an image of OpenCV.")
    layers = road_and_route({letter: pixels[..., i] for i, letter in enumerate(encoding.order)})
    return MapImage(stamp_ns, frame_id, layers.road, layers.route, warnings=layers.warnings + frame_warnings(frame_id))
