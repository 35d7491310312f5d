# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Start from trained weights although the network has changed: what fits is taken over, the rest stays as it was."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def load_matching_weights(network: nn.Module, trained: nn.Module) -> list[str]:
    """Copy the weights of `trained` into `network` by name; returns the names of tensors that were left as they were.

    Where a convolution or linear layer has more inputs than the trained one, the trained weights serve the first
    inputs and the others start at zero: the answer is that of the trained network until training changes it. Where it
    has fewer, it takes those of the first. A layer with a multiple of the outputs, as of several rings, repeats them.
    """
    source, left = trained.state_dict(), []
    for name, mine in network.state_dict().items():
        theirs = source.get(name)
        if theirs is not None and theirs.ndim == mine.ndim and mine.ndim and mine.shape[0] > theirs.shape[0]:
            times, rest = divmod(mine.shape[0], theirs.shape[0])
            theirs = None if rest else theirs.repeat(times, *[1] * (theirs.ndim - 1))
        if theirs is not None and theirs.shape == mine.shape:
            mine.copy_(theirs)
        elif theirs is not None and mine.ndim >= 2 and _same_but_inputs(mine, theirs):
            inputs = min(mine.shape[1], theirs.shape[1])
            mine.zero_()
            mine[:, :inputs] = theirs[:, :inputs]
        else:
            left.append(name)
    return left


def _same_but_inputs(mine: torch.Tensor, theirs: torch.Tensor) -> bool:
    return mine.ndim == theirs.ndim and mine.shape[0] == theirs.shape[0] and mine.shape[2:] == theirs.shape[2:]
