#!/usr/bin/env bash
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
#
# OpenVINO 2026.4.1, CPU, reading ONNX: AveragePool with ceil_mode=1 and count_include_pad=1 divides the last window,
# which reaches beyond the padding, by the full size of the kernel; onnxruntime 1.32.0, the reference of ONNX, and
# torch's avg_pool divide by what lies within image and padding. The outermost row and column of a grid come out too dim
# (by a third here), the rest is equal to the last bit, which is why comparisons on the mean difference do not show it.
#
# What helps: sizes that the stride divides, so that ceil_mode has nothing to do.
#
# Seen:
#   onnxruntime 1.32.0 [0.667, 1.0, 1.0, 0.5]
#   openvino 2026.4.1 [0.667, 1.0, 1.0, 0.333]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check openvino==2026.4.1 \
    onnxruntime==1.32.0 \
    onnx==1.23.2 \
    numpy==2.2.6

cat > look.py <<'EOF'
import sys

import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper

ones = np.ones((1, 1, 6), np.float32)
node = helper.make_node('AveragePool', ['x'], ['y'], kernel_shape=[3], strides=[2], pads=[1, 1], ceil_mode=1,
                        count_include_pad=1)
graph = helper.make_graph([node], 'one', [helper.make_tensor_value_info('x', TensorProto.FLOAT, ones.shape)],
                          [helper.make_tensor_value_info('y', TensorProto.FLOAT, [1, 1, 4])])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 20)], ir_version=10)
onnx.checker.check_model(model)
data = model.SerializeToString()
session = onnxruntime.InferenceSession(data, providers=['CPUExecutionProvider'])
core = openvino.Core()
compiled = core.compile_model(core.read_model(data), 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
answers = session.run(None, {'x': ones})[0], compiled(ones)[0]
seen = [[round(float(value), 3) for value in answer.ravel()] for answer in answers]
print('onnxruntime', onnxruntime.__version__, seen[0])
print('openvino', openvino.__version__.split('-')[0], seen[1])
sys.exit(not np.allclose(seen, [[0.667, 1, 1, 0.5], [0.667, 1, 1, 0.333]]))
EOF
env/bin/python look.py && echo 'as described' || { echo 'this has changed'; exit 1; }
