# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The comparison of attention mechanisms: every row of `ablation_rows.ROWS` trained alike, once for each seed.

All networks see the same samples (a pool drawn once) for the same number of steps; networks with the same seed see them
in the same order. Every result is a file: a run that was cut off goes on with what is missing.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Subset

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.config import unknown_name
from attention_fusion_ros.datasets.held_out import FIRST_SEED
from attention_fusion_ros.datasets.pool import Pool, write_pool
from attention_fusion_ros.datasets.scenes import SceneOptions
from attention_fusion_ros.datasets.shards import SOURCES, SceneStore, write_shards
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.network.config import NetworkConfig
from attention_fusion_ros.studies.ablation.cost import Cost
from attention_fusion_ros.studies.ablation.rows import TIME_STEPS, Row
from attention_fusion_ros.studies.ablation.score import evaluate_network
from attention_fusion_ros.studies.ablation.table import Compared
from attention_fusion_ros.training.config import TrainingConfig
from attention_fusion_ros.training.trainer import Process, Trainer
from attention_fusion_ros.training.validate import calibrate, predict
from attention_fusion_ros.utils.damaged import Damaged
from attention_fusion_ros.utils.digest import digest, source_files
from attention_fusion_ros.utils.processes import process_pool
from attention_fusion_ros.utils.stored_json import read_checked_json, write_checked_json

SHARD = 64  # scenes a shard
CALIBRATED_ON = 256  # samples
SLOWEST_FIRST = ('time4', 'sk', 'bam')  # so that processes finish together


@dataclass(frozen=True)
class AblationConfig:
    """What all networks of the comparison share."""

    scenes: int = 1000  # seeds of training scenes
    held_out: int = 400  # seeds of scenes for the figures, of which a quarter exist without vehicles, too
    variants: int = 5  # how often each training scene is drawn: map, turn, sensor faults
    steps: int = 350
    batch: int = 16
    learning_rate: float = 2e-3
    cells: int = 128  # this and the following: see NetworkConfig, whose defaults are larger
    bins: int = 60
    polar_ranges: int = 16
    lidar_width: int = 24
    map_width: int = 12
    widths: tuple[int, ...] = (32, 48, 64)
    polar_widths: tuple[int, ...] = (32, 48, 64)
    head_width: int = 80

    def network(self, row: Row) -> NetworkConfig:
        """The row's network."""
        return NetworkConfig.from_dict({**self._sizes(), **row.network})

    def _sizes(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ('cells', 'bins', 'polar_ranges', 'lidar_width', 'map_width',
                                                       'widths', 'polar_widths', 'head_width')}

    def training(self, row: Row, seed: int) -> TrainingConfig:
        """Settings of one training."""
        return TrainingConfig(steps=self.steps, batch=self.batch, learning_rate=self.learning_rate, warmup_steps=1,
                              seed=seed, workers=0,
                              checkpoint_every=self.steps + 1, validate_every=self.steps + 1, network=self.network(row))

    def describe(self) -> str:
        """The schedule in one sentence."""
        sizes = ', '.join(f'{k} {"-".join(map(str, v)) if isinstance(v, tuple) else v}'
                          for k, v in self._sizes().items())
        return (f'{self.steps} steps of {self.batch} samples, drawn from {self.scenes} simulated scenes in '
                f'{self.variants} variants each; figures on {self.held_out} held-out scenes; network with {sizes}.')


def prepare(schedule: AblationConfig, cache: Path, workers: int, bar: Callable[[str, int], Any]) -> tuple[Path, Path]:
    """Make the samples where they are missing. bar(title, total) -> a progress bar.

    Returns the folders of the pools to train on and to test on.
    """
    base = NetworkConfig(cells=schedule.cells, bins=schedule.bins)
    grid = Grid(base.extent, base.cells)
    options = SceneOptions(grid, base.lookahead, past=TIME_STEPS - 1)
    folder = cache / f'ablation-{_sample_hash()}-{schedule.cells}'
    pools = []
    for name, seed, count, variants in (('train', 0, schedule.scenes, schedule.variants),
                                        ('held_out', FIRST_SEED, schedule.held_out, 1)):
        shards = write_shards(seed, count, folder / f'{name}-{count}', options, workers, SHARD)
        pool = folder / f'pool-{name}-{count}-{variants}-{base.bins}'
        with bar(f'{name} samples', len(SceneStore(shards)) * variants) as progress:
            write_pool(pool, shards, grid, base.bins, variants, name == 'train', 1, workers, progress.update)
        pools.append(pool)
    return pools[0], pools[1]


def _sample_hash() -> str:
    """A name for the code that makes the samples: changes when it does."""
    drawn_by = (f'datasets/{name}.py' for name in ('augment', 'pool', 'simulated'))
    return digest(source_files((*SOURCES, *drawn_by), ('__init__.py',)))


