# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Map images as tools write them: any bit depth, 'no data' values, transparency in every PNG, thin routes in JPEG."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
from support.messages import compressed, image

from attention_fusion_ros.decode import decode_compressed_map_image, decode_map_image


def drawn(full=255, dtype=np.uint8, off=0):
    """(120, 160) antialiased: a road from top to bottom and one across."""
    picture = np.full((120, 160), off, np.uint8)
    cv2.line(picture, (80, 0), (90, 119), 255, 12, cv2.LINE_AA)
    cv2.line(picture, (0, 40), (159, 60), 255, 9, cv2.LINE_AA)
    return (picture * (full / 255)).round().astype(dtype) if np.dtype(dtype).kind == 'u' else (
        picture * np.float32(full / 255)).astype(dtype)


ROAD = drawn(1.0, np.float32)


def grey(pixels):
    return decode_map_image(image(pixels, {'B': '8UC1', 'H': '16UC1', 'f': '32FC1'}[pixels.dtype.char]))


def assert_is_the_map(road, skip=0, tolerance=0.02):
    np.testing.assert_allclose(road[:, skip:], ROAD[:, skip:], atol=tolerance)


@pytest.mark.parametrize('value', [3.4e38, 1e20, -9999.0, 9999.0, 32767.0, -32768.0, 1e9, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('full', [1.0, 100.0, 255.0])
def test_no_data_in_floats_is_no_road_and_changes_nothing_else(value, full):
    pixels = drawn(full, np.float32)
    pixels[:, :6] = value
    got = grey(pixels)
    assert_is_the_map(got.road, 6)
    assert not got.road[:, :6].any() and not got.warnings


@pytest.mark.parametrize('full', [1.0, 100.0, 255.0, 65535.0])
def test_floats_of_any_range(full):
    got = grey(drawn(full, np.float32))
    assert_is_the_map(got.road)
    assert not got.warnings


def test_negative_floats_are_no_road():
    pixels = np.where(ROAD > 0, ROAD, np.float32(-1.0))
    assert_is_the_map(grey(pixels).road)


def test_no_data_of_16_bits_in_a_map_of_8():
    pixels = drawn(255, np.uint16)
    pixels[:, :6] = 65535
    got = grey(pixels)
    assert_is_the_map(got.road, 6)
    assert not got.road[:, :6].any()


@pytest.mark.parametrize('full', [255, 1023, 4095, 16383 * 0.7])
def test_few_bits_in_16_are_used_and_named(full):
    got = grey(drawn(full, np.uint16))
    assert got.warnings == ('map_dim',)
    assert_is_the_map(got.road, tolerance=0.02 if full < 10_000 else 0.31)


@pytest.mark.parametrize('pixels', [drawn(1), drawn(1, np.uint16), drawn(20), drawn(45), drawn(0.1, np.float32)],
                         ids=['0/1', '0/1 in 16 bit', '20', '45', '0.1'])
def test_a_dim_map_is_used_and_named(pixels):
    got = grey(pixels)
    assert got.warnings == ('map_dim',)
    assert ((got.road > 0.5) == (ROAD > 0.5)).mean() > 0.99


@pytest.mark.parametrize('pixels', [
    np.full((50, 50), 20, np.uint8), np.random.default_rng(0).integers(0, 4, (50, 50)).astype(np.uint8),
    np.full((50, 50), 0.05, np.float32)], ids=['grey', 'noise', 'grey float'])
def test_what_is_dim_and_no_drawing_is_named_and_stays_dim(pixels):
    got = grey(pixels)
    assert got.warnings == ('map_dim',) and got.road.max() < 0.2


@pytest.mark.parametrize('level', [60, 130, 255])
def test_a_map_that_is_bright_enough_stays_as_it_is(level):
    got = grey(drawn(level))
    assert got.road.max() == pytest.approx(level / 255) and not got.warnings


# -- transparency ------------------------------------------------------------------------------------------------------

def png(rows, width, bits, kind, transparent=None, palette=None):
    """A PNG file from its scan lines (bytes), written by the letter of the standard."""
    def chunk(name, data):
        return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))
    head = struct.pack('>IIBBBBB', width, len(rows), bits, kind, 0, 0, 0)
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + (chunk(b'PLTE', palette) if palette else b'')
            + (chunk(b'tRNS', transparent) if transparent else b'')
            + chunk(b'IDAT', zlib.compress(b''.join(b'\0' + row for row in rows))) + chunk(b'IEND', b''))


