# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Attention mechanisms, one a file. `MECHANISMS` is the one place that adds one to the configuration."""

from __future__ import annotations

import contextlib
from typing import Any

import torch

from attention_fusion_ros.attention.bam import BottleneckAttention
from attention_fusion_ros.attention.cbam import CBAM, ChannelAttention, SpatialAttention
from attention_fusion_ros.attention.cbam_block import CBAMResBlock
from attention_fusion_ros.attention.cell_budget import CellBudget
from attention_fusion_ros.attention.coordinate import CoordinateAttention
from attention_fusion_ros.attention.dynamic_capacity import DynamicCapacity
from attention_fusion_ros.attention.eca import EfficientChannelAttention
from attention_fusion_ros.attention.glimpse import Glimpse
from attention_fusion_ros.attention.mechanism import Mechanism, construct
from attention_fusion_ros.attention.none import NoAttention
from attention_fusion_ros.attention.place_attention import PlaceAttention
from attention_fusion_ros.attention.pose_correlation import PoseCorrelation
from attention_fusion_ros.attention.sca import SCA
from attention_fusion_ros.attention.se import SqueezeExcitation
from attention_fusion_ros.attention.sk import SelectiveKernel
from attention_fusion_ros.attention.stn import SpatialTransformer
from attention_fusion_ros.attention.temporal import TemporalAttention
from attention_fusion_ros.errors import ConfigurationError

__all__ = ['MECHANISMS', 'Mechanism', 'build', 'check_slot', 'construct', 'known']

MECHANISMS: dict[str, type[Mechanism]] = {
    'none': NoAttention,
    'se': SqueezeExcitation,
    'sk': SelectiveKernel,
    'eca': EfficientChannelAttention,
    'cbam_channel': ChannelAttention,
    'cbam_spatial': SpatialAttention,
    'cbam': CBAM,
    'cbam_block': CBAMResBlock,
    'bam': BottleneckAttention,
    'sca': SCA,
    'coordinate': CoordinateAttention,
    'stn': SpatialTransformer,
    'pose_correlation': PoseCorrelation,
    'cell_budget': CellBudget,
    'place_attention': PlaceAttention,
    'dynamic_capacity': DynamicCapacity,
    'glimpse': Glimpse,
    'temporal': TemporalAttention,
}


def check_slot(slot: str, entry: dict[str, Any]) -> None:
    """Whether the network setting `slot` (of SLOTS) may hold `entry`: {'name': mechanism, option: value, ...}.

    Raises ConfigurationError; for a mechanism that does not fit there it says where it does.
    """
    if not isinstance(entry, dict) or 'name' not in entry:
        raise ConfigurationError(f'network setting {slot} must be a mapping with a name, for example {{name: none}}, '
                                 f'got {entry!r}')
    cls = known(entry['name'])
    if slot not in cls.slots:
        fitting = ', '.join(name for name, other in MECHANISMS.items() if slot in other.slots)
        raise ConfigurationError(f"attention mechanism '{entry['name']}' cannot be used for {slot}. It fits: "
                                 f"{', '.join(cls.slots)}. For {slot} there are: {fitting}.")


def known(name: str) -> type[Mechanism]:
    """The class called `name`, or ConfigurationError naming those there are."""
    if name not in MECHANISMS:
        raise ConfigurationError(f"unknown attention mechanism '{name}'. Known are: {', '.join(MECHANISMS)}.")
    return MECHANISMS[name]


def build(name: str, channels: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None,
          **options: Any) -> Mechanism:
    """The mechanism called `name` for features of `channels` channels, made on `device` with parameters of `dtype`.

    Raises ConfigurationError for an unknown name or option (naming the known ones) and for a value that cannot work.
    """
    with contextlib.nullcontext() if device is None else torch.device(device):
        made = construct(name, known(name), channels, options)
    return made if dtype is None else made.to(dtype)
