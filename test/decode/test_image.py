# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Map images: every encoding, what its colours mean, and every way to be wrong."""

from __future__ import annotations

import array

import cv2
import numpy as np
import pytest
from support.messages import compressed, image

from attention_fusion_ros.decode import REASONS, decode_compressed_map_image, decode_map_image
from attention_fusion_ros.errors import InputError

BLACK, WHITE, RED = (0, 0, 0), (255, 255, 255), (255, 0, 0)


def grey_picture(full=255, dtype=np.uint8):
    return (np.random.default_rng(1).integers(0, full + 1, (13, 17))).astype(dtype)


def map_picture(road=WHITE, route=RED, ground=BLACK):
    """(60, 80, 3) rgb, antialiased: a road from left to right and a route from bottom to top."""
    picture = np.full((60, 80, 3), ground, np.uint8)
    cv2.line(picture, (0, 20), (79, 30), road, 7, cv2.LINE_AA)
    if route is not None:
        cv2.line(picture, (40, 59), (45, 0), route, 6, cv2.LINE_AA)
    return picture


def coverage(line, width):
    """How much of each pixel a line covers, drawn on its own in white on black."""
    picture = np.zeros((60, 80), np.uint8)
    cv2.line(picture, *line, 255, width, cv2.LINE_AA)
    return picture / 255.0


@pytest.mark.parametrize('padding', [0, 5])
@pytest.mark.parametrize('big', [False, True], ids=['little', 'big'])
@pytest.mark.parametrize(('encoding', 'full', 'dtype'), [
    ('mono8', 255, np.uint8), ('8UC1', 255, np.uint8), ('mono16', 65535, np.uint16), ('16UC1', 65535, np.uint16)])
def test_grey_is_normalised_by_full_scale(encoding, full, dtype, big, padding):
    pixels = grey_picture(full, dtype)
    got = decode_map_image(image(pixels, encoding, padding, big))
    np.testing.assert_allclose(got.road, pixels / full, atol=1e-6)
    assert got.road.dtype == np.float32 and got.route is None
    assert (got.stamp_ns, got.frame_id) == (12_000_000_034, 'map')


@pytest.mark.parametrize('padding', [0, 4])
@pytest.mark.parametrize('big', [False, True], ids=['little', 'big'])
def test_floats_are_taken_as_they_are_up_to_one(big, padding):
    pixels = np.float32([[0.0, 0.25, 1.0], [np.nan, -3.0, np.inf]])
    got = decode_map_image(image(pixels, '32FC1', padding, big))
    np.testing.assert_array_equal(got.road, np.float32([[0, 0.25, 1], [0, 0, 0]]))


def test_floats_beyond_one_are_divided_by_the_largest():
    got = decode_map_image(image(np.float32([[0.0, 51.0, 204.0]]), '32FC1'))
    np.testing.assert_allclose(got.road, [[0, 0.25, 1]])


@pytest.mark.parametrize('padding', [0, 3])
@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8', 'rgba8', 'bgra8'])
def test_colour_orders_mean_the_same(encoding, padding):
    rgb = map_picture(road=(40, 90, 250))
    channels = {'r': rgb[..., 0], 'g': rgb[..., 1], 'b': rgb[..., 2], 'a': np.full(rgb.shape[:2], 255, np.uint8)}
    pixels = np.stack([channels[letter] for letter in encoding[:-1]], 2)
    got = decode_map_image(image(pixels, encoding, padding, big=True))  # of no meaning for 8 bit
    wanted = decode_map_image(image(rgb, 'rgb8'))
    np.testing.assert_array_equal(got.road, wanted.road)
    np.testing.assert_array_equal(got.route, wanted.route)
    np.testing.assert_allclose(wanted.road, np.maximum(rgb.max(2) / 255.0, wanted.route), atol=1e-6)


@pytest.mark.parametrize(('encoding', 'named'), [('8UC3', 'bgr8'), ('8UC4', 'bgra8')])
def test_colours_of_no_named_order_are_read_where_it_does_not_matter(encoding, named):
    """As cv_bridge makes them unless it is told what they are."""
    grey, coloured = (np.dstack([map_picture(route=route), np.full((60, 80), 255, np.uint8)])[..., :int(encoding[-1])]
                      for route in (None, RED))
    np.testing.assert_array_equal(decode_map_image(image(grey, encoding)).road,
                                  decode_map_image(image(grey, named)).road)
    with pytest.raises(InputError, match=f"red or blue.*encoding='{named}'") as error:
        decode_map_image(image(coloured, encoding))
    assert error.value.reason == 'unknown_encoding'


