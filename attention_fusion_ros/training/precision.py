# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""bfloat16 on the CPU, but for the convolutions whose gradients go wrong there."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def keep_dilated_in_float32(network: nn.Module) -> None:
    """Make autocast leave dilated convolutions alone; changed in place.

    Observed with torch 2.13.0+cpu on an AMD EPYC: the bfloat16 weight gradients of some of them (3x3, dilation 2, 24
    channels, channels last, for example) hold values of uninitialised memory. Other processors take other code paths
    and were not tried; float32 there costs little, as only the dilated convolutions (of BAM and SK) are concerned.
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv1d, nn.Conv2d)) and max(module.dilation) > 1:
            module.forward = _in_float32(module.forward)  # type: ignore[method-assign,assignment]


def _in_float32(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def without_autocast(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return forward(x.float())
    return without_autocast
