# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""How the map's channel share changes when the map image is removed, rotated, or replaced by noise.

A network that weighs its inputs by their value should give less weight to a map that is empty or wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from attention_fusion_ros.bev.map_image import CHANNELS
from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.contracts import Mode
from attention_fusion_ros.datasets.held_out import HeldOutScene, obtain
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.evaluation.checkpoints import Networks
from attention_fusion_ros.evaluation.run_settings import RunOutput, RunSettings
from attention_fusion_ros.evaluation.tables import Report, cell
from attention_fusion_ros.metrics.bootstrap import mean_estimate
from attention_fusion_ros.pipeline.batch import BatchedPipeline
from attention_fusion_ros.pipeline.preprocess import Features, MapFeatures
from attention_fusion_ros.utils.tables import Table

AS_IT_IS, REMOVED, ROTATED = 'as it is', 'removed', 'rotated by 90 deg'
SHUFFLED, NOISE = 'its own cells in random order', 'uniform noise'
STATES = (AS_IT_IS, REMOVED, ROTATED, SHUFFLED, NOISE)
ROAD, ROUTE, VALID = (CHANNELS.index(name) for name in ('road', 'route', 'valid'))


def spoiled(drawn: MapFeatures, seed: int) -> dict[str, MapFeatures]:
    """A map on the grid -> the same in every state of STATES. Turned about the vehicle, which is in the middle."""
    grid, rng = drawn.grid, np.random.default_rng([seed, 90])
    order = torch.as_tensor(rng.permutation(grid[0].numel()), device=grid.device)
    noise = torch.zeros_like(grid)
    noise[ROAD] = torch.as_tensor(rng.random(grid.shape[1:], dtype=np.float32), device=grid.device) * grid[VALID]
    noise[VALID] = grid[VALID]
    grids = {ROTATED: grid.rot90(dims=(1, 2)), SHUFFLED: grid.flatten(1)[:, order].view_as(grid), NOISE: noise}
    return {AS_IT_IS: drawn,
            REMOVED: MapFeatures(torch.zeros_like(grid), Mode.LIDAR_ONLY, 'no_map'),
            **{name: replace(drawn, grid=values) for name, values in grids.items()}}


def map_shares(config: NodeConfig, first_seed: int, count: int, cache: Path, lookahead: float = 20.0,
               progress: Callable[[int], object] = lambda scenes: None) -> dict[str, np.ndarray]:
    """State -> (count,) share of the map in the channel attention, on held-out scenes with a map that is used.

    Raises ConfigurationError when the checkpoint cannot be used, RuntimeError when the simulator draws too few maps.
    """
    pipeline = BatchedPipeline(config.in_torch())
    shares: dict[str, list[float]] = {state: [] for state in STATES}
    for scene in scenes_with_a_map(first_seed, 10 * count, cache, lookahead):
        if len(shares[AS_IT_IS]) == count:
            break
        inputs = scene.inputs()
        try:
            lidar, drawn = pipeline.preprocess.lidar(inputs), pipeline.preprocess.map(inputs, inputs.layout)
        except InputError:
            continue
        if drawn.mode is not Mode.FUSED:
            continue
        with torch.inference_mode():
            maps = spoiled(drawn, scene.info.seed)
        samples = [Features(inputs.cloud.stamp_ns, lidar, maps[state]) for state in STATES]
        for state, result in zip(STATES, pipeline.results(samples)):
            shares[state].append(result.attention.map_share)
        progress(1)
    pipeline.close()
    if len(shares[AS_IT_IS]) < count:
        raise RuntimeError(f'the simulator gave only {len(shares[AS_IT_IS])} of {count} scenes with a map')
    return {state: np.array(values) for state, values in shares.items()}


def scenes_with_a_map(first_seed: int, seeds: int, cache: Path, lookahead: float) -> Iterator[HeldOutScene]:
    """Those of `seeds` seeds whose vehicle is on a road and has a map."""
    for seed in range(first_seed, first_seed + seeds):
        scene = obtain(seed, cache, lookahead)
        if scene is not None and scene.info.has_map:
            yield scene


def map_share_table(shares: dict[str, np.ndarray]) -> Table:
    """Mean share of every state, and the change against the map as it is, scene by scene."""
    unchanged = shares[AS_IT_IS]
    rows = []
    for state in STATES:
        change, falls = '-', '-'
        if state != AS_IT_IS:
            change = cell(mean_estimate(shares[state] - unchanged), 3)
            falls = f'{np.mean(shares[state] < unchanged):.0%}'
        rows.append((state, cell(mean_estimate(shares[state]), 3), change, falls))
    return Table("The map's channel share when the map image is spoiled",
                 ('map image', "map's share", 'change', 'falls in'), rows,
                 (f'Means over {len(unchanged)} held-out simulated scenes with a map. Brackets: 95 % interval, scenes '
                  'resampled; the change is paired.',
                  'Rotated about the vehicle; noise only where the map image reaches.'))


def write_map_share(networks: Networks, scenes: int, settings: RunSettings) -> RunOutput:
    """Measure on `scenes` held-out scenes; writes `map_share.md` and `.json`. Raises ConfigurationError."""
    settings.check_held_out()
    with settings.new_bar('maps', scenes, 'scene') as bar:
        shares = map_shares(networks.configs[0][1], settings.first_seed, scenes, settings.cache, networks.lookahead,
                            bar.update)
    report = Report(settings.provenance(networks.files), [map_share_table(shares)], {'map_share': shares})
    return RunOutput(report.markdown(), report.write(settings.out, 'map_share'))
