"""Attention mechanisms, one a file. `MECHANISMS` is the one place that adds one to the configuration."""

from __future__ import annotations

from attention_fusion_ros.attention.cbam import CBAM, ChannelAttention, SpatialAttention
from attention_fusion_ros.attention.mechanism import Mechanism, construct
from attention_fusion_ros.attention.none import NoAttention
from attention_fusion_ros.attention.se import SqueezeExcitation
from attention_fusion_ros.contracts import ConfigurationError

MECHANISMS: dict[str, type[Mechanism]] = {
    'none': NoAttention,
    'se': SqueezeExcitation,
    'cbam_channel': ChannelAttention,
    'cbam_spatial': SpatialAttention,
    'cbam': CBAM,
}


def build(name: str, channels: int, **options) -> Mechanism:
    """The mechanism called `name` for features of `channels` channels.

    Raises ConfigurationError for an unknown name or option (naming the known ones) and for a value that cannot work.
    """
    if name not in MECHANISMS:
        raise ConfigurationError(f"unknown attention mechanism '{name}'. Known are: {', '.join(MECHANISMS)}.")
    return construct(name, MECHANISMS[name], channels, options)
