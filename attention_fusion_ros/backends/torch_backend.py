# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The network in torch, on the CPU or on a CUDA device: the backend that can explain its results, too."""

from __future__ import annotations

import torch
from torch import Tensor

from attention_fusion_ros.backends.base import Model
from attention_fusion_ros.backends.device import choose_device, default_threads
from attention_fusion_ros.backends.exported import PRIOR, input_names
from attention_fusion_ros.backends.graphed import Graphed
from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.network import checkpoint as checkpoints
from attention_fusion_ros.network.build import Network
from attention_fusion_ros.network.history import History
from attention_fusion_ros.network.output import NetworkOutput


class TorchBackend:
    """Runs a .safetensors checkpoint. Raises ConfigurationError when checkpoint or device cannot be used."""

    name = 'torch'

    def __init__(self, config: NodeConfig):
        self.device, self.device_note, self.device_fell_back = choose_device(config.device)
        self.threads = config.threads or default_threads()
        loaded = checkpoints.resolve(config.checkpoint, config.allow_untrained)
        self.model = Model(loaded.name, loaded.trained, loaded.network.config, loaded.calibration,
                           PRIOR in input_names(loaded.network.config))
        network = loaded.network.to(self.device)
        self._network: Network | None = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._graphed = Graphed(self._network) if self.device.type == 'cuda' else None

    @property
    def network(self) -> Network:
        """The network itself, for what needs gradients. Raises RuntimeError after `close`."""
        if self._network is None:
            raise RuntimeError('this backend has been closed')
        return self._network

    @torch.inference_mode()
    def infer(self, lidar: Tensor, map_image: Tensor, history: History | None = None,
              prior: Tensor | None = None) -> NetworkOutput:
        """See `Backend.infer`."""
        network, last = self.network, torch.channels_last
        grids = lidar.contiguous(memory_format=last), map_image.contiguous(memory_format=last)
        known = (prior,) if self.model.carries_map else ()
        output: NetworkOutput
        if self._graphed is not None and history is None:
            output = self._graphed(*grids, None, *known)
        else:
            output = network(*grids, history, *known)
        return output

    def close(self) -> None:
        """Give memory and device back."""
        self._network = self._graphed = None
        if self.device.type == 'cuda':
            torch.cuda.empty_cache()
