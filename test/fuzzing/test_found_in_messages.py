# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What fuzzing found in the decoders of messages, each as the smallest message that shows it.

Nothing here makes other software crash or hang: where a library would, the message is refused before the library sees
it.
"""

from __future__ import annotations

import struct
import warnings
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from support.messages import compressed, field, header, image

from attention_fusion_ros.decode import (
    decode_compressed_cloud,
    decode_compressed_map_image,
    decode_livox,
    decode_map_grid,
    decode_map_image,
    draco,
)
from attention_fusion_ros.decode.compressed import MAX_SCANS
from attention_fusion_ros.errors import InputError

DRACO = Path(__file__).parents[1] / 'data' / 'draco'
HUGE = 10**400  # more than a float can hold


def refused(decode, message):
    with pytest.raises(InputError) as found:
        decode(message)
    return found.value.reason


def draco_cloud(data, **changes):
    fields = (('x', 0, 7), ('y', 4, 7), ('z', 8, 7), ('intensity', 12, 2), ('ring', 14, 4), ('t', 16, 6))
    message = dict(header=header(), height=1, width=200, is_bigendian=False, is_dense=True, point_step=20,
                   row_step=4000, format='draco', compressed_data=data, fields=[field(*row) for row in fields])
    return SimpleNamespace(**{**message, **changes})


def draco_file(points, attributes, decoders=1, count=None, version=2):
    """The head of a Draco file. attributes: (type, components) of each."""
    count = len(attributes) if count is None else count
    head = b'DRACO' + bytes([version, 3, 0, 0, 0, 0]) + struct.pack('<IB', points, decoders)
    number = b''
    while count > 0x7F:
        number, count = number + bytes([count & 0x7F | 0x80]), count >> 7
    described = (bytes([4, kind, components, 0, 0]) for kind, components in attributes)
    return head + number + bytes([count]) + b''.join(described) + bytes(len(attributes))


@pytest.mark.parametrize('path', sorted(DRACO.glob('*.drc')), ids=lambda path: path.stem)
def test_what_a_draco_file_holds_is_known_before_it_is_decoded(path):
    points, point_bytes = draco.outline(path.read_bytes())
    assert points == 200 and point_bytes == (3 * 4 + 1 + 2 + 4) + 6 * 4  # what it holds, and while it is decoded


@pytest.mark.parametrize('data, changes, reason', [
    (draco_file(2**32 - 1, [(9, 1)] * 3 + [(9, 0)] * 3), {'point_step': 0, 'width': 2**32 - 1}, 'cloud_too_large'),
    (draco_file(200, [(10, 255)] * 2000), {}, 'cloud_too_large'),
    (draco_file(200, [(9, 1)], count=2**31), {}, 'undecodable'),
    (draco_file(200, [(9, 1)], decoders=255), {}, 'undecodable'),
    (draco_file(200, [(77, 1)]), {}, 'undecodable'), (draco_file(200, [(9, 1)], version=1), {}, 'undecodable')])
def test_a_draco_file_that_claims_gigabytes_is_refused_before_it_is_decoded(data, changes, reason, monkeypatch):
    def decoded(_):
        raise AssertionError('it was decoded')
    monkeypatch.setattr(draco, 'attributes', decoded)
    assert refused(decode_compressed_cloud, draco_cloud(data, **changes)) == reason


def progressive(scans):
    """A JPEG of many scans: the last one of a progressive file, again and again."""
    picture = cv2.line(np.zeros((32, 32), np.uint8), (0, 5), (31, 25), 255, 5)
    file = cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    last = file.rindex(b'\xff\xda')
    return file[:-2] + file[last:-2] * (scans - file.count(b'\xff\xda')) + b'\xff\xd9'


def test_a_jpeg_of_many_scans_is_refused_for_each_is_a_pass_over_all_pixels():
    good = progressive(0)
    assert 2 <= good.count(b'\xff\xda') <= 12
    assert decode_compressed_map_image(compressed(good)).road.shape == (32, 32)
    with pytest.raises(InputError, match='scans') as found:
        decode_compressed_map_image(compressed(progressive(MAX_SCANS + 1)))
    assert found.value.reason == 'undecodable'


def test_a_field_of_a_draco_cloud_without_a_name():
    pytest.importorskip('DracoPy')
    message = draco_cloud((DRACO / 'sequential.drc').read_bytes())
    assert len(decode_compressed_cloud(message).xyz)
    del message.fields[3].name
    assert refused(decode_compressed_cloud, message) == 'malformed_message'


def test_a_value_of_no_data_that_is_larger_than_any_brightness():
    pixels = np.full((4, 4), 0.1, np.float32)
    pixels[1], pixels[0, 0] = 0.15, 3.4e38
    message = SimpleNamespace(header=header(), width=4, height=4, step=16, encoding='32FC1', is_bigendian=0,
                              data=pixels.tobytes())
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        road = decode_map_image(message).road
    assert road[0, 0] == 0.0 and np.isfinite(road).all()


def test_an_image_of_many_values_of_no_data_is_read_in_one_pass():
    """Floats in the wrong byte order, say. There was a pass over the image for each of its values beyond 1e9."""
    pixels = np.linspace(1e10, 1e30, 512 * 512, dtype=np.float32).reshape(512, 512)
    assert not decode_map_image(image(pixels, '32FC1')).road.any()
    pixels[:, 256] = 1.0
    road = decode_map_image(image(pixels, '32FC1')).road
    assert (road[:, 256] == 1).all() and road.sum() == 512


def test_a_chunk_of_a_png_that_claims_gigabytes_is_refused_before_it_is_decoded(monkeypatch):
    file = cv2.imencode('.png', np.zeros((1, 200, 4), np.uint8))[1].tobytes()
    at = file.index(b'IDAT') - 4
    assert decode_compressed_map_image(compressed(file)).road.shape == (1, 200)

    def decoded(*_):
        raise AssertionError('it was decoded')
    monkeypatch.setattr(cv2, 'imdecode', decoded)
    damaged = file[:at] + b'\xff\xff\xff' + file[at + 3:]
    assert refused(decode_compressed_map_image, compressed(damaged)) == 'undecodable'


def test_numbers_that_no_float_holds():
    point = SimpleNamespace(x=HUGE, y=0.0, z=0.0, reflectivity=0, offset_time=0)
    assert refused(decode_livox, SimpleNamespace(header=header(), points=[point])) == 'malformed_message'
    pose = SimpleNamespace(position=SimpleNamespace(x=0, y=0, z=0), orientation=SimpleNamespace(x=0, y=0, z=0, w=1))
    info = SimpleNamespace(resolution=HUGE, width=1, height=1, origin=pose)
    assert refused(decode_map_grid, SimpleNamespace(header=header(), info=info, data=b'\0')) == 'malformed_message'
    pytest.importorskip('pyproj')
    from attention_fusion_ros.maps.messages import decode_alignment
    covariance = [0.0] * 35 + [HUGE]
    alignment = SimpleNamespace(header=header(), pose=SimpleNamespace(pose=pose, covariance=covariance))
    assert refused(decode_alignment, alignment) == 'alignment_unusable'
