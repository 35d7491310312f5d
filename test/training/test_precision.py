# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Gradients in bfloat16 on the CPU are those of float32, for dilated convolutions as well."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from attention_fusion_ros.training.precision import keep_dilated_in_float32


def gradient(network: nn.Module, x: torch.Tensor, amp: bool) -> torch.Tensor:
    """Of the first weight, after memory of the sizes in question has held something else."""
    for size in (1000, 5000, 5184, 10368, 20000, 100000, 393216):
        torch.full((size,), float('nan'))
    network.zero_grad()
    with torch.autocast('cpu', dtype=torch.bfloat16, enabled=amp):
        y = network(x)
    (y.float() ** 2).mean().backward()
    return next(network.parameters()).grad.clone()


@pytest.mark.parametrize('channels, groups, dilation', [(24, 1, 2), (24, 1, 4), (24, 24, 2), (32, 1, 2), (24, 1, 1)])
def test_gradients_are_those_of_float32(channels, groups, dilation):
    torch.manual_seed(0)
    exact = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, groups=groups))
    exact = exact.to(memory_format=torch.channels_last)
    spared = copy.deepcopy(exact)
    keep_dilated_in_float32(spared)
    x = torch.randn(16, channels, 32, 32).to(memory_format=torch.channels_last)
    for _ in range(3):
        wanted, found = gradient(exact, x, False), gradient(spared, x, True)
        assert torch.allclose(found, wanted, rtol=0.05, atol=0.02 * float(wanted.abs().max()))


def test_only_dilated_convolutions_leave_bfloat16():
    network = nn.Sequential(nn.Conv1d(8, 8, 3, padding=2, dilation=2), nn.Conv1d(8, 8, 3, padding=1))
    keep_dilated_in_float32(network)
    x = torch.randn(2, 8, 16)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert network[0](x).dtype == torch.float32 and network[1](x).dtype == torch.bfloat16
