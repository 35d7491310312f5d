# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What runs a network: BEV grids in, head out. Everything before and after is the same for every backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from attention_fusion_ros.contracts import Calibration
from attention_fusion_ros.network.config import NetworkConfig
from attention_fusion_ros.network.history import History
from attention_fusion_ros.network.model import NetworkOutput


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


class Backend(Protocol):
    """Runs one network. Stateless: what the network has to know about earlier sweeps is an argument."""

    name: str  # value of the parameter `backend`
    model: Model
    device: torch.device  # where inputs should be and outputs are
    device_note: str  # why `device: auto` does not mean a CUDA device, '' where it does
    device_fell_back: bool  # there is a CUDA device, but it cannot be used
    threads: int  # CPU threads that `infer` takes

    def infer(self, lidar: Tensor, map_image: Tensor, history: History | None = None) -> NetworkOutput:
        """lidar (B, C, H, W), map_image (B, 3, H, W), float32 on `device`, history of B sweeps -> their outputs.

        C channels, see `bev.lidar.CHANNELS`.

        Only networks with the setting `temporal` look at the history. Outputs that the pipeline does not need (`extra`)
        may be missing.
        """

    def close(self) -> None:
        """Give memory and device back; `infer` must not be called any more."""
