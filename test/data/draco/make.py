#!/usr/bin/env python3
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Write the points that make.cpp compresses: python make.py points.bin"""

import sys

import numpy as np

POINT = np.dtype({'names': ['x', 'y', 'z', 'intensity', 'ring', 't'],
                  'formats': ['<f4', '<f4', '<f4', 'u1', '<u2', '<u4'],
                  'offsets': [0, 4, 8, 12, 14, 16], 'itemsize': 20})
rng = np.random.default_rng(0)
points = np.zeros(200, POINT)
for name in 'xyz':
    points[name] = rng.uniform(-30, 30, 200)
points['intensity'] = rng.integers(0, 255, 200)
points['ring'], points['t'] = np.arange(200) % 32, np.arange(200) * 500_000
points.tofile(sys.argv[1])
