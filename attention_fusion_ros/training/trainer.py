# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The training loop: seeded, resumable, on CPU or CUDA, in one process or several (torchrun, DDP)."""

from __future__ import annotations

import copy
import logging
import math
import os
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset, Sampler
from tqdm import tqdm

from attention_fusion_ros.contracts import Calibration
from attention_fusion_ros.datasets.simulated import Batch, collate
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.network import checkpoint as checkpoints
from attention_fusion_ros.network.model import FusionNetwork
from attention_fusion_ros.training.config import TrainingConfig
from attention_fusion_ros.training.loss import losses
from attention_fusion_ros.training.precision import keep_dilated_in_float32

logger = logging.getLogger(__name__)

MAX_BAD_STEPS = 20  # without a finite gradient, in a row


@dataclass(frozen=True)
class Process:
    """This process among those that train together."""

    rank: int
    world: int
    device: torch.device

    @classmethod
    def from_environment(cls, device: str = 'auto') -> Process:
        """Joins the group that torchrun describes in the environment, if there is one."""
        rank, world = int(os.environ.get('RANK', 0)), int(os.environ.get('WORLD_SIZE', 1))
        cuda = device.startswith('cuda') or (device == 'auto' and torch.cuda.is_available())
        local = int(os.environ.get('LOCAL_RANK', 0))
        chosen = torch.device('cuda', local) if cuda else torch.device('cpu')
        if world > 1 and not dist.is_initialized():
            # Making the scenes may take hours, during which the others wait for the first.
            dist.init_process_group('nccl' if cuda else 'gloo', timeout=timedelta(days=1))
        return cls(rank, world, chosen)


class ResumableSampler(Sampler[int]):
    """Endless shuffled indices, a different order every epoch, each process its own share, from any step on."""

    def __init__(self, length: int, seed: int, process: Process, start: int = 0):
        self.length, self.seed, self.process, self.position = length, seed, process, start

    def __iter__(self):
        share = self.length // self.process.world
        while True:
            epoch, offset = divmod(self.position, share)
            order = np.random.default_rng([self.seed, epoch]).permutation(self.length)[self.process.rank::
                                                                                        self.process.world]
            for index in order[offset:share]:
                self.position += 1
                yield epoch * self.length + int(index)  # the dataset draws anew every epoch


