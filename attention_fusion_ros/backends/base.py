# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What runs a network: BEV grids in, head out. Everything before and after is the same for every backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from attention_fusion_ros.attention import MECHANISMS
from attention_fusion_ros.contracts import Calibration
from attention_fusion_ros.network.config import NetworkConfig
from attention_fusion_ros.network.history import History
from attention_fusion_ros.network.output import NetworkOutput


@dataclass(frozen=True)
class Model:
    """What is known about the network that a backend runs."""

    name: str  # of the checkpoint
    trained: bool  # False: random weights
    network: NetworkConfig
    calibration: Calibration

    @property
    def registers_map(self) -> bool:
        """Whether the network corrects where the map image lies."""
        return bool(self.network.map_registration['name'] != 'none')

    @property
    def carries_map(self) -> bool:
        """Whether the network can be told where earlier sweeps put the map."""
        return 'prior' in MECHANISMS[self.network.map_registration['name']].extra_inputs


class Backend(Protocol):
    """Runs one network. Stateless: what the network has to know about earlier sweeps is an argument."""

    name: str  # value of the parameter `backend`
    model: Model
    device: torch.device  # where inputs should be and outputs are
    device_note: str  # why `device: auto` does not mean a CUDA device, '' where it does
    device_fell_back: bool  # there is a CUDA device, but it cannot be used
    threads: int  # CPU threads that `infer` takes

    def infer(self, lidar: Tensor, map_image: Tensor, history: History | None = None,
              prior: Tensor | None = None) -> NetworkOutput:
        """lidar (B, C, H, W), map_image (B, 3, H, W), float32 on `device`, history of B sweeps -> their outputs.

        C channels, see `bev.lidar.CHANNELS`, and the way driven (`bev.track`) where the network asks for it. prior
        (B, 13): where earlier sweeps put the map, see `attention.pose_volume.log_prior`.

        Only networks with the setting `temporal` look at the history, only those that `carry_map` at the prior.
        Outputs that the pipeline does not need (`extra`) may be missing.
        """

    def close(self) -> None:
        """Give memory and device back; `infer` must not be called any more."""
