# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The network as it is exported: tensors in, a plain tuple of tensors out."""

from __future__ import annotations

from torch import Tensor, nn

from attention_fusion_ros.backends.exported import PRIOR, input_names, named_outputs
from attention_fusion_ros.network.build import Network


class Exportable(nn.Module):
    """The network with a plain tuple of tensors as its output, in the order of `named_outputs`."""

    def __init__(self, network: Network):
        super().__init__()
        self.network = network

    def forward(self, lidar: Tensor, map: Tensor) -> tuple[Tensor, ...]:  # noqa: A002 - the name seen in the file
        """lidar (B, C, H, W), map (B, 3, H, W) -> the outputs."""
        return tuple(named_outputs(self.network(lidar, map)).values())


class ExportableWithPrior(Exportable):
    """The same of a network with the input `prior`."""

    def forward(self, lidar: Tensor, map: Tensor, prior: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]  # noqa: A002
        """lidar (B, C, H, W), map (B, 3, H, W), prior (B, PRIOR_SIZE) -> the outputs."""
        return tuple(named_outputs(self.network(lidar, map, None, prior)).values())


def exportable(network: Network) -> Exportable:
    """The network as it is exported."""
    return ExportableWithPrior(network) if PRIOR in input_names(network.config) else Exportable(network)