@pytest.mark.parametrize('encoding', ['mono8', '8UC1', 'rgb8', 'bgr8', 'rgba8', 'bgra8'])
def test_agrees_with_cv_bridge(encoding):
    cv_bridge = pytest.importorskip('cv_bridge')
    messages = pytest.importorskip('sensor_msgs.msg')
    channels = {'m': 1, '8': 1, 'r': 3, 'b': 3}[encoding[0]] + ('a' in encoding)
    pixels = np.random.default_rng(2).integers(0, 256, (20, 30, channels), dtype=np.uint8)
    if channels == 4:
        pixels[..., 3] = 255
    if channels >= 3:  # nothing red: only brightness is compared
        pixels[..., 1] = np.maximum(pixels[..., 1], pixels[..., ::2].max(2))
    plain = image(pixels if channels > 1 else pixels[..., 0], encoding)
    msg = messages.Image(height=20, width=30, encoding=encoding, step=plain.step, data=array.array('B', plain.data))
    msg.header.stamp.sec = 1
    picture = cv_bridge.CvBridge().imgmsg_to_cv2(msg, 'passthrough' if channels == 1 else 'bgr8')
    brightness = picture if picture.ndim == 2 else picture.max(2)
    got = decode_map_image(msg)
    assert got.route is None
    np.testing.assert_allclose(got.road, brightness / 255.0, atol=1e-6)


def test_padded_rows_are_read_which_the_wheel_of_cv_bridge_reads_askew():
    """cv_bridge from PyPI ignores `step`; that of ROS distributions was not run."""
    pixels = map_picture()[..., 0]
    msg = image(pixels, 'mono8', padding=6)
    np.testing.assert_allclose(decode_map_image(msg).road, pixels / 255.0, atol=1e-6)
    cv_bridge = pytest.importorskip('cv_bridge')
    if not hasattr(cv_bridge, '__file__') or 'site-packages' not in str(cv_bridge.__file__):
        pytest.skip('another cv_bridge')
    messages = pytest.importorskip('sensor_msgs.msg')
    ros = messages.Image(height=60, width=80, encoding='mono8', step=msg.step, data=array.array('B', msg.data))
    seen = cv_bridge.CvBridge().imgmsg_to_cv2(ros, 'passthrough')
    np.testing.assert_array_equal(seen[0], pixels[0])
    assert (seen[1, :6] == 0xCD).all() and not np.array_equal(seen, pixels)  # the padding of the first row


@pytest.mark.parametrize('ground', [BLACK, WHITE, (90, 90, 90)], ids=['black', 'white', 'grey'])
def test_a_red_stroke_is_the_route_whatever_it_lies_on(ground):
    covered = coverage(((40, 59), (45, 0)), 6)
    got = decode_map_image(image(map_picture(ground=ground), 'rgb8'))
    assert got.route[covered == 1].min() > 0.95 and got.route[covered < 0.3].max() < 0.05
    # Antialiased edges: partial, in the order of their coverage, and the stroke neither grows nor shrinks much.
    edge = (covered > 0.4) & (covered < 0.9)
    assert edge.sum() > 20 and np.corrcoef(got.route[edge], covered[edge])[0, 1] > 0.95
    assert abs(got.route.sum() / covered.sum() - 1) < 0.06
    assert (got.road >= got.route).all()


@pytest.mark.parametrize('red', [(255, 0, 0), (220, 20, 60), (200, 0, 0), (139, 0, 0), (234, 67, 53), (255, 69, 0)])
def test_reds_that_people_draw_routes_with(red):
    got = decode_map_image(image(map_picture(route=red), 'rgb8'))
    covered = coverage(((40, 59), (45, 0)), 6)
    assert got.route[covered == 1].min() > 0.9 and got.route[covered == 0].max() == 0
    assert got.road[covered == 1].min() > 0.9


@pytest.mark.parametrize('colour', [
    (255, 255, 0), (255, 165, 0), (255, 140, 0), (252, 214, 164), (249, 178, 156), (232, 146, 162), (250, 128, 114),
    (255, 192, 203), (255, 0, 255), (128, 0, 128), (165, 42, 42), (255, 255, 255), (0, 0, 255), (0, 255, 0)])
