# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""SE, SK, ECA, CBAM and coordinate attention against timm: outputs and gradients in float64, stored and live."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from attention_fusion_ros.attention import build

SCRIPT = Path(__file__).parents[1] / 'data' / 'make_attention_vectors.py'
TOLERANCE = 1e-9


def load_script():
    spec = importlib.util.spec_from_file_location('make_attention_vectors', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


vectors = load_script()
needs_timm = pytest.mark.skipif(importlib.util.find_spec('timm') is None,
                                reason='timm is not installed (pip install --no-deps timm)')
SHAPES = ((1, 64, 8, 8), (2, 32, 5, 9), (3, 48, 12, 3), (4, 128, 2, 7))
# SK normalises a vector in training mode: of a batch of one that is not possible, there or here.
LIVE = [(case, shape, mode) for case in vectors.CASES for shape in SHAPES for mode in ('train', 'eval')
        if not (case == 'sk' and mode == 'train' and shape[0] == 1)]


def ours(case: str, channels: int, state: dict[str, np.ndarray]) -> tuple[torch.nn.Module, dict[str, str]]:
    """Our module with the weights of timm's, and {our parameter: timm's}."""
    _, _, name, options, prefixes = vectors.CASES[case]
    module = build(name, channels, **options(channels)).double()
    renamed = {}
    for key in module.state_dict():
        prefix = next(p for p in prefixes if key.startswith(p))
        renamed[key] = prefixes[prefix] + key.removeprefix(prefix)
    assert sorted(renamed.values()) == sorted(state), 'each of their weights has its place here'
    module.load_state_dict({key: torch.from_numpy(state[theirs]).reshape(module.state_dict()[key].shape)
                            for key, theirs in renamed.items()}, strict=True)
    return module, renamed


def differences(module: torch.nn.Module, renamed: dict[str, str], x: np.ndarray, v: np.ndarray,
                expected: dict[str, np.ndarray]) -> dict[str, float]:
    x = torch.from_numpy(x).requires_grad_()
    y, _ = module(x)
    (y * torch.from_numpy(v)).sum().backward()
    found = {'y': y.detach().numpy(), 'grad/x': x.grad.numpy()}
    found |= {f'grad/{renamed[name]}': p.grad.numpy() for name, p in module.named_parameters()}
    assert set(found) == set(expected)
    return {key: float(np.abs(found[key].reshape(expected[key].shape) - expected[key]).max()) for key in found}


@pytest.mark.parametrize('mode', vectors.SHAPES)
@pytest.mark.parametrize('case', vectors.CASES)
def test_stored_vectors(case, mode):
    with np.load(vectors.FILE) as stored:
        state = {k.removeprefix(f'{case}/state/'): stored[k] for k in stored if k.startswith(f'{case}/state/')}
        expected = {k.removeprefix(f'{case}/{mode}/'): stored[k] for k in stored if k.startswith(f'{case}/{mode}/')}
        x, v = stored[f'{mode}/x'], stored[f'{mode}/v']
    module, renamed = ours(case, x.shape[1], state)
    assert np.abs(expected['grad/x']).max() > 1e-3, 'a reference that says something'
    worst = differences(module.train(mode == 'train'), renamed, x, v, expected)
    assert max(worst.values()) <= TOLERANCE, worst


@needs_timm
@pytest.mark.parametrize('case, shape, mode', LIVE)
def test_live_timm(case, shape, mode):
    rng = np.random.default_rng(shape[1])
    x, v = rng.standard_normal(shape), rng.standard_normal(shape)
    theirs = vectors.reference(case, shape[1], seed=5)
    module, renamed = ours(case, shape[1], {k: t.numpy().copy() for k, t in theirs.state_dict().items()})
    expected = vectors.answer(theirs.train(mode == 'train'), x, v)
    worst = differences(module.train(mode == 'train'), renamed, x, v, expected)
    assert max(worst.values()) <= TOLERANCE, worst


@pytest.mark.slow
@needs_timm
def test_stored_vectors_are_those_of_the_installed_timm():
    made = subprocess.run([sys.executable, str(SCRIPT), '--check'], capture_output=True, text=True, timeout=120)
    assert made.returncode == 0, made.stdout + made.stderr


def test_weights_are_those_applied():
    rng = np.random.default_rng(3)
    x = torch.from_numpy(rng.standard_normal((2, 16, 5, 7)))
    for name in ('se', 'eca', 'cbam_channel'):
        y, weights = build(name, 16).double()(x)
        torch.testing.assert_close(y, x * weights['channel'][:, :, None, None], rtol=0, atol=1e-15)
    y, weights = build('cbam_spatial', 16).double()(x)
    torch.testing.assert_close(y, x * weights['spatial'], rtol=0, atol=1e-15)
    y, weights = build('coordinate', 16).double().eval()(x)
    product = weights['rows'][:, :, :, None] * weights['columns'][:, :, None]
    torch.testing.assert_close(y, x * product, rtol=0, atol=1e-15)
    torch.testing.assert_close(weights['spatial'], product.mean(dim=1, keepdim=True), rtol=0, atol=1e-15)
    torch.testing.assert_close(weights['channel'], product.mean(dim=(2, 3)), rtol=0, atol=1e-15)


@pytest.mark.parametrize(('channels', 'kernel'), [(2, 3), (16, 3), (32, 3), (64, 3), (128, 5), (256, 5), (512, 5)])
def test_eca_kernel_adapts_to_the_channels(channels, kernel):
    assert build('eca', channels).conv.kernel_size == (kernel,)
