#!/usr/bin/env bash
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
#
# OpenVINO 2026.4.1, CPU, float32: Relu and Clip make 0 of NaN (Clip: its lower bound), and a Softmax of a row that
# holds one NaN returns 0 for all other entries of it, NaN only in that place. torch, onnxruntime and the reference of
# ONNX return NaN in each case, for the whole row in Softmax.
#
# A network that was given NaN thus answers with numbers from its first Relu on, and they are those of a scene with
# nothing in it; with torch the same input gives NaN and is caught. What helps: look for NaN in the input, not in the
# output.
#
# Seen:
#   openvino 2026.4.1 of (1, NaN, 3, -2)
#   Relu: [1.0, 0.0, 3.0, 0.0]
#   Clip to 0.5..2: [1.0, 0.5, 2.0, 0.5]
#   Softmax: [0.0, nan, 0.0, 0.0]
#   Sigmoid: [0.731, nan, 0.953, 0.119]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check openvino==2026.4.1 numpy==2.2.6

cat > look.py <<'EOF'
import sys

import numpy as np
import openvino
import openvino.opset13 as ops


def answer(operation):
    x = ops.parameter([1, 4], np.float32)
    model = core.compile_model(openvino.Model([operation(x)], [x]), 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
    return model(np.float32([[1, np.nan, 3, -2]]))[0].ravel()


core = openvino.Core()
seen = {'Relu': answer(ops.relu), 'Clip to 0.5..2': answer(lambda x: ops.clamp(x, 0.5, 2.0)),
        'Softmax': answer(lambda x: ops.softmax(x, 1)), 'Sigmoid': answer(ops.sigmoid)}
print('openvino', openvino.__version__.split('-')[0], 'of (1, NaN, 3, -2)')
for name, values in seen.items():
    print(f'{name}:', [round(float(value), 3) for value in values])
nan = np.nan
expected = {'Relu': [1, 0, 3, 0], 'Clip to 0.5..2': [1, 0.5, 2, 0.5], 'Softmax': [0, nan, 0, 0],
            'Sigmoid': [0.731, nan, 0.953, 0.119]}
sys.exit(not all(np.allclose(seen[name], expected[name], atol=1e-3, equal_nan=True) for name in expected))
EOF
env/bin/python look.py && echo 'as described' || { echo 'this has changed'; exit 1; }
