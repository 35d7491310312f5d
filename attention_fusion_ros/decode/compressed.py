# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""sensor_msgs/CompressedImage (PNG or JPEG) -> MapImage.

The size is read from the file's own header before anything is decoded, so that a few hostile bytes cannot claim
gigabytes, and a file that was cut off is refused: JPEG decoders fill the rest with grey, which would look like road.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from attention_fusion_ros.contracts import MapImage
from attention_fusion_ros.decode.map_style import road_and_route
from attention_fusion_ros.decode.message import byte_view, stamp_and_frame, text
from attention_fusion_ros.errors import InputError

MAX_PIXELS = 36_000_000  # 6000 x 6000
# More pixels than a byte of the file can hold: deflate packs at most 1032 to 1, PNG 8 pixels into a byte; a JPEG spends
# at least one bit on each block of 8 x 8. A header that claims more is damaged or hostile.
PNG_PIXELS_PER_BYTE, JPEG_PIXELS_PER_BYTE = 1032 * 8, 8 * 64
PNG_SIGNATURE, PNG_END = b'\x89PNG\r\n\x1a\n', b'IEND\xaeB`\x82'
JPEG_SIGNATURE, JPEG_END = b'\xff\xd8\xff', b'\xff\xd9'
# JPEG frame headers SOF0 to SOF15, without DHT, JPG and DAC, which share their range (ITU-T T.81, table B.1).
JPEG_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def decode_compressed_map_image(msg: Any) -> MapImage:
    """Road and route of a topological map image from a sensor_msgs/CompressedImage holding a PNG or a JPEG file.

    The file tells its own format; the text in `format` is not needed. 8 and 16 bit, grey, colour, palette and alpha.
    Raises InputError: malformed_message, stamp_zero, empty_image, unknown_encoding (no PNG or JPEG, other bit depths),
    truncated_data, undecodable, image_too_large, and what `map_style.road_and_route` raises.
    """
    import cv2  # here: it changes LD_LIBRARY_PATH, which is no business of launch files that import the table of inputs

    stamp_ns, frame_id = stamp_and_frame(msg)
    text(msg, 'format')
    data = byte_view(msg)
    if not len(data):
        raise InputError('empty_image', 'The compressed map image has no data.',
                         'publish the image only once it is drawn.')
    width, height, capacity = _size(data.tobytes())
    if width * height == 0:
        raise InputError('empty_image', f'The compressed map image has no pixels ({width} x {height}).',
                         'publish the image only once it is drawn.')
    if width * height > MAX_PIXELS:
        raise InputError('image_too_large', f'The compressed map image says {width} x {height} pixels; at most '
                         f'{MAX_PIXELS} are decoded.', 'crop the map to the surroundings of the vehicle.')
    if width * height > capacity:
        _undecodable(f'its {len(data)} bytes cannot hold {width} x {height} pixels')
    try:
        pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        _undecodable(str(error).strip())
    if pixels is None:
        _undecodable('damaged data')
    if pixels.dtype not in (np.uint8, np.uint16):
        raise InputError('unknown_encoding', f'The compressed map image decodes to {pixels.dtype} pixels.',
                         'send 8 or 16 bit PNG, or JPEG.')
    road, route = road_and_route(_channels(pixels))
    return MapImage(stamp_ns, frame_id, road, route)


def _undecodable(why: str) -> NoReturn:
    raise InputError('undecodable', f'The compressed map image cannot be decoded: {why}.',
                     'check the compressing publisher; send PNG or JPEG.')


def _channels(pixels: np.ndarray) -> dict[str, np.ndarray]:
    """cv2.imdecode gives (H, W), or (H, W, 3 or 4) in the order blue, green, red, alpha."""
    if pixels.ndim == 2:
        return {'v': pixels}
    if pixels.shape[2] not in (3, 4):
        _undecodable(f'{pixels.shape[2]} channels')
    return {letter: pixels[..., i] for i, letter in enumerate('bgra'[: pixels.shape[2]])}


def _size(file: bytes) -> tuple[int, int, int]:
    """Width and height by the file's header, and how many pixels so many bytes can hold.

    Raises InputError: unknown_encoding when it is neither PNG nor JPEG, truncated_data, undecodable.
    """
    if file.startswith(PNG_SIGNATURE):
        complete, size, per_byte = PNG_END in file[-64:], _png_size(file), PNG_PIXELS_PER_BYTE
    elif file.startswith(JPEG_SIGNATURE):
        complete, size, per_byte = JPEG_END in file[-64:], _jpeg_size(file), JPEG_PIXELS_PER_BYTE
    else:
        raise InputError('unknown_encoding', 'The compressed map image is neither PNG nor JPEG.',
                         'send PNG or JPEG (parameter `format` of compressed_image_transport).')
    if not complete or size is None:
        raise InputError('truncated_data', 'The compressed map image breaks off.',
                         'look for lost fragments (a larger receive buffer, reliable QoS).')
    return *size, per_byte * len(file)


def _png_size(file: bytes) -> tuple[int, int] | None:
    """From IHDR, which the standard puts first (PNG specification, 11.2.2)."""
    if len(file) < 24:
        return None
    return int.from_bytes(file[16:20], 'big'), int.from_bytes(file[20:24], 'big')


def _jpeg_size(file: bytes) -> tuple[int, int] | None:
    """From the first frame header, found by walking the marker segments (ITU-T T.81, B.1.1)."""
    at = 2
    while at + 9 <= len(file):
        if file[at] != 0xFF:
            _undecodable('a JPEG marker is missing')
        marker = file[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in JPEG_FRAME_HEADERS:
            return int.from_bytes(file[at + 7 : at + 9], 'big'), int.from_bytes(file[at + 5 : at + 7], 'big')
        elif 0xD0 <= marker <= 0xD9 or marker == 0x01:  # markers without a length
            at += 2
        else:
            at += 2 + max(2, int.from_bytes(file[at + 2 : at + 4], 'big'))
    return None
