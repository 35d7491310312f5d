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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from attention_fusion_ros.errors import ConfigurationError

BACKENDS = ('auto', 'torch', 'onnxruntime', 'openvino', 'tensorrt')
MAX_NUMBER = 1e300  # whole numbers may be larger than any float
OFF = 'off'  # a choice that YAML reads as false where it is not quoted
IDENTITY_4X4 = [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]


def parameter(default: Any, description: str, unit: str = '', low: float | None = None, high: float | None = None,
              choices: tuple[str, ...] | None = None, read_only: bool = False) -> Any:
    """A dataclass field that carries what a user needs to know about the parameter.

    description: one or two sentences, as `ros2 param describe` shows them. low, high: inclusive bounds in `unit`.
    """
    meta = dict(description=description, unit=unit, low=low, high=high, choices=choices, read_only=read_only)
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=meta)
    return field(default=default, metadata=meta)


@dataclass(frozen=True)
class FramesConfig:
    """Names of frames."""

    base: str = parameter(
        'base_link', 'Vehicle frame (REP-105): x forward, y left, origin on the ground.', read_only=True)
    odom: str = parameter(
        'odom', 'Frame of odometry on /tf, used where no odometry message comes: the vehicle frame in it, where that '
        'moves. Empty: none.', read_only=True)
    map_image: str = parameter(
        '', 'Child frame of a transform on /tf from the frame of odometry: where the map image, in its vehicle frame '
        'or in its own, belongs. Needs odometry and a checkpoint that registers the map. Empty: not published.',
        read_only=True)


@dataclass(frozen=True)
class CloudConfig:
    """Which points are used."""

    min_range: float = parameter(
        1.8,
        "Points closer to the vehicle's origin than this (horizontally) are ignored: they belong to the vehicle.",
        'm', 0.0, 10.0)
    max_height: float = parameter(
        6.0, 'Points higher above the ground than this are ignored (bridges, wires).', 'm', 1.0, 50.0)
    accumulate: int = parameter(
        5, 'Maximum number of sweeps to accumulate (requires odometry); 1 uses the current sweep only.',
        'sweeps', 1, 20)
    accumulate_points: int = parameter(
        110_000,
        'Maximum number of points of all accumulated sweeps together. Earlier sweeps help sparse sensors; dense '
        'ones reach this limit by themselves.', 'points', 0, 5_000_000)
    accumulate_age: float = parameter(1.2, 'Maximum age of an accumulated sweep.', 's', 0.0, 60.0)
    assemble: str = parameter(
        'auto', 'auto: clouds of several LiDARs, and parts of a turn, are put together to whole sweeps. off: every '
        'message of input/pointcloud is a sweep, and other clouds are not used.', choices=('auto', 'off'),
        read_only=True)
    deskew: str = parameter(
        'auto', 'auto: where points carry their own time, and with odometry, each is moved to the stamp of the sweep. '
        'off: points are used as they come.', choices=('auto', 'off'))


@dataclass(frozen=True)
class MapConfig:
    """Scale, placement and age of the map image."""

    resolution: float = parameter(0.25, 'Size of a map image pixel on the ground.', 'm/pixel', 0.01, 20.0)
    anchor: list[float] = parameter(
        [0.5, 0.5],
        'Position of the vehicle in the map image: column and row as fractions of width and height; [0.5, 0.5] is'
        ' the centre.', '', -10.0, 10.0)
    orientation: str = parameter(
        'heading_up', 'Which direction is up in the map image. north_up requires odometry whose x axis points east.',
        choices=('heading_up', 'north_up'))
    max_age: float = parameter(
        3.0, 'Maximum age of the map image, relative to the sweep. Older images are not used.', 's', 0.01, 3600.0)
    max_future: float = parameter(0.2, 'How much later than the sweep the map image may be stamped.', 's', 0.0, 60.0)


@dataclass(frozen=True)
class OdometryConfig:
    """How odometry is matched with stamps."""

    max_age: float = parameter(0.5, 'Maximum time between a stamp and the odometry used for it.', 's', 0.01, 60.0)
    history: float = parameter(
        20.0, 'How long odometry is kept, for map images and accumulated sweeps.', 's', 1.0, 600.0, read_only=True)


@dataclass(frozen=True)
class BranchesConfig:
    """Which branches are published."""

    min_probability: float = parameter(0.4, 'Minimum probability of a published branch.', '', 0.01, 0.99)
    nms_angle: float = parameter(
        math.radians(20.0), 'Minimum angle between two branches (non-maximum suppression).', 'rad', 0.01, 1.5)
    min_direction_probability: float = parameter(
        0.5, 'Minimum probability of the branch to take, and that it is the one to take. Below it, no direction is '
        'published.', '', 0.0, 0.99)


@dataclass(frozen=True)
class DiagnosticsConfig:
    """Rates of diagnostics and log."""

    period: float = parameter(1.0, 'Time between two /diagnostics messages.', 's', 0.1, 60.0, read_only=True)
    log_throttle: float = parameter(
        5.0, 'Minimum time between two log messages about the same problem.', 's', 0.0, 3600.0)