def test_roads_in_colours_that_are_not_clearly_red(colour):
    got = decode_map_image(image(map_picture(road=colour, route=None), 'rgb8'))
    assert got.route is None
    assert got.road.max() == pytest.approx(max(colour) / 255)


def test_a_blue_road_is_as_bright_as_a_white_one():
    got = decode_map_image(image(map_picture(road=(0, 0, 255), route=None), 'rgb8'))
    np.testing.assert_allclose(got.road, coverage(((0, 20), (79, 30)), 7), atol=1e-6)


def test_one_red_pixel_is_a_route():
    pixels = np.zeros((3, 4, 3), np.uint8)
    pixels[1, 2] = RED
    got = decode_map_image(image(pixels, 'rgb8'))
    wanted = np.zeros((3, 4))
    wanted[1, 2] = 1
    np.testing.assert_array_equal(got.route, wanted)
    np.testing.assert_array_equal(got.road, wanted)
    assert decode_map_image(image(pixels, 'bgr8')).route is None


def test_transparent_pixels_show_nothing():
    pixels = np.full((2, 3, 4), 255, np.uint8)
    pixels[1, :, 1:3] = 0
    pixels[:, :, 3] = [0, 51, 255]
    got = decode_map_image(image(pixels, 'rgba8'))
    np.testing.assert_allclose(got.road, [[0, 0.2, 1]] * 2, atol=1e-6)
    np.testing.assert_allclose(got.route, [[0, 0, 0], [0, 0.2, 1]], atol=1e-6)


def test_alpha_of_zero_everywhere_is_an_unused_byte():
    pixels = np.zeros((4, 5, 4), np.uint8)
    pixels[2, :, :3] = 255
    assert decode_map_image(image(pixels, 'bgra8')).road.sum() == 5


def test_a_black_map_is_a_map_without_roads():
    got = decode_map_image(image(np.zeros((5, 6, 3), np.uint8), 'rgb8'))
    assert got.road.shape == (5, 6) and not got.road.any() and got.route is None


def test_dim_antialiasing_alone_is_no_mask():
    pixels = np.zeros((5, 6), np.uint8)
    pixels[0, 0] = 3  # the rim of a road outside of the image
    assert decode_map_image(image(pixels, 'mono8')).road.max() == pytest.approx(3 / 255)


@pytest.mark.parametrize('wrap', [bytearray, memoryview, lambda b: array.array('B', b),
                                  lambda b: np.frombuffer(b, np.uint8)])
def test_every_kind_of_buffer(wrap):
    msg = image(map_picture(), 'rgb8')
    wanted = decode_map_image(msg).road
    msg.data = wrap(msg.data)
    np.testing.assert_array_equal(decode_map_image(msg).road, wanted)


def change(**attributes):
    return lambda msg: vars(msg).update(attributes)


@pytest.mark.parametrize('step', [0, 3, 239, 14_400, 2**32 - 1])
def test_where_the_data_leaves_one_reading_step_is_not_believed(step):
    good, odd = image(map_picture(), 'rgb8'), image(map_picture(), 'rgb8')
    odd.step = step
    np.testing.assert_array_equal(decode_map_image(odd).road, decode_map_image(good).road)


