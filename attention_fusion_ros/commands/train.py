"""`train`: the network on simulated scenes. Resumable: the same command goes on where it stopped."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import yaml

from attention_fusion_ros.commands import cli

EXAMPLES = """  train --config config/train.yaml --out runs/first
  train --out runs/quick -s scenes=500 -s steps=300 -s batch=16
  torchrun --nproc-per-node 2 -m attention_fusion_ros train --out runs/two -s scenes=500 -s steps=300"""


def main(argv: list[str] | None = None) -> int:
    """Entry point."""
    parser = cli.parser('train', __doc__, EXAMPLES)
    parser.add_argument('--config', type=Path, help='training settings (YAML); defaults where it is silent')
    parser.add_argument('-s', dest='settings', action='append', default=[], metavar='NAME=VALUE',
                        help='override one setting; may be repeated')
    parser.add_argument('--out', type=Path, required=True, help='folder of the run: state, log, checkpoint')
    parser.add_argument('--cache', type=Path, default=Path('~/.cache/attention_fusion_ros/scenes'),
                        help='where simulated scenes are kept (default: %(default)s)')
    parser.add_argument('--workers', type=int, default=2, help='processes that make scenes (default: %(default)s)')
    parser.add_argument('--device', default='auto', help='auto, cpu or cuda (default: %(default)s)')
    parser.add_argument('--scenes-only', action='store_true', help='make the scenes and stop')
    options = parser.parse_args(argv)
    return cli.run(lambda: train(options))


def train(options) -> int:
    """Make the scenes, train, calibrate, write `checkpoint.safetensors`. Raises ConfigurationError."""
    import torch.distributed as dist

    from attention_fusion_ros.bev.grid import Grid
    from attention_fusion_ros.training import config as configs
    from attention_fusion_ros.training.dataset import SimulatedDataset
    from attention_fusion_ros.training.scenes import SceneStore, write_shards
    from attention_fusion_ros.training.trainer import Process, Trainer
    from attention_fusion_ros.training.validate import calibrate, figures, predict

    logging.basicConfig(level=logging.INFO, format='%(message)s')
    overrides = dict(text.split('=', 1) for text in options.settings)
    config = configs.load(options.config, {k: yaml.safe_load(v) for k, v in overrides.items()})
    process = Process.from_environment(options.device)
    grid = Grid(config.network.extent, config.network.cells)
    cache = options.cache.expanduser()
    stores = []
    for first, count in ((config.first_seed, config.scenes),
                         (config.validation_first_seed, config.validation_scenes)):
        if process.rank == 0:
            write_shards(first, count, cache, grid, config.network.lookahead, options.workers)
        if process.world > 1:
            dist.barrier()
        stores.append(SceneStore(write_shards(first, count, cache, grid, config.network.lookahead, 1)))
    print(f'{len(stores[0])} scenes to train on, {len(stores[1])} held back')
    if options.scenes_only:
        return 0
    held_back = SimulatedDataset(stores[1], grid, config.network.bins, seed=5, augment=False)
    options.out.mkdir(parents=True, exist_ok=True)
    board = _board(options.out) if process.rank == 0 else None
    trainer = Trainer(config, SimulatedDataset(stores[0], grid, config.network.bins, config.seed), options.out, process)

    def validate(network) -> dict[str, float]:
        predictions = predict(network, held_back, process.device)
        return figures(predictions, calibrate(predictions))

    trainer.train(validate, board)
    if process.rank == 0:
        predictions = predict(trainer.average, held_back, process.device)
        calibration = calibrate(predictions)
        result = figures(predictions, calibration)
        trainer.export(options.out / 'checkpoint.safetensors', calibration,
                       {'scenes': len(stores[0]), 'validation': result})
        (options.out / 'history.json').write_text(json.dumps(trainer.history + [{'step': trainer.step, **result}],
                                                             indent=1))
        print(f'{options.out / "checkpoint.safetensors"}: ' + ', '.join(f'{k} {v:.3f}' for k, v in result.items()))
    if process.world > 1:
        dist.destroy_process_group()
    return 0


def _board(folder: Path):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        print('tensorboard is not installed: no TensorBoard log (pip install tensorboard)')
        return None
    return SummaryWriter(str(folder / 'tensorboard'))
