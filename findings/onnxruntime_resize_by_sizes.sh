#!/usr/bin/env bash
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
#
# onnxruntime 1.32.0, CPU: features between two convolutions stay in its layout of blocks of channels where Resize is
# given constant scales, and its own Upsample doubles them there. Where Resize is given sizes that follow from the number
# of images, as an exporter writes "to the size of that tensor" with a free batch, it is left as it is, and the
# features are reordered before and after it. A free batch alone does not do that, nor do sizes that are constant.
#
# The answers are the same to rounding, and nothing is said. Pyramids of features are resized again and again. What
# helps: export by factors (scale_factor), not by sizes.
#
# Seen:
#   onnxruntime 1.32.0
#   scales, batch free: ReorderInput, Conv, Upsample, Conv, ReorderOutput
#   sizes of the batch: ReorderInput, Conv, ReorderOutput, Shape, Concat, Resize, ReorderInput, Conv, ReorderOutput
#   sizes that are constant, a batch of one: ReorderInput, Conv, Upsample, Conv, ReorderOutput
#   largest difference of the answers: 6.103515625e-05
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
from onnx import TensorProto, helper, numpy_helper

C, H, W = 16, 8, 8
weights = np.random.default_rng(0).normal(size=(C, C, 3, 3)).astype(np.float32)


def session(nodes, constants, kept, batch='batch'):
    constants = {'w': weights, **constants}
    conv = {'kernel_shape': [3, 3], 'pads': [1, 1, 1, 1]}
    nodes = [helper.make_node('Conv', ['x', 'w'], ['a'], **conv), *nodes,
             helper.make_node('Conv', ['b', 'w'], ['y'], **conv)]
    graph = helper.make_graph(nodes, 'one', [helper.make_tensor_value_info('x', TensorProto.FLOAT, [batch, C, H, W])],
                              [helper.make_tensor_value_info('y', TensorProto.FLOAT, [batch, C, 2 * H, 2 * W])],
                              [numpy_helper.from_array(value, name) for name, value in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 20)], ir_version=10)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = kept, 3
    made = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=['CPUExecutionProvider'])
    return made, [node.op_type for node in onnx.load(kept).graph.node]


linear = {'mode': 'linear', 'coordinate_transformation_mode': 'half_pixel'}
by_scales = session([helper.make_node('Resize', ['a', '', 'scales'], ['b'], **linear)],
                    {'scales': np.float32([1, 1, 2, 2])}, 'scales.onnx')
of_batch = [helper.make_node('Shape', ['x'], ['n'], start=0, end=1),
            helper.make_node('Concat', ['n', 'rest'], ['sizes'], axis=0)]
by_sizes = session([*of_batch, helper.make_node('Resize', ['a', '', '', 'sizes'], ['b'], **linear)],
                   {'rest': np.int64([C, 2 * H, 2 * W])}, 'sizes.onnx')
constant = session([helper.make_node('Resize', ['a', '', '', 'sizes'], ['b'], **linear)],
                   {'sizes': np.int64([1, C, 2 * H, 2 * W])}, 'constant.onnx', 1)
print('onnxruntime', onnxruntime.__version__)
print('scales, batch free:', ', '.join(by_scales[1]))
print('sizes of the batch:', ', '.join(by_sizes[1]))
print('sizes that are constant, a batch of one:', ', '.join(constant[1]))
x = np.random.default_rng(1).normal(size=(1, C, H, W)).astype(np.float32)
found = [made.run(None, {'x': x})[0] for made, _ in (by_scales, by_sizes)]
difference = float(np.abs(found[0] - found[1]).max())
print('largest difference of the answers:', difference)
sys.exit(not ('Upsample' in by_scales[1] and 'Upsample' in constant[1] and 'Resize' in by_sizes[1]
              and difference < 1e-3))
EOF
env/bin/python look.py && echo 'as described' || { echo 'this has changed'; exit 1; }
