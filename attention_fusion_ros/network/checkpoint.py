# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: one safetensors file that holds weights, network settings, calibration and a format version.

Loaded strictly. Whatever is wrong is one ConfigurationError that says so; nothing is guessed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from attention_fusion_ros.contracts import Calibration
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.network.build import Network, build_network
from attention_fusion_ros.network.config import FORMAT_VERSION, KIND, NetworkConfig
from attention_fusion_ros.network.shipped import SHIPPED as SHIPPED
from attention_fusion_ros.network.shipped import path_of as path_of
from attention_fusion_ros.utils import outside
from attention_fusion_ros.utils.damaged import Damaged
from attention_fusion_ros.utils.digest import file_digest
from attention_fusion_ros.utils.sealed_tensors import CHECKSUM, read_sealed, write_sealed

ROOM_TIMES, ROOM_BESIDE = 4, 10**6  # a parameter may be registered several times
TRAIN_AGAIN = 'Remedy: train again with this version of the package, or use the version that made the file.'
SUMS = 'SHA256SUMS'


@dataclass(frozen=True)
class Checkpoint:
    """A network ready to run and what is known of it."""

    network: Network
    calibration: Calibration
    name: str
    trained: bool
    training: dict[str, Any] = field(default_factory=dict)  # step, data, commit: whatever the training noted
    digest: str = ''  # SHA-256 of the file, '' without one


def save(path: str | Path, network: Network, calibration: Calibration, training: dict[str, Any]) -> None:
    """Write the checkpoint; an existing file is replaced only once the new one is whole."""
    texts = {'kind': KIND, 'version': str(FORMAT_VERSION), 'network': json.dumps(network.config.to_dict()),
             'calibration': json.dumps(dataclasses.asdict(calibration)), 'training': json.dumps(training)}
    write_sealed(Path(path), network.state_dict(), texts)


def load(path: str | Path) -> Checkpoint:
    """Raises ConfigurationError when the file is missing, truncated, of another kind or version, or does not fit."""
    path = Path(path)
    try:
        there = path.is_file()
        another = _another_kind(path) if there else ''
    except OSError as error:
        raise ConfigurationError(f"checkpoint '{path}' cannot be read ({error.strerror}). Remedy: check its name, and "
                                 'who may read it and the folders above it.') from error
    if not there:
        ships = ', '.join(sorted(file.stem for file in SHIPPED.parent.glob('*.safetensors')))
        raise ConfigurationError(f"checkpoint '{path}' does not exist. Give the path of a .safetensors file, a name "
                                 f"that ships ({ships}), or leave the parameter 'checkpoint' empty for the default.")
    if another:
        raise ConfigurationError(f"checkpoint '{path}' {another}")
    try:
        tensors, meta = read_sealed(path, required=False)  # earlier versions wrote no checksum
        if CHECKSUM not in meta:
            _check_sums(path)
    except (OSError, Damaged) as error:
        raise ConfigurationError(f"checkpoint '{path}' is damaged, truncated or no safetensors file ({error}). Remedy: "
                                 'copy or train it again.') from error
    if meta.get('kind') != KIND:
        raise ConfigurationError(f"checkpoint '{path}' is a safetensors file of another program. Use one made by the "
                                 "'train' command.")
    if meta.get('version') != str(FORMAT_VERSION):
        raise ConfigurationError(f"checkpoint '{path}' has format version {meta.get('version')}, this package reads "
                                 f'version {FORMAT_VERSION}. Train it again or use the package version that made it.')
    try:
        config = NetworkConfig.from_dict(outside.parse_json(meta['network']))
        calibration = Calibration.from_dict(outside.parse_json(meta['calibration']))
        training = outside.parse_json(meta.get('training', '{}'))
    except ConfigurationError as error:
        raise ConfigurationError(f"checkpoint '{path}': {error}") from error
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ConfigurationError(f"checkpoint '{path}' has unreadable settings: {error}") from error
    network = _build(path, config, sum(tensor.numel() for tensor in tensors.values()))
    _check_tensors(path, network.state_dict(), tensors)
    network.load_state_dict(tensors, strict=True)
    return Checkpoint(network.eval(), calibration, path.stem, True, training, file_digest(path))


