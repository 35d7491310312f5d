# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Training settings, read from one YAML file. Unknown keys are errors."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attention_fusion_ros.attention import MECHANISMS
from attention_fusion_ros.config import unknown_name
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.network.config import NetworkConfig
from attention_fusion_ros.utils import outside

SECTIONS = ('network', 'loss')  # settings that are mappings
FILE_REMEDY = 'Remedy: give a YAML file of names with values, as config/train.yaml is.'
TASK_LOSSES = {'presence': 1.0, 'offset': 0.3, 'heading': 0.6, 'direction': 0.5, 'road': 0.5, 'spatial': 0.1,
               'rings': 0.5, 'lidar_reading': 0.5, 'map_reading': 0.3, 'vehicles': 0.3,
               'sufficiency': 0.0, 'comprehensiveness': 0.0}


def loss_weights() -> dict[str, float]:
    """Default weight of every loss by name: those of the task, and those that mechanisms bring."""
    own = {name: weight for cls in MECHANISMS.values() for name, weight in cls.loss_weights.items()}
    return {**TASK_LOSSES, **own}


@dataclass(frozen=True)
class TrainingConfig:
    """Lengths of the run, data and optimiser. `network` and `loss` are sections of the YAML."""

    scenes: int = 20000  # simulated scenes (seeds), made once
    first_seed: int = 0
    validation_scenes: int = 768
    validation_first_seed: int = 10_000_000
    minutes: float = 0.0  # stop after this many minutes of training; 0: train for `steps`
    steps: int = 20000  # optimiser steps; the learning rate schedule ends there
    batch: int = 32  # samples a step, of each process
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    warmup: float = 0.05  # share of the schedule
    warmup_steps: int = 200  # at least so many
    ema: float = 0.998  # of the averaged weights that are saved
    gradient_clip: float = 2.0
    seed: int = 1
    workers: int = 1  # loader processes
    amp: bool = True  # bfloat16 autocast
    checkpoint_every: int = 250  # steps
    validate_every: int = 1000
    log_every: int = 20  # steps between entries in TensorBoard
    keep_statistics: bool = False  # batch normalisation by the statistics of the weights to start from, not of batches
    train_only: tuple[str, ...] = ()  # parts of the network, by the beginning of their names; (): everything
    loss: dict[str, float] = field(default_factory=loss_weights)
    network: NetworkConfig = field(default_factory=NetworkConfig)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)


def _number(text: str) -> float | str:
    """YAML 1.1 takes 3e-4, without a point, for text."""
    try:
        return float(text)
    except ValueError:
        return text


def _overridden(values: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """Settings with others put over them; of a section, only the keys that are named."""
    for name in SECTIONS:
        for given in (values, overrides):
            if not isinstance(given.get(name) or {}, dict):
                raise ConfigurationError(f"training setting '{name}' must be a mapping of names to values, got "
                                         f'{given[name]!r}')
    sections = {name: {**(values.get(name) or {}), **(overrides.get(name) or {})}
                for name in SECTIONS if name in values or name in overrides}
    return {**values, **overrides, **sections}


def load(path: str | Path | None, overrides: dict[str, Any] | None = None,
         network: NetworkConfig | None = None) -> TrainingConfig:
    """YAML file (None: the defaults) and overrides -> TrainingConfig.

    overrides: single settings; of the sections `network` and `loss`, the keys they name. network: what the section
    `network` is silent about, for example as in the weights to start from.

    Raises ConfigurationError for a file that cannot be read, unknown keys and wrong types.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = outside.read_yaml(path) or {}
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"training settings '{path}' cannot be read: {error}. {FILE_REMEDY}") from error
        if not isinstance(values, dict):
            raise ConfigurationError(f"training settings '{path}' must be a mapping of names to values. {FILE_REMEDY}")
    values = _overridden(values, overrides or {})
    fields = {f.name: f for f in dataclasses.fields(TrainingConfig)}
    for name in values:
        if name not in fields:
            raise unknown_name(name, fields)
    arguments = dict(values)
    if network is not None or 'network' in arguments:
        base = network.to_dict() if network is not None else {}
        arguments['network'] = NetworkConfig.from_dict({**base, **(arguments.get('network') or {})})
    if 'loss' in arguments:
        given = arguments['loss'] or {}
        known = loss_weights()
        for name in given:
            if name not in known:
                raise unknown_name(f'loss.{name}', [f'loss.{k}' for k in known])
        arguments['loss'] = {**known, **{k: float(v) for k, v in given.items()}}
    if 'train_only' in arguments:
        only = arguments['train_only']
        if not isinstance(only, (list, tuple)) or not all(isinstance(name, str) for name in only):
            raise ConfigurationError(f"training setting 'train_only' must be a list of names, got {only!r}")
        arguments['train_only'] = tuple(only)
    for name, value in arguments.items():
        default = fields[name].default
        if isinstance(default, float) and isinstance(value, str):
            value = _number(value)
        if isinstance(default, (bool, int, float)):
            if isinstance(value, str) or isinstance(value, bool) != isinstance(default, bool):
                raise ConfigurationError(f"training setting '{name}' must be a {type(default).__name__}, got {value!r}")
            arguments[name] = type(default)(value)
    return TrainingConfig(**arguments)
