# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which parts of a network stay as they are while the rest is trained."""

from __future__ import annotations

from torch import nn

from attention_fusion_ros.errors import ConfigurationError


def rest_but(network: nn.Module, wanted: tuple[str, ...]) -> list[nn.Module]:
    """Take the gradient from all parameters whose names begin with none of `wanted` ((): from none).

    Returns the modules of which nothing is trained, which stay as in use: no batch statistics, nothing at random.
    Raises ConfigurationError for a beginning that no parameter has.
    """
    if not wanted:
        return []
    names = [name for name, _ in network.named_parameters()]
    for beginning in wanted:
        if not any(name.startswith(beginning) for name in names):
            raise ConfigurationError(f"training setting 'train_only' names '{beginning}', but the network has only: "
                                     f"{', '.join(dict.fromkeys(name.partition('.')[0] for name in names))}")
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.startswith(wanted))
    return [module for module in network.modules()
            if (own := list(module.parameters())) and not any(p.requires_grad for p in own)]


def normalisations(network: nn.Module) -> list[nn.Module]:
    """The modules of a network that normalise by the statistics of a batch, or of those before."""
    return [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
