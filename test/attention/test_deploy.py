# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""torch.export, ONNX and torch.compile of every deterministic mechanism give what eager execution gives."""

import importlib.util
import io
import os
import shutil

import numpy as np
import pytest
import torch
from torch.utils import _pytree as pytree

from attention_fusion_ros.attention import MECHANISMS, build

TOLERANCE = 1e-4
C, SHAPE = 16, (2, 16, 12, 20)
# Evaluation of 'glimpse' is deterministic: it takes the most probable patches.
OPTIONS = {'stn': dict(lidar_channels=3, width=4, extent=10.0), 'dynamic_capacity': dict(k=3, patch=4),
           'glimpse': dict(patch=4), 'temporal': dict(extent=10.0, keys=4),
           'cell_budget': dict(budget=6, width=8), 'place_attention': dict(heads=3),
           'pose_correlation': dict(coarse_channels=4, fine_channels=4, extent=10.0, cells=16)}
SHAPES = {'pose_correlation': (2, 16, 16, 16)}  # a square grid
CASES = {name: (name, OPTIONS.get(name, {})) for name in MECHANISMS} | {
    'cbam_parallel': ('cbam', dict(order='parallel', spatial=dict(order=('max', 'mean'), norm=True))),
    'bam_product': ('bam', dict(combine='product', norm='hidden')),
    'sca_spatial_first': ('sca', dict(order='spatial_channel')),
    'temporal_sum': ('temporal', dict(carry=False, extent=10.0)),
}
# Compiled to code by inductor, which takes many seconds each; the others are traced and run by aot_eager unless asked:
#     ATTENTION_TEST_BACKEND=inductor python -m pytest test/attention/test_deploy.py -k compile
COMPILED_TO_CODE = ('se', 'cbam')

HAS_ONNX = all(importlib.util.find_spec(m) for m in ('onnx', 'onnxscript', 'onnxruntime'))
HAS_EXPORTER = tuple(int(part) for part in torch.__version__.split('.')[:2]) >= (2, 6)
needs_onnx = pytest.mark.skipif(not (HAS_ONNX and HAS_EXPORTER),
                                reason='needs torch >= 2.6 and pip install onnx onnxscript onnxruntime')


def case(name: str) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    """The mechanism in evaluation mode with random weights, and its inputs."""
    torch.manual_seed(0)
    mechanism, options = CASES[name]
    module = build(mechanism, C, **options).eval()
    with torch.no_grad():
        for key, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5) if key.endswith('running_var') else tensor.uniform_(-0.3, 0.3)
    moves = torch.eye(3).repeat(SHAPE[0], 2, 1, 1)
    moves[:, :, 0, 2] = torch.tensor([-2.3, -1.1])
    shape = SHAPES.get(mechanism, SHAPE)
    known = torch.cat([torch.tensor([1.0, -2.0, 0.1]), torch.eye(3).flatten(), torch.tensor([0.5])])
    given = {'query': torch.randn(SHAPE[0], C), 'coarse': torch.randn(2, 4, 4, 4), 'fine': torch.randn(2, 4, 8, 8),
             'prior': known.expand(2, -1), 'lidar': torch.randn(SHAPE[0], 3, *SHAPE[2:]),
             'allowed': (torch.arange(SHAPE[3]) % 3 > 0).float().expand(SHAPE[0], 1, *SHAPE[2:]),
             'history': torch.randn(SHAPE[0], 2, *SHAPE[1:]), 'moves': moves,
             'present': torch.tensor([[False, True], [True, True]])}
    return module, (torch.randn(shape), *(given[need] for need in module.extra_inputs))


def assert_same(found, expected) -> None:
    found, expected = pytree.tree_leaves(found), pytree.tree_leaves(expected)
    assert len(found) == len(expected)
    for ours, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(torch.as_tensor(ours), reference, rtol=1e-6, atol=TOLERANCE)


@pytest.fixture(autouse=True)
def fresh_compiler():
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize('name', CASES)
def test_export(name):
    module, inputs = case(name)
    with torch.no_grad():
        expected = module(*inputs)
        program = torch.export.export(module, inputs, strict=False)
        assert_same(program.module()(*inputs), expected)


class Everything(torch.nn.Module):
    """All mechanisms side by side, so that one ONNX file (seconds) serves all tests."""

    def __init__(self):
        super().__init__()
        self.cases = [name for name in CASES if name != 'none']  # a graph without a node
        self.parts = torch.nn.ModuleDict({name: case(name)[0] for name in self.cases})

    def inputs(self) -> list[tuple[torch.Tensor, ...]]:
        return [case(name)[1] for name in self.cases]

    def forward(self, inputs):
        return {name: self.parts[name](*given) for name, given in zip(self.cases, inputs, strict=True)}


@pytest.fixture(scope='module')
def onnx_answers():
    """{case: (flat outputs of onnxruntime, outputs of eager execution)}."""
    import onnxruntime

    module = Everything().eval()
    inputs = module.inputs()
    with torch.no_grad():
        expected = module(inputs)
        program = torch.onnx.export(module, (inputs,), dynamo=True, optimize=False, verbose=False)
    file = io.BytesIO()
    program.save(file)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=['CPUExecutionProvider'])
    names, tensors = [i.name for i in session.get_inputs()], pytree.tree_leaves(inputs)
    assert len(names) == len(tensors), 'no input was folded away'
    found = session.run(None, {n: np.ascontiguousarray(t.numpy()) for n, t in zip(names, tensors, strict=True)})
    answers = {}
    for name, outputs in expected.items():
        count = len(pytree.tree_leaves(outputs))
        answers[name], found = ([torch.from_numpy(a) for a in found[:count]], outputs), found[count:]
    assert not found
    return answers


@pytest.mark.slow
@needs_onnx
@pytest.mark.parametrize('name', [name for name in CASES if name != 'none'])
def test_onnx(name, onnx_answers):
    found, expected = onnx_answers[name]
    assert len(found) > 1, 'features and weights'
    assert_same(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize('name', CASES)
def test_compile(name):
    backend = 'inductor' if name in COMPILED_TO_CODE else os.environ.get('ATTENTION_TEST_BACKEND', 'aot_eager')
    if backend == 'inductor' and shutil.which('g++') is None:
        pytest.skip('inductor needs g++')
    module, inputs = case(name)
    with torch.no_grad():
        expected = module(*inputs)
        assert_same(torch.compile(module, backend=backend, fullgraph=True)(*inputs), expected)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['cbam', 'bam', 'dynamic_capacity', 'temporal'])
def test_compiled_gradients(name):
    module, inputs = case(name)
    gradients = []
    for run in (module, torch.compile(module, backend='aot_eager', fullgraph=True)):
        x = inputs[0].clone().requires_grad_()
        features, _ = run(x, *inputs[1:])
        features.square().sum().backward()
        gradients.append(x.grad)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=0, atol=TOLERANCE)
