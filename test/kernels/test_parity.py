# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Every registered version of every operation gives what the plain one gives, gradients included; and the dispatcher.

The toy version below shows the way in: a fast version is registered, compared with the plain one by the same function
that compares all of them, and chosen by device, name, context and environment variable.
"""

from __future__ import annotations

import logging
from functools import partial

import numpy as np
import pytest
import torch
from support.kernel_cases import CASES
from torch.utils._pytree import tree_map_only

from attention_fusion_ros.kernels import ENVIRONMENT_VARIABLE, fast_version, operation, operations, remove_version, use
from attention_fusion_ros.network.blocks import circular_pad

DTYPES = (torch.float32, torch.bfloat16, torch.float64)
TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float64: 1e-10}
TOY = 'shared_pad'  # an operation of these tests alone, so that nobody's fast version runs in them
ARGUMENTS = {**CASES, TOY: CASES['circular_pad']}
REGISTERED = [(name, version.name) for name, op in operations().items() for version in op.versions]


def tensors_in(values) -> list[torch.Tensor]:
    """Tensors, and arrays as tensors, in the order in which they stand; lists of others are compared as they are."""
    found = []
    for value in values if isinstance(values, (tuple, list)) else [values]:
        if isinstance(value, (tuple, list)):
            found += tensors_in(value)
        elif isinstance(value, (torch.Tensor, np.ndarray)):
            found.append(torch.from_numpy(value.astype(value.dtype.newbyteorder('='), order='C'))
                         if isinstance(value, np.ndarray) else value)
    return found


def placed(device: str, differentiable: bool, values: torch.Tensor) -> torch.Tensor:
    return values.detach().to(device).requires_grad_(differentiable and values.is_floating_point())


def compare(name: str, version: str, dtype: torch.dtype) -> int:
    """Assert that a version gives what plain torch gives for all cases; the number of comparisons."""
    op, compared = operations()[name], 0
    chosen = next(v for v in op.versions if v.name == version)
    if not chosen.available():
        pytest.skip(f'{version} is not available here')
    for device in chosen.devices:
        if device == 'cuda' and not torch.cuda.is_available():
            pytest.skip('needs a CUDA device')
        for arguments in ARGUMENTS[name](torch.Generator().manual_seed(0), dtype):
            results = []
            for function in (op.plain, chosen.function):
                given = tree_map_only(torch.Tensor, partial(placed, device, chosen.differentiable), arguments)
                if chosen.arrays_only and function is chosen.function:
                    given = tree_map_only(torch.Tensor, torch.Tensor.numpy, given)
                with use('plain'):  # what either of them calls in turn
                    outputs = tensors_in(function(*given))
                wanting = [a for a in tensors_in(given) if a.requires_grad]
                gradients = ()
                if wanting:
                    total = sum((o.float() * torch.linspace(0.5, 1.5, o.numel(), device=device).view(o.shape)).sum()
                                for o in outputs if o.requires_grad)
                    gradients = torch.autograd.grad(total, wanting)
                results.append((*outputs, *gradients))
            for expected, found in zip(*results, strict=True):
                assert found.dtype is expected.dtype and found.shape == expected.shape
                tolerance = max(TOLERANCES[dtype], TOLERANCES.get(expected.dtype, 0.0))
                torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
                compared += 1
    return compared


def test_every_operation_has_cases():
    assert set(CASES) == set(operations()) - {TOY}, 'add the operation to test/support/kernel_cases.py'


@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize('name', CASES)
def test_plain_versions_accept_all_cases(name, dtype):
    for arguments in CASES[name](torch.Generator().manual_seed(0), dtype):
        with use('plain'):
            outputs = tensors_in(operations()[name](*arguments))
        assert outputs and not any(output.isnan().any() for output in outputs)


@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize('name, version', REGISTERED)
def test_fast_versions_equal_the_plain_one(name, version, dtype):
    assert compare(name, version, dtype) > 0


# -- the way in, with a toy version --------------------------------------------------------------------------------

@operation(TOY)
def shared_pad(x, reach):
    return circular_pad.plain(x, reach)


@pytest.fixture
def toy(request):
    calls = []
    options = getattr(request, 'param', {})

    @fast_version(TOY, 'toy', **{'devices': ('cpu',), **options})
    def padded(x, reach):
        calls.append(x.shape)
        return x[..., torch.arange(-reach, x.shape[-1] + reach) % x.shape[-1]]
    yield calls
    remove_version(TOY, 'toy')


@pytest.mark.parametrize('dtype', DTYPES, ids=str)
def test_a_toy_version_is_compared_like_all_others(toy, dtype):
    assert compare(TOY, 'toy', dtype) == 2 * 4


def test_a_version_with_other_numbers_is_found_out():
    @fast_version(TOY, 'wrong', devices=('cpu',))
    def wrong(x, reach):
        return torch.nn.functional.pad(x, (reach, reach))
    try:
        with pytest.raises(AssertionError):
            compare(TOY, 'wrong', torch.float32)
    finally:
        remove_version(TOY, 'wrong')


def test_the_fast_version_runs_by_default_and_can_be_switched_off(toy, monkeypatch):
    x = torch.randn(1, 2, 6)
    shared_pad(x, 1)
    assert len(toy) == 1
    with use('plain'):
        shared_pad(x, 1)
        with use('toy', TOY):
            shared_pad(x, 1)
    assert len(toy) == 2
    for setting, calls in (('plain', 2), (f'{TOY}=plain', 2), ('warp=plain', 3), ('toy', 4)):
        monkeypatch.setenv(ENVIRONMENT_VARIABLE, setting)
        shared_pad(x, 1)
        assert len(toy) == calls, setting


@pytest.mark.parametrize('toy, words', [({'devices': ('cuda',)}, 'not for cpu'),
                                        ({'available': lambda: False}, 'not available'),
                                        ({'differentiable': False}, 'no gradient')], indirect=['toy'])
def test_what_cannot_run_is_replaced_with_one_warning(toy, words, caplog):
    x = torch.randn(1, 2, 6, requires_grad=True)
    shared_pad(x, 1)  # auto: passed over in silence
    assert not toy and not caplog.records
    with caplog.at_level(logging.WARNING), use('toy', TOY):
        for _ in range(3):
            assert torch.equal(shared_pad(x, 1), operations()[TOY].plain(x, 1))
    warnings = [r.getMessage() for r in caplog.records]
    assert not toy and len(warnings) == 1 and words in warnings[0]


def test_whether_a_version_is_available_is_asked_once():
    asked = []
    fast_version(TOY, 'asked', devices=('cpu',), available=lambda: not asked.append(1))(shared_pad.plain)
    try:
        for _ in range(3):
            shared_pad(torch.randn(1, 2, 6), 1)
    finally:
        remove_version(TOY, 'asked')
    assert len(asked) == 1


def test_an_unknown_version_is_named_once(caplog):
    with caplog.at_level(logging.WARNING), use('nosuch'):
        for _ in range(2):
            shared_pad(torch.randn(1, 2, 6), 1)
    assert [('nosuch' in r.getMessage(), 'no such version' in r.getMessage()) for r in caplog.records] == [(True, True)]


def test_two_versions_of_one_name_are_refused(toy):
    with pytest.raises(ValueError, match='toy'):
        fast_version(TOY, 'toy')(lambda x, reach: x)
