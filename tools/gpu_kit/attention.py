# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""CBAM: plain torch, timm's module, torch.compile and Triton, as single calls and in a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gpu_kit.check import Check, medians, say

SHAPES = ((1, 64, 256, 256), (1, 128, 128, 128), (8, 40, 64, 64), (16, 64, 256, 256))
COMPILED_SHAPES = SHAPES[:2]
TINY = ((1, 4, 8, 8),)
REDUCTION = 16
COMPILE_S = 45.0  # for one shape and layout, both ways; guessed
PASSES = {'forward': 4, 'both': 11}  # over the features: three reads and a write; and those of the backward

Weights = list[Tensor]  # (C / 16, C), (C, C / 16), (1, 2, 7, 7)
Function = Callable[[Tensor, Weights], Tensor]


def attention(check: Check) -> list[dict[str, Any]]:
    """Forward, and forward with backward, by everything that needs no compiler of its own."""
    rows = check.found.setdefault('attention', [])
    for shape in TINY if check.dry else SHAPES:
        for channels_last in (False, True):
            row, x, weights = _begun(check, shape, channels_last)
            for name, function in _providers(check, x, weights).items():
                check.attempt(f'cbam, {name}, {shape}{" channels last" * channels_last}',
                              lambda name=name, function=function, given=(row, x, weights):
                              _timed(check, name, function, *given))
            rows.append(row)
            say('   ', medians(row))
    return rows


def compiled_attention(check: Check) -> None:
    """The same by torch.compile, max-autotune; added to the rows of `attention`. Takes minutes: what fits is done."""
    for shape in TINY if check.dry else COMPILED_SHAPES:
        for channels_last in (False, True):
            label = f'cbam, compiled, {shape}{" channels last" * channels_last}'
            if check.left_s < (0 if check.dry else COMPILE_S):
                check.failed[label] = f'left out: {check.left_s:.0f} s were left'
                continue
            row, x, weights = _begun(check, shape, channels_last)
            row = next((r for r in check.found.get('attention', []) if r['shape'] == row['shape']
                        and r['channels_last'] == channels_last), row)
            check.attempt(label, lambda given=(row, x, weights): _compiled(check, *given))
            say('   ', medians(row))
            check.save()


def _compiled(check: Check, row: dict[str, Any], x: Tensor, weights: Weights) -> None:
    from attention_fusion_ros.kernels import cbam
    if check.dry:  # needs a compiler for C++
        _timed(check, 'compiled', lambda x, w: cbam.plain(x, w[0], None, w[1], None, w[2], None)[0], row, x, weights)
        return
    for mode in ('max-autotune-no-cudagraphs', 'max-autotune'):
        torch._dynamo.reset()
        made = torch.compile(cbam.plain, mode=mode, dynamic=False)

        def function(x: Tensor, w: Weights, made: Any = made) -> Tensor:
            y: Tensor = made(x, w[0], None, w[1], None, w[2], None)[0]
            return y
        name = 'compiled' if mode == 'max-autotune' else 'compiled, no graphs of its own'
        _timed(check, name, function, row, x, weights, in_graph=mode != 'max-autotune')


def _begun(check: Check, shape: tuple[int, ...], channels_last: bool) -> tuple[dict[str, Any], Tensor, Weights]:
    dtype = torch.float32 if check.dry else torch.float16
    x = torch.randn(shape, device=check.device, dtype=dtype)
    x = x.contiguous(memory_format=torch.channels_last) if channels_last else x
    C, width = shape[1], max(1, shape[1] // REDUCTION)
    weights = [torch.randn(size, device=check.device, dtype=dtype) * 0.1
               for size in ((width, C), (C, width), (1, 2, 7, 7))]
    one = x.numel() * x.element_size() / check.found['machine']['copy_gb_s'] / 1e6
    return {'shape': list(shape), 'channels_last': channels_last, 'dtype': str(dtype)[6:],
            **{f'{way} floor': passes * one for way, passes in PASSES.items()}}, x, weights


def _providers(check: Check, x: Tensor, weights: Weights) -> dict[str, Function]:
    from attention_fusion_ros.kernels import cbam
    found: dict[str, Function] = {'plain': lambda x, w: cbam.plain(x, w[0], None, w[1], None, w[2], None)[0]}
    fast = next((v.function for v in cbam.versions
                 if v.name == 'triton' and check.device.type in v.devices and v.available()), None)
    if fast is not None:
        found['triton'] = lambda x, w: fast(x, w[0], None, w[1], None, w[2], None)[0]
    try:
        module = _timm(x)
    except ImportError as error:  # also where torchvision, which it needs, is not there
        say('    without timm:', error)
        return found
    found['timm'] = lambda x, w: module(x)
    return found


def _timm(x: Tensor) -> torch.nn.Module:
    """timm's module, whose batch normalisation after the spatial convolution is as in use: eval."""
    from timm.layers.cbam import CbamModule
    module: torch.nn.Module = CbamModule(x.shape[1], rd_ratio=1 / REDUCTION).to(x.device, x.dtype).eval()
    return module.to(memory_format=torch.channels_last) if not x.is_contiguous() else module  # type: ignore


def _timed(check: Check, name: str, function: Function, row: dict[str, Any], x: Tensor, weights: Weights,
           in_graph: bool = True) -> None:
    def forward() -> Tensor:
        with torch.no_grad():
            return function(x, weights)
    leaves = [a.detach().clone(memory_format=torch.preserve_format).requires_grad_() for a in (x, *weights)]
    gradient = torch.randn_like(x)

    def both() -> None:
        y = function(leaves[0], leaves[1:])
        used = leaves[:1] if name == 'timm' else leaves
        torch.autograd.grad(y, used, gradient)
    for way, call in (('forward', forward), ('both', both)):
        row[f'{way} {name}'] = check.milliseconds(call)
        if in_graph:
            try:
                row[f'{way} {name} in a graph'] = check.in_graph(call)
            except Exception as error:
                check.note(f'{way} {name} {row["shape"]} in a graph', error)
                torch.cuda.synchronize()
