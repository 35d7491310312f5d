# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`train`: the network on simulated scenes and on recordings. Resumable: the same command goes on where it stopped."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attention_fusion_ros.commands import cli, many
from attention_fusion_ros.contracts import Calibration
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.simulation.world.profile import PROFILES
from attention_fusion_ros.utils.interrupt import SignalGuard, explaining
from attention_fusion_ros.utils.processes import quiet_when_interrupted

if TYPE_CHECKING:  # imported when the command runs: --help need not wait for torch
    from attention_fusion_ros.datasets.recorded import RecordedDataset
    from attention_fusion_ros.datasets.simulated import SimulatedDataset
    from attention_fusion_ros.network.build import Network
    from attention_fusion_ros.training.config import TrainingConfig
    from attention_fusion_ros.training.trainer import Board, Process, TrainingData

EXAMPLES = """  train --config config/train.yaml --out runs/first
  train --bags recordings --start-from shipped -s scenes=2000 -s minutes=20 -s learning_rate=3e-4 --out runs/mine
  train --bags recordings --odometry /odometry/filtered --map-image none --start-from shipped --out runs/mine
  train --scenes scenes/city scenes/country --validation scenes/held_back --start-from shipped --out runs/more
  train --bags 'drives/*' @more.txt --ray local --start-from shipped --out runs/fleet
  train --scenes-only -s scenes=20000 --cache /shared/scenes --ray auto --out runs/scenes
  train --out runs/quick -s scenes=500 -s steps=300 -s batch=16
  torchrun --nproc-per-node 2 -m attention_fusion_ros train --out runs/two -s scenes=500 -s steps=300"""


def main(argv: list[str] | None = None) -> int:
    """Entry point."""
    options = options_parser().parse_args(argv)
    arguments = sys.argv[1:] if argv is None else argv
    return cli.run(lambda: train(options, list(arguments)))


def options_parser() -> argparse.ArgumentParser:
    """The options of `train`."""
    parser = cli.parser('train', __doc__, EXAMPLES)
    parser.add_argument('--config', type=Path, help='training settings (YAML); settings it omits keep their defaults')
    parser.add_argument('-s', dest='settings', action='append', default=[], metavar='NAME=VALUE',
                        help='override one setting (of network and loss: the keys given); may be repeated')
    parser.add_argument('--out', type=cli.output_folder, required=True,
                        help='folder of the run: state, log, checkpoint')
    parser.add_argument('--cache', type=Path, default=Path('~/.cache/attention_fusion_ros/scenes'),
                        help='where simulated scenes are kept (default: %(default)s)')
    parser.add_argument('--scenes', type=Path, nargs='+', metavar='DIR', help='train on the simulated scenes found '
                        "below these folders (shards made before) instead of generating as many as the setting "
                        "'scenes' says")
    parser.add_argument('--validation', type=Path, nargs='+', metavar='DIR', help='the same for the held-back scenes')
    parser.add_argument('--osm', type=Path, nargs='+', metavar='FILE', default=[],
                        help='OpenStreetMap extracts (.osm, .osm.gz, .osm.pbf): a share of '
                        'the scenes that are made takes its roads from there, each from one of them')
    parser.add_argument('--profile', choices=tuple(PROFILES), default='v1',
                        help='kinds of places and sensors of the scenes that are made: v2 has medians, rows of parked '
                        'cars, driveways and faulty sensors; with -city all roads come from --osm '
                        '(default: %(default)s)')
    parser.add_argument('--workers', type=int, default=2, help='processes that make scenes (default: %(default)s)')
    parser.add_argument('--bags', nargs='+', metavar='BAG', help='recordings to train on as well, labelled by the '
                        'driven path (needs odometry); -s scenes=0 -s validation_scenes=0 for recordings alone; '
                        + many.RECORDINGS_HELP)
    cli.add_topic_options(parser)
    parser.add_argument('--every', type=int, default=1, help='use only each n-th recorded sweep')
    parser.add_argument('--start-from', default='', metavar='CHECKPOINT',
                        help="weights to start from: 'shipped' or a path; random when left out. The network is that of "
                             'the checkpoint where the settings say nothing else, the schedule starts anew')
    cli.add_parameter_options(parser)
    parser.add_argument('--scenes-only', action='store_true', help='make the scenes and stop')
    many.add_ray_options(parser, 'recordings and scenes: who labels and makes them')
    return parser


