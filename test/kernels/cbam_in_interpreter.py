# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The Triton version of CBAM on the CPU, in Triton's interpreter. Run by test_cbam.py in a process of its own.

The interpreter cuts float32 to bfloat16 where a GPU rounds, so that bfloat16 has a wider tolerance.
"""

from __future__ import annotations

import itertools

import pytest
import torch
from support.kernel_cases import CASES

from attention_fusion_ros.attention.cbam import CBAM
from attention_fusion_ros.kernels import cbam, use
from attention_fusion_ros.kernels.fast.cbam_triton import INTERPRETED, cbam_triton

TOLERANCES = {torch.float32: 2e-5, torch.float16: 5e-3, torch.bfloat16: 4e-2}


def answers(function, arguments, dtype):
    given = [a.detach().clone(memory_format=torch.preserve_format).requires_grad_() if isinstance(a, torch.Tensor)
             else a for a in arguments]
    outputs = function(*given)
    total = sum((o.float() * torch.linspace(0.5, 1.5, o.numel()).view(o.shape)).sum() for o in outputs)
    leaves = [a for a in given if isinstance(a, torch.Tensor)]
    return [o.detach() for o in outputs], torch.autograd.grad(total, leaves)


@pytest.mark.parametrize('case', range(4))
@pytest.mark.parametrize('dtype', TOLERANCES, ids=str)
def test_outputs_and_gradients(dtype, case):
    assert INTERPRETED
    arguments = next(itertools.islice(CASES['cbam'](torch.Generator().manual_seed(0), dtype), case, None))
    expected, found = (answers(function, arguments, dtype) for function in (cbam.plain, cbam_triton))
    for a, b in zip([*expected[0], *expected[1]], [*found[0], *found[1]], strict=True):
        assert a.dtype is b.dtype and a.shape == b.shape
        scale = a.float().abs().max().clamp(min=1.0)
        torch.testing.assert_close(b.float() / scale, a.float() / scale, rtol=0.0, atol=TOLERANCES[dtype])


def test_a_maximum_that_is_shared_hands_its_gradient_to_all():
    x = torch.ones(1, 4, 3, 3)
    arguments = (x, torch.full((2, 4), 0.5), None, torch.full((4, 2), 0.5), None, torch.full((1, 2, 3, 3), 0.1), None)
    expected, found = (answers(function, arguments, torch.float32) for function in (cbam.plain, cbam_triton))
    torch.testing.assert_close(found[1][0], expected[1][0])
    assert found[1][0].std() > 0  # the border sees less of the convolution


def test_many_parts_of_a_long_row():
    x = torch.randn(1, 2, 4, 700, generator=torch.Generator().manual_seed(3))
    arguments = (x, torch.full((1, 2), 0.5), None, torch.full((2, 1), 0.5), None, torch.full((1, 2, 3, 3), 0.1), None)
    expected, found = (answers(function, arguments, torch.float32) for function in (cbam.plain, cbam_triton))
    for a, b in zip([*expected[0], *expected[1]], [*found[0], *found[1]], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_within_autocast():
    """Features of half the precision of the weights, as after a convolution there."""
    x = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(3)).bfloat16()
    arguments = (x, torch.full((2, 4), 0.5), torch.zeros(2), torch.full((4, 2), 0.5), None,
                 torch.full((1, 2, 3, 3), 0.1), torch.zeros(1))
    found = []
    for function in (cbam.plain, cbam_triton):
        given = [a.clone().requires_grad_() if isinstance(a, torch.Tensor) else a for a in arguments]
        with torch.autocast('cpu', torch.bfloat16):
            y = function(*given)[0]
        leaves = [a for a in given if isinstance(a, torch.Tensor)]
        found.append([y.detach(), *torch.autograd.grad(y.float().square().sum(), leaves)])
    for a, b in zip(*found, strict=True):
        assert a.dtype is b.dtype
        scale = a.float().abs().max().clamp(min=1.0)
        torch.testing.assert_close(b.float() / scale, a.float() / scale, rtol=0.0, atol=TOLERANCES[torch.bfloat16])


def test_the_dispatcher_takes_it():
    x = torch.rand(1, 3, 4, 4)
    arguments = (x, torch.zeros(1, 3), None, torch.zeros(3, 1), None, torch.zeros(1, 2, 3, 3), None)
    assert cbam.choose(*arguments) is cbam_triton
    with use('plain'):
        assert cbam.choose(*arguments) is cbam.plain


def test_a_short_training_ends_the_same():
    """Loss curves and weights of kernel and twin agree."""
    curves, weights = [], []
    for version in ('plain', 'triton'):
        torch.manual_seed(1)
        module = CBAM(4, channel={'reduction': 2}, spatial={'kernel': 3})
        optimiser = torch.optim.SGD(module.parameters(), 0.5)
        random, losses = torch.Generator().manual_seed(2), []
        for _ in range(6):
            x = torch.randn(2, 4, 5, 5, generator=random)
            with use(version, 'cbam'):
                loss = (module(x)[0] - 0.3 * x).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss))
        curves.append(losses)
        weights.append(torch.cat([p.detach().flatten() for p in module.parameters()]))
    assert curves[0] == pytest.approx(curves[1], rel=1e-5) and curves[0][-1] != curves[0][0]
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-4, atol=1e-6)