# What is wrong -> how it is done to a good 60 x 80 rgb8 image with a step of 242, and the reason given.
BAD = {
    'data cut off': (lambda m: change(data=m.data[:-1])(m), 'truncated_data'),
    'no data': (change(data=b''), 'truncated_data'),
    'too much data': (lambda m: change(data=m.data + b'\0')(m), 'size_mismatch'),
    'step too small': (change(step=239), 'size_mismatch'),
    'step 0': (change(step=0), 'size_mismatch'),
    'too wide': (change(width=81), 'size_mismatch'),
    'too high': (change(height=61), 'truncated_data'),
    'not high enough': (change(height=59), 'size_mismatch'),
    'absurdly wide': (change(width=2**32 - 1), 'size_mismatch'),
    'absurdly high': (change(height=2**32 - 1), 'truncated_data'),
    'absurd all over': (change(width=2**32 - 1, height=2**32 - 1, step=2**32 - 1), 'size_mismatch'),
    'no columns': (change(width=0), 'empty_image'),
    'no rows': (change(height=0, data=b''), 'empty_image'),
    'encoding of a camera': (change(encoding='bayer_rggb8'), 'unknown_encoding'),
    'encoding without an order of colours': (change(encoding='8UC3'), 'unknown_encoding'),
    'no encoding': (change(encoding=''), 'unknown_encoding'),
    'encoding None': (change(encoding=None), 'malformed_message'),
    'encoding of more bytes': (change(encoding='rgba8'), 'size_mismatch'),
    'width None': (change(width=None), 'malformed_message'),
    'width a fraction': (change(width=80.0), 'malformed_message'),
    'step beyond uint32': (change(step=2**32), 'malformed_message'),
    'data None': (change(data=None), 'malformed_message'),
    'is_bigendian beyond uint8': (change(is_bigendian=256), 'malformed_message'),
    'header None': (change(header=None), 'malformed_message'),
    'stamp 0': (lambda m: vars(m.header.stamp).update(sec=0, nanosec=0), 'stamp_zero'),
    'ones': (lambda m: change(**vars(image(np.ones((4, 4, 3), np.uint8), 'rgb8')))(m), 'dim_image'),
    'only NaN': (lambda m: change(**vars(image(np.float32([[np.nan, np.inf]]), '32FC1')))(m), 'no_finite_pixels'),
}


@pytest.mark.parametrize('what', BAD)
def test_bad_images_are_refused_with_a_reason(what):
    spoil, reason = BAD[what]
    msg = image(map_picture(), 'rgb8', padding=2)
    decode_map_image(msg)
    spoil(msg)
    with pytest.raises(InputError) as error:
        decode_map_image(msg)
    assert error.value.reason == reason
    assert reason in REASONS and error.value.remedy and str(error.value).endswith(error.value.remedy)


def encoded(pixels, suffix='.png', *options):
    return cv2.imencode(suffix, pixels, list(options))[1].tobytes()


def test_png_is_the_same_as_raw():
    rgb = map_picture()
    wanted = decode_map_image(image(rgb, 'rgb8'))
    for extra in ((), (np.full(rgb.shape[:2], 255, np.uint8),)):
        bgr = np.dstack([rgb[..., ::-1], *extra])
        got = decode_compressed_map_image(compressed(encoded(bgr), 'rgb8; png compressed bgr8'))
        np.testing.assert_array_equal(got.road, wanted.road)
        np.testing.assert_array_equal(got.route, wanted.route)
        assert (got.stamp_ns, got.frame_id) == (wanted.stamp_ns, wanted.frame_id)


@pytest.mark.parametrize(('full', 'dtype'), [(255, np.uint8), (65535, np.uint16)])
def test_grey_png(full, dtype):
    pixels = grey_picture(full, dtype)
    got = decode_compressed_map_image(compressed(encoded(pixels)))
    np.testing.assert_allclose(got.road, pixels / full, atol=1e-6)
    assert got.route is None


def test_transparent_png():
    pixels = np.full((6, 7, 4), 255, np.uint8)
    pixels[3:, :, 3] = 0
    assert decode_compressed_map_image(compressed(encoded(pixels))).road.sum() == 21


@pytest.mark.parametrize('quality', [95, 80, 50])
def test_jpeg_keeps_road_and_route(quality):
    rgb = map_picture()
    wanted = decode_map_image(image(rgb, 'rgb8'))
    data = encoded(rgb[..., ::-1], '.jpg', cv2.IMWRITE_JPEG_QUALITY, quality)
    got = decode_compressed_map_image(compressed(data, 'jpeg'))
    assert ((got.road > 0.5) != (wanted.road > 0.5)).mean() < 0.02
    assert ((got.route > 0.5) != (wanted.route > 0.5)).mean() < 0.02
    grey = decode_compressed_map_image(compressed(encoded(rgb[..., 1], '.jpg', cv2.IMWRITE_JPEG_QUALITY, quality)))
    assert grey.route is None and ((grey.road > 0.5) != (rgb[..., 1] > 127)).mean() < 0.02


def test_jpeg_of_a_map_without_route_has_none():
    data = encoded(map_picture(route=None)[..., ::-1], '.jpg', cv2.IMWRITE_JPEG_QUALITY, 40)
    assert decode_compressed_map_image(compressed(data)).route is None


