# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call, var-annotated"
"""CBAM in Triton, forward and backward: three passes over the features each way.

Forward: pool every channel over its cells (1), gate and pool every cell over its channels (2), gate by both (3). The
MLP and the convolution between them see (B, C) and (B, 2, H, W) numbers and stay in torch. Backward: the gradient of
the spatial weights (4), of the channel weights (5), of the features (6).

A maximum that several elements share hands its gradient to all of them in equal parts, as torch's `amax` does; after a
ReLU that is the rule and not the exception.

With TRITON_INTERPRET=1 the kernels run on the CPU, slowly; that is how they are tested without a GPU.
"""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import torch
from torch import Tensor

from attention_fusion_ros.kernels.cbam_plain import cbam, channel_weights, spatial_weights
from attention_fusion_ros.kernels.registry import fast_version

INTERPRETED = os.environ.get('TRITON_INTERPRET', '') == '1'
AVAILABLE = importlib.util.find_spec('triton') is not None
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
PARTS = 132  # of the cells, at least, that are pooled at the same time, over all images: processors of a large GPU

if AVAILABLE:
    import triton
    import triton.language as tl

    @triton.jit
    def _pool_cells(x_ptr, sum_ptr, max_ptr, count_ptr, C, N, stride_b, stride_c, stride_n, part_n,
                    BC: tl.constexpr, BN: tl.constexpr):
        """Sum, maximum and how many share it, of the cells of one part; (B, C, parts) float32 each."""
        blocks_c = tl.cdiv(C, BC)
        b = tl.program_id(0) // blocks_c
        channel = (tl.program_id(0) % blocks_c) * BC + tl.arange(0, BC)
        part, parts = tl.program_id(1), tl.num_programs(1)
        total = tl.zeros([BC], tl.float32)
        best = tl.full([BC], float('-inf'), tl.float32)
        count = tl.zeros([BC], tl.float32)
        base = x_ptr + b.to(tl.int64) * stride_b + channel[:, None].to(tl.int64) * stride_c
        end = tl.minimum((part + 1) * part_n, N)
        for start in range(part * part_n, end, BN):
            n = start + tl.arange(0, BN)
            inside = (channel[:, None] < C) & (n[None, :] < end)
            x = tl.load(base + n[None, :].to(tl.int64) * stride_n, mask=inside, other=0.0).to(tl.float32)
            total += tl.sum(x, axis=1)
            x = tl.where(inside, x, float('-inf'))
            here = tl.max(x, axis=1)
            higher = tl.maximum(best, here)
            shared = tl.sum(tl.where(inside & (x == higher[:, None]), 1.0, 0.0), axis=1)
            count = tl.where(best == higher, count, 0.0) + shared
            best = higher
        out = (b * C + channel) * parts + part
        tl.store(sum_ptr + out, total, mask=channel < C)
        tl.store(max_ptr + out, best, mask=channel < C)
        tl.store(count_ptr + out, count, mask=channel < C)

    @triton.jit
    def _pool_channels(x_ptr, gate_ptr, mean_ptr, max_ptr, count_ptr, C, N, stride_b, stride_c, stride_n,
                       ROUND: tl.constexpr, BC: tl.constexpr, BN: tl.constexpr):
        """Mean, maximum and how many share it, of the gated channels of every cell; (B, N) float32 each."""
        blocks_n = tl.cdiv(N, BN)
        b = tl.program_id(0) // blocks_n
        n = (tl.program_id(0) % blocks_n) * BN + tl.arange(0, BN)
        total = tl.zeros([BN], tl.float32)
        best = tl.full([BN], float('-inf'), tl.float32)
        count = tl.zeros([BN], tl.float32)
        base = x_ptr + b.to(tl.int64) * stride_b + n[None, :].to(tl.int64) * stride_n
        for start in range(0, C, BC):
            channel = start + tl.arange(0, BC)
            inside = (channel[:, None] < C) & (n[None, :] < N)
            x = tl.load(base + channel[:, None].to(tl.int64) * stride_c, mask=inside, other=0.0).to(tl.float32)
            gate = tl.load(gate_ptr + b * C + channel, mask=channel < C, other=0.0).to(tl.float32)
            gated = x * gate[:, None]
            if ROUND:  # as if it had been stored: what shares the maximum is what shares it in plain torch
                gated = gated.to(x_ptr.dtype.element_ty).to(tl.float32)
            total += tl.sum(gated, axis=0)
            gated = tl.where(inside, gated, float('-inf'))
            here = tl.max(gated, axis=0)
            higher = tl.maximum(best, here)
            shared = tl.sum(tl.where(inside & (gated == higher[None, :]), 1.0, 0.0), axis=0)
            count = tl.where(best == higher, count, 0.0) + shared
            best = higher
        out = b * N + n
        tl.store(mean_ptr + out, total / C, mask=n < N)
        tl.store(max_ptr + out, best, mask=n < N)
        tl.store(count_ptr + out, count, mask=n < N)

    @triton.jit
    def _gate(x_ptr, gate_ptr, spatial_ptr, y_ptr, C, N, stride_b, stride_c, stride_n, BC: tl.constexpr,
              BN: tl.constexpr):
        """y = x times the weight of its channel times that of its cell."""
        blocks_c, blocks_n = tl.cdiv(C, BC), tl.cdiv(N, BN)
        pid = tl.program_id(0)
        b = pid // (blocks_c * blocks_n)
        channel = (pid // blocks_n % blocks_c) * BC + tl.arange(0, BC)
        n = (pid % blocks_n) * BN + tl.arange(0, BN)
        inside = (channel[:, None] < C) & (n[None, :] < N)
        place = (b.to(tl.int64) * stride_b + channel[:, None].to(tl.int64) * stride_c
                 + n[None, :].to(tl.int64) * stride_n)
        x = tl.load(x_ptr + place, mask=inside, other=0.0).to(tl.float32)
        gate = tl.load(gate_ptr + b * C + channel, mask=channel < C, other=0.0).to(tl.float32)
        spatial = tl.load(spatial_ptr + b * N + n, mask=n < N, other=0.0).to(tl.float32)
        tl.store(y_ptr + place, (x * gate[:, None] * spatial[None, :]).to(y_ptr.dtype.element_ty), mask=inside)

    @triton.jit
    def _spatial_gradient(x_ptr, dy_ptr, gate_ptr, out_ptr, C, N, stride_b, stride_c, stride_n, BC: tl.constexpr,
                          BN: tl.constexpr):
        """(B, N) float32: the sum over channels of dy x gate."""
        blocks_n = tl.cdiv(N, BN)
        b = tl.program_id(0) // blocks_n
        n = (tl.program_id(0) % blocks_n) * BN + tl.arange(0, BN)
        total = tl.zeros([BN], tl.float32)
        cells = b.to(tl.int64) * stride_b + n[None, :].to(tl.int64) * stride_n
        for start in range(0, C, BC):
            channel = start + tl.arange(0, BC)
            inside = (channel[:, None] < C) & (n[None, :] < N)
            place = cells + channel[:, None].to(tl.int64) * stride_c
            x = tl.load(x_ptr + place, mask=inside, other=0.0).to(tl.float32)
            dy = tl.load(dy_ptr + place, mask=inside, other=0.0).to(tl.float32)
            gate = tl.load(gate_ptr + b * C + channel, mask=channel < C, other=0.0).to(tl.float32)
            total += tl.sum(dy * x * gate[:, None], axis=0)
        tl.store(out_ptr + b * N + n, total, mask=n < N)

    @triton.jit
    def _gated_gradient(x, dy, gate, spatial, d_mean, d_max, best, C, DTYPE: tl.constexpr, ROUND: tl.constexpr):
        """Gradient of the gated features, [BC, BN]: of the product with the spatial weights and of both pools."""
        gated = x * gate[:, None]
        if ROUND:
            gated = gated.to(DTYPE).to(tl.float32)
        return (dy * spatial[None, :] + (d_mean / C)[None, :]
                + tl.where(gated == best[None, :], d_max[None, :], 0.0))

    @triton.jit
    def _channel_gradient(x_ptr, dy_ptr, gate_ptr, spatial_ptr, d_mean_ptr, d_max_ptr, best_ptr, out_ptr, C, N,
                          stride_b, stride_c, stride_n, part_n, ROUND: tl.constexpr, BC: tl.constexpr,
                          BN: tl.constexpr):
        """(B, C, parts) float32: the sum over the cells of a part of the gated features' gradient times x."""
        blocks_c = tl.cdiv(C, BC)
        b = tl.program_id(0) // blocks_c
        channel = (tl.program_id(0) % blocks_c) * BC + tl.arange(0, BC)
        part, parts = tl.program_id(1), tl.num_programs(1)
        gate = tl.load(gate_ptr + b * C + channel, mask=channel < C, other=0.0).to(tl.float32)
        total = tl.zeros([BC], tl.float32)
        channels = b.to(tl.int64) * stride_b + channel[:, None].to(tl.int64) * stride_c
        end = tl.minimum((part + 1) * part_n, N)
        for start in range(part * part_n, end, BN):
            n = start + tl.arange(0, BN)
            inside = (channel[:, None] < C) & (n[None, :] < end)
            place = channels + n[None, :].to(tl.int64) * stride_n
            x = tl.load(x_ptr + place, mask=inside, other=0.0).to(tl.float32)
            dy = tl.load(dy_ptr + place, mask=inside, other=0.0).to(tl.float32)
            spatial = tl.load(spatial_ptr + b * N + n, mask=n < end, other=0.0).to(tl.float32)
            d_mean = tl.load(d_mean_ptr + b * N + n, mask=n < end, other=0.0)
            d_max = tl.load(d_max_ptr + b * N + n, mask=n < end, other=0.0)
            best = tl.load(best_ptr + b * N + n, mask=n < end, other=0.0)
            d = _gated_gradient(x, dy, gate, spatial, d_mean, d_max, best, C, x_ptr.dtype.element_ty, ROUND)
            total += tl.sum(tl.where(inside, d * x, 0.0), axis=1)
        tl.store(out_ptr + (b * C + channel) * parts + part, total, mask=channel < C)

    @triton.jit
    def _input_gradient(x_ptr, dy_ptr, gate_ptr, spatial_ptr, d_mean_ptr, d_max_ptr, best_ptr, c_mean_ptr, c_max_ptr,
                        c_best_ptr, dx_ptr, C, N, stride_b, stride_c, stride_n, ROUND: tl.constexpr,
                        BC: tl.constexpr, BN: tl.constexpr):
        """dx: what the gated features' gradient gives, and what the pools over the cells of each channel give."""
        blocks_c, blocks_n = tl.cdiv(C, BC), tl.cdiv(N, BN)
        pid = tl.program_id(0)
        b = pid // (blocks_c * blocks_n)
        channel = (pid // blocks_n % blocks_c) * BC + tl.arange(0, BC)
        n = (pid % blocks_n) * BN + tl.arange(0, BN)
        inside = (channel[:, None] < C) & (n[None, :] < N)
        place = (b.to(tl.int64) * stride_b + channel[:, None].to(tl.int64) * stride_c
                 + n[None, :].to(tl.int64) * stride_n)
        x = tl.load(x_ptr + place, mask=inside, other=0.0).to(tl.float32)
        dy = tl.load(dy_ptr + place, mask=inside, other=0.0).to(tl.float32)
        of_channel, of_cell = b * C + channel, b * N + n
        gate = tl.load(gate_ptr + of_channel, mask=channel < C, other=0.0).to(tl.float32)
        c_mean = tl.load(c_mean_ptr + of_channel, mask=channel < C, other=0.0)
        c_max = tl.load(c_max_ptr + of_channel, mask=channel < C, other=0.0)
        c_best = tl.load(c_best_ptr + of_channel, mask=channel < C, other=0.0)
        spatial = tl.load(spatial_ptr + of_cell, mask=n < N, other=0.0).to(tl.float32)
        d_mean = tl.load(d_mean_ptr + of_cell, mask=n < N, other=0.0)
        d_max = tl.load(d_max_ptr + of_cell, mask=n < N, other=0.0)
        best = tl.load(best_ptr + of_cell, mask=n < N, other=0.0)
        d = _gated_gradient(x, dy, gate, spatial, d_mean, d_max, best, C, x_ptr.dtype.element_ty, ROUND)
        dx = d * gate[:, None] + (c_mean / N)[:, None] + tl.where(x == c_best[:, None], c_max[:, None], 0.0)
        tl.store(dx_ptr + place, dx.to(dx_ptr.dtype.element_ty), mask=inside)


class _Layout:
    """How the kernels walk over a tensor: strides with the cells as one axis, and tile sizes that follow memory."""

    def __init__(self, x: Tensor):
        self.B, self.C, height, width = x.shape
        self.N = height * width
        self.stride_b, self.stride_c, _, self.stride_n = x.stride()
        channels_last = self.stride_c == 1 and self.C > 1
        wide = triton.next_power_of_2(min(self.C, 64))
        self.BC, self.BN = (wide, max(16, 2048 // wide)) if channels_last else (min(8, wide), 512)
        self.BN = min(self.BN, triton.next_power_of_2(self.N))
        # Over channels a program has its cells to itself: more channels at once, fewer cells.
        self.own_BC = wide
        self.own_BN = min(max(16, 2048 // wide), triton.next_power_of_2(self.N))
        self.blocks_c = triton.cdiv(self.C, self.BC)
        parts = max(1, min(triton.cdiv(PARTS, self.B * self.blocks_c), triton.cdiv(self.N, self.BN)))
        self.part_n = triton.cdiv(triton.cdiv(self.N, parts), self.BN) * self.BN
        self.parts = triton.cdiv(self.N, self.part_n)

    @property
    def shape(self) -> tuple[int, ...]:
        """C, N and the strides, as the kernels take them."""
        return self.C, self.N, self.stride_b, self.stride_c, self.stride_n

    @property
    def tiles(self) -> dict[str, int]:
        return {'BC': self.BC, 'BN': self.BN}

    @property
    def own_tiles(self) -> dict[str, int]:
        return {'BC': self.own_BC, 'BN': self.own_BN}

    @property
    def every_tile(self) -> tuple[int]:
        return (self.B * self.blocks_c * triton.cdiv(self.N, self.BN),)

    @property
    def every_cell(self) -> tuple[int]:
        return (self.B * triton.cdiv(self.N, self.own_BN),)

    @property
    def every_part(self) -> tuple[int, int]:
        return (self.B * self.blocks_c, self.parts)


def _even(x: Tensor) -> Tensor:
    """x with its cells evenly spaced in memory, as contiguous and channels-last tensors have them."""
    _, _, _, width = x.shape
    return x if x.stride(2) == width * x.stride(3) else x.contiguous()


def _like(gradient: Tensor, x: Tensor) -> Tensor:
    """The gradient with the strides of x."""
    if gradient.stride() == x.stride():
        return gradient
    return torch.empty_like(x).copy_(gradient)


def _pooled_cells(x: Tensor, layout: _Layout) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, maximum and how many share it of every channel, (B, C) float32 each."""
    total, best, count = (x.new_empty((layout.B, layout.C, layout.parts), dtype=torch.float32) for _ in range(3))
    _pool_cells[layout.every_part](x, total, best, count, *layout.shape, layout.part_n, **layout.tiles)
    highest = best.amax(dim=2)
    shared = torch.where(best == highest[:, :, None], count, 0.0).sum(dim=2)
    return total.sum(dim=2) / layout.N, highest, shared


class _Cbam(torch.autograd.Function):
    """See `cbam`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, fc1_weight: Tensor, fc1_bias: Tensor | None, fc2_weight: Tensor,
                fc2_bias: Tensor | None, kernel: Tensor, kernel_bias: Tensor | None,
                mean_first: bool) -> tuple[Tensor, Tensor, Tensor]:
        x = _even(x)
        layout, (_, _, height, width) = _Layout(x), x.shape
        rounds = x.dtype in (torch.float16, torch.bfloat16)
        mean, best, shared = _pooled_cells(x, layout)
        channel = channel_weights(mean.to(x.dtype), best.to(x.dtype), fc1_weight, fc1_bias, fc2_weight, fc2_bias)
        s_mean, s_best, s_shared = (x.new_empty((layout.B, 1, height, width), dtype=torch.float32) for _ in range(3))
        _pool_channels[layout.every_cell](x, channel, s_mean, s_best, s_shared, *layout.shape, ROUND=rounds,
                                          **layout.own_tiles)
        spatial = spatial_weights(s_mean.to(x.dtype), s_best.to(x.dtype), kernel, kernel_bias, mean_first)
        spatial = spatial.contiguous()
        y = torch.empty_like(x)
        _gate[layout.every_tile](x, channel, spatial, y, *layout.shape, **layout.tiles)
        ctx.save_for_backward(x, mean, best, shared, channel, s_mean, s_best, s_shared, spatial, fc1_weight, fc1_bias,
                              fc2_weight, fc2_bias, kernel, kernel_bias)
        ctx.mean_first, ctx.rounds = mean_first, rounds
        return y, channel, spatial

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (x, mean, best, shared, channel, s_mean, s_best, s_shared, spatial, fc1_weight, fc1_bias, fc2_weight, fc2_bias,
         kernel, kernel_bias) = ctx.saved_tensors
        layout = _Layout(x)
        dy, d_channel, d_spatial = _like(gradients[0], x), gradients[1].float(), gradients[2].float()
        of_product = torch.empty_like(s_mean)
        _spatial_gradient[layout.every_cell](x, dy, channel, of_product, *layout.shape, **layout.own_tiles)
        # The convolution, and below the MLP, are differentiated by torch: they are small.
        d_mean, d_max, *d_kernel = _through(
            lambda m, b, *w: spatial_weights(m, b, w[0], w[1] if len(w) > 1 else None, ctx.mean_first),
            (s_mean.to(x.dtype), s_best.to(x.dtype), kernel, *(() if kernel_bias is None else (kernel_bias,))),
            of_product + d_spatial)
        d_mean, d_max = d_mean.float().contiguous(), (d_max.float() / s_shared).contiguous()
        rounded_best = s_best
        parts = x.new_empty((layout.B, layout.C, layout.parts), dtype=torch.float32)
        _channel_gradient[layout.every_part](x, dy, channel, spatial, d_mean, d_max, rounded_best, parts,
                                             *layout.shape, layout.part_n, ROUND=ctx.rounds, **layout.tiles)
        given = [mean.to(x.dtype), best.to(x.dtype), fc1_weight, fc2_weight]
        biases = [bias for bias in (fc1_bias, fc2_bias) if bias is not None]

        def weights(m: Tensor, b: Tensor, w1: Tensor, w2: Tensor, *rest: Tensor) -> Tensor:
            left = list(rest)
            b1 = left.pop(0) if fc1_bias is not None else None
            return channel_weights(m, b, w1, b1, w2, left.pop(0) if fc2_bias is not None else None)
        c_mean, c_max, d_w1, d_w2, *d_biases = _through(weights, (*given, *biases), parts.sum(dim=2) + d_channel)
        d_b1 = d_biases.pop(0) if fc1_bias is not None else None
        d_b2 = d_biases.pop(0) if fc2_bias is not None else None
        dx = torch.empty_like(x)
        _input_gradient[layout.every_tile](x, dy, channel, spatial, d_mean, d_max, rounded_best,
                                           c_mean.float().contiguous(), (c_max.float() / shared).contiguous(), best,
                                           dx, *layout.shape, ROUND=ctx.rounds, **layout.tiles)
        return dx, d_w1, d_b1, d_w2, d_b2, d_kernel[0], d_kernel[1] if len(d_kernel) > 1 else None, None


def _through(function: Any, given: tuple[Tensor, ...], gradient: Tensor) -> list[Tensor]:
    """The gradients of all that is given to a small function in torch, features first.

    Within autocast weights may be of another type than the features, and backward runs outside of it.
    """
    with torch.enable_grad():
        leaves = [tensor.detach().requires_grad_() for tensor in given]
        result = function(*(leaf.to(given[0].dtype) for leaf in leaves))
        return list(torch.autograd.grad(result, leaves, gradient.to(result.dtype)))


@fast_version('cbam', 'triton', devices=('cpu',) if INTERPRETED else ('cuda',), available=lambda: AVAILABLE)
def cbam_triton(x: Tensor, fc1_weight: Tensor, fc1_bias: Tensor | None, fc2_weight: Tensor, fc2_bias: Tensor | None,
                kernel: Tensor, kernel_bias: Tensor | None, mean_first: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """As `kernels.cbam`; float32, float16 and bfloat16, contiguous or channels last. Others run in plain torch."""
    if x.dtype not in DTYPES:
        return cbam.plain(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias, kernel, kernel_bias, mean_first)
    with torch.cuda.device_of(x):  # kernels start on the current device; backward, autograd sees to it
        result: tuple[Tensor, Tensor, Tensor] = _Cbam.apply(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias, kernel,
                                                            kernel_bias, mean_first)
    return result