@dataclass(frozen=True)
class NodeConfig:
    """All parameters. Read-only ones cannot change while the node runs."""

    device: str = parameter(
        'auto', 'Device of the network: auto (CUDA if it works, else the CPU), cpu, cuda or cuda:N.', read_only=True)
    backend: str = parameter(
        'auto',
        'Library that runs the network. auto: onnxruntime on the CPU for a checkpoint that has an exported file, as '
        'the one that ships; torch for CUDA and all others. onnxruntime and openvino export a .safetensors checkpoint '
        'themselves when they are asked for by name (docs/export.md).',
        choices=BACKENDS, read_only=True)
    threads: int = parameter(
        0, 'Number of CPU threads for the network. 0: OMP_NUM_THREADS if set, otherwise one less than there are '
        'cores, at most 4.', '', 0, 256, read_only=True)
    kernels: str = parameter(
        'auto', 'Versions of the operations around the network. auto: the fastest that can run here; on the CPU, loops '
        'over the points that numba compiles, where it is installed. plain: torch and numpy alone. The results are the '
        'same but for rounding.', choices=('auto', 'plain'), read_only=True)
    checkpoint: str = parameter(
        '',
        'Path of a .safetensors checkpoint. Empty: the default one of this package; "two_readings": a second one, '
        'which registers the map and answers for several rings, but finds branches less well yet (docs/attention.md). '
        '"untrained": random weights (requires allow_untrained).', read_only=True)
    allow_untrained: bool = parameter(
        False, 'Allow random weights. Every result and diagnostic is then marked as untrained.', read_only=True)
    lookahead: float = parameter(
        20.0, 'Radius of the ring around the vehicle on which branches are located. Must match the checkpoint.',
        'm', 1.0, 200.0, read_only=True)
    use_tf: bool = parameter(True, 'Look up the sensor pose in tf. Otherwise T_base_sensor is used.', read_only=True)
    T_base_sensor: list[float] = parameter(
        IDENTITY_4X4,
        'Pose of the sensor in the vehicle frame: a row-major 4x4 matrix (sensor to base_link). Used when use_tf '
        'is false.', read_only=True)
    tf_max_age: float = parameter(
        10.0,
        'How long the last transform of a mounting that stands still holds where it is published on /tf rather than '
        '/tf_static. For one that is published once, more than the drive takes.', 's', 0.05, 1e7)
    frames: FramesConfig = field(default_factory=FramesConfig)
    cloud: CloudConfig = field(default_factory=CloudConfig)
    map: MapConfig = field(default_factory=MapConfig)
    odometry: OdometryConfig = field(default_factory=OdometryConfig)
    branches: BranchesConfig = field(default_factory=BranchesConfig)
    diagnostics: DiagnosticsConfig = field(default_factory=DiagnosticsConfig)

    def in_torch(self) -> NodeConfig:
        """The same with the backend torch where the choice was free: for work on tensors, or with gradients."""
        return replace(self, backend='torch') if self.backend == 'auto' else self


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
    found: list[ParameterInfo] = []
    for f in dataclasses.fields(config_type):
        default = _default(f)
        if dataclasses.is_dataclass(default):
            found += parameters(type(default), f'{prefix}{f.name}.')
        else:
            found.append(ParameterInfo(name=prefix + f.name, default=default, type=type(default), **f.metadata))
    return found


def _default(f: dataclasses.Field[Any]) -> Any:
    if f.default_factory is not dataclasses.MISSING:
        return f.default_factory()
    return f.default


def validate(info: ParameterInfo, value: Any) -> Any:
    """The value in the parameter's own type.

    Raises ConfigurationError naming the parameter, the value and the bounds.
    """
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
            raise ConfigurationError(f'{where} must be true or false, got {_as_given(value)}')
        return value
    if info.type is str:
        if value is False and info.choices and OFF in info.choices:
            return OFF
        if not isinstance(value, str):
            raise ConfigurationError(f'{where} must be text, got {value!r}. Remedy: put it in quotes.')
        if info.choices and value not in info.choices:
            raise ConfigurationError(f"{where} must be one of {', '.join(info.choices)}, got {value!r}")
        return value
    if info.type is int and (isinstance(value, bool) or not isinstance(value, int)):
        raise ConfigurationError(f'{where} must be a whole number, got {_as_given(value)}')
    number = _number(where, info, value)
    return int(number) if info.type is int else number


def _as_given(value: Any) -> str:
    """For messages; with the remedy where a number or a truth value was given as a text, as launch files easily do."""
    if not isinstance(value, str):
        return repr(value)
    meant = value.lower() if value.lower() in ('true', 'false') else ''
    try:
        meant = meant or (f'{float(value):g}' if math.isfinite(float(value)) else '')
    except ValueError:
        pass
    return f'the text {value!r}' + (f'. Remedy: write {meant}, without quotes.' if meant else '')


def _number(where: str, info: ParameterInfo, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigurationError(f'{where} must be a number, got {_as_given(value)}')
    if abs(value) > MAX_NUMBER:
        raise ConfigurationError(f'{where} must be finite, got a number beyond {MAX_NUMBER:g}')
    if not math.isfinite(value):
        raise ConfigurationError(f'{where} must be finite, got {value}')
    if (info.low is not None and value < info.low) or (info.high is not None and value > info.high):
        raise ConfigurationError(f'{where} must be within {info.low} .. {info.high} {info.unit}'.rstrip()
                                 + f', got {value}')
    return float(value)


def unknown_name(name: str, known: Iterable[str]) -> ConfigurationError:
    """The error for a name that is no parameter, with the most similar known one."""
    near = difflib.get_close_matches(name, list(known), n=1)
    hint = f" Did you mean '{near[0]}'?" if near else f" Known are: {', '.join(sorted(known))}."
    return ConfigurationError(f"unknown parameter '{name}'.{hint}")


def from_flat(values: Mapping[str, Any], config_type: type = NodeConfig) -> Any:
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


def _build(config_type: type, checked: dict[str, Any], prefix: str) -> Any:
    arguments = {}
    for f in dataclasses.fields(config_type):
        default = _default(f)
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