def train_rows(rows: Sequence[Row], seeds: int, schedule: AblationConfig, pools: tuple[Path, Path], out: Path,
               workers: int, progress: Callable[[int], object] = lambda n: None) -> dict[str, list[dict[str, Any]]]:
    """Train and test every row with seeds 1 .. `seeds`. progress(n): n more of them are done.

    Returns row key -> one result a seed: {'row', 'seed', 'schedule', 'figures', 'seconds'}. Raises ConfigurationError
    when `out` holds results of another schedule.
    """
    out.mkdir(parents=True, exist_ok=True)
    order = sorted(rows, key=lambda row: row.key not in SLOWEST_FIRST)
    jobs = [(row, seed) for seed in range(1, seeds + 1) for row in order]  # whole seeds first
    missing = [(row, seed) for row, seed in jobs if _stored(out, row, seed, schedule) is None]
    progress(len(jobs) - len(missing))
    if missing:
        with process_pool(workers) as pool:
            for done in as_completed([pool.submit(train_one, row, seed, schedule, pools, out)
                                      for row, seed in missing]):
                done.result()
                progress(1)
    results: dict[str, list[dict[str, Any]]] = {row.key: [] for row in rows}
    for row in rows:
        stored = [_stored(out, row, seed, schedule) for seed in range(1, seeds + 1)]
        results[row.key] = [result for result in stored if result is not None]
    return results


def _file(out: Path, row: Row, seed: int) -> Path:
    return out / 'results' / f'{row.key}-{seed}.json'


def _stored(out: Path, row: Row, seed: int, schedule: AblationConfig) -> dict[str, Any] | None:
    file = _file(out, row, seed)
    if not file.exists():
        return None
    try:
        result: dict[str, Any] = read_checked_json(file)
        schedule_then = result['schedule']
    except (Damaged, KeyError):
        return None  # damaged: made again
    if schedule_then != json.loads(json.dumps(asdict(schedule))):
        raise ConfigurationError(f"'{file}' was made with another schedule: choose another folder with --out, or "
                                 'remove it')
    return result


def train_one(row: Row, seed: int, schedule: AblationConfig, pools: tuple[Path, Path], out: Path) -> dict[str, Any]:
    """Train one network, test it, keep the figures in a file and return them."""
    start = time.perf_counter()
    config = schedule.training(row, seed)
    leave_out = () if config.network.time_steps > 1 else ('past', 'moves')
    drawn = Pool(pools[0], leave_out)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(config, drawn, Path(folder), Process(0, 1, torch.device('cpu')))
        trainer.train(quiet=True)
    trained = time.perf_counter()
    _keep(trainer, drawn, out / 'checkpoints' / f'{row.key}-{seed}.safetensors')
    figures = evaluate_network(trainer.average, Pool(pools[1], leave_out))
    result = {'row': row.key, 'seed': seed, 'schedule': asdict(schedule),
              'figures': {name: value if value == value else None for name, value in figures.items()},
              'seconds': {'training': trained - start, 'figures': time.perf_counter() - trained}}
    write_checked_json(_file(out, row, seed), result)
    return result


def _keep(trainer: Trainer, drawn: Pool, file: Path) -> None:
    """The network as a checkpoint for `evaluate --compare`, its probabilities fitted on samples it was trained on."""
    file.parent.mkdir(parents=True, exist_ok=True)
    some = Subset(drawn, range(min(CALIBRATED_ON, len(drawn))))
    trainer.export(file, calibrate(predict(trainer.average, some, torch.device('cpu'))), {'comparison': file.stem})


def full_size(row: Row) -> NetworkConfig:
    """The row's network in the size of the default configuration, for its cost."""
    return NetworkConfig.from_dict(row.network)


def compared(rows: Sequence[Row], results: dict[str, list[dict[str, Any]]], costs: dict[str, Cost]) -> list[Compared]:
    """What `run` returned, ready for the tables."""
    return [Compared(row.key, row.title, row.where, row.against, tuple(r['figures'] for r in results[row.key]),
                     costs[row.key]) for row in rows]


def schedule_with(settings: Mapping[str, str]) -> AblationConfig:
    """{name: value as text} -> a schedule. Raises ConfigurationError for unknown names and values that do not fit."""
    values: dict[str, Any] = {}
    for name, value in settings.items():
        if name not in AblationConfig.__dataclass_fields__:
            raise unknown_name(name, AblationConfig.__dataclass_fields__)
        default = getattr(AblationConfig(), name)
        try:
            if isinstance(default, tuple):
                values[name] = tuple(int(v) for v in value.split(','))
            else:
                values[name] = type(default)(value)
        except ValueError as error:
            raise ConfigurationError(f"'{name}={value}' cannot be used: {error}") from error
    return replace(AblationConfig(), **values)
