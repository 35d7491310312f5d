"""Attention mechanisms, one a file. `MECHANISMS` is the one place that adds one to the configuration."""

from __future__ import annotations

from attention_fusion_ros.attention.bam import BottleneckAttention
from attention_fusion_ros.attention.cbam import CBAM, ChannelAttention, SpatialAttention
from attention_fusion_ros.attention.cbam_block import CBAMResBlock
from attention_fusion_ros.attention.coordinate import CoordinateAttention
from attention_fusion_ros.attention.dynamic_capacity import DynamicCapacity
from attention_fusion_ros.attention.eca import EfficientChannelAttention
from attention_fusion_ros.attention.glimpse import Glimpse
from attention_fusion_ros.attention.mechanism import Mechanism, construct
from attention_fusion_ros.attention.none import NoAttention
from attention_fusion_ros.attention.sca import SCA
from attention_fusion_ros.attention.se import SqueezeExcitation
from attention_fusion_ros.attention.sk import SelectiveKernel
from attention_fusion_ros.attention.stn import SpatialTransformer
from attention_fusion_ros.attention.temporal import TemporalAttention
from attention_fusion_ros.contracts import ConfigurationError

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
    'dynamic_capacity': DynamicCapacity,
    'glimpse': Glimpse,
    'temporal': TemporalAttention,
}


def build(name: str, channels: int, **options) -> Mechanism:
    """The mechanism called `name` for features of `channels` channels.

    Raises ConfigurationError for an unknown name or option (naming the known ones) and for a value that cannot work.
    """
    if name not in MECHANISMS:
        raise ConfigurationError(f"unknown attention mechanism '{name}'. Known are: {', '.join(MECHANISMS)}.")
    return construct(name, MECHANISMS[name], channels, options)