class _Epochs(Dataset):
    """Index = epoch * length + item, so that worker processes know the epoch without being told."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int):
        self.dataset.epoch, item = divmod(index, len(self.dataset))
        return self.dataset[item]


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)


class Trainer:
    """Owns network, optimiser and averaged weights; everything needed to go on is in `folder/last.pt`."""

    def __init__(self, config: TrainingConfig, dataset, folder: Path, process: Process,
                 start_from: FusionNetwork | None = None):
        torch.manual_seed(config.seed)
        self.config, self.dataset, self.folder, self.process = config, dataset, folder, process
        self.given = start_from is not None
        self.network = (start_from or FusionNetwork(config.network)).to(process.device,
                                                                       memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        if config.amp and process.device.type == 'cpu':
            keep_dilated_in_float32(self.network)
        self.model: nn.Module = self.network
        if process.world > 1:
            self.model = DistributedDataParallel(self.network)
        decay = [p for p in self.network.parameters() if p.ndim > 1]
        rest = [p for p in self.network.parameters() if p.ndim <= 1]
        self.optimiser = torch.optim.AdamW([dict(params=decay, weight_decay=config.weight_decay),
                                            dict(params=rest, weight_decay=0.0)], lr=config.learning_rate)
        self.step = 0
        self._bad_steps = 0  # in a row
        self.spent = 0.0  # seconds trained, over all runs
        self.history: list[dict[str, float]] = []
        if (folder / 'last.pt').exists():
            self._resume(torch.load(folder / 'last.pt', map_location=process.device, weights_only=True))

    def _resume(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state['network'])
        self.average.load_state_dict(state['average'])
        self.optimiser.load_state_dict(state['optimiser'])
        self.step, self.spent, self.history = state['step'], state['spent'], state['history']
        torch.set_rng_state(state['rng'].cpu())
        logger.info('resumed at step %d', self.step)

    def _save(self) -> None:
        if self.process.rank:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        state = dict(network=self.network.state_dict(), average=self.average.state_dict(),
                     optimiser=self.optimiser.state_dict(), step=self.step, spent=self.spent, history=self.history,
                     rng=torch.get_rng_state())
        torch.save(state, self.folder / 'last.partial')
        os.replace(self.folder / 'last.partial', self.folder / 'last.pt')

    def progress(self) -> float:
        """Share of the schedule that is done: by time when `minutes` is set, else by steps."""
        by_time = self.spent / (60 * self.config.minutes) if self.config.minutes else 0.0
        return min(1.0, max(by_time, 0.0 if self.config.minutes else self.step / self.config.steps))

    def _learning_rate(self) -> float:
        done, warmup = self.progress(), self.config.warmup
        ramp = min(1.0, (self.step + 1) / self.config.warmup_steps, (done + 1e-3) / warmup if warmup else 1.0)
        return self.config.learning_rate * max(1e-3, ramp * 0.5 * (1 + math.cos(math.pi * done)))

    def train(self, validate=None, board=None, quiet: bool = False) -> None:
        """Until the schedule ends. validate(network) -> {name: figure}, called now and then; board: SummaryWriter.

        quiet: without a progress bar.
        """
        loader = DataLoader(_Epochs(self.dataset), batch_size=self.config.batch, collate_fn=collate,
                            sampler=ResumableSampler(len(self.dataset), self.config.seed, self.process,
                                                     self.step * self.config.batch),
                            num_workers=self.config.workers, worker_init_fn=_one_thread,
                            persistent_workers=self.config.workers > 0,
                            prefetch_factor=4 if self.config.workers else None)
        bar = tqdm(total=1000, initial=int(1000 * self.progress()), desc='train',
                   bar_format='{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}',
                   disable=quiet or self.process.rank > 0, mininterval=10)
        if self.given and self.step == 0 and validate is not None and self.process.rank == 0:
            self._validate(validate, board)  # what there is to lose
        running: dict[str, float] = {}
        last = time.monotonic()
        for batch in loader:
            if self.progress() >= 1.0:
                break
            parts = self._one_step(batch)
            for name, value in parts.items():
                running[name] = 0.98 * running.get(name, value) + 0.02 * value
            now = time.monotonic()
            self.spent += self._agreed(now - last)
            last = now
            bar.update(int(1000 * self.progress()) - bar.n)
            bar.set_postfix({'step': self.step, **{k: f'{v:.3f}' for k, v in running.items()}}, refresh=False)
            if board is not None and self.step % self.config.log_every == 0:
                for name, value in parts.items():
                    board.add_scalar(f'loss/{name}', value, self.step)
                board.add_scalar('learning_rate', self._learning_rate(), self.step)
            if self.step % self.config.checkpoint_every == 0:
                self._save()
            if validate is not None and self.step % self.config.validate_every == 0 and self.process.rank == 0:
                self._validate(validate, board)
                last = time.monotonic()  # not training time
        self._save()
        bar.close()
        if self.process.world > 1:
            for buffer in (*self.network.buffers(), *self.average.buffers()):
                dist.broadcast(buffer, 0)  # batch statistics are those of the first process, which exports them

    def _one_step(self, batch: Batch) -> dict[str, float]:
        device, config = self.process.device, self.config
        self.model.train()
        for group in self.optimiser.param_groups:
            group['lr'] = self._learning_rate()
        lidar = batch.lidar.to(device, memory_format=torch.channels_last, non_blocking=True)
        map_image = batch.map_image.to(device, memory_format=torch.channels_last, non_blocking=True)
        past = None if batch.past is None else batch.past.to(device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=config.amp):
            output = self.model(lidar, map_image, past)
        total, parts = losses(output, batch.target.to(device), config.loss)
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), config.gradient_clip)
        self.step += 1
        if bool(torch.isfinite(norm) & torch.isfinite(total)):
            self.optimiser.step()
            self._average()
            self._bad_steps = 0
        else:
            self._leave_out()
        return {name: float(value.detach()) for name, value in parts.items()} | {'total': float(total.detach())}

    @torch.no_grad()
    def _leave_out(self) -> None:
        """A step whose loss or gradients are not finite changes nothing, batch statistics included."""
        self._bad_steps += 1
        if self._bad_steps > MAX_BAD_STEPS:
            raise ConfigurationError(f'training diverged: {self._bad_steps} steps in a row gave no finite gradient. '
                                     'Remedy: a lower learning_rate, or amp=false.')
        logger.warning('step %d left out: its loss or gradients are not finite', self.step)
        sound = dict(self.average.named_buffers())
        for name, buffer in self.network.named_buffers():
            buffer.copy_(sound[name])

    @torch.no_grad()
    def _average(self) -> None:
        keep = min(self.config.ema, (self.step + 1) / (self.step + 10))
        theirs = self.network.state_dict()
        for name, mine in self.average.state_dict().items():
            if mine.is_floating_point():
                mine.lerp_(theirs[name], 1 - keep)
            else:
                mine.copy_(theirs[name])

    def _agreed(self, seconds: float) -> float:
        """All processes stop at the same step: they count the time of the first one."""
        if self.process.world == 1:
            return seconds
        shared = torch.tensor([seconds], device=self.process.device)
        dist.broadcast(shared, 0)
        return float(shared)

    def _validate(self, validate, board) -> None:
        figures = validate(self.average)
        self.history.append({'step': self.step, 'minutes': self.spent / 60, **figures})
        tqdm.write(f'step {self.step}: ' + ' '.join(f'{k} {v:.3f}' for k, v in figures.items()))
        if board is not None:
            for name, value in figures.items():
                board.add_scalar(f'validation/{name}', value, self.step)

    def export(self, path: Path, calibration: Calibration, notes: dict[str, Any]) -> None:
        """The averaged weights as a checkpoint for the node."""
        if self.process.rank == 0:
            checkpoints.save(path, self.average, calibration, {'step': self.step, 'minutes': self.spent / 60, **notes})
