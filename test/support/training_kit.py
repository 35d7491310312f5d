# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A network small enough to train within a test, and simulated scenes on its grid."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.datasets.scenes import SceneOptions
from attention_fusion_ros.datasets.shards import write_shards
from attention_fusion_ros.network import checkpoint as checkpoints
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


def interruptible_scenes(folder: Path) -> Path:
    """Scenes to train on and to hold back, for `interruptible_run`."""
    make_scenes(folder / 'train', 0, 6)
    make_scenes(folder / 'held_back', 10_000_000, 3)
    return folder


def interruptible_run(scenes: Path, out: Path, **settings) -> list[str]:
    """The words of `train` for a tiny run on these scenes."""
    out.mkdir(exist_ok=True)
    file = settings_file(out / 'settings.yaml', **settings)
    return ['--config', str(file), '--scenes', str(scenes / 'train'), '--validation', str(scenes / 'held_back'),
            '--device', 'cpu', '--out', str(out)]


def have_equal_weights(a: Path, b: Path) -> bool:
    """Whether two finished runs wrote the same network."""
    first, second = (checkpoints.load(out / 'checkpoint.safetensors').network.state_dict() for out in (a, b))
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
