#!/usr/bin/env bash
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
#
# opencv-python-headless 4.14.0.94: line and polylines of an odd thickness are two pixels wider than told where they run
# along rows or columns: thickness 3 paints 5, 5 paints 7. Even ones are one pixel wider (2 paints 3, 4 paints 5), and
# so thickness 3 and 4 are the same. A diagonal is not concerned (3 paints 3), so that the roads of one map differ in
# width by two thirds with their direction. It is so in 4.10.0.84 as well.
#
# Guessed: the thickness in pixels. A map of roads that is drawn to scale has its streets too wide by 2 pixels, and a
# route that is told from a road by its width no longer is. What helps: draw at a multiple of the size and average, or
# fill polygons.
#
# Seen:
#   opencv 4.14.0
#   thickness told: [1, 2, 3, 4, 5, 6]
#   along a row: [1, 3, 5, 5, 7, 7]
#   across a diagonal: [1, 3, 3, 3, 5, 5]
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


def painted(end, count, thickness):
    image = np.zeros((41, 41), np.uint8)
    cv2.line(image, (5, 41 - 6 if end == 'diagonal' else 20), (35, 5 if end == 'diagonal' else 20), 255, thickness)
    return int((count(image) > 0).sum())


straight = [painted('straight', lambda image: image[:, 20], thickness) for thickness in range(1, 7)]
diagonal = [painted('diagonal', np.diag, thickness) for thickness in range(1, 7)]
print('opencv', cv2.__version__)
print('thickness told:', list(range(1, 7)))
print('along a row:', straight)
print('across a diagonal:', diagonal)
sys.exit(straight != [1, 3, 5, 5, 7, 7])
EOF
env/bin/python look.py && echo 'as described' || { echo 'this has changed'; exit 1; }