W8, W16 = b'\xff', b'\xff\xff'
# Two pixels a row, both white, of which the first is transparent; then the same with a black second one.
TRANSPARENT = {
    'grey 8': lambda on: png([b'\xff' + (b'\xfe' if on else b'\0')] * 4, 2, 8, 0, b'\0\xff'),
    'grey 16': lambda on: png([b'\xff\xff' + (b'\xff\xfe' if on else b'\0\0')] * 4, 2, 16, 0, b'\xff\xff'),
    'grey 4': lambda on: png([b'\xee' if not on else b'\xef'] * 4, 2, 4, 0, b'\0\x0e'),
    'grey alpha': lambda on: png([b'\xff\0' + (b'\xff\xff' if on else b'\0\xff')] * 4, 2, 8, 4),
    'grey alpha 16': lambda on: png([b'\xff\xff\0\0' + (b'\xff\xff' if on else b'\0\0') + b'\xff\xff'] * 4, 2, 16, 4),
    'rgb 8': lambda on: png([b'\xff\xff\xff' + (b'\xfe\xff\xff' if on else b'\0\0\0')] * 4, 2, 8, 2,
                            b'\0\xff\0\xff\0\xff'),
    'rgb 16': lambda on: png([W16 * 3 + (b'\xff\xfe\xff\xff\xff\xff' if on else b'\0' * 6)] * 4, 2, 16, 2, W16 * 3),
    'rgba 8': lambda on: png([b'\xff\xff\xff\0' + (b'\xff\xff\xff\xff' if on else b'\0\0\0\xff')] * 4, 2, 8, 6),
    'rgba 16': lambda on: png([W16 * 3 + b'\0\0' + (W16 * 4 if on else b'\0' * 6 + W16)] * 4, 2, 16, 6),
    'palette': lambda on: png([b'\0\1' if on else b'\0\2'] * 4, 2, 8, 3, b'\0\xff\xff',
                              b'\xff\xff\xff' + b'\xff\xff\xff' + b'\0\0\0'),
    'palette 1': lambda on: png([b'\x40' if on else b'\0'] * 4, 2, 1, 3, b'\0\xff', b'\xff\xff\xff' * 2),
}


@pytest.mark.parametrize('kind', TRANSPARENT)
def test_transparent_pixels_of_every_png_show_nothing(kind):
    shown = decode_compressed_map_image(compressed(TRANSPARENT[kind](True))).road
    np.testing.assert_allclose(shown, [[0.0, 1.0]] * 4, atol=0.01)
    assert not decode_compressed_map_image(compressed(TRANSPARENT[kind](False))).road.any()


def test_a_png_that_is_transparent_throughout_shows_nothing():
    pixels = np.full((5, 6, 4), 255, np.uint8)
    pixels[..., 3] = 0
    assert not decode_compressed_map_image(compressed(cv2.imencode('.png', pixels)[1].tobytes())).road.any()


@pytest.mark.parametrize('encoding', ['rgba8', 'bgra8'])
def test_what_is_transparent_has_no_say_in_the_brightness(encoding):
    pixels = np.dstack([drawn(40)] * 3 + [np.full((120, 160), 255, np.uint8)])
    pixels[:, :20, :3], pixels[:, :20, 3] = 255, 0
    got = decode_map_image(image(pixels, encoding))
    assert_is_the_map(got.road, 20, 0.05)
    assert not got.road[:, :20].any() and got.warnings == ('map_dim',)


# -- routes in JPEG files ----------------------------------------------------------------------------------------------

SAMPLING = {'4:2:0': cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, '4:2:2': cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
            '4:4:4': cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444}


def jpeg(colour, width, slope, ground=0, road=None, sampling='4:2:0', quality=80, kind=cv2.LINE_8):
    """A stroke along x = 100 + slope y, on a road of some brightness; the file, and where the stroke is."""
    picture = np.full((200, 200, 3), ground, np.uint8)
    if road is not None:
        cv2.line(picture, (100, 0), (100, 199), (road,) * 3, 21)
    ends = tuple((100 + round(slope * (y - 100)), y) for y in (20, 180))
    cv2.line(picture, *ends, colour[::-1], width, kind)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLING[sampling]]
    return cv2.imencode('.jpg', picture, options)[1].tobytes(), np.linspace(ends[0], ends[1], 30).round().astype(int)


@pytest.mark.parametrize('quality', [60, 80, 90, 100])
def test_a_red_stroke_of_one_pixel_is_dull_red_in_a_jpeg_file_of_any_quality(quality):
    """Half of the colour of 2 x 2 pixels; only without subsampling it stays red."""
    for sampling, colour in (('4:2:0', (142, 48, 48)), ('4:4:4', (254, 0, 0))):
        file, along = jpeg((255, 0, 0), 1, 0, sampling=sampling, quality=quality)
        picture = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(int)
        off = np.abs(picture[along[5:-5, 1], along[5:-5, 0]] - colour).max()
        assert off <= (2 if quality == 100 else 14), (sampling, off)
    assert quality < 80 or decode_compressed_map_image(compressed(jpeg((255, 0, 0), 1, 0, quality=quality)[0],
                                                                  'jpeg')).route is not None


