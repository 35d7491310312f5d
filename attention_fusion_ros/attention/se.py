# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Squeeze-and-Excitation Networks, Hu, Shen, Albanie, Sun, Wu, CVPR 2018. https://arxiv.org/abs/1709.01507"""

from __future__ import annotations

from torch import Tensor, nn

from attention_fusion_ros.attention.mechanism import Mechanism, bottleneck


class SqueezeExcitation(Mechanism):
    """s = sigmoid(W2 relu(W1 z)), z the mean of each channel over the map; each channel is scaled by its s.

    reduction: r of the paper. hidden: width of the bottleneck instead of C / r (some libraries round it to multiples
    of 8). bias: the paper leaves biases out 'to simplify the notation'; implementations have them.
    Weights: 'channel' (B, C), each in 0..1.
    """

    def __init__(self, channels: int, reduction: int = 16, hidden: int | None = None, bias: bool = True):
        super().__init__(channels)
        width = bottleneck(channels, reduction, hidden)
        self.fc1 = nn.Linear(channels, width, bias=bias)
        self.fc2 = nn.Linear(width, channels, bias=bias)

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """x (B, C, H, W) -> weighted features (B, C, H, W), and the weights that the class names."""
        z = x.mean(dim=(2, 3))  # squeeze: (B, C)
        s = self.fc2(self.fc1(z).relu()).sigmoid()  # excitation: (B, C)
        return x * s[:, :, None, None], {'channel': s}
