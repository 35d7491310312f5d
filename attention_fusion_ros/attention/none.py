# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""No attention: the baseline. At the fusion stage this is plain concatenation of the two modalities."""

from __future__ import annotations

from torch import Tensor

from attention_fusion_ros.attention.mechanism import SLOTS, Mechanism


class NoAttention(Mechanism):
    """Features pass unchanged; there are no weights, hence an empty dictionary and not one full of ones."""

    slots = SLOTS
    decisive = ()

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """x (B, C, H, W) -> weighted features (B, C, H, W), and the weights that the class names."""
        return x, {}
