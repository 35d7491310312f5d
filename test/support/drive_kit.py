# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A synthetic drive in the format of the data's README, for the tests of the evaluation."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np


def write_drive(folder: Path, heading: float = 0.3, roads: bool = True, sweeps: int = 3) -> Path:
    """A straight drive along `heading` [rad] through odom, 1 m a sweep, in the format of the data's README."""
    (folder / 'sweeps').mkdir(parents=True)
    c, s = math.cos(heading), math.sin(heading)
    (folder / 'drive.json').write_text(json.dumps({
        'name': folder.name, 'sensor': 'test', 'T_base_sensor': np.diag([1.0, 1, 1, 1]).tolist()}))
    rows, truth = [], []
    for k in range(60):
        rows.append([10**9 + k * 10**8, k * c - 30 * c, k * s - 30 * s, 0, 0, 0, math.sin(heading / 2),
                     math.cos(heading / 2)])
    with open(folder / 'poses.csv', 'w', newline='') as file:
        csv.writer(file).writerows([['stamp_ns', 'x', 'y', 'z', 'qx', 'qy', 'qz', 'qw'], *rows])
    for k in range(sweeps):
        rng = np.random.default_rng(k)
        np.savez(folder / f'sweeps/{k:06d}.npz', xyz_mm=rng.integers(-30000, 30000, (3, 500)).astype(np.int32),
                 intensity=rng.integers(0, 255, 500).astype(np.uint8), intensity_scale=1.0,
                 stamp_ns=10**9 + (30 + k) * 10**8)
        row = {'sweep': k, 'path_ahead': {'20': [0.0, 0.0]}, 'path_behind': {'20': [math.pi, math.pi] if k else None}}
        truth.append(row | ({'branches': {'20': [[0.0, 0.0], [math.pi, math.pi]]}} if roads else {}))
    (folder / 'truth.json').write_text(json.dumps(truth))
    if roads:
        with open(folder / 'roads.csv', 'w', newline='') as file:
            csv.writer(file).writerows([['polyline', 'x', 'y'], [0, -100 * c, -100 * s], [0, 100 * c, 100 * s]])
    return folder
