# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Clouds and images as plain namespaces, with the layouts that drivers send; used by the decoder tests."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

CODES = {'i1': 1, 'u1': 2, 'i2': 3, 'u2': 4, 'i4': 5, 'u4': 6, 'f4': 7, 'f8': 8}
XYZI = (('x', 'f4', 0), ('y', 'f4', 4), ('z', 'f4', 8), ('intensity', 'f4', 12))


def header(sec=12, nanosec=34, frame_id='lidar'):
    return SimpleNamespace(stamp=SimpleNamespace(sec=sec, nanosec=nanosec), frame_id=frame_id)


def field(name, offset, datatype=7, count=1):
    return SimpleNamespace(name=name, offset=offset, datatype=datatype, count=count)


def cloud(values, layout=XYZI, point_step=16, height=1, row_padding=0, big=False, fill=0xAB):
    """A PointCloud2 of {name: (N,) values} with layout rows (name, numpy code, offset); unused bytes hold `fill`."""
    count = len(next(iter(values.values())))
    assert count % height == 0
    width = count // height
    row_step = width * point_step + row_padding
    data = np.full((height, row_step), fill, np.uint8)
    for name, code, offset in layout:
        column = np.asarray(values[name]).astype(('>' if big else '<') + code).reshape(height, width)
        raw = np.ascontiguousarray(column).view(np.uint8).reshape(height, width, -1)
        points = data[:, : width * point_step].reshape(height, width, point_step)
        points[..., offset : offset + raw.shape[2]] = raw
    return SimpleNamespace(
        header=header(), height=height, width=width, is_bigendian=big, is_dense=False, point_step=point_step,
        row_step=row_step, fields=[field(name, offset, CODES[code]) for name, code, offset in layout],
        data=data.tobytes())


def image(pixels, encoding, padding=0, big=False, fill=0xCD):
    """An Image of (H, W) or (H, W, C) pixels with rows padded by some bytes of `fill`."""
    pixels = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder('>' if big else '<')))
    rows = pixels.view(np.uint8).reshape(pixels.shape[0], -1)
    data = np.full((rows.shape[0], rows.shape[1] + padding), fill, np.uint8)
    data[:, : rows.shape[1]] = rows
    return SimpleNamespace(header=header(frame_id='map'), height=pixels.shape[0], width=pixels.shape[1],
                           encoding=encoding, is_bigendian=int(big), step=data.shape[1], data=data.tobytes())


def compressed(data, text='png'):
    return SimpleNamespace(header=header(frame_id='map'), format=text, data=bytes(data))
