#!/usr/bin/env bash
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
#
# ros2-numpy 0.0.5, as pip installs it: numpify(PointCloud2) takes the place of the field in the list of fields for its
# offset in bytes, and the intensity for uint16 whatever its datatype is. Of a cloud x, y, z, intensity of float32, as
# most drivers send it, it returns as intensity the bytes 3 and 4 of each point, which are the end of x and the
# beginning of y. xyz is right, the array has the right length, and no error is raised.
#
# Guessed: a field is read where its offset says. The ring and the time of points are left out without a word as well.
# What helps: read the cloud by its fields (sensor_msgs_py.point_cloud2, or numpy.frombuffer with a dtype of the
# offsets).
#
# Seen:
#   ros2-numpy 0.0.5
#   sent: x [1.0, 2.0, 3.0] intensity [100.0, 200.0, 300.0]
#   read: x [1.0, 2.0, 3.0] intensity [63, 64, 64]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check ros2-numpy==0.0.5 \
    ros-jazzy-sensor-msgs==5.3.6 \
    ros-jazzy-nav-msgs==5.3.6 \
    ros-jazzy-geometry-msgs==5.3.6

cat > look.py <<'EOF'
import sys
from importlib.metadata import version

import numpy as np
import ros2_numpy
from sensor_msgs.msg import PointCloud2, PointField

points = np.zeros((3, 4), np.float32)
points[:, 0], points[:, 3] = [1, 2, 3], [100, 200, 300]
message = PointCloud2(height=1, width=3, point_step=16, row_step=48, is_dense=True)
message.fields = [PointField(name=name, offset=4 * place, datatype=PointField.FLOAT32, count=1)
                  for place, name in enumerate(('x', 'y', 'z', 'intensity'))]
message.data = points.tobytes()
got = ros2_numpy.numpify(message)
print('ros2-numpy', version('ros2-numpy'))
print('sent: x', points[:, 0].tolist(), 'intensity', points[:, 3].tolist())
print('read: x', got['xyz'][:, 0].tolist(), 'intensity', got['intensity'].ravel().tolist())
sys.exit(not (got['xyz'][:, 0].tolist() == [1, 2, 3] and got['intensity'].ravel().tolist() == [63, 64, 64]))
EOF
env/bin/python look.py && echo 'as described' || { echo 'this has changed'; exit 1; }
