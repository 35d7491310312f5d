# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether bfloat16 gradients of convolutions are right on the processor at hand; why `training.precision` exists.

    python -m attention_fusion_ros.studies.bfloat16_gradients

Each convolution is run in float32 and under bfloat16 autocast on the same data, several times, after memory of such
sizes has held other numbers. Rounding makes the gradients differ by about 0.5 %; uninitialised memory by any amount.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attention_fusion_ros.utils.tables import Table

CHANNELS, DILATIONS = (8, 24, 32), (1, 2, 4)
REPEATS = 3
ROUNDING = 0.02  # relative; more than bfloat16 rounds to


@dataclass(frozen=True)
class Convolution:
    """A 3x3 convolution of as many channels as it is given."""

    channels: int
    dilation: int
    channels_last: bool

    def largest_error(self, batch: int = 4, cells: int = 32) -> float:
        """Largest relative difference of the gradients by weight and input; infinite where one is not finite."""
        torch.manual_seed(self.channels + self.dilation)
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        layer = nn.Conv2d(self.channels, self.channels, 3, padding=self.dilation, dilation=self.dilation, bias=False)
        layer.to(memory_format=layout)  # type: ignore[call-overload]
        x, upstream = (torch.randn(batch, self.channels, cells, cells).to(memory_format=layout) for _ in range(2))
        wanted = _gradients(layer, x, upstream, False)
        errors = [float((found - exact).norm() / exact.norm()) for _ in range(REPEATS)
                  for found, exact in zip(_gradients(layer, x, upstream, True), wanted)]
        return max(error if math.isfinite(error) else math.inf for error in errors)


def _gradients(layer: nn.Conv2d, x: Tensor, upstream: Tensor, amp: bool) -> tuple[Tensor, Tensor]:
    for copies in (1, 2, 4):  # what is freed here is likely to be handed out again
        torch.full((layer.weight.numel() * copies,), 1e30, dtype=torch.bfloat16)
    layer.zero_grad()
    x = x.clone().requires_grad_(True)
    with torch.autocast('cpu', dtype=torch.bfloat16, enabled=amp):
        y = layer(x)
    (y.float() * upstream).sum().backward()
    assert layer.weight.grad is not None and x.grad is not None
    return layer.weight.grad.clone(), x.grad


def measure() -> Table:
    """Largest relative error by channels, dilation and memory format."""
    rows = []
    for channels in CHANNELS:
        for dilation in DILATIONS:
            errors = [Convolution(channels, dilation, last).largest_error() for last in (False, True)]
            rows.append((channels, dilation, *(f'{error:.2%}' for error in errors),
                         'right' if max(errors) < ROUNDING else 'WRONG'))
    return Table('bfloat16 gradients on the CPU', ('channels', 'dilation', 'contiguous', 'channels last', ''), rows)


def main() -> int:
    """Print the table and what torch says of the processor; 1 where a gradient is wrong."""
    table = measure()
    print(f'torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}')
    print(table.text())
    return int(any(row[-1] == 'WRONG' for row in table.rows))


if __name__ == '__main__':
    sys.exit(main())
