#!/usr/bin/env bash
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
#
# opencv-python-headless 4.14.0.94: warpAffine and remap with INTER_LINEAR move by steps of 1/32 pixel, also in float32
# images with float32 or float64 coordinates. A shift of 0.01 pixels does nothing at all, one of 0.02 moves by 0.031;
# and the two do not round alike: at 1/64 pixel, warpAffine moves and remap does not.
#
# A map that is moved by the motion of the vehicle from sweep to sweep, each time from the one before, stands still
# below 1/64 pixel a sweep (0.8 mm at 5 cm a pixel is 3 cm/s at 40 Hz), and gradients by finite differences through it
# are 0 or far too large. Exported networks (GridSample) and torch.grid_sample move by what they are told. What helps:
# warp from the original by the whole motion.
#
# Seen:
#   opencv 4.14.0
#   told 0.01000: warpAffine moves by 0.00000, remap by 0.00000
#   told 0.01562: warpAffine moves by 0.03125, remap by 0.00000
#   told 0.02000: warpAffine moves by 0.03125, remap by 0.03125
#   told 0.03125: warpAffine moves by 0.03125, remap by 0.03125
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check opencv-python-headless==4.14.0.94 numpy==2.2.6

cat > look.py <<'EOF'
import sys

import cv2
import numpy as np

ramp = np.tile(np.arange(64, dtype=np.float32), (4, 1))  # its value is its column, so that a shift can be read off
rows = np.tile(np.arange(4, dtype=np.float32)[:, None], (1, 64))


def moved(shift):
    matrix = np.array([[1, 0, -shift], [0, 1, 0]], np.float64)
    warped = cv2.warpAffine(ramp, matrix, (64, 4), flags=cv2.INTER_LINEAR)
    mapped = cv2.remap(ramp, ramp + np.float32(shift), rows, cv2.INTER_LINEAR)
    return [float((image - ramp)[1, 10]) for image in (warped, mapped)]


seen = {shift: moved(shift) for shift in (0.01, 1 / 64, 0.02, 1 / 32)}
print('opencv', cv2.__version__)
for shift, (warped, mapped) in seen.items():
    print(f'told {shift:.5f}: warpAffine moves by {warped:.5f}, remap by {mapped:.5f}')
sys.exit(list(seen.values()) != [[0, 0], [1 / 32, 0], [1 / 32, 1 / 32], [1 / 32, 1 / 32]])
EOF
env/bin/python look.py && echo 'as described' || { echo 'this has changed'; exit 1; }
