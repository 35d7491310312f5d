# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Arrays on their way to a device and back, and what tensors and arrays have in common."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from attention_fusion_ros.utils.torch_later import Tensor, torch


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
    device = torch.device(device)
    if device.type == 'cuda':
        waiting = torch.empty(array.shape, dtype=torch.float32, pin_memory=True)
        np.copyto(waiting.numpy(), array, casting='unsafe')  # the one copy of the host
        return waiting.to(device, non_blocking=True)  # torch gives the memory away when the device has read it
    array = np.ascontiguousarray(array, dtype=np.float32)
    return torch.from_numpy(array if array.flags.writeable else array.copy()).to(device)


def as_array(values: Tensor | np.ndarray) -> np.ndarray:
    """A tensor on any device, or an array -> the same as a float32 array; shares its memory where that is possible."""
    array: np.ndarray = values.detach().float().cpu().numpy() if isinstance(values, Tensor) else values
    return array.astype(np.float32, copy=False)


def as_tensor(values: Tensor | np.ndarray) -> Tensor:
    """An array -> float32 tensor on the CPU, see `upload`; a tensor -> itself."""
    return values if isinstance(values, Tensor) else upload(values, 'cpu')


def copied(values: Any) -> Any:
    """A copy of a tensor or an array."""
    return values.clone() if isinstance(values, Tensor) else values.copy()


def joined(parts: list[Any]) -> Any:
    """Tensors, or arrays, one after the other along the first axis."""
    return torch.cat(parts) if isinstance(parts[0], Tensor) else np.concatenate(parts)


def zeros(shape: tuple[int, ...], device: torch.device | str | None) -> Any:
    """float32 zeros on the device; an array for None."""
    return np.zeros(shape, np.float32) if device is None else torch.zeros(shape, device=device)


def stacked(parts: list[Any]) -> Any:
    """Tensors, or arrays, of one shape along a new first axis."""
    return torch.stack(parts) if isinstance(parts[0], Tensor) else np.stack(parts)


def of_kind(like: Tensor | np.ndarray, array: np.ndarray) -> Any:
    """The array itself where `like` is one, else a tensor that shares its memory."""
    return torch.from_numpy(array) if isinstance(like, Tensor) else array
