# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Every parameter of the node in one place: default, unit, bounds and description.

The ROS parameters, `config/attention_fusion.yaml`, the command line options and the README table are made from this
file. Nested sections become dotted names (`map.max_age`). Unknown names are errors with a suggestion, not silence.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from dataclasses import dataclass, field
from typing import Any

from attention_fusion_ros.errors import ConfigurationError

BACKENDS = ('torch', 'onnxruntime', 'openvino', 'tensorrt')
IDENTITY_4X4 = [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]


def parameter(default, description: str, unit: str = '', low=None, high=None, choices=None, read_only: bool = False):
    """A dataclass field that carries what a user needs to know about the parameter."""
    meta = dict(description=description, unit=unit, low=low, high=high, choices=choices, read_only=read_only)
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=meta)
    return field(default=default, metadata=meta)


@dataclass(frozen=True)
class FramesConfig:
    """Names of frames."""

    base: str = parameter('base_link', 'Vehicle frame: x forward, y left, origin on the ground.', read_only=True)


@dataclass(frozen=True)
class CloudConfig:
    """Which points count."""

    min_range: float = parameter(1.8, 'Points nearer to the vehicle origin than this (horizontally) are its own body.',
                                 'm', 0.0, 10.0)
    max_height: float = parameter(6.0, 'Points higher above the local ground than this are left out (bridges, wires).',
                                  'm', 1.0, 50.0)
    accumulate: int = parameter(5, 'Sweeps laid on top of each other at most, where odometry tells the motion.',
                                'sweeps', 1, 20)
    accumulate_points: int = parameter(110_000, 'Earlier sweeps are laid on top only as long as all of them together '
                                       'have no more points: sparse sensors gain by it.', 'points', 0,
                                       5_000_000)
    accumulate_age: float = parameter(1.2, 'Sweeps older than this are not laid on top.', 's', 0.0, 60.0)


@dataclass(frozen=True)
class MapConfig:
    """How the map image lies, and how old it may be."""

    resolution: float = parameter(0.25, 'Edge of a map image pixel.', 'm/pixel', 0.01, 20.0)
    anchor: list[float] = parameter([0.5, 0.5], 'Where the vehicle is in the map image: column and row as fractions of '
                                    'width and height.', '', -10.0, 10.0)
    orientation: str = parameter('heading_up', 'Which way is up in the map image; north_up needs odometry with x east.',
                                 choices=('heading_up', 'north_up'))
    max_age: float = parameter(3.0, 'A map image older than this (against the sweep) is not used.', 's', 0.01, 3600.0)
    max_future: float = parameter(0.2, 'A map image stamped later than the sweep by more than this is not used.', 's',
                                  0.0, 60.0)


@dataclass(frozen=True)
class OdometryConfig:
    """How odometry is matched with stamps."""

    max_age: float = parameter(0.5, 'Odometry farther than this from the wanted time is not used.', 's', 0.01, 60.0)
    history: float = parameter(20.0, 'How long odometry is kept for the map image and accumulated sweeps.', 's', 1.0,
                               600.0, read_only=True)


@dataclass(frozen=True)
class BranchesConfig:
    """Which branches are published."""

    min_probability: float = parameter(0.4, 'Branches less probable than this are not published.', '', 0.01, 0.99)
    nms_angle: float = parameter(math.radians(20.0), 'Two branches are at least this far apart in bearing.', 'rad',
                                 0.01, 1.5)
    min_direction_probability: float = parameter(0.5, 'No direction is published when the best one is less probable.',
                                                 '', 0.0, 0.99)


@dataclass(frozen=True)
class DiagnosticsConfig:
    """How often the node speaks of itself."""

    period: float = parameter(1.0, 'Time between two /diagnostics messages.', 's', 0.1, 60.0, read_only=True)
    log_throttle: float = parameter(5.0, 'The same warning is logged at most once in this time.', 's', 0.0, 3600.0)


@dataclass(frozen=True)
class NodeConfig:
    """All parameters. Read-only ones are fixed once the node is configured."""

    device: str = parameter('auto', 'Where the network runs: auto, cpu, cuda or cuda:N.', read_only=True)
    backend: str = parameter('torch', 'What runs the network. onnxruntime and openvino run exported .onnx files; see '
                             'docs/export.md.', choices=BACKENDS, read_only=True)
    threads: int = parameter(0, 'CPU threads for the network; 0: one less than there are cores, at most 4 (or '
                             'OMP_NUM_THREADS, where that is set).', '', 0, 256, read_only=True)
    checkpoint: str = parameter('', 'Path of a .safetensors checkpoint; empty for the one shipped with the package, '
                                '"untrained" for random weights (needs allow_untrained).', read_only=True)
    allow_untrained: bool = parameter(False, 'Run random weights; every result and diagnostic says so.', read_only=True)
    lookahead: float = parameter(20.0, 'Radius of the ring on which branches are sought; must be that of the '
                                 'checkpoint.', 'm', 1.0, 200.0, read_only=True)
    use_tf: bool = parameter(True, 'Take sensor -> base_link from tf; otherwise from T_base_sensor.', read_only=True)
    T_base_sensor: list[float] = parameter(IDENTITY_4X4, 'Sensor -> base_link as a row-major 4x4 matrix, used when '
                                           'use_tf is false.', read_only=True)
    frames: FramesConfig = field(default_factory=FramesConfig)
    cloud: CloudConfig = field(default_factory=CloudConfig)
    map: MapConfig = field(default_factory=MapConfig)
    odometry: OdometryConfig = field(default_factory=OdometryConfig)
    branches: BranchesConfig = field(default_factory=BranchesConfig)
    diagnostics: DiagnosticsConfig = field(default_factory=DiagnosticsConfig)


