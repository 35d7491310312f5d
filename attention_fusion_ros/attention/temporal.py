# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Attention over past sweeps, carried by a convolutional GRU.

Scaled dot-product attention: Attention Is All You Need, Vaswani et al., NIPS 2017. https://arxiv.org/abs/1706.03762
ConvGRU: Delving Deeper into Convolutional Networks for Learning Video Representations, Ballas, Yao, Pal, Courville,
ICLR 2016. https://arxiv.org/abs/1511.06432
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from attention_fusion_ros.attention.mechanism import Mechanism, at_least, odd
from attention_fusion_ros.attention.warp import move
from attention_fusion_ros.errors import ConfigurationError


class ConvGRU(nn.Module):
    """h' = (1 - z) h + z tanh(W x + U (r h)), z and r the update and reset gates, every product a convolution."""

    def __init__(self, channels: int, kernel: int = 3):
        super().__init__()
        self.gates = nn.Conv2d(2 * channels, 2 * channels, kernel, padding=kernel // 2)
        self.candidate = nn.Conv2d(2 * channels, channels, kernel, padding=kernel // 2)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """x and state h, both (B, C, H, W) -> the next state (B, C, H, W)."""
        z, r = self.gates(torch.cat([x, h], dim=1)).sigmoid().chunk(2, dim=1)
        after: Tensor = (1 - z) * h + z * self.candidate(torch.cat([x, r * h], dim=1)).tanh()
        return after


class TemporalAttention(Mechanism):
    """Moves the features of past sweeps to where the vehicle is now, weighs each in every cell, and carries them.

    forward(x, history, moves, present=None): x (B, C, H, W) now; history (B, P, C, H, W), oldest first, P = 0 allowed;
    moves (B, P, 3, 3), T_now_then in metres, from odometry; present (B, P) bool, False where a sweep is missing (start
    of a drive): it then has no influence. A past sweep also has none in cells it did not see.
    keys: channels of queries and keys. carry: True passes the weighted sweeps through the ConvGRU, oldest first; False
    adds them up, which does not depend on their order. kernel: of the ConvGRU. extent [m]: half the height of the grid.
    The result is added to x through a 1x1 convolution that starts at zero, so that training starts without history.
    Weights: 'time' (B, P + 1, H, W), each in 0..1, sum 1 over time; the last is now.
    """

    decisive = ('time',)

    extra_inputs = ('history', 'moves', 'present')
    slots = ('temporal',)

    def __init__(self, channels: int, keys: int = 16, carry: bool = True, kernel: int = 3, extent: float = 40.0):
        super().__init__(channels)
        if not 0 < extent < math.inf:
            raise ConfigurationError(f"attention option 'extent' must be positive, got {extent!r}")
        self.extent = float(extent)
        self.query = nn.Conv2d(channels, at_least('keys', keys, 1), 1)
        self.key = nn.Conv2d(channels, keys, 1, bias=False)  # a bias would shift all times alike
        self.gru = ConvGRU(channels, odd('kernel', kernel)) if carry else None
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)
        assert self.out.bias is not None
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, history: Tensor, moves: Tensor,
                present: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """x (B, C, H, W), history (B, P, C, H, W), moves (B, P, 3, 3) -> x with its history (B, C, H, W), weights."""
        sweeps, seen = self.align(x, history, moves, present)  # (B, T, C, H, W), (B, T, H, W)
        B, T = sweeps.shape[:2]
        keys = self.key(sweeps.flatten(0, 1)).unflatten(0, (B, T))  # (B, T, d, H, W)
        score = (self.query(x)[:, None] * keys).sum(dim=2) / math.sqrt(keys.shape[2])
        time = score.masked_fill(~seen, float('-inf')).softmax(dim=1)  # now is always seen
        return x + self.out(self._carried(x, sweeps, seen, time)), {'time': time}

    def reweighted(self, x: Tensor, weights: Mapping[str, Tensor], *extra: Tensor | None) -> Tensor:
        """x with its history, weighed by another 'time'; see `Mechanism.reweighted`. extra: as `forward` takes them.

        What a sweep did not see has no weight.
        """
        history, moves, present = (*extra, None)[:3]
        assert history is not None and moves is not None
        sweeps, seen = self.align(x, history, moves, present)
        features: Tensor = x + self.out(self._carried(x, sweeps, seen, weights['time'] * seen))
        return features

    def indifferent(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Every sweep alike."""
        return {'time': torch.full_like(weights['time'], 1 / weights['time'].shape[1])}

    def _carried(self, x: Tensor, sweeps: Tensor, seen: Tensor, time: Tensor) -> Tensor:
        """(B, C, H, W) the sweeps (B, T, C, H, W), weighed by `time` (B, T, H, W), summed or carried by the GRU."""
        weighted = time[:, :, None] * sweeps
        if self.gru is None:
            return weighted.sum(dim=1)
        carried = torch.zeros_like(x)
        for t in range(sweeps.shape[1]):
            carried = torch.where(seen[:, t, None], self.gru(weighted[:, t], carried), carried)
        return carried

    def align(self, x: Tensor, history: Tensor, moves: Tensor, present: Tensor | None) -> tuple[Tensor, Tensor]:
        """All sweeps in the frame of now (B, P + 1, C, H, W), and whether each saw each cell (B, P + 1, H, W) bool."""
        B, P = history.shape[:2]
        now = torch.ones(B, 1, *x.shape[2:], dtype=torch.bool, device=x.device)
        if P == 0:
            return x[:, None], now
        past = move(torch.cat([history, torch.ones_like(history[:, :, :1])], dim=2).flatten(0, 1),
                    moves.flatten(0, 1), self.extent)
        past = past.view(B, P, *past.shape[1:])
        seen = past[:, :, -1] > 0.99  # a cell made partly of the world beyond the old grid is not seen
        if present is not None:
            seen = seen & present[:, :, None, None]
        return torch.cat([past[:, :, :-1], x[:, None]], dim=1), torch.cat([seen, now], dim=1)
