# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Building blocks: convolution + normalisation, residual block with attention, and their circular (polar) kin."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attention_fusion_ros.attention import MECHANISMS, Mechanism, build
from attention_fusion_ros.kernels import operation


def build_attention(slot: dict[str, Any], channels: int, **known: Any) -> Mechanism:
    """The mechanism a configuration slot names, for `channels` channels. Raises ConfigurationError.

    known: options that the network knows best, for mechanisms that have them; those in the slot come first.
    """
    options = {k: v for k, v in slot.items() if k != 'name'}
    taken = inspect.signature(MECHANISMS[slot['name']].__init__).parameters if slot['name'] in MECHANISMS else {}
    return build(slot['name'], channels, **{**{k: v for k, v in known.items() if k in taken}, **options})


def apply_attention(mechanism: Mechanism, x: Tensor, query: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
    """Runs a mechanism that weighs features; query (B, query_channels) is given to those that ask for it."""
    features, weights = mechanism(x, query) if 'query' in mechanism.extra_inputs else mechanism(x)
    return features, weights


class ConvNorm(nn.Sequential):
    """3x3 (or 1x1) convolution, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, relu: bool = True):
        layers = [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs)]
        super().__init__(*layers, *([nn.ReLU(inplace=True)] if relu else []))


class ResBlock(nn.Module):
    """Basic residual block (He et al. 2016) with attention on the residual, as in figure 3 of CBAM, or after it (BAM).

    query_channels: of the query, for mechanisms that ask for one.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, attention: dict[str, Any], query_channels: int):
        super().__init__()
        self.conv1 = ConvNorm(inputs, outputs, stride=stride)
        self.conv2 = ConvNorm(outputs, outputs, relu=False)
        self.attention = build_attention(attention, outputs, query_channels=query_channels)
        self.shortcut = (nn.Identity() if stride == 1 and inputs == outputs
                         else ConvNorm(inputs, outputs, kernel=1, stride=stride, relu=False))

    def forward(self, x: Tensor, query: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """x (B, C, H, W), query (B, query_channels) -> features (B, C', H', W') and weights."""
        residual = self.conv2(self.conv1(x))
        weights: dict[str, Tensor] = {}
        if self.attention.placement == 'residual':
            residual, weights = apply_attention(self.attention, residual, query)
        out = F.relu(self.shortcut(x) + residual)
        if self.attention.placement == 'after':
            out, weights = apply_attention(self.attention, out, query)
        return out, weights


class WholeBlock(nn.Module):
    """A mechanism that is a residual block itself (`cbam_block`), in the place of a `ResBlock`."""

    def __init__(self, inputs: int, outputs: int, stride: int, attention: dict[str, Any]):
        super().__init__()
        self.attention = build_attention(attention, inputs, out_channels=outputs, stride=stride)

    def forward(self, x: Tensor, query: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """x (B, C, H, W), query (B, query_channels) -> features (B, C', H', W') and weights."""
        return apply_attention(self.attention, x, query)


def residual_block(inputs: int, outputs: int, stride: int, attention: dict[str, Any], query_channels: int) -> nn.Module:
    """The block for one entry of a configuration: forward(x, query) -> (features, weights)."""
    if MECHANISMS[attention['name']].placement == 'block':
        return WholeBlock(inputs, outputs, stride, attention)
    return ResBlock(inputs, outputs, stride, attention, query_channels)


def resized(x: Tensor, size: Sequence[int]) -> Tensor:
    """x (B, C, h, w) -> (B, C, H, W) of that size, bilinear."""
    (height, width), (wanted_height, wanted_width) = map(int, x.shape[2:]), map(int, size)  # tensors while tracing
    if (height, width) == (wanted_height, wanted_width):
        return x
    if wanted_height % height == wanted_width % width == 0:  # by constants: runtimes of exported files are fast at it
        factors = float(wanted_height // height), float(wanted_width // width)
        return F.interpolate(x, scale_factor=factors, mode='bilinear', align_corners=False)
    return F.interpolate(x, (wanted_height, wanted_width), mode='bilinear', align_corners=False)


@operation('circular_pad')
def circular_pad(x: Tensor, reach: int) -> Tensor:
    """Pad the last axis by `reach` cells of its other end: (..., K) -> (..., K + 2 * reach), reach <= K.

    Written as slices because not every runtime reads a wrapping Pad.
    """
    return torch.cat([x[..., x.shape[-1] - reach:], x, x[..., :reach]], dim=-1)


class PolarConv(nn.Module):
    """3x3 convolution over (range, bearing): bearing wraps around, range is zero padded and halved."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=(2, 1), padding=(1, 0), bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, R, K) -> (B, C', R / 2, K)."""
        return F.relu(self.norm(self.conv(circular_pad(x, 1))), inplace=True)


class CircularConv(nn.Module):
    """1-D residual convolution over bearing with wrap-around."""

    def __init__(self, channels: int, kernel: int = 5, dilation: int = 1):
        super().__init__()
        self.reach = dilation * (kernel // 2)
        self.conv = nn.Conv1d(channels, channels, kernel, dilation=dilation, bias=False)
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, K) -> (B, C, K)."""
        return x + F.relu(self.norm(self.conv(circular_pad(x, self.reach))))
