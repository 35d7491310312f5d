#!/usr/bin/env python3
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Encode a small cloud in the layout of every driver of `cloud_layouts`, with what it says beside it.

    python tools/conformance.py        write test/decode/conformance/NAME.cdr (the message as on the wire) and NAME.json
                                       (what is to be decoded)

test/decode/test_conformance.py reads them. The answers are what went into the messages, not what was decoded of them.
"""
from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import generated  # noqa: E402
from cloud_layouts import COMPRESSED, EPOCH, LAYOUTS, NAN, OMITTED, Layout  # noqa: E402

from attention_fusion_ros.stream.typestore import typestore  # noqa: E402

FOLDER = generated.ROOT / 'test' / 'decode' / 'conformance'
STAMP_NS, FRAME = 1_700_000_000_000_000_000, 'lidar'
RINGS, COLUMNS, TURN_S = 4, 12, 0.1
CODES = {'i1': 1, 'u1': 2, 'i2': 3, 'u2': 4, 'i4': 5, 'u4': 6, 'f4': 7, 'f8': 8}
STORE = typestore()
T = STORE.types


def turn(seed: int) -> dict[str, np.ndarray]:
    """One turn, column by column: coordinates [m], time since the stamp [s], ring, intensity, and what was returned."""
    rng = np.random.default_rng(seed)
    column, ring = np.repeat(np.arange(COLUMNS), RINGS), np.tile(np.arange(RINGS), COLUMNS)
    azimuth, elevation = -np.pi + 2 * np.pi * column / COLUMNS, np.radians(-12.0 + 6.0 * ring)
    distance = np.round(rng.uniform(4.0, 30.0, len(ring)), 2)
    xyz = distance * np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth),
                               np.sin(elevation)])
    return {**dict(zip('xyz', np.round(xyz, 3).astype(np.float32))), 'time': TURN_S * column / COLUMNS, 'ring': ring,
            'intensity': rng.integers(0, 100, len(ring)), 'seen': rng.random(len(ring)) < 0.8, 'azimuth': azimuth,
            'elevation': elevation, 'distance': distance}


def points(layout: Layout, values: dict[str, np.ndarray]) -> np.ndarray:
    """(N,) of the layout's own type; bytes between the fields hold 0xAB, which nobody may read."""
    order = '>' if layout.big_endian else '<'
    unique = {name: (code, offset) for name, code, offset in reversed(layout.fields)}
    dtype = np.dtype({'names': list(unique), 'formats': [order + code for code, _ in unique.values()],
                      'offsets': [offset for _, offset in unique.values()], 'itemsize': layout.point_step})
    count = len(values['x'])
    out = np.full(count * layout.point_step, 0xAB, np.uint8).view(dtype)
    others = {'range': values['distance'], 'channel': values['ring'], 'line': values['ring'], 'layer': values['ring'],
              'azimuth': values['azimuth'], 'elevation': values['elevation'], 'distance': values['distance']}
    for name, (code, _) in unique.items():
        if name in 'xyz':
            column = np.where(values['seen'], values[name], np.nan if layout.no_return == NAN else 0.0)
        elif layout.time is not None and name == layout.time[0]:
            _, unit, origin = layout.time
            ticks = np.round(values['time'] / unit) if unit < 1 else values['time']
            column = ticks + (STAMP_NS / 1e9 / unit if origin == EPOCH else 0.0)
        elif name == layout.intensity:
            column = values['intensity']
        elif name == 'ring':
            column = values['ring']
        else:
            column = others.get(name, 255 - values['intensity'])  # another value than the one to be read
        with np.errstate(invalid='ignore'):
            out[name] = np.asarray(column).astype(code)
    return out


def header() -> Any:
    """A std_msgs/Header."""
    return T['std_msgs/msg/Header'](T['builtin_interfaces/msg/Time'](STAMP_NS // 10**9, STAMP_NS % 10**9), FRAME)


def message(layout: Layout, encoded: np.ndarray) -> Any:
    """The message that the driver sends."""
    kind = layout.type.replace('/', '/msg/')
    if layout.type.endswith('/CustomMsg'):
        point = T[kind.replace('CustomMsg', 'CustomPoint')]
        return T[kind](header(), STAMP_NS, len(encoded), 0, np.zeros(3, np.uint8),
                       [point(*(value.item() for value in row)) for row in encoded[[f[0] for f in layout.fields]]])
    fields = [T['sensor_msgs/msg/PointField'](name, offset, CODES[code], 0 if layout.zero_counts else 1)
              for name, code, offset in layout.fields]
    height = RINGS if layout.rows else 1
    width = len(encoded) // height
    row_step = {'right': encoded.nbytes // height, '0': 0, 'of the whole cloud': encoded.nbytes,
                'in points': width}[layout.row_step]
    plain = (header(), height, width, fields, layout.big_endian, layout.point_step, row_step)
    if layout.type != COMPRESSED:
        return T[kind](*plain, np.frombuffer(encoded.tobytes(), np.uint8), layout.no_return != NAN)
    if layout.format == 'zstd':
        try:
            from compression import zstd
        except ImportError:
            from backports import zstd
        packed = zstd.compress(encoded.tobytes())
    else:
        packed = gzip.compress(encoded.tobytes(), mtime=0)
    return T[kind](*plain, np.frombuffer(packed, np.uint8), True, layout.format)


def write(layout: Layout, seed: int) -> None:
    """Both files of a layout."""
    values = turn(seed)
    if layout.no_return == OMITTED:
        values = {name: column[values['seen']] for name, column in values.items()}
        if layout.rows:  # whole columns, for rows are of one length
            values = {name: column[:len(column) // RINGS * RINGS] for name, column in values.items()}
    if layout.rows:
        row_by_row = np.arange(len(values['x'])).reshape(-1, RINGS).T.reshape(-1)
        values = {name: column[row_by_row] for name, column in values.items()}
    sent = message(layout, points(layout, values))
    kept = values['seen']
    answer = {
        'type': sent.__msgtype__, 'stamp_ns': STAMP_NS, 'frame_id': FRAME,
        'xyz': [[round(float(v), 6) for v in row] for row in np.stack([values[name][kept] for name in 'xyz'], 1)],
        'intensity': values['intensity'][kept].tolist() if layout.intensity else None,
        'time_field': layout.time[0] if layout.time else None,
        'seconds_after_stamp': [round(float(t), 6) for t in values['time'][kept]] if layout.time else None,
    }
    (FOLDER / f'{layout.name}.cdr').write_bytes(bytes(STORE.serialize_cdr(sent, sent.__msgtype__)))
    rows = ',\n'.join(f'"{key}": {json.dumps(value)}' for key, value in answer.items())
    (FOLDER / f'{layout.name}.json').write_text(f'{{{rows}}}\n', encoding='utf-8')


def main() -> int:
    """Write everything; returns the exit status."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for seed, layout in enumerate(LAYOUTS):
        write(layout, seed)
    print(f'wrote {len(LAYOUTS)} messages and what they say to {FOLDER}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
