#!/usr/bin/env bash
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
#
# opencv-python-headless 4.14.0.94: warpAffine by the identity, with linear interpolation, makes the pixel to the left
# of a NaN a NaN too, and so do remap and a shift by whole pixels: the neighbour has weight 0, and 0 times NaN is NaN.
# An elevation map whose unknown cells are NaN loses a row and a column of known cells along every hole each time that
# it is moved, even if it is moved by nothing: after 20 sweeps, a metre at 5 cm a cell.
#
# Guessed: what moves by whole pixels copies. What helps: move values and a mask of the known cells, and divide; or
# INTER_NEAREST.
#
# Seen:
#   opencv 4.14.0
#   one cell of 64 is NaN; how many are after moving by nothing once, twice, three times:
#   linear: [4, 9, 16]
#   nearest: [1, 1, 1]
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

heights = np.arange(64, dtype=np.float32).reshape(8, 8)
heights[4, 4] = np.nan
identity = np.eye(2, 3)
seen = {}
for name, flags in (('linear', cv2.INTER_LINEAR), ('nearest', cv2.INTER_NEAREST)):
    image, counts = heights, []
    for _ in range(3):
        image = cv2.warpAffine(image, identity, (8, 8), flags=flags)
        counts.append(int(np.isnan(image).sum()))
    seen[name] = counts
print('opencv', cv2.__version__)
print('one cell of 64 is NaN; how many are after moving by nothing once, twice, three times:')
for name, counts in seen.items():
    print(f'{name}:', counts)
sys.exit(seen != {'linear': [4, 9, 16], 'nearest': [1, 1, 1]})
EOF
env/bin/python look.py && echo 'as described' || { echo 'this has changed'; exit 1; }