def _another_kind(path: Path) -> str:
    """What a file is that is no safetensors file, and what to do about it; '' when it may be one."""
    with open(path, 'rb') as file:
        start = file.read(64)
    if start[8:9] == b'{':  # after the length of a safetensors header, whose bytes may look like anything
        return ''
    if path.suffix == '.onnx' or b'pytorch' in start[:32]:
        return 'is an exported ONNX model: set the parameter backend to onnxruntime or openvino.'
    if zipfile.is_zipfile(path):
        names = _names_in(path)
        if path.suffix == '.pt2' or not any(name.endswith('data.pkl') for name in names):
            return ('is a program of torch.export (.pt2), for other programs to run. Use the .safetensors file it was '
                    'made from, or its .onnx twin with backend onnxruntime.')
        return ('is a file of torch.save, as the state of a training was in earlier versions (last.pt). Use the '
                "checkpoint.safetensors beside it, which the 'train' command writes.")
    if start[:1] == b'\x80' or path.suffix in ('.pkl', '.pickle'):
        return ('is a pickle, which is never loaded: it could run any code. Use a .safetensors file made by the '
                "'train' command.")
    return ''


def _build(path: Path, config: NetworkConfig, weights: int) -> Network:
    """The network of the settings. weights: how many the file holds; it is no larger than they allow."""
    room = ROOM_TIMES * weights + ROOM_BESIDE

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal room
        room -= 0 if parameter is None else parameter.numel()
        if room < 0:
            raise ValueError(f'they describe a network of far more than the {weights} weights that there are')
    hook = register_module_parameter_registration_hook(count)
    try:
        return build_network(config)
    except Exception as error:  # settings that are right each for itself lead to anything
        raise ConfigurationError(f"checkpoint '{path}' has settings that make no network: {error}. {TRAIN_AGAIN}"
                                 ) from error
    finally:
        hook.remove()


def _names_in(archive: Path) -> list[str]:
    try:
        with zipfile.ZipFile(archive) as opened:
            return opened.namelist()
    except Exception:  # it only begins as one: zipfile raises half a dozen kinds
        return []


def _check_sums(path: Path) -> None:
    """Compare a checkpoint that carries no checksum with the list beside it, if there is one, as `sha256sum` writes it.

    Raises Damaged.
    """
    sums = path.with_name(SUMS)
    lines = sums.read_text(errors='replace').splitlines() if sums.is_file() else []
    wanted = {name.lstrip('*'): digest for digest, _, name in (line.partition(' ') for line in lines)}
    wanted = {name.strip(): digest for name, digest in wanted.items()}
    if path.name in wanted and wanted[path.name] != hashlib.sha256(path.read_bytes()).hexdigest():
        raise Damaged(f'its SHA-256 is not the one in {SUMS} beside it')


def _check_tensors(path: Path, wanted: dict[str, torch.Tensor], found: dict[str, torch.Tensor]) -> None:
    missing, extra = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    if missing or extra:
        what = f'lacks {missing[0]}' if missing else f'holds {extra[0]}, which the network does not have'
        raise ConfigurationError(f"checkpoint '{path}' {what} ({len(missing)} missing, {len(extra)} extra tensors): "
                                 f'weights and settings do not belong together. {TRAIN_AGAIN}')
    for name, tensor in found.items():
        if tensor.shape != wanted[name].shape:
            raise ConfigurationError(f"checkpoint '{path}': {name} has shape {tuple(tensor.shape)}, the settings ask "
                                     f'for {tuple(wanted[name].shape)}. {TRAIN_AGAIN}')
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ConfigurationError(f"checkpoint '{path}': {name} holds values that are not finite.")


def untrained(config: NetworkConfig | None = None, seed: int = 0) -> Checkpoint:
    """Random weights, the same for the same seed. For tests and for measuring speed: the answers mean nothing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(config or NetworkConfig())
    return Checkpoint(network.eval(), Calibration(), 'untrained', False)


def resolve(name: str, allow_untrained: bool) -> Checkpoint:
    """The parameter `checkpoint` -> Checkpoint: 'untrained' is random weights, else see `path_of`.

    Raises ConfigurationError, see `load`; also when 'untrained' is asked for without being allowed.
    """
    if name == 'untrained':
        if not allow_untrained:
            raise ConfigurationError("checkpoint 'untrained' gives meaningless results; set the parameter "
                                     'allow_untrained to true, or give --allow-untrained, to use it all the same.')
        return untrained()
    return load(path_of(name))