def train(options: argparse.Namespace, arguments: list[str]) -> int:
    """Make the scenes, train, calibrate, write `checkpoint.safetensors`.

    arguments: as typed, for the record of the run.

    Raises ConfigurationError; Interrupted after SIGINT or SIGTERM, when what was complete is on disk.
    """
    kept = 'interrupted: what was complete is kept, and the same command continues from there'
    with SignalGuard(), explaining(kept), quiet_when_interrupted():
        return _train(options, arguments)


def _train(options: argparse.Namespace, arguments: list[str]) -> int:
    import torch.distributed as dist

    from attention_fusion_ros.datasets.simulated import Mixed
    from attention_fusion_ros.network import checkpoint as checkpoints
    from attention_fusion_ros.training import config as configs
    from attention_fusion_ros.training import record
    from attention_fusion_ros.training.calibration import calibrate_blind, calibrate_registration
    from attention_fusion_ros.training.trainer import Process, Trainer
    from attention_fusion_ros.training.validate import calibrate, figures, predict

    logging.basicConfig(level=logging.INFO, format='%(message)s')
    overrides = cli.yaml_values(cli.assignments(options.settings, '-s'), '-s')
    start = given = None
    if options.start_from:
        given = checkpoints.SHIPPED if options.start_from == 'shipped' else checkpoints.path_of(options.start_from)
        start = checkpoints.load(given)
    config = configs.load(options.config, overrides, start.network.config if start else None)
    if options.bags and config.network.architecture == 'two_readings':
        raise ConfigurationError('--bags: recordings tell nothing yet of the way driven and the rings that the network '
                                 "'two_readings' learns from. Remedy: train the architecture 'stages' on recordings, "
                                 'or this one on simulated scenes.')
    process = Process.from_environment(options.device or 'auto')
    # Recordings first: where there are none, the user should hear it before scenes are made.
    recorded = [_recorded(config, options)] if options.bags and not options.scenes_only else []
    simulated, held_back = _simulated(config, options, process)
    if options.scenes_only:
        return 0
    sources: list[SimulatedDataset | RecordedDataset] = [*simulated, *recorded]
    if sum(map(len, sources)) < process.world:
        raise ConfigurationError("nothing to train on: raise the setting 'scenes', or give --scenes or --bags")
    dataset: TrainingData = sources[0] if len(sources) == 1 else Mixed(sources)
    options.out.mkdir(parents=True, exist_ok=True)
    if process.rank == 0:
        record.begin(options.out, arguments, config, _described(sources, held_back), given)
    trainer = Trainer(config, dataset, options.out, process,
                      _network(config, start.network) if start else None)
    board = _board(options.out, trainer.step) if process.rank == 0 else None

    def validate(network: Network) -> dict[str, float]:
        assert held_back is not None
        predictions = predict(network, held_back, process.device)
        return figures(predictions, calibrate(predictions))

    trainer.train(validate if held_back else None, board)
    if process.rank == 0:
        calibration = start.calibration if start else Calibration()
        result: dict[str, float] = {}
        if held_back:
            # With sectors removed: what is said of places that were not looked at has to be calibrated as well.
            calibrate_registration(trainer.average, predict(trainer.average, held_back, process.device))
            calibration = calibrate_blind(trainer.average, held_back, process.device)
            result = figures(predict(trainer.average, held_back, process.device), calibration)
        trainer.export(options.out / 'checkpoint.safetensors', calibration,
                       {'samples': len(dataset), 'validation': result})
        record.end(options.out, trainer.step, trainer.elapsed_s / 60, result, trainer.history)
        print(f'wrote {options.out / "checkpoint.safetensors"}')
        print(', '.join(f'{k} {v:.3f}' for k, v in result.items()))
    if process.world > 1:
        dist.destroy_process_group()
    return 0


def _described(sources: Sequence[SimulatedDataset | RecordedDataset],
               held_back: SimulatedDataset | None) -> dict[str, object]:
    """What the run learns from and is judged by, for its record."""
    from attention_fusion_ros.datasets.simulated import SimulatedDataset
    from attention_fusion_ros.training import record

    data: dict[str, object] = {'held back': record.describe(held_back.store) if held_back else {'sweeps': 0}}
    for source in sources:
        if isinstance(source, SimulatedDataset):
            data['simulated'] = record.describe(source.store)
        else:
            data['recorded'] = {'sweeps': len(source)}
    return data


