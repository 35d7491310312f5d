# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the network is made of. Travels inside the checkpoint, so that weights and architecture cannot disagree."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from attention_fusion_ros.errors import ConfigurationError

# 'stages': map and LiDAR are fused before the residual stages. 'two_readings': see network/two_readings.py.
ARCHITECTURES = ('stages', 'two_readings')
# Far beyond every network, so that a file cannot ask for one that fills the memory.
MAX_SIZE, MAX_METRES, MAX_STAGES = 4096, 1e4, 16
KIND = 'attention_fusion_ros'  # of the files of this package
FORMAT_VERSION = 1  # of the checkpoint; raised when old weights would be read wrongly


def mechanism(name: str, **options: Any) -> dict[str, Any]:
    """An entry for one of the attention slots: a name from `attention.MECHANISMS` and its options."""
    return {'name': name, **options}


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes in cells and channels, lengths in metres."""

    extent: float = 40.0  # m, the BEV grid reaches from -extent to +extent
    cells: int = 256
    architecture: str = 'stages'  # one of ARCHITECTURES
    lookahead: float = 20.0  # m, radius of the ring the branches are on
    rings: tuple[float, ...] = ()  # m, of 'two_readings': radii of all rings, `lookahead` among them; (): only that one
    bins: int = 120  # bearings of the circular distribution
    lidar_width: int = 32  # LiDAR feature channels where the modalities are fused
    map_width: int = 16
    widths: tuple[int, ...] = (40, 64, 96)  # channels of the residual stages, each at half the resolution of the last
    blocks: tuple[int, ...] = (1, 1, 1)  # residual blocks of each stage
    polar_ranges: int = 24  # range cells of the polar features
    polar_max: float = 36.0  # m, outermost range cell
    polar_widths: tuple[int, ...] = (48, 64, 80)  # channels of the polar stages, each halving the range axis
    head_width: int = 112
    track: bool = False  # of 'two_readings': the way driven is the last layer of the LiDAR grid, see bev.track
    map_reading_width: int = 64  # of 'two_readings'
    # Of 'two_readings': what LiDAR and map say is added up, and the fusion's attention alone knows how the map fits.
    readings_add: bool = False
    selection: dict[str, Any] = field(default_factory=lambda: mechanism('none'))  # of LiDAR cells, of 'two_readings'
    reading: dict[str, Any] = field(default_factory=lambda: mechanism('none'))  # of the places seen
    encoder_attention: dict[str, Any] = field(default_factory=lambda: mechanism('none'))
    fusion: dict[str, Any] = field(default_factory=lambda: mechanism('cbam_channel', reduction=16))
    stage_attention: dict[str, Any] = field(default_factory=lambda: mechanism('cbam_spatial', kernel=7, bias=True))
    map_registration: dict[str, Any] = field(default_factory=lambda: mechanism('none'))  # 'stn': moves the map
    temporal: dict[str, Any] = field(default_factory=lambda: mechanism('none'))  # of the LiDAR encoder's features
    time_steps: int = 1  # sweeps that `temporal` sees, the one of now among them

    def __post_init__(self) -> None:
        if not self.rings:
            object.__setattr__(self, 'rings', (self.lookahead,))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON or YAML."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any], mechanisms: bool = True) -> NetworkConfig:
        """Raises ConfigurationError for unknown or missing-typed entries.

        mechanisms: look whether they fit as well, for which torch is imported; False for a network that was built.
        """
        known = {f.name: f for f in dataclasses.fields(cls)}
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ConfigurationError(f"unknown network setting '{unknown[0]}'. Known are: {', '.join(known)}.")
        clean: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        try:
            config = cls(**clean)
            config.check(mechanisms)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f'network settings cannot be used: {error}') from error
        return config

    def check(self, mechanisms: bool = True) -> None:
        """Raises ConfigurationError when the sizes, or (mechanisms) the mechanisms do not fit together."""
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            _check_setting(f.name, value, f.default)
            named = isinstance(value, dict) and isinstance(value.get('name'), str)
            if f.default_factory is not dataclasses.MISSING and not named:
                raise ConfigurationError(f'network setting {f.name} must be a mapping with a name, for example '
                                         f'{{name: none}}, got {value!r}')
        if self.cells % 16:
            raise ConfigurationError(f'network setting cells must be a multiple of 16, got {self.cells}')
        if len(self.widths) != len(self.blocks):
            raise ConfigurationError('network settings widths and blocks must have the same length, got '
                                     f'{len(self.widths)} and {len(self.blocks)}')
        if not 0 < self.lookahead < self.extent:
            raise ConfigurationError(f'network setting lookahead must be within 0 .. {self.extent} m (the extent), '
                                     f'got {self.lookahead}')
        if self.polar_ranges % 2 ** len(self.polar_widths):
            raise ConfigurationError(f'network setting polar_ranges must be a multiple of '
                                     f'{2 ** len(self.polar_widths)}, got {self.polar_ranges}')
        if mechanisms:
            self._check_slots()
        if self.architecture not in ARCHITECTURES:
            raise ConfigurationError(f'network setting architecture must be one of {", ".join(ARCHITECTURES)}, got '
                                     f'{self.architecture!r}')
        if self.architecture == 'two_readings':
            self._check_two_readings()
        else:
            self._check_stages()
        if mechanisms:
            self._check_architecture_of_mechanisms()
        if isinstance(self.time_steps, bool) or not isinstance(self.time_steps, int) or self.time_steps < 1:
            raise ConfigurationError('network setting time_steps must be a whole number of at least 1, got '
                                     f'{self.time_steps!r}')
        if self.time_steps > 1 and self.temporal['name'] == 'none':
            raise ConfigurationError(f'network setting time_steps is {self.time_steps}, but nothing looks at earlier '
                                     'sweeps: set temporal to {name: temporal}, or time_steps to 1')

    def _check_slots(self) -> None:
        """Whether every mechanism is known and fits its slot."""
        from attention_fusion_ros.attention import check_slot  # not at the top: they need torch
        from attention_fusion_ros.attention.mechanism import SLOTS
        for slot in SLOTS:
            check_slot(slot, getattr(self, slot))

    def _check_architecture_of_mechanisms(self) -> None:
        """Whether the mechanisms fit the architecture."""
        from attention_fusion_ros.attention import MECHANISMS  # as above
        two_readings = self.architecture == 'two_readings'
        if not two_readings and 'coarse' in MECHANISMS[self.map_registration['name']].extra_inputs:
            raise ConfigurationError(f"attention mechanism '{self.map_registration['name']}' needs the network setting "
                                     'architecture: two_readings')
        if two_readings and 'query' in MECHANISMS[self.fusion['name']].extra_inputs:
            raise ConfigurationError(f"attention mechanism '{self.fusion['name']}' asks for the map's features; as "
                                     'fusion it needs architecture: stages')

    def _check_stages(self) -> None:
        """What only the second network has."""
        if self.rings != (self.lookahead,) or self.track or self.readings_add or self.selection['name'] != 'none':
            raise ConfigurationError('network settings rings, track, readings_add and selection need architecture: '
                                     'two_readings')

    def _check_two_readings(self) -> None:
        """What only the first network has, and what rings and cells must be."""
        if not all(0 < radius < self.extent for radius in self.rings) or self.lookahead not in self.rings:
            raise ConfigurationError(f'network setting rings must hold the lookahead of {self.lookahead} m and lie '
                                     f'within 0 .. {self.extent} m (the extent), got {self.rings}')
        if self.temporal['name'] != 'none':
            raise ConfigurationError('network setting temporal needs architecture: stages')
        patch = self.selection.get('patch', 1)
        if isinstance(patch, int) and patch > 0 and self.cells % patch:
            raise ConfigurationError(f"attention option 'patch' of selection is {patch}, which does not divide the "
                                     f'network setting cells, {self.cells}')


def _check_setting(name: str, value: Any, default: Any) -> None:
    """Raises ConfigurationError for a setting of another type than its default, or absurdly large."""
    values = value if isinstance(default, tuple) else (value,)
    example = default[0] if isinstance(default, tuple) and default else 0.0 if default == () else default
    if isinstance(default, tuple) and (not isinstance(value, tuple) or len(value) > MAX_STAGES):
        raise ConfigurationError(f'network setting {name} must be a list of at most {MAX_STAGES} numbers, got '
                                 f'{value!r}')
    if isinstance(example, bool):
        good = all(isinstance(v, bool) for v in values)
    elif isinstance(example, int):
        good = all(isinstance(v, int) and not isinstance(v, bool) and 0 < v <= MAX_SIZE for v in values)
    elif isinstance(example, float):
        good = all(isinstance(v, (int, float)) and not isinstance(v, bool) and abs(v) <= MAX_METRES for v in values)
    else:
        return  # mechanisms and names are checked by what they mean
    if not good:
        raise ConfigurationError(f'network setting {name} must be like {default!r}, within the bounds of {MAX_SIZE} '
                                 f'cells or channels and {MAX_METRES:g} m; got {value!r}')


def fused_widths(config: NetworkConfig) -> tuple[int, int]:
    """How many of the channels that the fusion weighs are the LiDAR's, and how many the map's."""
    if config.architecture == 'two_readings':
        return config.head_width, config.map_reading_width
    return config.lidar_width, config.map_width


def channel_labels(config: NetworkConfig) -> tuple[str, ...]:
    """Name of each fused channel, LiDAR first: `lidar/00`, ..., `map/00`, ..."""
    return _labels(*fused_widths(config))


@lru_cache(maxsize=8)  # asked for every sweep
def _labels(lidar: int, of_map: int) -> tuple[str, ...]:
    return (*(f'lidar/{i:02d}' for i in range(lidar)), *(f'map/{i:02d}' for i in range(of_map)))
