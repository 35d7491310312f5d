# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The network's head: what it says about every bearing bin, by name, and how the numbers are read.

Bin k of K covers the bearings around -pi + (k + 0.5) * 2 pi / K. A new channel is a name in `HEAD_CHANNELS` and, where
it should not start at zero, an entry in `INITIAL_BIAS`; nothing else counts or numbers the channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from attention_fusion_ros.geometry import bin_bearings
from attention_fusion_ros.utils.torch_later import Tensor, torch

if TYPE_CHECKING:
    from torch import nn

HEAD_CHANNELS = (
    'presence',  # logit that a branch lies in the bin
    'offset',  # of the branch's bearing from the bin's centre, in bins
    'heading_cos', 'heading_sin',  # of the branch's heading, relative to the bin's centre
    'bearing_log_std', 'heading_log_std',  # natural logarithms of standard deviations in rad
    'direction',  # logit that the branch to take lies in the bin; softmax over the bins and `no_direction`
)
INITIAL_BIAS: Mapping[str, float] = {'presence': -3.0}  # branches are rare (focal loss prior, Lin et al. 2017)
MAX_OFFSET_BINS = 1.5  # a bin answers for branches this far from its centre at most


def head_layer(inputs: int) -> nn.Conv1d:
    """The last layer: (B, inputs, K) features -> (B, len(HEAD_CHANNELS), K)."""
    layer = torch.nn.Conv1d(inputs, len(HEAD_CHANNELS), 1)
    assert layer.bias is not None
    with torch.no_grad():
        layer.bias.zero_()
        for name, value in INITIAL_BIAS.items():
            layer.bias[HEAD_CHANNELS.index(name)] = value
    return layer


def head_channel(head: Tensor, name: str) -> Tensor:
    """(..., C, K) head -> (..., K), the channel called `name`. Raises ValueError for an unknown name."""
    return head[..., HEAD_CHANNELS.index(name), :]


def head_arrays(head: np.ndarray) -> dict[str, np.ndarray]:
    """(..., C, K) head -> channel name -> (..., K) float64."""
    return {name: head[..., i, :].astype(np.float64) for i, name in enumerate(HEAD_CHANNELS)}


def bin_width(bins: int) -> float:
    """Width of one of K bearing bins, rad."""
    return 2 * math.pi / bins


def bin_centres(bins: int, device: torch.device | str = 'cpu') -> Tensor:
    """(K,) float32 bearing of every bin's centre, rad; the tensor twin of `geometry.bin_bearings`."""
    return -math.pi + (torch.arange(bins, device=device) + 0.5) * bin_width(bins)


def decode_bearings(offset: np.ndarray) -> np.ndarray:
    """(..., K) offsets in bins -> (..., K) bearing in rad that each bin answers for; not wrapped."""
    bins = offset.shape[-1]
    clipped = np.clip(offset.astype(np.float64), -MAX_OFFSET_BINS, MAX_OFFSET_BINS)
    bearings: np.ndarray = bin_bearings(bins) + clipped * bin_width(bins)
    return bearings


def decode_headings(cos: np.ndarray, sin: np.ndarray) -> np.ndarray:
    """(..., K) cosine and sine relative to the bin's centre -> (..., K) heading in rad; not wrapped."""
    headings: np.ndarray = np.arctan2(sin.astype(np.float64), cos.astype(np.float64)) + bin_bearings(cos.shape[-1])
    return headings
