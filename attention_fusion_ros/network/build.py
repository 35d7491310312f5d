# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Settings -> the network they describe. What all networks have in common is `Network`."""

from __future__ import annotations

from typing import TypeAlias

from attention_fusion_ros.bev import lidar, track
from attention_fusion_ros.network.config import NetworkConfig
from attention_fusion_ros.network.model import FusionNetwork
from attention_fusion_ros.network.two_readings import TwoReadings

Network: TypeAlias = FusionNetwork | TwoReadings


def lidar_layers(config: NetworkConfig) -> tuple[str, ...]:
    """Names of the layers of the LiDAR grid that the network is given."""
    return (*lidar.CHANNELS, track.CHANNEL) if config.track else lidar.CHANNELS


def build_network(config: NetworkConfig) -> Network:
    """The network with random weights. Raises ConfigurationError when the settings do not fit together."""
    return TwoReadings(config) if config.architecture == 'two_readings' else FusionNetwork(config)
