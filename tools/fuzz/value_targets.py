# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What reads values that users type: parameters, parameter files, goals, tags of roads."""

from __future__ import annotations

import math
import random
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attention_fusion_ros.commands.cli import assignments, read_parameter_file, yaml_values
from attention_fusion_ros.config import NodeConfig, from_flat, parameters
from attention_fusion_ros.maps.config import MapSourceConfig
from attention_fusion_ros.maps.kinds import KINDS
from attention_fusion_ros.maps.settings import check, parse_goals
from attention_fusion_ros.maps.tags import read_tags
from fuzz.files import YAML_WORDS
from fuzz.judge import Fault
from fuzz.mutate import NONSENSE, REAL, TEXTS, WHOLE, other_value, spoiled_bytes
from fuzz.target import Target

PARAMETERS = b"""/**:
  ros__parameters:
    map: {resolution: 0.25, anchor: [0.5, 0.5], orientation: north_up}
    cloud.deskew: off
    odometry:
      max_age: 1
"""
CONFIGS: tuple[type, ...] = (NodeConfig, MapSourceConfig)


def _values(choices: random.Random) -> tuple[type, dict[str, Any]]:
    kind = choices.choice(CONFIGS)
    infos = parameters(kind)
    values: dict[str, Any] = {}
    for _ in range(1 + choices.randrange(4)):
        info = choices.choice(infos)
        if info.type is list:
            value: Any = [other_value(v, choices) for v in info.default][: choices.choice((None, None, 1))]
        elif choices.randrange(3):
            value = choices.choice(info.choices) if info.choices else other_value(info.default, choices)
        else:
            value = choices.choice(NONSENSE + WHOLE + REAL + TEXTS)
        values[info.name if choices.randrange(20) else choices.choice(TEXTS)] = value
    return kind, values


def _configure(given: tuple[type, dict[str, Any]]) -> None:
    kind, values = given
    config = from_flat(values, kind)
    for info in parameters(kind):
        value = config
        for part in info.name.split('.'):
            value = getattr(value, part)
        numbers = value if info.type is list else [value] if info.type in (int, float) else []
        if not all(math.isfinite(v) and (info.low is None or info.low <= v <= info.high) for v in numbers):
            raise Fault(f'{info.name} is {value}')
    if kind is MapSourceConfig:
        check(config)


def _goal(choices: random.Random) -> str:
    text = choices.choice(('49.44, 7.76', '49.44 7.76 120; -33.9, 151.2', '"0, 0"', ''))
    return spoiled_bytes(text.encode(), choices, (b';', b'nan', b'1e999', b',', b'\xd9\xa3', b'91')).decode(
        errors='replace')


def _goals(text: str) -> None:
    if not all(math.isfinite(v) for goal in parse_goals(text) for v in goal[:2]):
        raise Fault('a goal that is not finite')


TAGS = ('oneway', 'oneway:vehicle', 'junction', 'layer', 'bridge', 'tunnel', 'width', 'est_width', 'lanes', 'maxspeed',
        'access', 'motor_vehicle', 'name', 'ref')
TAG_VALUES = (*TEXTS, 'yes', 'no', '-1', 'reversible', 'roundabout', '5.5', '5,5 m', "16'", '12 ft', '3 lanes', 'walk',
              'none', '50 mph', '9' * 400, '9' * 5000, '²', '-2', '1e5', '0', '0.0', 'signals', '௧', 'inf')


def _tags(choices: random.Random) -> dict[str, str]:
    tags = {'highway': choices.choice(list(KINDS))}
    for _ in range(1 + choices.randrange(5)):
        tags[choices.choice(TAGS)] = choices.choice(TAG_VALUES)
    return tags


def _read_tags(tags: dict[str, str]) -> None:
    found = read_tags(tags)
    if not (math.isfinite(found.width) and 0 < found.width < 100 and math.isfinite(found.speed) and found.speed > 0
            and -10 < found.layer < 10):
        raise Fault(f'{found}')


def _parameter_file(choices: random.Random) -> bytes:
    return spoiled_bytes(PARAMETERS, choices, YAML_WORDS)


def _read_parameter_file(content: bytes) -> None:
    with TemporaryDirectory(prefix='attention_fusion_fuzz_') as folder:
        path = Path(folder) / 'parameters.yaml'
        path.write_bytes(content)
        from_flat(read_parameter_file(path))


def _typed(choices: random.Random) -> str:
    name = choices.choice([info.name for info in parameters(NodeConfig)])
    return spoiled_bytes(f'{name}:=0.5'.encode(), choices, (*YAML_WORDS, b':=')).decode(errors='replace')


def _read_typed(text: str) -> None:
    from_flat(yaml_values(assignments([text], '-p', ':='), '-p'))


VALUE_TARGETS: tuple[Target, ...] = (
    Target('parameter values', _values, _configure),
    Target('parameters on the command line', _typed, _read_typed),
    Target('parameter files', _parameter_file, _read_parameter_file, share=0.5),
    Target('goals', _goal, _goals),
    Target('tags of roads', _tags, _read_tags),
)