def test_jpeg_with_application_segments_and_trailing_bytes():
    data = encoded(map_picture()[..., 1], '.jpg')
    exif = b'\xff\xe1' + (300).to_bytes(2, 'big') + bytes(298)
    got = decode_compressed_map_image(compressed(data[:2] + exif + data[2:] + b'\0\0'))
    np.testing.assert_array_equal(got.road, decode_compressed_map_image(compressed(data)).road)


def claims(width, height):
    """A PNG whose header claims another size."""
    data = bytearray(encoded(map_picture()))
    data[16:20], data[20:24] = width.to_bytes(4, 'big'), height.to_bytes(4, 'big')
    return bytes(data)


PNG, JPEG = encoded(map_picture()), encoded(map_picture(), '.jpg')
BAD_FILES = {
    'nothing': (b'', 'empty_image'),
    'text': (b'a map', 'unknown_encoding'),
    'bmp': (encoded(map_picture(), '.bmp'), 'unknown_encoding'),
    'png signature alone': (PNG[:8], 'truncated_data'),
    'png cut in the header': (PNG[:20], 'truncated_data'),
    'png cut in the middle': (PNG[: len(PNG) // 2], 'truncated_data'),
    'png without its end': (PNG[:-12], 'truncated_data'),
    'png with its middle torn out': (PNG[:60] + PNG[-12:], 'undecodable'),
    'png with damaged pixels': (PNG[:80] + bytes(40) + PNG[120:], 'undecodable'),
    'png of no size': (claims(0, 60), 'empty_image'),
    'png of absurd size': (claims(2**31 - 1, 2**31 - 1), 'image_too_large'),
    'png of a false size': (claims(500, 700), 'undecodable'),
    'jpeg signature alone': (JPEG[:3], 'truncated_data'),
    'jpeg cut in the middle': (JPEG[: len(JPEG) // 2], 'truncated_data'),
    'jpeg without its end': (JPEG[:-2], 'truncated_data'),
    'jpeg with a broken marker': (JPEG[:2] + b'\xff\xe0\x00\x04..x' + JPEG[20:], 'undecodable'),
    'ones': (encoded(np.ones((9, 9), np.uint8)), 'dim_image'),
}


@pytest.mark.parametrize('what', BAD_FILES)
def test_bad_files_are_refused_with_a_reason(what):
    data, reason = BAD_FILES[what]
    with pytest.raises(InputError) as error:
        decode_compressed_map_image(compressed(data))
    assert error.value.reason == reason
    assert reason in REASONS


def test_malformed_compressed_messages():
    msg = compressed(PNG)
    msg.format = None
    with pytest.raises(InputError, match='`format`'):
        decode_compressed_map_image(msg)
    msg = compressed(PNG)
    msg.header.stamp.sec = msg.header.stamp.nanosec = 0
    with pytest.raises(InputError) as error:
        decode_compressed_map_image(msg)
    assert error.value.reason == 'stamp_zero'


def test_the_size_limit_is_where_the_reason_says():
    for width, height, reason in ((6000, 6000, 'undecodable'), (6000, 6001, 'image_too_large')):
        with pytest.raises(InputError) as error:
            decode_compressed_map_image(compressed(claims(width, height)))
        assert error.value.reason == reason


def test_a_raw_image_has_the_same_limit():
    with pytest.raises(InputError) as error:
        decode_map_image(image(np.zeros((6001, 6000), np.uint8), 'mono8'))
    assert error.value.reason == 'image_too_large'


@pytest.mark.parametrize(('suffix', 'options'), [
    ('.png', (cv2.IMWRITE_PNG_COMPRESSION, 9, cv2.IMWRITE_PNG_BILEVEL, 1)),
    ('.jpg', (cv2.IMWRITE_JPEG_QUALITY, 10)),
    ('.jpg', (cv2.IMWRITE_JPEG_QUALITY, 10, cv2.IMWRITE_JPEG_OPTIMIZE, 1, cv2.IMWRITE_JPEG_PROGRESSIVE, 1))])
def test_the_emptiest_map_is_not_taken_for_a_false_size(suffix, options):
    data = encoded(np.zeros((4000, 4000), np.uint8), suffix, *options)
    got = decode_compressed_map_image(compressed(data))
    assert got.road.shape == (4000, 4000) and not got.road.any()
