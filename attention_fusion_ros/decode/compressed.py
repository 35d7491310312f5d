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
from attention_fusion_ros.decode.image import MAX_PIXELS
from attention_fusion_ros.decode.image_file import (
    JPEG_END,
    JPEG_SIGNATURE,
    PNG_END,
    PNG_SIGNATURE,
    jpeg_chroma_block,
    jpeg_scans,
    jpeg_size,
    png_complete,
    png_size,
    png_transparent_value,
)
from attention_fusion_ros.decode.map_style import road_and_route
from attention_fusion_ros.decode.message import byte_view, stamp_and_frame, text
from attention_fusion_ros.decode.photograph import frame_warnings
from attention_fusion_ros.errors import InputError

# More pixels than a byte of the file can hold: deflate packs at most 1032 to 1, PNG 8 pixels into a byte; a JPEG spends
# at least one bit on each block of 8 x 8. A header that claims more is damaged or hostile.
PNG_PIXELS_PER_BYTE, JPEG_PIXELS_PER_BYTE = 1032 * 8, 8 * 64
MAX_SCANS = 64  # of a progressive JPEG, which has ten; each is a pass over all pixels, and takes ten bytes


def decode_compressed_map_image(msg: Any) -> MapImage:
    """Road and route of a topological map image from a sensor_msgs/CompressedImage holding a PNG or a JPEG file.

    The file tells its own format; the text in `format` is not needed. 8 and 16 bit, grey, colour, palette, alpha and
    transparent colours. Thin red strokes whose colour a JPEG file has averaged away are restored, see `chroma`.
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
    file = data.tobytes()
    width, height, capacity = _size(file)
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
    if pixels is None or pixels.shape[:2] != (height, width):
        _undecodable('damaged data')
    if pixels.dtype not in (np.uint8, np.uint16):
        raise InputError('unknown_encoding', f'The compressed map image decodes to {pixels.dtype} pixels.',
                         'send 8 or 16 bit PNG, or JPEG.')
    layers = road_and_route(_channels(pixels, png_transparent_value(file)), unused_alpha=False,
                            chroma_block=jpeg_chroma_block(file))
    return MapImage(stamp_ns, frame_id, layers.road, layers.route, warnings=layers.warnings + frame_warnings(frame_id))


def _undecodable(why: str) -> NoReturn:
    raise InputError('undecodable', f'The compressed map image cannot be decoded: {why}.',
                     'check the compressing publisher; send PNG or JPEG.')


def _channels(pixels: np.ndarray, transparent: tuple[int, ...] | None) -> dict[str, np.ndarray]:
    """cv2.imdecode gives (H, W), or (H, W, 3 or 4) in the order blue, green, red, alpha.

    transparent: grey value or (r, g, b) of pixels that are transparent, which OpenCV does not look at in every version.
    """
    if pixels.ndim == 2:
        channels = {'v': pixels}
    elif pixels.shape[2] in (3, 4):
        channels = {letter: pixels[..., i] for i, letter in enumerate('bgra'[: pixels.shape[2]])}
    else:
        _undecodable(f'{pixels.shape[2]} channels')
    if transparent is not None and 'a' not in channels:
        seen = np.zeros(pixels.shape[:2], bool)
        for letter, value in zip('v' if pixels.ndim == 2 else 'rgb', transparent, strict=True):
            seen |= channels[letter] != value
        channels['a'] = np.where(seen, np.iinfo(pixels.dtype).max, 0).astype(pixels.dtype)
    return channels


def _size(file: bytes) -> tuple[int, int, int]:
    """Width and height by the file's header, and how many pixels so many bytes can hold.

    Raises InputError: unknown_encoding when it is neither PNG nor JPEG, truncated_data, undecodable.
    """
    if file.startswith(PNG_SIGNATURE):
        complete, size, per_byte = PNG_END in file[-64:], png_size(file), PNG_PIXELS_PER_BYTE
        if complete and not png_complete(file):
            _undecodable('a chunk claims more bytes than there are')
    elif file.startswith(JPEG_SIGNATURE):
        complete, per_byte = JPEG_END in file[-64:], JPEG_PIXELS_PER_BYTE
        if jpeg_scans(file) > MAX_SCANS:
            _undecodable(f'it has {jpeg_scans(file)} scans')
        try:
            size = jpeg_size(file)
        except ValueError as error:
            _undecodable(str(error))
    else:
        raise InputError('unknown_encoding', 'The compressed map image is neither PNG nor JPEG.',
                         'send PNG or JPEG (parameter `format` of compressed_image_transport).')
    if not complete or size is None:
        raise InputError('truncated_data', 'The compressed map image breaks off.',
                         'look for lost fragments (a larger receive buffer, reliable QoS).')
    return *size, per_byte * len(file)