@pytest.mark.parametrize('quality', [80, 95])
@pytest.mark.parametrize('sampling', SAMPLING)
@pytest.mark.parametrize('slope', [0, 0.3, 1.0])
@pytest.mark.parametrize(('width', 'ground', 'road'), [(1, 0, None), (1, 0, 255), (1, 0, 150), (1, 255, None),
                                                       (2, 0, None), (2, 0, 255), (2, 0, 80), (2, 255, None)])
def test_a_thin_route_in_a_jpeg_file_is_read(width, ground, road, slope, sampling, quality):
    file, along = jpeg((255, 0, 0), width, slope, ground, road, sampling, quality)
    got = decode_compressed_map_image(compressed(file, 'jpeg'))
    found = [got.route[y - 2:y + 3, x - 2:x + 3].max() > 0.5 for x, y in along[2:-2]]
    assert np.mean(found) > 0.8
    near = np.zeros((200, 200), bool)
    for x, y in along:
        near[max(y - 12, 0):y + 13, max(x - 12, 0):x + 13] = True
    assert not (got.route[~near] > 0.3).any()


def test_a_thin_route_that_cannot_be_told_is_named():
    """A grey road as bright as red: nothing says which pixels were the stroke."""
    file, _ = jpeg((255, 0, 0), 1, 0, road=76)
    got = decode_compressed_map_image(compressed(file, 'jpeg'))
    assert got.route is None and got.warnings == ('route_unclear',)


@pytest.mark.parametrize('width', [1, 2, 3, 8, 20])
@pytest.mark.parametrize('ground', [0, 255])
@pytest.mark.parametrize('colour', [(255, 165, 0), (249, 178, 156), (232, 146, 162), (250, 128, 114), (255, 0, 255),
                                    (255, 255, 0), (255, 255, 255), (0, 0, 255)])
def test_roads_of_other_colours_in_jpeg_files_are_no_route(colour, ground, width):
    for slope in (0, 0.3):
        file, _ = jpeg(colour, width, slope, ground)
        assert decode_compressed_map_image(compressed(file, 'jpeg')).route is None


def test_half_covered_pixels_of_pure_red_are_a_route():
    """A stroke between two columns of pixels covers half of each."""
    picture = np.zeros((30, 30, 3), np.uint8)
    picture[:, 14:16, 0] = 127
    assert decode_map_image(image(picture, 'rgb8')).route.max() > 0.9


@pytest.mark.parametrize('kind', ['.png', '.jpg'])
@pytest.mark.parametrize('red', [60, 100, 120])
def test_a_route_in_a_red_that_is_too_dark_is_named(red, kind):
    picture = np.zeros((120, 160, 3), np.uint8)
    cv2.line(picture, (0, 60), (159, 60), (255, 255, 255), 21)
    cv2.line(picture, (0, 60), (159, 60), (0, 0, red), 7)
    got = decode_compressed_map_image(compressed(cv2.imencode(kind, picture)[1].tobytes()))
    assert got.route is None and got.warnings == ('route_unclear',)


@pytest.mark.parametrize('colour', [(101, 67, 33), (165, 42, 42), (120, 60, 0), (128, 0, 128), (90, 40, 40)])
def test_dark_roads_that_are_not_purely_red_are_no_route_and_raise_no_doubt(colour):
    picture = np.zeros((120, 160, 3), np.uint8)
    cv2.line(picture, (0, 60), (159, 60), (255, 255, 255), 21)
    cv2.line(picture, (80, 0), (80, 119), colour, 7)
    got = decode_map_image(image(picture, 'rgb8'))
    assert got.route is None and not got.warnings


def test_alpha_has_the_bit_depth_of_the_colours():
    """10 bits in 16: 1023 is white, and opaque."""
    white = np.full((30, 30, 4), 1023, np.uint16)
    white[:, :10, 3] = 0
    white[10:20, :, :3] = 0
    got = decode_compressed_map_image(compressed(cv2.imencode('.png', white)[1].tobytes()))
    assert np.all(got.road[:10, 10:] == 1.0) and not got.road[:, :10].any() and not got.road[10:20].any()


@pytest.mark.parametrize('width', [3, 4, 8, 20])
@pytest.mark.parametrize('ground', [0, 128, 255])
def test_a_road_in_the_colour_that_jpeg_makes_of_a_thin_route_is_no_route(ground, width):
    """Wide enough to have kept its colour, it is what it looks like: dull red."""
    file, _ = jpeg((142, 48, 48), width, 0, ground, quality=85)
    got = decode_compressed_map_image(compressed(file, 'jpeg'))
    assert got.route is None and not got.warnings
