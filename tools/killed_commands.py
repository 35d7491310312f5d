# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The commands that `tools/killed.py` kills, with settings small enough that each lasts some seconds."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from support import training_kit as kit

from attention_fusion_ros.commands import simulate
from attention_fusion_ros.contracts import Calibration
from attention_fusion_ros.network import checkpoint as checkpoints
from attention_fusion_ros.network.model import FusionNetwork
from attention_fusion_ros.simulation.city_options import CityOptions

ROOT = Path(__file__).resolve().parents[1]
BYTES = 'bytes'
SIMULATED, HELD_BACK, TOWN, CITY = 'scenes/train', 'scenes/held_back', 'town', 'city'
CHECKPOINT = 'small.safetensors'


@dataclass(frozen=True)
class Command:
    """One command.

    arguments: its words, where {inputs} stands for the folder of its inputs; it runs in a folder of its own. needs:
    which inputs. compared: what has to be equal. grows: files that are written anew while it runs, each time whole.
    copied: inputs that it changes, which it gets copies of.
    """

    name: str
    arguments: Sequence[str]
    needs: Sequence[str] = ()
    compared: str = BYTES
    grows: Sequence[str] = ()
    program: Sequence[str] = ('-m', 'attention_fusion_ros')
    copied: Sequence[str] = ()

    def words(self, inputs: Path) -> list[str]:
        """The whole command line."""
        return [sys.executable, *self.program, *(word.format(inputs=inputs) for word in self.arguments)]

    def begin(self, inputs: Path, place: Path) -> None:
        """Put what it changes into its folder."""
        for name in self.copied:
            shutil.copyfile(inputs / name, place / name)


_TRAIN = ('train', '--config', '{inputs}/train.yaml', '--out', 'out', '--device', 'cpu')
COMMANDS = {command.name: command for command in (
    Command('train', (*_TRAIN, '--scenes', f'{{inputs}}/{SIMULATED}', '--validation', f'{{inputs}}/{HELD_BACK}'),
            (SIMULATED, HELD_BACK, 'train.yaml'), 'bytes of weights and calibration; times of day and minutes left out',
            ('out/tensorboard/*', 'out/last.safetensors', 'out/run.json')),
    Command('train --bags', (*_TRAIN, '--bags', f'{{inputs}}/{TOWN}', '--cache', 'cache', '-s', 'steps=4'),
            (TOWN, 'train.yaml'), 'bytes of weights and labelled sweeps; times of day and minutes left out',
            ('out/tensorboard/*', 'out/last.safetensors', 'out/run.json')),
    Command('train --scenes-only', (*_TRAIN, '--scenes-only', '--cache', 'cache', '-s', 'scenes=20', '-s',
                                    'validation_scenes=6', '--workers', '1'), ('train.yaml',)),
    Command('replay --bag', ('replay', f'{{inputs}}/{TOWN}', '--out', 'out', '--bag', 'results', '--with-inputs',
                             '--pictures', '2', '--device', 'cpu', '-p', f'checkpoint:={{inputs}}/{CHECKPOINT}'),
            (TOWN, CHECKPOINT), 'bytes of messages and tables; durations and what shows them left out'),
    Command('draw_map', ('draw_map', f'{{inputs}}/{CITY}', '--osm', str(CityOptions().osm), '--out',
                         'out', '--size', '200', '200'), (CITY,)),
    Command('evaluate', ('evaluate', '--sim', '6', '--checkpoint', f'{{inputs}}/{CHECKPOINT}', '--out', 'out',
                         '--cache', 'scenes', '--workers', '1', '--device', 'cpu'), (CHECKPOINT,)),
    Command('export', ('export', '--checkpoint', f'{{inputs}}/{CHECKPOINT}', '--out', 'out', '--format', 'both'),
            (CHECKPOINT,), 'bytes of every member of the files'),
    Command('simulate --bag', ('simulate', '--bag', 'drive', '--lidar', 'vlp_16', '--duration', '2', '--quiet')),
    Command('gallery', ('gallery', '--classes', 't', 'x', '--per-class', '1', '--out', 'sheet.png')),
    Command('tools/calibrate.py', ('--validation', f'{{inputs}}/{HELD_BACK}', '--checkpoint', CHECKPOINT),
            (HELD_BACK, CHECKPOINT), grows=(CHECKPOINT,), program=(str(ROOT / 'tools' / 'calibrate.py'),),
            copied=(CHECKPOINT,)),
)}


def prepare(command: Command, folder: Path) -> Path:
    """Make the inputs of a command that are missing; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in command.needs:
        if not (folder / name).exists():
            _MAKERS[name](folder)
    return folder


def _checkpoint(folder: Path) -> None:
    import torch
    torch.manual_seed(0)
    checkpoints.save(folder / CHECKPOINT, FusionNetwork(kit.network_config()).eval(), Calibration(), {})


def _settings(folder: Path) -> None:
    kit.settings_file(folder / 'train.yaml', steps=24, checkpoint_every=3, validate_every=8, log_every=3)


def _simulate(folder: Path, name: str, *options: str) -> None:
    if simulate.main(['--bag', str(folder / name), '--lidar', 'vlp_16', '--quiet', *options]):
        raise RuntimeError(f"the recording '{name}' could not be made")


_MAKERS: dict[str, Callable[[Path], object]] = {
    SIMULATED: lambda folder: kit.make_scenes(folder / SIMULATED, 0, 6),
    HELD_BACK: lambda folder: kit.make_scenes(folder / HELD_BACK, 10_000_000, 3),
    TOWN: lambda folder: _simulate(folder, f'{TOWN}', '--duration', '3'),
    CITY: lambda folder: _simulate(folder, CITY, '--osm', '--duration', '12', '--rate', '1'),
    CHECKPOINT: _checkpoint, 'train.yaml': _settings}
