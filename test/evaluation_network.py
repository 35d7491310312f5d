"""Random weights with an opinion: peaks well apart, so that rounding does not choose between equal ones."""

from __future__ import annotations

from pathlib import Path

import torch

from attention_fusion_ros.config import NodeConfig, from_flat
from attention_fusion_ros.direction import Calibration
from attention_fusion_ros.network import checkpoint


def lively_config(folder: Path) -> NodeConfig:
    """A node configuration with a checkpoint in `folder` that answers with several branches and a direction."""
    network = checkpoint.untrained().network
    with torch.no_grad():
        network.head.weight.mul_(40.0)
    path = folder / 'lively.safetensors'
    checkpoint.save(path, network, Calibration(), {})
    return from_flat({'checkpoint': str(path), 'device': 'cpu', 'threads': 1, 'branches.min_probability': 0.01,
                      'branches.min_direction_probability': 0.0})