@dataclass(frozen=True)
class ParameterInfo:
    """One parameter, flattened."""

    name: str  # dotted
    default: Any
    type: type  # bool, int, float, str or list (of float)
    description: str
    unit: str
    low: float | None
    high: float | None
    choices: tuple[str, ...] | None
    read_only: bool


def parameters(config_type: type = NodeConfig, prefix: str = '') -> list[ParameterInfo]:
    """Every parameter of a configuration class, in order of declaration, sections flattened to dotted names."""
    found = []
    for f in dataclasses.fields(config_type):
        default = f.default_factory() if f.default is dataclasses.MISSING else f.default
        if dataclasses.is_dataclass(default):
            found += parameters(type(default), f'{prefix}{f.name}.')
        else:
            found.append(ParameterInfo(name=prefix + f.name, default=default, type=type(default), **f.metadata))
    return found


def validate(info: ParameterInfo, value: Any) -> Any:
    """The value in the parameter's own type, or ConfigurationError naming the parameter, the value and the bounds."""
    where = f"parameter '{info.name}'"
    if info.type is list:
        if isinstance(value, (str, bytes)) or not hasattr(value, '__iter__'):
            raise ConfigurationError(f'{where} must be a list of {len(info.default)} numbers, got {value!r}')
        value = list(value)
        if len(value) != len(info.default):
            raise ConfigurationError(f'{where} must have {len(info.default)} numbers, got {len(value)}')
        return [_number(where, info, v) for v in value]
    if info.type is bool:
        if not isinstance(value, bool):
            raise ConfigurationError(f'{where} must be true or false, got {value!r}')
        return value
    if info.type is str:
        if not isinstance(value, str):
            raise ConfigurationError(f'{where} must be text, got {value!r}')
        if info.choices and value not in info.choices:
            raise ConfigurationError(f"{where} must be one of {', '.join(info.choices)}, got {value!r}")
        return value
    if info.type is int and (isinstance(value, bool) or not isinstance(value, int)):
        raise ConfigurationError(f'{where} must be a whole number, got {value!r}')
    number = _number(where, info, value)
    return int(number) if info.type is int else number


def _number(where: str, info: ParameterInfo, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigurationError(f'{where} must be a number, got {value!r}')
    if not math.isfinite(value):
        raise ConfigurationError(f'{where} must be finite, got {value}')
    if (info.low is not None and value < info.low) or (info.high is not None and value > info.high):
        raise ConfigurationError(f'{where} must be within {info.low} .. {info.high} {info.unit}'.rstrip()
                                 + f', got {value}')
    return float(value)


def unknown_name(name: str, known) -> ConfigurationError:
    """The error for a name that is no parameter, with the nearest known one."""
    near = difflib.get_close_matches(name, list(known), n=1)
    hint = f" Did you mean '{near[0]}'?" if near else f" Known are: {', '.join(sorted(known))}."
    return ConfigurationError(f"unknown parameter '{name}'.{hint}")


def from_flat(values: dict[str, Any], config_type: type = NodeConfig):
    """{dotted name: value} -> validated configuration; names left out keep their defaults.

    Raises ConfigurationError for an unknown name, a wrong type, or a value out of bounds.
    """
    infos = {p.name: p for p in parameters(config_type)}
    checked = {}
    for name, value in values.items():
        if name not in infos:
            raise unknown_name(name, infos)
        checked[name] = validate(infos[name], value)
    return _build(config_type, checked, '')


def _build(config_type: type, checked: dict[str, Any], prefix: str):
    arguments = {}
    for f in dataclasses.fields(config_type):
        default = f.default_factory() if f.default is dataclasses.MISSING else f.default
        if dataclasses.is_dataclass(default):
            arguments[f.name] = _build(type(default), checked, f'{prefix}{f.name}.')
        elif prefix + f.name in checked:
            arguments[f.name] = checked[prefix + f.name]
    return config_type(**arguments)


def flatten(nested: dict[str, Any], prefix: str = '') -> dict[str, Any]:
    """Nested dictionaries (as YAML gives them) -> {dotted name: value}."""
    flat = {}
    for key, value in nested.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f'{prefix}{key}.'))
        else:
            flat[prefix + str(key)] = value
    return flat
