# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Tensors and texts in one safetensors file with a checksum over both: the format has none of its own, and weights with
one wrong byte are weights as before.

Format: https://github.com/huggingface/safetensors#format. The checksum is the text `sha256` in its metadata; any other
program reads such a file as it reads all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from attention_fusion_ros.utils import atomic
from attention_fusion_ros.utils.damaged import MEGABYTE, Damaged, check_size

CHECKSUM = 'sha256'
MAX_BYTES = 16384 * MEGABYTE
MAX_HEADER_BYTES = 64 * MEGABYTE  # names, shapes and texts; the library itself takes 100 MB


def write_sealed(path: Path, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> None:
    """Write them, whole or not at all; tensors may be on any device and share memory. Raises OSError."""
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    sealed = {**texts, CHECKSUM: _checksum(plain, texts)}
    atomic.write_bytes(Path(path), to_bytes(plain, metadata=sealed))  # save_file makes files only the owner can read


def read_sealed(path: Path, required: bool = True, limit: int = MAX_BYTES) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors, on the CPU, and texts of a file, its checksum among them.

    required: whether a file without a checksum, as another program writes it, is damaged. limit: of its bytes; there is
    no more in memory than in the file, for the library refuses tensors that overlap.
    Raises OSError where there is no file, Damaged for whatever is wrong with it.
    """
    size = check_size(path, limit)
    with open(path, 'rb') as file:
        header = int.from_bytes(file.read(8), 'little')
    if size < 8 or not 2 <= header <= min(size - 8, MAX_HEADER_BYTES):
        raise Damaged(f'its header would have {header} bytes, of {size} in the file')
    try:
        with safe_open(str(path), framework='pt') as opened:
            texts = dict(opened.metadata() or {})
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a dictionary
    except Exception as error:  # SafetensorError, and what torch raises for the types of numbers that it lacks
        raise Damaged(str(error) or type(error).__name__) from error
    if CHECKSUM not in texts:
        if required:
            raise Damaged('it has no checksum')
    elif texts[CHECKSUM] != _checksum(tensors, texts):
        raise Damaged('its checksum is wrong')
    return tensors, texts


def _checksum(tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> str:
    found = hashlib.sha256()
    for name, text in sorted(texts.items()):
        if name != CHECKSUM:
            found.update(repr((name, text)).encode())
    for name, tensor in sorted(tensors.items()):
        found.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
