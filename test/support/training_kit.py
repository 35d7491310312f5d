# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A network small enough to train within a test, and simulated scenes on its grid."""

from __future__ import annotations

from pathlib import Path

import yaml

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.datasets.scenes import SceneOptions
from attention_fusion_ros.datasets.shards import write_shards
from attention_fusion_ros.network.config import NetworkConfig

CELLS = 64
NETWORK = dict(cells=CELLS, bins=24, lidar_width=8, map_width=8, widths=(8, 8, 8), polar_ranges=8,
               polar_widths=(8, 8, 8), head_width=8, fusion={'name': 'cbam_channel', 'reduction': 4})
SETTINGS = dict(steps=6, batch=4, workers=0, learning_rate=2e-3, warmup=0.0, scenes=0, validation_scenes=0,
                validate_every=3, checkpoint_every=3, log_every=2)


def network_config(**changes) -> NetworkConfig:
    return NetworkConfig.from_dict({**NETWORK, **changes})


def settings_file(path: Path, **changes) -> Path:
    """A YAML of training settings; the tiny network unless `network=None` leaves it to the weights to start from."""
    values = {**SETTINGS, 'network': {k: list(v) if isinstance(v, tuple) else v for k, v in NETWORK.items()}, **changes}
    path.write_text(yaml.safe_dump({k: v for k, v in values.items() if v is not None}))
    return path


def make_scenes(folder: Path, first_seed: int, count: int) -> Path:
    """Shards of a few simulated scenes below `folder`."""
    write_shards(first_seed, count, folder, SceneOptions(Grid(cells=CELLS), 20.0), workers=1, shard_size=3)
    return folder
