#!/usr/bin/env bash
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
#
# onnxruntime 1.32.0, CPU: whether ReduceMax returns NaN for a row that holds one depends on where in the row it stands.
# As the first of four values it is returned, anywhere else it is skipped (on a processor with AVX2; which places count
# may be otherwise on others); and where it is skipped a value may go with it: the maximum of (1, NaN, 3, 4) is 3.
# numpy, torch and the reference of ONNX return NaN wherever it stands. MaxPool skips it too, and returns the lowest
# float of all for a window of nothing but NaN, where the reference returns NaN.
#
# A check of the kind 'the answer is finite, so the input was' therefore holds in torch and not on the exported file:
# scores of a network whose last step is a maximum look sound although part of what they were made of is NaN. What
# helps: look for NaN before the session, not after.
#
# Seen:
#   onnxruntime 1.32.0
#   ReduceMax of 4, NaN at 0, 1, 2, 3: [nan, 3.0, 4.0, 3.0]
#   ReduceMax of 64, NaN at 0, 63: [nan, 1.0]
#   MaxPool of (1, NaN), (NaN, NaN): [1.0, -3.4028234663852886e+38]
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


def session(node, shape, answer, constants=()):
    graph = helper.make_graph([node], 'one', [helper.make_tensor_value_info('x', TensorProto.FLOAT, shape)],
                              [helper.make_tensor_value_info('y', TensorProto.FLOAT, answer)], list(constants))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 20)], ir_version=10)
    onnx.checker.check_model(model)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])


axis = helper.make_tensor('axis', TensorProto.INT64, [1], [1])
short = np.tile(np.float32([1, 2, 3, 4]), (4, 1))
np.fill_diagonal(short, np.nan)
longer = np.ones((2, 64), np.float32)
longer[0, 0] = longer[1, 63] = np.nan
reduce_max = helper.make_node('ReduceMax', ['x', 'axis'], ['y'], keepdims=0)
pool = helper.make_node('MaxPool', ['x'], ['y'], kernel_shape=[2], strides=[2])
seen = [session(reduce_max, x.shape, x.shape[:1], [axis]).run(None, {'x': x})[0] for x in (short, longer)]
pairs = np.float32([[[1, np.nan, np.nan, np.nan]]])
seen.append(session(pool, (1, 1, 4), (1, 1, 2)).run(None, {'x': pairs})[0].ravel())
print('onnxruntime', onnxruntime.__version__)
print('ReduceMax of 4, NaN at 0, 1, 2, 3:', seen[0].tolist())
print('ReduceMax of 64, NaN at 0, 63:', seen[1].tolist())
print('MaxPool of (1, NaN), (NaN, NaN):', seen[2].tolist())
skipped = [np.isfinite(values).sum() for values in seen]
sys.exit(not (0 < skipped[0] < 4 and skipped[1] and seen[2].tolist() == [1, np.finfo(np.float32).min]))
EOF
env/bin/python look.py && echo 'as described' || { echo 'this has changed'; exit 1; }
