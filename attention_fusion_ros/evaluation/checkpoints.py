# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which networks an evaluation is about: checkpoints by name, and the node configurations that run them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from attention_fusion_ros.config import NodeConfig, from_flat
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.network import checkpoint as checkpoints

NETWORK = 'network'  # name of the network in question
UNTRAINED = 'untrained'
BOTH, LIDAR_ONLY, MAP_ONLY = 'both', 'lidar', 'map'  # what a network is given
DEFAULT_LOOKAHEAD_M = 20.0


@dataclass(frozen=True)
class NamedCheckpoint:
    """A checkpoint under the name that it has in tables."""

    name: str
    path: str  # '' for the shipped one, UNTRAINED for random weights
    sees: str = BOTH  # LIDAR_ONLY withholds the map, MAP_ONLY the LiDAR


@dataclass(frozen=True)
class Networks:
    """Networks that share one ring, ready to be run."""

    configs: tuple[tuple[NamedCheckpoint, NodeConfig], ...]
    lookahead: float  # m
    files: dict[str, Path]  # by name, without those with random weights
    notes: tuple[str, ...]  # for the tables

    @property
    def main(self) -> str | None:
        """Name of the network in question, None when only baselines are evaluated."""
        return self.configs[0][0].name if self.configs else None


def parse_checkpoints(checkpoint: str, compare: Sequence[tuple[str, str]]) -> list[NamedCheckpoint]:
    """The checkpoint in question and further ones, pairs of name and `PATH`, `PATH@lidar` or `PATH@map`.

    Raises ConfigurationError when a name is taken, or for anything else after the `@`.
    """
    found = {NETWORK: NamedCheckpoint(NETWORK, checkpoint)}
    for name, text in compare:
        path, at, sees = text.partition('@')
        if name in found:
            raise ConfigurationError(f"--compare: the name '{name}' is taken")
        if at and sees not in (LIDAR_ONLY, MAP_ONLY):
            raise ConfigurationError(f"--compare {name}: after '@' comes {LIDAR_ONLY} or {MAP_ONLY}, not '{sees}'")
        found[name] = NamedCheckpoint(name, path, sees or BOTH)
    return list(found.values())


def load_networks(named: Sequence[NamedCheckpoint], device: str) -> Networks:
    """Check the checkpoints and configure a pipeline of one thread for each.

    Raises ConfigurationError when one cannot be used, or when they are for rings of different radius.
    """
    configs, rings, files, notes = [], {}, {}, []
    for checkpoint in named:
        untrained = checkpoint.path == UNTRAINED
        ring = checkpoints.resolve(checkpoint.path, untrained).network.config.lookahead
        rings[checkpoint.name] = ring
        if untrained:
            notes.append(f"'{checkpoint.name}' has random weights: its figures mean nothing")
        else:
            files[checkpoint.name] = checkpoints.path_of(checkpoint.path)
        configs.append((checkpoint, from_flat({'checkpoint': checkpoint.path, 'allow_untrained': untrained,
                                               'device': device, 'threads': 1, 'lookahead': ring})))
    if len(set(rings.values())) > 1:
        raise ConfigurationError('the checkpoints are for rings of different radius: '
                                 + ', '.join(f'{name} {ring:g} m' for name, ring in rings.items()))
    return Networks(tuple(configs), next(iter(rings.values()), DEFAULT_LOOKAHEAD_M), files, tuple(notes))
