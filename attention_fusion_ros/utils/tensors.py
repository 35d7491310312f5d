# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Arrays on their way to a device and back."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


@lru_cache(maxsize=64)
def _constant(values: tuple[float, ...], device: str) -> Tensor:
    with torch.inference_mode(False):  # what is kept must be usable in training, too
        return torch.tensor(values, dtype=torch.float32, device=device)


def constant(values: tuple[float, ...], device: torch.device | str) -> Tensor:
    """(N,) float32 tensor of these numbers on the device. Made once, and not to be written to."""
    return _constant(values, str(device))


def upload(array: np.ndarray, device: torch.device | str) -> Tensor:
    """An array of any shape -> float32 tensor on the device.

    On CUDA it goes through page-locked memory, so that the host does not wait for the copy. On the CPU it shares the
    array's memory where dtype and layout allow it, and must not be written to.
    """
    array = np.ascontiguousarray(array, dtype=np.float32)
    tensor = torch.from_numpy(array if array.flags.writeable else array.copy())
    device = torch.device(device)
    if device.type == 'cuda':
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
