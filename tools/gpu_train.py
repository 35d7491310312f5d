# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Scenes, then training, within so many seconds; see gpu_train.sh.

Each run is SETTINGS=WEIGHTS: the settings of `train` and the checkpoint that it starts from. Runs share the GPU, for
none of them fills it, and each gets its share of the cores to prepare samples. Into the folder come, by the name of the
settings' file: NAME.safetensors, NAME.json (what `train` records), NAME_state.safetensors and NAME.log.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.datasets.scenes import SceneOptions
from attention_fusion_ros.datasets.shards import write_shards
from attention_fusion_ros.network.config import NetworkConfig

BEGIN_S, END_S = 30.0, 20.0  # to start the processes of a training, and to write what it has learned
TRAIN = [sys.executable, '-m', 'attention_fusion_ros', 'train']


@dataclass(frozen=True)
class Run:
    """One network to train."""

    settings: Path
    weights: Path

    @property
    def name(self) -> str:
        """What its results are called."""
        return self.settings.stem

    @classmethod
    def of(cls, text: str) -> Run:
        """From SETTINGS=WEIGHTS. Raises argparse.ArgumentTypeError where a file is missing."""
        settings, _, weights = text.partition('=')
        run = cls(Path(settings), Path(weights))
        for file in (run.settings, run.weights):
            if not file.is_file():
                raise argparse.ArgumentTypeError(f"'{file}' is no file, in '{text}': give SETTINGS.yaml=WEIGHTS")
        return run


def main() -> int:
    """1 when no run has ended with weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, required=True, help='folder of the results')
    parser.add_argument('--runs', type=Run.of, nargs='+', required=True, metavar='SETTINGS=WEIGHTS')
    parser.add_argument('--seconds', type=float, default=540.0, help='for everything (default: %(default)s)')
    parser.add_argument('--scenes', type=int, default=2048, help='seeds to make scenes of (default: %(default)s)')
    parser.add_argument('--first-seed', type=int, default=70_000_000)
    parser.add_argument('--osm', nargs='*', default=[], metavar='FILE', help='OpenStreetMap extracts for the scenes')
    parser.add_argument('--also', nargs='*', default=[], metavar='DIR', help='scenes made before')
    parser.add_argument('--work', type=Path, default=Path('/tmp/gpu_train'), help='folder for scenes and states')
    parser.add_argument('--dry-run', action='store_true', help='on the CPU, two steps on a few scenes')
    options = parser.parse_args()
    end, cores = time.monotonic() + options.seconds, os.cpu_count() or 1
    options.out.mkdir(parents=True, exist_ok=True)
    options.work.mkdir(parents=True, exist_ok=True)
    folders = [*options.also]
    if options.scenes:
        folders.append(str(make_scenes(options, cores)))
        print(f'{options.scenes} scenes made, {end - time.monotonic():.0f} s left')
    minutes = max(0.1, (end - time.monotonic() - BEGIN_S - END_S) / 60)
    workers = max(1, cores // len(options.runs) - 1)
    started = [(run, _start(run, options, folders, minutes, workers)) for run in options.runs]
    for run, process in started:
        try:
            process.wait(max(5.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.terminate()  # it writes its state, after the step it is at
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
        _keep(run, options)
    return 0 if any((options.out / f'{run.name}.safetensors').is_file() for run in options.runs) else 1


def make_scenes(options: argparse.Namespace, cores: int) -> Path:
    """The folder of the scenes, one shard for each core, all at a time."""
    grid, folder = Grid(), options.work / 'scenes'
    kind = SceneOptions(grid, NetworkConfig().lookahead, tuple(options.osm), 0, 'v2')
    write_shards(options.first_seed, options.scenes, folder, kind, cores, -(-options.scenes // cores))
    return Path(folder)


def _start(run: Run, options: argparse.Namespace, folders: list[str], minutes: float,
           workers: int) -> subprocess.Popen[bytes]:
    length = [f'minutes={minutes:.2f}']
    if options.dry_run:
        length = ['minutes=0', 'steps=2', 'batch=4', 'amp=false']
    settings = 'validation_scenes=0', f'workers={workers}', *length
    command = [*TRAIN, '--config', str(run.settings), '--start-from', str(run.weights), '--scenes', *folders,
               *(word for setting in settings for word in ('-s', setting)), '--out', str(options.work / run.name),
               '--device', 'cpu' if options.dry_run else 'cuda']
    print(' '.join(command))
    with open(options.out / f'{run.name}.log', 'wb') as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)


def _keep(run: Run, options: argparse.Namespace) -> None:
    """What a run has left, in the folder of the results."""
    for source, target in (('checkpoint.safetensors', f'{run.name}.safetensors'), ('run.json', f'{run.name}.json'),
                           ('last.safetensors', f'{run.name}_state.safetensors')):
        file = options.work / run.name / source
        if file.is_file():
            shutil.copy2(file, options.out / target)
    log = (options.out / f'{run.name}.log').read_text(errors='replace').replace('\r', '\n').splitlines()
    print(f'== {run.name}', *log[-4:], sep='\n')


if __name__ == '__main__':
    sys.exit(main())
