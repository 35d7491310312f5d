# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""bfloat16 on the CPU, but for convolutions whose gradients went wrong on some processor."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def keep_dilated_in_float32(network: nn.Module) -> None:
    """Make autocast leave dilated convolutions alone; changed in place.

    Observed with torch 2.13.0+cpu on an AMD EPYC of family 25, model 17 (Zen 4, AVX-512 with bfloat16): the bfloat16
    weight gradients of some of them (3x3, dilation 2 or 4, 24 channels, channels last) hold values of uninitialised
    memory. On one of family 25, model 1 (AVX2, no AVX-512), they are right with the same torch, within 0.6 %; there
    torch does not hand bfloat16 to oneDNN. They are on an Intel Xeon with AMX (family 6, model 207), too, within 0.3 %.
    `python -m attention_fusion_ros.studies.bfloat16_gradients` says how it is on the one at hand. float32 costs little,
    as only the dilated convolutions (of BAM and SK) are concerned.
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv1d, nn.Conv2d)) and max(module.dilation) > 1:
            module.forward = _in_float32(module.forward)  # type: ignore[method-assign,assignment]


def _in_float32(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def without_autocast(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return forward(x.float())
    return without_autocast
