# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`pose_scores` by the correlation theorem: products of Fourier transforms in the place of a convolution with a kernel
as large as the grid.
"""

from __future__ import annotations

import torch
from torch import Tensor

from attention_fusion_ros.kernels.registry import fast_version


@fast_version('pose_scores', 'fft', devices=('cpu', 'cuda'))
def pose_scores_fft(seen: Tensor, drawn: Tensor, shifts: int) -> Tensor:
    """As `attention.pose_volume.pose_scores`."""
    height, width = seen.shape[-2:]
    # Padding keeps what leaves at one side from coming back at the other; every shift needs a place of its own.
    size = tuple(_fast_length(max(side + shifts, 2 * shifts + 1)) for side in (height, width))
    single = torch.promote_types(seen.dtype, torch.float32)
    a = torch.fft.rfft2(seen.to(single), s=size)
    b = torch.fft.rfft2(drawn.to(single), s=size)
    product = (a[:, None] * b.conj()).sum(dim=2)
    scores = torch.roll(torch.fft.irfft2(product, s=size), (shifts, shifts), dims=(-2, -1))
    return scores[..., :2 * shifts + 1, :2 * shifts + 1].to(seen.dtype)


def _fast_length(least: int) -> int:
    """The next length that has no prime factor but 2, 3 and 5."""
    length = least
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 1