def _network(config: TrainingConfig, trained: Network) -> Network:
    """The network of the settings with the trained weights, as far as they fit."""
    import torch

    from attention_fusion_ros.network.build import build_network
    from attention_fusion_ros.training.transfer import load_matching_weights

    if config.network == trained.config:
        return trained
    torch.manual_seed(config.seed)
    network = build_network(config.network)
    left = load_matching_weights(network, trained)
    print(f'weights to start from: {len(left)} tensors are new' + (f', the first is {left[0]}' if left else ''))
    return network


def _simulated(config: TrainingConfig, options: argparse.Namespace,
               process: Process) -> tuple[list[SimulatedDataset], SimulatedDataset | None]:
    """([data set to train on], held-back data set or None) of simulated scenes, made where they are missing."""
    import torch.distributed as dist

    from attention_fusion_ros.bev.grid import Grid
    from attention_fusion_ros.datasets.ring_scenes import simulated_samples
    from attention_fusion_ros.datasets.scenes import SceneOptions
    from attention_fusion_ros.datasets.shards import SceneStore, cache_name, find_shards, make_shards

    grid, past = Grid(config.network.extent, config.network.cells), config.network.time_steps - 1
    for extract in options.osm:
        if not extract.is_file():
            raise ConfigurationError(f"--osm: '{extract}' does not exist")
    extracts = tuple(map(str, options.osm))
    stores = []
    for given, first, count in ((options.scenes, config.first_seed, config.scenes),
                                (options.validation, config.validation_first_seed, config.validation_scenes)):
        if given:
            stores.append(SceneStore(find_shards(given, grid)))
            continue
        if not count:
            stores.append(SceneStore([]))
            continue
        name = cache_name(grid, config.network.lookahead, options.osm, past, options.profile)
        scene_options = SceneOptions(grid, config.network.lookahead, extracts, past, options.profile)
        arguments = first, count, options.cache.expanduser() / name, scene_options
        if process.rank == 0:
            with many.ray_of(options) as engine:
                make_shards(*arguments, options.workers, engine=engine)
        if process.world > 1:
            dist.barrier()
        stores.append(SceneStore(make_shards(*arguments, 1)))
    print(f'simulated sweeps: {len(stores[0])} to train on, {len(stores[1])} held back')
    train_set = simulated_samples(config.network, stores[0], grid, config.seed)
    held_back = simulated_samples(config.network, stores[1], grid, seed=5, augment=False)
    return [train_set] if len(stores[0]) else [], held_back if len(stores[1]) else None


def _recorded(config: TrainingConfig, options: argparse.Namespace) -> RecordedDataset:
    """Data set of the recordings below --bags; their labelled sweeps are kept beside the simulated scenes."""
    import torch.distributed as dist

    from attention_fusion_ros.bev.grid import Grid
    from attention_fusion_ros.datasets.recorded import LabelOptions, RecordedDataset, find_recordings
    from attention_fusion_ros.engines.engine import engine_at
    from attention_fusion_ros.fleet.labels import check_sources, label_sources
    from attention_fusion_ros.fleet.sources import Source, find_sources, is_many

    grid = Grid(config.network.extent, config.network.cells)
    node = cli.node_config(options)
    topics = tuple((name, topic) for name, topic in cli.topic_options(options).items() if topic)
    cache = options.cache.expanduser() / 'recorded'
    if is_many(options.bags):
        sources = find_sources(options.bags)
        check_sources(sources, topics)
    else:
        sources = [Source(str(path)) for path in find_recordings(Path(options.bags[0]).expanduser(), topics)]
    how = LabelOptions(grid, config.network.lookahead, options.every, topics=topics)
    if dist.is_initialized() and dist.get_rank() > 0:
        dist.barrier()  # the first process makes what is missing
    first = not dist.is_initialized() or dist.get_rank() == 0  # the others find all of it made
    with many.engine_of(options) if first else engine_at(None) as engine:
        scenes, summaries = label_sources(sources, cache, node, how, engine, many.new_bar)
    if dist.is_initialized() and dist.get_rank() == 0:
        dist.barrier()
    print(f'recorded sweeps: {len(scenes)}, labelled by the driven path')
    for summary in summaries:
        print(f'  {summary}')
    return RecordedDataset(scenes, node, grid, config.network.bins, config.seed)


def _board(folder: Path, step: int) -> Board | None:
    """The log in the run's folder, from `step` on; None without tensorboard."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        print('tensorboard is not installed: no TensorBoard log (pip install tensorboard)')
        return None
    # What a run that was killed has logged after its last state is logged again.
    board: Board = SummaryWriter(str(folder / 'tensorboard'), purge_step=step + 1 if step else None)
    return board
