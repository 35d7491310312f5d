#!/usr/bin/env bash
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
#
# OpenVINO 2026.4.1, CPU, reading ONNX: Resize is converted without its attribute antialias, and without a word. The
# file is loaded, and the answers are those of a plain Resize. An image that is made smaller, as a map is for the grid
# of a network, is then sampled, not averaged: thin lines lose their brightness or vanish, depending on where they lie.
#
# Other attributes that it does not know (half_pixel_symmetric) are refused with an error when the file is read, and so
# one guesses that what is read is done. onnxruntime 1.32.0 and the reference of ONNX do as the attribute says. What
# helps: export the averaging as a convolution or an average pool, and compare the backends on a picture of thin lines.
#
# Seen:
#   onnxruntime 1.32.0 openvino 2026.4.1
#   antialias=0: onnxruntime [0.0, 0.0, 6.0] openvino [0.0, 0.0, 6.0]
#   antialias=1: onnxruntime [1.88, 1.5, 2.62] openvino [0.0, 0.0, 6.0]
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

lines = np.zeros((1, 1, 1, 12), np.float32)
lines[..., [3, 9]] = 12  # two lines of one pixel; made smaller by four, each place sees a third of them at most


def both(antialias):
    node = helper.make_node('Resize', ['x', '', '', 'sizes'], ['y'], mode='linear', antialias=antialias)
    sizes = helper.make_tensor('sizes', TensorProto.INT64, [4], [1, 1, 1, 3])
    graph = helper.make_graph([node], 'one', [helper.make_tensor_value_info('x', TensorProto.FLOAT, lines.shape)],
                              [helper.make_tensor_value_info('y', TensorProto.FLOAT, [1, 1, 1, 3])], [sizes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 20)], ir_version=10)
    onnx.checker.check_model(model)
    data = model.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=['CPUExecutionProvider'])
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(data), 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
    answers = session.run(None, {'x': lines})[0], compiled(lines)[0]
    return [[round(float(value), 2) for value in answer.ravel()] for answer in answers]


(plain, plain_openvino), (averaged, averaged_openvino) = both(0), both(1)
print('onnxruntime', onnxruntime.__version__, 'openvino', openvino.__version__.split('-')[0])
print('antialias=0: onnxruntime', plain, 'openvino', plain_openvino)
print('antialias=1: onnxruntime', averaged, 'openvino', averaged_openvino)
sys.exit(not (plain == plain_openvino == averaged_openvino != averaged))
EOF
env/bin/python look.py && echo 'as described' || { echo 'this has changed'; exit 1; }
