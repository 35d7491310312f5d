# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Good clouds in every layout: fields of any type, order and place, padding, byte order, rows, NaN; and as drivers send
them, compressed or not (test/decode/conformance).
"""

from __future__ import annotations

import functools
import gzip
import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from attention_fusion_ros.decode.cloud import DATATYPES, INTENSITY_NAMES
from attention_fusion_ros.decode.point_time import TIME_NAMES
from attention_fusion_ros.stream.storage.compression import _zstd
from attention_fusion_ros.stream.typestore import typestore

ROOT = Path(__file__).resolve().parents[2]
CONFORMANCE, DRACO = ROOT / 'test' / 'decode' / 'conformance', ROOT / 'test' / 'data' / 'draco'
DRACO_FIELDS = (('x', 0, 7), ('y', 4, 7), ('z', 8, 7), ('intensity', 12, 2), ('ring', 14, 4), ('t', 16, 6))
FRAMES = ('lidar', '/lidar', 'velodyne', '')
STAMP = 1_700_000_000


def header(choices: random.Random, frame: str | None = None) -> SimpleNamespace:
    """A std_msgs/Header with a plausible stamp."""
    return SimpleNamespace(stamp=SimpleNamespace(sec=STAMP, nanosec=choices.randrange(10**9)),
                           frame_id=choices.choice(FRAMES) if frame is None else frame)


def cloud(choices: random.Random) -> SimpleNamespace:
    """A PointCloud2 with up to 400 points in a layout of its own."""
    rows, columns = choices.choice(((1, 60), (4, 30), (16, 25), (60, 1), (1, 1), (1, 400)))
    big = not choices.randrange(4)
    names = [*'xyz', choices.choice(INTENSITY_NAMES), choices.choice(TIME_NAMES), 'ring'][: 3 + choices.randrange(4)]
    codes = {name: choices.choice((7, 7, 7, 8)) if name in 'xyz' else choices.randrange(1, 12) for name in names}
    choices.shuffle(names)
    offset, fields = 0, []
    for name in names:
        offset += choices.choice((0, 0, 0, 1, 4))
        fields.append(SimpleNamespace(name=name, offset=offset, datatype=codes[name],
                                      count=choices.choice((1, 1, 1, 0))))
        offset += np.dtype(DATATYPES[codes[name]]).itemsize
    step = offset + choices.choice((0, 0, 2, 16))
    row_step = columns * step + choices.choice((0, 0, 0, 5))
    data = np.full((rows, row_step), 0xAB, np.uint8)
    points = data[:, : columns * step].reshape(rows, columns, step)
    for entry in fields:
        values = np.asarray(_values(entry.name, rows * columns, choices))
        with np.errstate(all='ignore'):
            code = DATATYPES[entry.datatype]
            values = values.astype(('>' if big else '<') + code).reshape(rows, columns, 1)
        points[..., entry.offset : entry.offset + values.itemsize] = values.view(np.uint8)
    return SimpleNamespace(header=header(choices), height=rows, width=columns, fields=fields, is_bigendian=big,
                           point_step=step, row_step=row_step, is_dense=bool(choices.randrange(2)),
                           data=data.tobytes())


def _values(name: str, count: int, choices: random.Random) -> np.ndarray:
    rng = np.random.default_rng(choices.randrange(2**16))
    if name in TIME_NAMES:
        turn = np.linspace(0.0, 0.1, count)
        return choices.choice((turn, 1e9 * turn, STAMP + turn, 1e9 * (STAMP + turn), 0.0 * turn,
                               rng.uniform(0, 1e8, count)))
    values = rng.normal(0.0, choices.choice((10.0, 10.0, 1e-3, 1e30)), count)
    kind = choices.randrange(8)
    if kind == 0:
        values[:: 1 + choices.randrange(9)] = choices.choice((np.nan, np.inf, 0.0, -0.0))
    elif kind == 1:
        values[:] = choices.choice((np.nan, 0.0, 1.0, 3e38, 1e300))
    return values


def recorded_cloud(choices: random.Random) -> SimpleNamespace:
    """A message in the layout of a driver."""
    return choices.choice(_conformance())


def compressed_cloud(choices: random.Random) -> SimpleNamespace:
    """A CompressedPointCloud2: zlib, zstd or draco."""
    if not choices.randrange(2):
        return SimpleNamespace(
            header=header(choices), height=1, width=200, is_bigendian=False, is_dense=True, point_step=20,
            row_step=4000, format='draco', compressed_data=choices.choice(_draco_files()),
            fields=[SimpleNamespace(name=n, offset=o, datatype=d, count=1) for n, o, d in DRACO_FIELDS])
    message = cloud(choices)
    name = choices.choice(('zlib', 'zstd'))
    packed = gzip.compress(message.data) if name == 'zlib' else bytes(_zstd().compress(message.data))
    del message.data
    message.compressed_data, message.format = packed, name
    return message


def livox(choices: random.Random) -> SimpleNamespace:
    """A CustomMsg."""
    count = choices.choice((1, 5, 20))
    points = [SimpleNamespace(offset_time=10_000 * i, x=choices.uniform(-40, 40), y=choices.uniform(-40, 40),
                              z=choices.uniform(-2, 5), reflectivity=choices.randrange(256), tag=16, line=i % 4)
              for i in range(count)]
    return SimpleNamespace(header=header(choices), timebase=STAMP * 10**9, point_num=count, lidar_id=0,
                           rsvd=b'\0\0\0', points=points)


def plain(message: Any) -> Any:
    """A message of rosbags as namespaces, lists and bytes."""
    if isinstance(message, np.ndarray):
        return message.tobytes() if message.dtype == np.uint8 else message.tolist()
    if isinstance(message, list):
        return [plain(item) for item in message]
    if hasattr(message, '__dataclass_fields__'):
        return SimpleNamespace(**{name: plain(getattr(message, name)) for name in message.__dataclass_fields__
                                  if not name.startswith('__')})
    return message


@functools.cache
def _conformance() -> tuple[SimpleNamespace, ...]:
    store = typestore()
    return tuple(plain(store.deserialize_cdr(path.read_bytes(),
                                             json.loads(path.with_suffix('.json').read_text())['type']))
                 for path in sorted(CONFORMANCE.glob('*.cdr')))


@functools.cache
def _draco_files() -> tuple[bytes, ...]:
    return tuple(path.read_bytes() for path in sorted(DRACO.glob('*.drc')))
