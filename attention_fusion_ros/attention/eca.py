# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""ECA-Net: Efficient Channel Attention for Deep CNNs, Wang, Wu, Zhu, Li, Zuo, Hu, CVPR 2020. arXiv 1910.03151,
https://arxiv.org/abs/1910.03151
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from attention_fusion_ros.attention.mechanism import Mechanism, odd


def adaptive_kernel(channels: int, gamma: float = 2.0, b: float = 1.0) -> int:
    """The k = |log2(C) / gamma + b / gamma|, made odd (equation 12), at least 3: one alone would not interact."""
    t = int(abs(math.log2(channels) + b) / gamma)
    return max(t if t % 2 else t + 1, 3)


class EfficientChannelAttention(Mechanism):
    """w = sigmoid(C1D_k(z)): a convolution over neighbouring channels instead of the two layers of SE.

    kernel: k, adaptive to the number of channels when None.
    Weights: 'channel' (B, C), each in 0..1.
    """

    def __init__(self, channels: int, kernel: int | None = None):
        super().__init__(channels)
        k = adaptive_kernel(channels) if kernel is None else odd('kernel', kernel)
        self.conv = nn.Conv1d(1, 1, k, padding=k // 2, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """x (B, C, H, W) -> weighted features (B, C, H, W), and the weights that the class names."""
        z = x.mean(dim=(2, 3))
        w = self.conv(z[:, None])[:, 0].sigmoid()  # (B, C)
        return x * w[:, :, None, None], {'channel': w}
