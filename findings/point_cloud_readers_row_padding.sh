#!/usr/bin/env bash
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
#
# kiss-icp 1.3.0 and pypcd4 1.5.1: readers of sensor_msgs/PointCloud2 that do not look at row_step. An organised cloud
# may have bytes at the end of every row (row_step > width * point_step, as images do); for these readers the bytes of
# the first row's end are the first points of the second row. kiss-icp returns as many points as there are, with false
# ones from the second row on and without the last ones; pypcd4 returns more points than width * height, the padding
# among them.
#
# Guessed: an error, or the points. Seen: points at the sensor, which no one will miss or notice. Here the padding is of
# 16 bytes, one point; where it is no multiple of point_step, pypcd4 raises an error, and kiss-icp returns numbers that
# are put together of two points. (sensor_msgs_py, from which kiss-icp has its reader, was not run.)
#
# Seen:
#   sent: x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
#   kiss-icp 1.3.0: x = [1.0, 2.0, 3.0, 0.0, 4.0, 5.0]
#   pypcd4 1.5.1: x = [1.0, 2.0, 3.0, 0.0, 4.0, 5.0, 6.0, 0.0]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check kiss-icp==1.3.0 pypcd4==1.5.1 numpy==2.4.6

cat > look.py <<'EOF'
import sys
from importlib.metadata import version
from types import SimpleNamespace as Message

import numpy as np
from kiss_icp.tools.point_cloud2 import read_point_cloud
from pypcd4 import PointCloud

TYPES = dict(INT8=1, UINT8=2, INT16=3, UINT16=4, INT32=5, UINT32=6, FLOAT32=7, FLOAT64=8)  # of sensor_msgs/PointField
points = np.zeros((2, 3, 4), np.float32)  # two rows of three points x, y, z, intensity
points[..., 0] = [[1, 2, 3], [4, 5, 6]]
rows = np.pad(points.reshape(2, 12), ((0, 0), (0, 4)))
fields = [Message(name=name, offset=4 * place, datatype=7, count=1, **TYPES)
          for place, name in enumerate(('x', 'y', 'z', 'intensity'))]
message = Message(width=3, height=2, fields=fields, point_step=16, row_step=64, is_bigendian=False, is_dense=True,
                  data=rows.tobytes())
seen = {'kiss-icp': read_point_cloud(message)[0][:, 0].tolist(),
        'pypcd4': PointCloud.from_msg(message).numpy(('x',))[:, 0].tolist()}
print('sent: x =', points[..., 0].ravel().tolist())
for name, x in seen.items():
    print(f'{name} {version(name)}: x =', x)
sys.exit(seen != {'kiss-icp': [1, 2, 3, 0, 4, 5], 'pypcd4': [1, 2, 3, 0, 4, 5, 6, 0]})
EOF
env/bin/python look.py && echo 'as described' || { echo 'this has changed'; exit 1; }
