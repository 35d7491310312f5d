# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""AdamW that skips a step whose gradients are not finite, on CUDA without making the host wait for the answer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class SkippingAdamW:
    """AdamW (Loshchilov, Hutter, ICLR 2019) with weight decay on matrices and kernels, not on biases and norms.

    fused: torch's kernel that reads on the device whether to skip the step (as `torch.amp.GradScaler` makes it do);
    otherwise the host reads it, which costs nothing on the CPU.
    """

    def __init__(self, network: nn.Module, learning_rate: float, weight_decay: float, fused: bool):
        parameters = [p for p in network.parameters() if p.requires_grad]
        groups = [{'params': [p for p in parameters if p.ndim > 1], 'weight_decay': weight_decay},
                  {'params': [p for p in parameters if p.ndim <= 1], 'weight_decay': 0.0}]
        self.fused = fused
        self._adamw = torch.optim.AdamW(groups, lr=learning_rate, fused=fused)

    def step_if(self, sound: Tensor, learning_rate: float) -> None:
        """Take a step where `sound` () bool is true, else change nothing."""
        for group in self._adamw.param_groups:
            group['lr'] = learning_rate
        if self.fused:
            # What GradScaler sets: torch's way of telling the kernel.
            self._adamw.grad_scale = None  # type: ignore[attr-defined]
            self._adamw.found_inf = (~sound).float()  # type: ignore[attr-defined]
            self._adamw.step()
        elif bool(sound):
            self._adamw.step()

    def zero_grad(self) -> None:
        """Drop the gradients."""
        self._adamw.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """As of torch's optimisers."""
        return self._adamw.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As of torch's optimisers; whether it is fused stays as it is."""
        for group in state['param_groups']:
            group['fused'] = self.fused
        self._adamw.load_state_dict(state)
