# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Binary PCD files (Point Cloud Library, format 0.7), as far as the sweeps in the data folder need it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

KINDS = {'F': 'f', 'U': 'u', 'I': 'i'}


def pcd_points(path: Path) -> np.ndarray:
    """(N,) of a structured type with the fields of the file. Raises ValueError for anything but DATA binary."""
    content = path.read_bytes()
    header: dict[str, list[str]] = {}
    end = 0
    while 'DATA' not in header:
        line, end = content[end:content.index(b'\n', end)].decode(), content.index(b'\n', end) + 1
        name, *values = line.split() or ['#']
        header[name] = values
    if header['DATA'] != ['binary']:
        raise ValueError(f'{path}: DATA {header["DATA"]} is not read')
    counts = [int(n) for n in header.get('COUNT', ['1'] * len(header['FIELDS']))]
    names, formats = [], []
    for i, (name, kind, size, count) in enumerate(zip(header['FIELDS'], header['TYPE'], header['SIZE'], counts)):
        names.append(f'{name}{i}' if name == '_' else name)
        code = f'<{KINDS[kind]}{size}'
        formats.append((code, (count,)) if count > 1 else code)
    return np.frombuffer(content, np.dtype({'names': names, 'formats': formats}), int(header['POINTS'][0]), end)


def read_pcd(path: Path) -> np.ndarray:
    """(N, 3) float32 of the finite points. Raises ValueError for anything but DATA binary."""
    points = pcd_points(path)
    xyz = np.stack([points[axis].astype(np.float32) for axis in 'xyz'], axis=-1)
    return np.ascontiguousarray(xyz[np.isfinite(xyz).all(axis=1)])
