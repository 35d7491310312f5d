#!/usr/bin/env bash
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
#
# ouster-sdk 1.0.1: XYZLut with the pose of the sensor on the vehicle gives pixels without a return (range 0) the
# coordinates (0, 0, 0) of the vehicle, not of the sensor: they alone are not moved by that pose. With the sensor 1.5 m
# ahead of and 2 m above the vehicle's origin they lie 2.5 m away from it. A filter 'nearer to the sensor than half a
# metre is none', which removes them from a cloud in the sensor's frame, then leaves them: thousands of points at one
# place, on the ground below the rear axle.
#
# What helps: select by range > 0 before, not by distance after.
#
# Seen:
#   ouster-sdk 1.0.1
#   distance from the sensor, in its frame and in the vehicle frame
#   of a return at 10 m: 10.0 m, 10.0 m
#   of no return: 0.0 m, 2.5 m
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check ouster-sdk==1.0.1 numpy==2.4.6

cat > look.py <<'EOF'
import sys
import warnings
from importlib.metadata import version

import numpy as np
from ouster.sdk import core

warnings.simplefilter('ignore')
info = core.SensorInfo.from_default(core.LidarMode._1024x10)
pose = np.eye(4)
pose[:3, 3] = [1.5, 0.0, 2.0]
info.sensor_to_body = pose
ranges = np.zeros((info.format.pixels_per_column, info.format.columns_per_frame), np.uint32)
ranges[:, :512] = 10_000  # mm; the other half of the turn sees nothing
in_sensor, in_vehicle = (np.asarray(core.XYZLut(info, moved)(ranges)) for moved in (False, True))
seen = [float(np.linalg.norm(points[0, 700] - origin)) for points, origin in
        ((in_sensor, np.zeros(3)), (in_vehicle, pose[:3, 3]))]
hit = [float(np.linalg.norm(points[0, 0] - origin)) for points, origin in
       ((in_sensor, np.zeros(3)), (in_vehicle, pose[:3, 3]))]
print('ouster-sdk', version('ouster-sdk'))
print('distance from the sensor, in its frame and in the vehicle frame')
print(f'of a return at 10 m: {hit[0]:.1f} m, {hit[1]:.1f} m')
print(f'of no return: {seen[0]:.1f} m, {seen[1]:.1f} m')
sys.exit([round(value, 1) for value in seen + hit] != [0.0, 2.5, 10.0, 10.0])
EOF
env/bin/python look.py && echo 'as described' || { echo 'this has changed'; exit 1; }
