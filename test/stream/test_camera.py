# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A camera's images are not taken for the map of a recording, unless the user says so."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from support.messages import compressed, image
from support.synthetic_bag import T0, T, drive, header, write

from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.decode import decode_compressed_map_image, decode_map_image
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.stream.camera import CAMERA_INFO, camera_sign
from attention_fusion_ros.stream.recorded_sweeps import synced_sweeps
from attention_fusion_ros.stream.recording import Recording

IMAGE = 'sensor_msgs/msg/Image'


@pytest.mark.parametrize(('topic', 'frame', 'beside'), [
    ('/image', 'front_optical', ()), ('/image', 'camera_optical_frame', ()), ('/map_image', 'cam_optical_frame', ()),
    ('/image', 'cameraLeft', ()), ('/front/image', 'cam0', ()), ('/camera/image_raw', '', ()),
    ('/zed2/left/image_rect_color', '', ()), ('/kitti/camera_color_left', '', ()), ('/usb_cam/image', '', ()),
    ('/front/image', '', ('/front/camera_info',)), ('/front/image/compressed', '', ('/front/camera_info',)),
    ('/attention_fusion/heatmap/image', 'base_link', ())])
def test_signs_of_a_camera(topic, frame, beside):
    assert camera_sign(topic, frame, dict.fromkeys(beside, CAMERA_INFO))


@pytest.mark.parametrize(('topic', 'frame'), [
    ('/map_image', 'base_link'), ('/osm/image', 'map'), ('/road_image/compressed', ''), ('/bev_map', 'base_link'),
    ('/camera/map_image', 'base_link'), ('/image', 'base_link'), ('/topology', 'odom'), ('/navigation/tiles', '')])
def test_a_map_has_no_sign_of_a_camera(topic, frame):
    assert camera_sign(topic, frame, {'/other/camera_info': CAMERA_INFO}) == ''


def picture(stamp, frame):
    pixels = np.zeros((60, 80, 3), np.uint8)
    pixels[:, 30:50] = 255
    return T[IMAGE](header(stamp, frame), 60, 80, 'rgb8', 0, 240, pixels.reshape(-1))


def bag(tmp_path, **cameras):
    """A drive; its map image is on one topic, cameras on others ({topic without its slash: frame})."""
    events = [e for e in drive() if e[1] != '/map_image' or 'map_image' not in cameras]
    topics = {f"/{name.replace('__', '/')}": frame for name, frame in cameras.items()}
    events += [(T0 + i, topic, picture(T0 + i, frame)) for topic, frame in topics.items() for i in range(3)]
    return write(tmp_path / 'bag', sorted(events, key=lambda e: e[0]), types=dict.fromkeys(topics, IMAGE))


def test_a_map_is_found_among_cameras(tmp_path):
    with Recording(bag(tmp_path, camera__image_raw='', image='left_optical_frame')) as recording:
        topics = recording.input_topics()
        assert topics['map_image'] == '/map_image' and not topics.left_out


def test_cameras_alone_are_no_map_and_no_error(tmp_path):
    path = bag(tmp_path, map_image='left_optical_frame', camera__image_raw='')
    with Recording(path) as recording:
        topics = recording.input_topics()
        assert topics['map_image'] is None
        notice = topics.left_out['map_image'].notice
        assert '/camera/image_raw' in notice and "'left_optical_frame'" in notice and '--map-image' in notice
        sweeps = list(synced_sweeps(recording, topics, NodeConfig()))
        assert len(sweeps) == 4 and {s.map_reason for s in sweeps} == {'camera_image'}
        assert recording.input_topics(map_image='/camera/image_raw')['map_image'] == '/camera/image_raw'
        assert not recording.input_topics(map_image='none').left_out


def test_two_topics_that_may_be_maps_still_leave_a_choice(tmp_path):
    with Recording(bag(tmp_path, image='base_link')) as recording, pytest.raises(InputError) as error:
        recording.input_topics()
    assert error.value.reason == 'topic_ambiguous'


# -- what it shows -----------------------------------------------------------------------------------------------------

def street(noise, seed=0):
    rng = np.random.default_rng(seed)
    pixels = np.zeros((480, 640, 3), np.uint8)
    pixels[:220], pixels[220:] = (150, 190, 235), (95, 95, 100)
    pixels[170:330, 60:230], pixels[250:330, 420:520] = (140, 120, 100), (210, 20, 25)
    return np.clip(pixels + rng.normal(0, noise, pixels.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize('noise', [2, 6, 15])
def test_a_photograph_is_named(noise):
    rgb = street(noise)
    jpeg = cv2.imencode('.jpg', rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    found = [decode_map_image(image(rgb, 'rgb8')), decode_map_image(image(rgb.max(2), 'mono8'))]
    if noise > 2:  # JPEG smooths less away
        found.append(decode_compressed_map_image(compressed(jpeg, 'jpeg')))
    assert all('camera_image' in got.warnings for got in found)


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
@pytest.mark.parametrize(('off', 'road', 'blur'), [(0, 255, 0), (0, 140, 3), (242, 255, 0), (40, 120, 1), (255, 0, 0)])
def test_a_drawing_is_no_photograph(off, road, blur, suffix):
    pixels = np.full((400, 400), off, np.uint8)
    for i in range(0, 400, 50):
        cv2.line(pixels, (i, 0), (399 - i, 399), road, 5, cv2.LINE_AA)
    pixels = cv2.GaussianBlur(pixels, (0, 0), blur) if blur else pixels
    file = cv2.imencode(suffix, pixels, [cv2.IMWRITE_JPEG_QUALITY, 75] if suffix == '.jpg' else [])[1].tobytes()
    assert 'camera_image' not in decode_compressed_map_image(compressed(file)).warnings


@pytest.mark.parametrize('size', [12, 15])
def test_an_image_too_small_to_have_areas_is_no_photograph(size):
    pixels = np.random.default_rng(0).integers(60, 255, (size, size), np.uint8)
    assert 'camera_image' not in decode_map_image(image(pixels, 'mono8')).warnings


def test_a_map_with_noise_is_no_photograph():
    picture = np.full((120, 160), 20.0)
    cv2.line(picture, (80, 0), (80, 119), 220.0, 12)
    noisy = (picture + np.random.default_rng(0).normal(0, 5, picture.shape)).clip(0, 255).astype(np.uint8)
    assert 'camera_image' not in decode_map_image(image(noisy, 'mono8')).warnings


def test_an_optical_frame_is_doubtful():
    msg = image(np.eye(20, dtype=np.uint8) * 255, 'mono8')
    msg.header.frame_id = 'front_optical_frame'
    assert decode_map_image(msg).warnings == ('camera_frame',)
