#!/usr/bin/env bash
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
#
# kiss-icp 1.3.0: its reader of sensor_msgs/PointCloud2 takes points that are NaN out of the cloud, but leaves their
# times in the list of times. Deskewing then gives the n-th point that is left the n-th time of all: where half of a
# sweep has no return, as it is before an organised cloud of a driver is made dense, the last point is moved as if it
# were of the middle of the sweep. Nothing is said; the lengths are not compared.
#
# Guessed: points and times are filtered together. Here a sensor drives 1.2 m in a sweep, and the last point of 12,
# which needs no move, is moved by 0.65 m because six before it saw nothing. What helps: remove points without a return,
# with their times, before the cloud gets there.
#
# Seen:
#   kiss-icp 1.3.0
#   all 12 returned: 12 points, 12 times, the last point moved by 0.00 m
#   the first 6 did not: 6 points, 12 times, the last point moved by -0.65 m
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check kiss-icp==1.3.0 numpy==2.4.6

cat > look.py <<'EOF'
import sys
from importlib.metadata import version
from types import SimpleNamespace as Message

import numpy as np
from kiss_icp.config import load_config
from kiss_icp.preprocess import get_preprocessor
from kiss_icp.tools.point_cloud2 import read_point_cloud

TYPES = dict(INT8=1, UINT8=2, INT16=3, UINT16=4, INT32=5, UINT32=6, FLOAT32=7, FLOAT64=8)  # of sensor_msgs/PointField


def cloud(x):
    points = np.zeros(len(x), [('x', 'f4'), ('y', 'f4'), ('z', 'f4'), ('t', 'u4')])
    points['x'], points['t'] = x, np.arange(len(x)) * 9_000_000  # nanoseconds
    fields = [Message(name=name, offset=4 * place, datatype=6 if name == 't' else 7, count=1, **TYPES)
              for place, name in enumerate('xyzt')]
    return Message(width=len(x), height=1, fields=fields, point_step=16, row_step=16 * len(x), is_bigendian=False,
                   is_dense=False, data=points.tobytes())


config = load_config(None)
config.registration.max_num_threads = 1
driven = np.eye(4)
driven[0, 3] = 1.2


def last_moved_by(x):
    points, times = read_point_cloud(cloud(x))
    moved = get_preprocessor(config).preprocess(points, times, driven)
    return len(points), len(times), round(float(moved[-1, 0] - points[-1, 0]), 2)


x = np.arange(1.0, 13.0)
full, half = last_moved_by(x), last_moved_by(np.where(x > 6, x, np.nan))
print('kiss-icp', version('kiss-icp'))
for what, (points, times, metres) in (('all 12 returned', full), ('the first 6 did not', half)):
    print(f'{what}: {points} points, {times} times, the last point moved by {metres:.2f} m')
sys.exit((full, half) != ((12, 12, 0.0), (6, 12, -0.65)))
EOF
env/bin/python look.py && echo 'as described' || { echo 'this has changed'; exit 1; }
