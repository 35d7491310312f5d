# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The state of a training run on disk, from which it goes on: tensors and JSON with a checksum, no pickle.

`last.safetensors` holds the tensors under numbers, and as text what they are: the nested values of the state, in which
`{"tensor": 3}` stands for the fourth. Runs of earlier versions left a `last.pt` of torch, which is read with
`weights_only`: tensors and plain values alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.utils.damaged import Damaged
from attention_fusion_ros.utils.outside import parse_json
from attention_fusion_ros.utils.sealed_tensors import read_sealed, write_sealed

NAME = 'last.safetensors'
OLD_NAME = 'last.pt'  # until version 0.1
KIND, VERSION = 'attention_fusion_ros training', '1'
REMEDY = 'Remedy: choose another folder with --out, or remove the file to start anew.'
TENSOR, PAIRS, TUPLE = 'tensor', 'pairs', 'tuple'  # what stands for what JSON lacks


def find_state(folder: Path) -> Path | None:
    """The file of a run's state; None before there is one."""
    return next((folder / name for name in (NAME, OLD_NAME) if (folder / name).exists()), None)


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Write nested dicts, lists and tuples of tensors and plain values, whole or not at all. Raises OSError."""
    tensors: list[Tensor] = []
    plain = json.dumps(_to_plain(state, tensors))
    write_sealed(folder / NAME, {str(number): tensor for number, tensor in enumerate(tensors)},
                 {'kind': KIND, 'version': VERSION, 'state': plain})
    (folder / OLD_NAME).unlink(missing_ok=True)  # or an earlier version would go on from there


def read_state(file: Path, device: torch.device) -> dict[str, Any]:
    """What `write_state` wrote, with its tensors on a device. Raises ConfigurationError."""
    try:
        state = _read_old(file, device) if file.name == OLD_NAME else _read(file, device)
    except (OSError, Damaged) as error:
        raise ConfigurationError(f"the state of the run, '{file}', cannot be read: {error}. {REMEDY}") from error
    if not isinstance(state, dict):
        raise ConfigurationError(f"'{file}' is not the state of a run. {REMEDY}")
    return state


def _read(file: Path, device: torch.device) -> Any:
    tensors, texts = read_sealed(file)
    if texts.get('kind') != KIND:
        raise Damaged('it is a file of another kind')
    if texts.get('version') != VERSION:
        raise Damaged(f'it has format {texts.get("version")}, this version reads {VERSION}')
    try:
        return _from_plain(parse_json(texts['state']), {name: tensor.to(device) for name, tensor in tensors.items()})
    except (KeyError, TypeError, ValueError) as error:
        raise Damaged(f'its values cannot be read ({type(error).__name__}: {error})') from error


def _read_old(file: Path, device: torch.device) -> Any:
    try:
        return torch.load(file, map_location=device, weights_only=True)
    except OSError:
        raise
    except Exception as error:  # of zip, of the pickle's bytes, and refusals of what is no tensor
        raise Damaged(' '.join(str(error).split()) or type(error).__name__) from error


def _to_plain(value: Any, tensors: list[Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors.append(value)
        last = value.ndim == 4 and not value.is_contiguous() and value.is_contiguous(memory_format=torch.channels_last)
        return {TENSOR: len(tensors) - 1, 'channels_last': last}
    if isinstance(value, dict):
        return {PAIRS: [[_to_plain(key, tensors), _to_plain(inner, tensors)] for key, inner in value.items()]}
    if isinstance(value, tuple):
        return {TUPLE: [_to_plain(inner, tensors) for inner in value]}
    if isinstance(value, list):
        return [_to_plain(inner, tensors) for inner in value]
    return value


def _from_plain(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_from_plain(inner, tensors) for inner in value]
    if not isinstance(value, dict):
        return value
    if TENSOR in value:
        tensor = tensors[str(value[TENSOR])]
        return tensor.contiguous(memory_format=torch.channels_last) if value['channels_last'] else tensor
    if PAIRS in value:
        return {_from_plain(key, tensors): _from_plain(inner, tensors) for key, inner in value[PAIRS]}
    return tuple(_from_plain(inner, tensors) for inner in value[TUPLE])
