#!/usr/bin/env bash
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
#
# onnxruntime 1.32.0, CPU: GridSample at a coordinate that is NaN returns a plausible value of the image, that at its
# left or upper edge here, as if the coordinate were there; with padding by zeros too. torch returns NaN there
# (grid_sample, zeros, bilinear), and so does OpenVINO 2026.4.1.
#
# Whoever moves a map or a grid of features by a pose gets NaN coordinates from a pose that is NaN: with torch the whole
# layer is NaN and is noticed; exported, it is a smooth layer, the same at every cell. What helps: check the pose, not
# the layer.
#
# Seen:
#   onnxruntime 1.32.0
#   image: [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0], [9.0, 10.0, 11.0, 12.0], [13.0, 14.0, 15.0, 16.0]]
#   linear at (0, 0), (NaN, 0), (NaN, NaN), (5, 0): [8.5, 7.0, 1.0, 0.0]
#   nearest at (0, 0), (NaN, 0), (NaN, NaN), (5, 0): [11.0, 9.0, 1.0, 0.0]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check onnxruntime==1.32.0 onnx==1.23.2 numpy==2.2.6

cat > look.py <<'EOF'
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

image = np.arange(1, 17, dtype=np.float32).reshape(1, 1, 4, 4)
grid = np.float32([[[[0, 0], [np.nan, 0], [np.nan, np.nan], [5, 0]]]])


def sample(mode):
    node = helper.make_node('GridSample', ['image', 'grid'], ['y'], mode=mode, padding_mode='zeros', align_corners=1)
    graph = helper.make_graph([node], 'one', [helper.make_tensor_value_info('image', TensorProto.FLOAT, image.shape),
                                              helper.make_tensor_value_info('grid', TensorProto.FLOAT, grid.shape)],
                              [helper.make_tensor_value_info('y', TensorProto.FLOAT, (1, 1, 1, 4))])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 20)], ir_version=10)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])
    return session.run(None, {'image': image, 'grid': grid})[0].ravel()


seen = {mode: sample(mode) for mode in ('linear', 'nearest')}
print('onnxruntime', onnxruntime.__version__)
print('image:', image[0, 0].tolist())
for mode, values in seen.items():
    print(f'{mode} at (0, 0), (NaN, 0), (NaN, NaN), (5, 0):', values.tolist())
linear, nearest = seen.values()
sys.exit(not (linear.tolist() == [8.5, 7.0, 1.0, 0.0] and np.isfinite(nearest).all() and nearest[1] == 9.0))
EOF
env/bin/python look.py && echo 'as described' || { echo 'this has changed'; exit 1; }
