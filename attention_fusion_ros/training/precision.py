# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""bfloat16 on the CPU, but for the convolutions whose gradients go wrong there."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def keep_dilated_in_float32(network: nn.Module) -> None:
    """Make autocast leave dilated convolutions alone; changed in place.

    On the CPU torch (2.13) gives weight gradients of uninitialised memory for some of them in bfloat16: 3x3, dilation
    2, 24 channels, channels last, for example.
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv1d, nn.Conv2d)) and max(module.dilation) > 1:
            module.forward = _in_float32(module.forward)


def _in_float32(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def without_autocast(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return forward(x.float())
    return without_autocast
