# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which image topics are a camera's and not a map, told without looking at the pixels.

Asked where nobody has named the topic of the map image: by the frame (REP-103: a camera's image is in an `_optical`
frame), by a CameraInfo topic beside it (image_transport, REP-104), and by names that drivers give.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

CAMERA_INFO = 'sensor_msgs/msg/CameraInfo'
# Parts of topics and frames, without numbers.
CAMERA_WORDS = frozenset({
    'camera', 'cameras', 'cam', 'webcam', 'optical', 'depth', 'infra', 'infrared', 'ir', 'thermal', 'stereo', 'mono',
    'fisheye', 'rgb', 'rgbd', 'realsense', 'zed', 'kinect', 'oak', 'basler', 'usbcam', 'raw', 'rect', 'color', 'colour',
    'bayer', 'debayered', 'disparity', 'semantic', 'segmentation', 'gimbal'})
MAP_WORDS = frozenset({'map', 'maps', 'osm', 'openstreetmap', 'road', 'roads', 'route', 'tile', 'tiles', 'topology',
                       'topological'})
OWN_OUTPUTS = ('/heatmap/image',)  # of this node, in recordings that hold its results


def camera_sign(topic: str, frame_id: str, types: Mapping[str, str]) -> str:
    """What tells that an image topic is a camera's ('its frame is camera_optical_frame'), '' when nothing does.

    frame_id: of its images. types: {topic: type} of everything that is published beside it.
    """
    if topic.endswith(OWN_OUTPUTS):
        return 'this node publishes it'
    if 'optical' in _words(frame_id):
        return f"its frame is '{frame_id}'"
    parent = topic.rpartition('/')[0]
    for place in (parent, parent.rpartition('/')[0]):  # the second: /camera/image_raw/compressed
        if place and types.get(f'{place}/camera_info') == CAMERA_INFO:
            return f'{place}/camera_info is beside it'
    named_map = bool(_words(topic) & MAP_WORDS)
    for what, name in (('frame', frame_id), ('name', topic)):
        if not named_map and (found := _words(name) & CAMERA_WORDS):
            return f"its {what} says '{sorted(found)[0]}'"
    return ''


def _words(name: str) -> set[str]:
    """{'front', 'camera', 'image'} of /frontCamera2/image."""
    parts: Iterable[str] = re.findall(r'[A-Z]?[a-z]+|[A-Z]+(?![a-z])', name)
    return {part.lower() for part in parts}
