# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The training loop: seeded, resumable, on CPU or CUDA, in one process or several (torchrun, DDP)."""

from __future__ import annotations

import copy
import logging
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset, Sampler
from tqdm import tqdm

from attention_fusion_ros.backends.device import choose_device
from attention_fusion_ros.contracts import Calibration
from attention_fusion_ros.datasets.simulated import Batch, collate
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.network import checkpoint as checkpoints
from attention_fusion_ros.network.build import Network, build_network
from attention_fusion_ros.network.output import NetworkOutput
from attention_fusion_ros.training import faithfulness
from attention_fusion_ros.training.config import TrainingConfig
from attention_fusion_ros.training.curves import Curves
from attention_fusion_ros.training.loss import losses, vehicle_loss
from attention_fusion_ros.training.optimiser import SkippingAdamW
from attention_fusion_ros.training.precision import keep_dilated_in_float32
from attention_fusion_ros.training.resting import normalisations, rest_but
from attention_fusion_ros.training.state import REMEDY, find_state, read_state, write_state
from attention_fusion_ros.utils.interrupt import Interrupted, SignalGuard
from attention_fusion_ros.utils.processes import START_METHOD

logger = logging.getLogger(__name__)

MAX_NONFINITE_STEPS = 20  # in a row, then training has diverged
SAVE_EVERY_S = 120.0  # at most this much work is lost when the process is killed
PAIRED = 4  # one of so many samples, at most, is also looked at without its vehicles
PREFETCHED = 4  # batches that each loader process keeps ready

Validate = Callable[[Network], dict[str, float]]


class TrainingData(Protocol):
    """A data set whose random changes depend on the epoch."""

    epoch: int

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, np.ndarray]: ...


class Board(Protocol):
    """Where curves are drawn: torch's SummaryWriter, for example."""

    def add_scalar(self, name: str, value: float, step: int) -> None:
        """Add a point to the curve `name`."""


@dataclass(frozen=True)
class Process:
    """This process among those that train together."""

    rank: int
    world: int
    device: torch.device

    @classmethod
    def from_environment(cls, device: str = 'auto') -> Process:
        """Join the group that torchrun describes in the environment, if there is one.

        device: auto, cpu, cuda or cuda:N; with several processes on CUDA each takes the GPU of its local rank.

        Raises ConfigurationError for an unknown device, one that is not there, and cuda:N for several processes.
        """
        rank, world = int(os.environ.get('RANK', 0)), int(os.environ.get('WORLD_SIZE', 1))
        choice = choose_device(device)
        if choice.fell_back:
            logger.warning(choice.note)
        chosen = choice.device
        if chosen.type == 'cuda':
            if world > 1:
                if device not in ('auto', 'cuda'):
                    raise ConfigurationError(f'--device {device} names one GPU for {world} processes: use cuda, which '
                                             'gives each process its own')
                chosen = choose_device(f"cuda:{os.environ.get('LOCAL_RANK', 0)}").device
            torch.cuda.set_device(chosen)  # what names no device, as NCCL's barrier, uses this one
        if world > 1 and not dist.is_initialized():
            # Making the scenes may take hours, during which the others wait for the first.
            dist.init_process_group('nccl' if chosen.type == 'cuda' else 'gloo', timeout=timedelta(days=1))
        return cls(rank, world, chosen)


class ResumableSampler(Sampler[int]):
    """Endless shuffled indices, a different order every epoch, each process its own share, from any position on."""

    def __init__(self, length: int, seed: int, process: Process, start: int = 0):
        self.length, self.seed, self.process, self.position = length, seed, process, start

    def __iter__(self) -> Iterator[int]:
        share = self.length // self.process.world
        while True:
            epoch, offset = divmod(self.position, share)
            shuffled = np.random.default_rng([self.seed, epoch]).permutation(self.length)
            for index in shuffled[self.process.rank::self.process.world][offset:share]:
                self.position += 1
                yield epoch * self.length + int(index)  # the dataset draws anew every epoch


class _Epochs(Dataset):
    """Index = epoch * length + item, so that loader processes know the epoch without being told."""

    def __init__(self, dataset: TrainingData):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        self.dataset.epoch, item = divmod(index, len(self.dataset))
        return self.dataset[item]


def _begin_loader(_: int) -> None:
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches all; the trainer ends its loaders


class Trainer:
    """Owns network, optimiser and averaged weights; everything needed to continue is in a file in `folder`,
    see `training.state`.

    Raises ConfigurationError when that file cannot be read or belongs to another network.
    """

    def __init__(self, config: TrainingConfig, dataset: TrainingData, folder: Path, process: Process,
                 start_from: Network | None = None):
        torch.manual_seed(config.seed)
        self.config, self.dataset, self.folder, self.process = config, dataset, folder, process
        self.warm_started = start_from is not None
        self.network = start_from or build_network(config.network)
        self.network.to(process.device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in its stubs
        self._resting = rest_but(self.network, config.train_only)
        if config.keep_statistics:
            self._resting += normalisations(self.network)
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        if config.amp and process.device.type == 'cpu':
            keep_dilated_in_float32(self.network)
        self.model: nn.Module = self.network
        if process.world > 1:
            self.model = DistributedDataParallel(self.network)
        self.optimiser = SkippingAdamW(self.network, config.learning_rate, config.weight_decay,
                                       fused=process.device.type == 'cuda')
        self.step = 0
        self.elapsed_s = 0.0  # spent on training steps, over all runs
        self.history: list[dict[str, float]] = []
        self._nonfinite_steps = torch.zeros((), dtype=torch.long, device=process.device)  # in a row
        self._pending_s = 0.0  # not yet agreed upon with the other processes
        self._saved_at = time.monotonic()
        file = find_state(folder)
        if file is not None:
            self._resume(file)

    def _resume(self, file: Path) -> None:
        state = read_state(file, self.process.device)
        try:
            self.network.load_state_dict(state['network'])
        except (RuntimeError, KeyError, TypeError, AttributeError) as error:
            raise ConfigurationError(f"'{file}' is the state of another network: "
                                     f'{str(error).splitlines()[-1].strip()} {REMEDY}') from error
        try:
            self.average.load_state_dict(state['average'])
            self.optimiser.load_state_dict(state['optimiser'])
            self.step, self.elapsed_s, self.history = state['step'], state['spent'], state['history']
            self._nonfinite_steps.fill_(state.get('nonfinite_steps', 0))
            torch.set_rng_state(state['rng'].cpu())
            if self.process.device.type == 'cuda' and 'cuda_rng' in state:
                torch.cuda.set_rng_state(state['cuda_rng'].cpu(), self.process.device)
        except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigurationError(f"'{file}' is no whole state of a run ({type(error).__name__}: {error}). "
                                     f'{REMEDY}') from error
        logger.info('resumed at step %d', self.step)

    def save(self) -> None:
        """Write the state of now; whole or not at all. Only the first process does."""
        self._saved_at = time.monotonic()
        if self.process.rank:
            return
        state: dict[str, Any] = dict(network=self.network.state_dict(), average=self.average.state_dict(),
                                     optimiser=self.optimiser.state_dict(), step=self.step, spent=self.elapsed_s,
                                     history=self.history, nonfinite_steps=int(self._nonfinite_steps),
                                     rng=torch.get_rng_state())
        if self.process.device.type == 'cuda':
            state['cuda_rng'] = torch.cuda.get_rng_state(self.process.device)
        write_state(self.folder, state)

    def progress(self) -> float:
        """Share of the schedule that is done: by time when `minutes` is set, else by steps."""
        if self.config.minutes:
            return min(1.0, self.elapsed_s / (60 * self.config.minutes))
        return min(1.0, self.step / self.config.steps)

    def _learning_rate(self) -> float:
        done, warmup = self.progress(), self.config.warmup
        ramp = min(1.0, (self.step + 1) / self.config.warmup_steps, (done + 1e-3) / warmup if warmup else 1.0)
        return self.config.learning_rate * max(1e-3, ramp * 0.5 * (1 + math.cos(math.pi * done)))

    def train(self, validate: Validate | None = None, board: Board | None = None, quiet: bool = False) -> None:
        """Train until the schedule ends.

        validate: network -> figures by name; called every `validate_every` steps, and first where weights were given.
        board: gets losses and figures. quiet: without a progress bar.

        Raises Interrupted after SIGINT or SIGTERM, once the state is written; ConfigurationError when training has
        diverged.
        """
        with SignalGuard() as guard:
            try:
                self._loop(guard, validate if self.process.rank == 0 else None, board, quiet)
            except Interrupted as stop:
                self.save()
                raise Interrupted(stop.signal_number, f'interrupted at step {self.step}, which is written down: the '
                                  'same command continues from there') from None
        if self.process.world > 1:
            for buffer in (*self.network.buffers(), *self.average.buffers()):
                dist.broadcast(buffer, 0)  # batch statistics are those of the first process, which exports them

    def _loop(self, guard: SignalGuard, validate: Validate | None, board: Board | None, quiet: bool) -> None:
        bar = tqdm(total=1000, initial=int(1000 * self.progress()), desc='train',
                   bar_format='{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}',
                   disable=quiet or self.process.rank > 0, mininterval=10)
        alone = self.process.world == 1
        with bar, ExitStack() as together:
            if not alone:  # they stop together, see _agree: one that stops by itself leaves the others hanging
                together.enter_context(guard.hold())
            if validate is not None and self._validation_is_due():
                self._validate(validate, board)
            curves = Curves()
            last = time.monotonic()
            with guard.hold():  # a loader that is interrupted while it starts its processes does not end them
                batches = self._batches()
            if alone:
                guard.check()
            for batch in batches:
                if self.progress() >= 1.0:
                    break
                with guard.hold():
                    curves.add(self.train_step(batch))
                    now = time.monotonic()
                    self.elapsed_s += self._agree(now - last, guard)
                    last = now
                if alone:
                    guard.check()
                bar.update(int(1000 * self.progress()) - bar.n)
                if self.step % self.config.log_every == 0:
                    bar.set_postfix({'step': self.step, **curves.smoothed()}, refresh=False)
                    if board is not None:
                        for name, value in curves.latest().items():
                            board.add_scalar(f'loss/{name}', value, self.step)
                        board.add_scalar('learning_rate', self._learning_rate(), self.step)
                validating = validate is not None and self.step % self.config.validate_every == 0
                if (validating or self.step % self.config.checkpoint_every == 0
                        or time.monotonic() - self._saved_at > SAVE_EVERY_S):
                    self.save()
                if validating and validate is not None:
                    self._validate(validate, board)
                    last = time.monotonic()  # not training time
            self.save()

    def _batches(self) -> Iterator[Batch]:
        """Batches from the current step on, without end. Drawing them does not touch torch's random numbers."""
        workers = self.config.workers
        sampler = ResumableSampler(len(self.dataset), self.config.seed, self.process, self.step * self.config.batch)
        return iter(DataLoader(_Epochs(self.dataset), batch_size=self.config.batch, collate_fn=collate,
                               sampler=sampler, num_workers=workers, worker_init_fn=_begin_loader,
                               generator=torch.Generator().manual_seed(self.config.seed),
                               multiprocessing_context=START_METHOD if workers else None,
                               pin_memory=self.process.device.type == 'cuda',
                               persistent_workers=workers > 0, prefetch_factor=PREFETCHED if workers else None))

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        """One step: forward, backward, optimiser, average. Returns the losses by name, () each, on the device.

        A step whose loss or gradients are not finite, in any of the processes, changes nothing but the count of steps.
        """
        device, config = self.process.device, self.config
        self.model.train()
        for module in self._resting:
            module.eval()
        for mechanism in self.network.mechanisms().values():
            mechanism.anneal(self.progress())
        buffers = [buffer.clone() for buffer in self.network.buffers()]
        lidar = batch.lidar.to(device, memory_format=torch.channels_last, non_blocking=True)
        map_image = batch.map_image.to(device, memory_format=torch.channels_last, non_blocking=True)
        past = None if batch.past is None else batch.past.to(device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=config.amp):
            known = () if batch.prior is None else (batch.prior.to(device),)
            output = self.model(lidar, map_image, past, *known)
            bare = self._without_vehicles(batch, known)
            partly = self._partly(batch, lidar, map_image, known, output)
        rings = config.network.rings
        target = replace(batch.target.to(device), main_ring=rings.index(config.network.lookahead))
        total, parts = losses(output, target, config.loss, self.network.mechanisms())
        parts['vehicles'] = torch.zeros_like(total)  # the parts are the same in every step
        if bare is not None:
            rows, answer = bare
            parts['vehicles'] = vehicle_loss(output, answer, rows)
            total = total + config.loss['vehicles'] * parts['vehicles']
        if partly is not None:
            of_heat = faithfulness.losses_of(output, *partly, target, config.loss)
            total = total + torch.stack([config.loss[name] * value for name, value in of_heat.items()]).sum()
            parts |= of_heat
        self.optimiser.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), config.gradient_clip)
        sound = torch.isfinite(norm) & torch.isfinite(total.detach())
        if self.process.world > 1:  # gradients are shared, the loss is each process's own
            agreed = sound.int()
            dist.all_reduce(agreed, dist.ReduceOp.MIN)
            sound = agreed.bool()
        self.optimiser.step_if(sound, self._learning_rate())
        self.step += 1
        self._restore_unless(sound, buffers)
        self._average(sound)
        if device.type == 'cpu' or self.step % config.log_every == 0:  # elsewhere the host has to wait for the answer
            self._check_convergence()
        return {**{name: value.detach() for name, value in parts.items()}, 'total': total.detach()}

    def _without_vehicles(self, batch: Batch, known: tuple[Tensor, ...]) -> tuple[Tensor, NetworkOutput] | None:
        """The answer for the same sweeps without their vehicles, and which samples of the batch these are."""
        if batch.bare is None or batch.has_bare is None or not bool(batch.has_bare.any()):
            return None
        device = self.process.device
        rows = batch.has_bare.nonzero()[:len(batch.has_bare) // PAIRED, 0]
        lidar = batch.bare[rows].to(device, memory_format=torch.channels_last)
        map_image = batch.map_image[rows].to(device, memory_format=torch.channels_last)
        return rows.to(device), self.model(lidar, map_image, None, *(k[rows] for k in known))

    def _partly(self, batch: Batch, lidar: Tensor, map_image: Tensor, known: tuple[Tensor, ...],
                output: NetworkOutput) -> tuple[faithfulness.Masked, NetworkOutput] | None:
        """The answers to some of the sweeps with cells missing, by their heat; None where that is not trained."""
        inputs = (faithfulness.masked(lidar, output, batch.target.visible.to(lidar.device))
                  if any(self.config.loss[name] for name in faithfulness.LOSSES) else None)
        if inputs is None:
            return None
        with faithfulness.statistics_of_whole_sweeps(self.network):
            return inputs, self.model(inputs.lidar.contiguous(memory_format=torch.channels_last),
                                      map_image[inputs.rows], None, *(k[inputs.rows] for k in known))

    @torch.no_grad()
    def _restore_unless(self, sound: Tensor, before: list[Tensor]) -> None:
        """Batch statistics back to what they were before a step that is skipped."""
        for buffer, old in zip(self.network.buffers(), before, strict=True):
            buffer.copy_(torch.where(sound, buffer, old))
        self._nonfinite_steps = torch.where(sound, 0, self._nonfinite_steps + 1)

    def _check_convergence(self) -> None:
        count = int(self._nonfinite_steps)
        if count > MAX_NONFINITE_STEPS:
            raise ConfigurationError(f'training diverged: {count} steps in a row gave no finite gradient. '
                                     'Remedy: a lower learning_rate, or amp=false.')
        if count:
            logger.warning('step %d skipped: its loss or gradients are not finite', self.step)

    @torch.no_grad()
    def _average(self, sound: Tensor) -> None:
        """Exponential moving average of the weights; shorter at first, so that the random ones are forgotten."""
        keep = min(self.config.ema, (self.step + 1) / (self.step + 10))
        weight = sound * (1.0 - keep)
        current = self.network.state_dict()
        for name, mean in self.average.state_dict().items():
            if mean.is_floating_point():
                mean.lerp_(current[name], weight.to(mean.dtype))
            else:
                mean.copy_(current[name])

    def _agree(self, seconds: float, guard: SignalGuard) -> float:
        """Seconds that count for the schedule. Several processes count those of the first one, and stop together.

        On CUDA they talk every `log_every` steps only, since the host waits for it. Raises Interrupted in all of them
        when one got a signal.
        """
        if self.process.world == 1:
            return seconds
        self._pending_s += seconds
        if self.process.device.type == 'cuda' and self.step % self.config.log_every:
            return 0.0
        mine = [self._pending_s if self.process.rank == 0 else 0.0, float(guard.received or 0)]
        self._pending_s = 0.0
        shared = torch.tensor(mine, dtype=torch.float32, device=self.process.device)
        dist.all_reduce(shared, dist.ReduceOp.MAX)
        agreed_s, signal_number = shared.tolist()
        if signal_number:
            raise Interrupted(int(signal_number))
        return float(agreed_s)

    def _validation_is_due(self) -> bool:
        """Whether figures are missing: of the weights to start from, or since the run was interrupted meanwhile."""
        if self.step == 0:
            return self.warm_started
        return self.step % self.config.validate_every == 0 and all(h['step'] != self.step for h in self.history)

    def _validate(self, validate: Validate, board: Board | None) -> None:
        figures = validate(self.average)
        self.history.append({'step': self.step, 'minutes': self.elapsed_s / 60, **figures})
        tqdm.write(f'step {self.step}: ' + ' '.join(f'{k} {v:.3f}' for k, v in figures.items()))
        if board is not None:
            for name, value in figures.items():
                board.add_scalar(f'validation/{name}', value, self.step)

    def export(self, path: Path, calibration: Calibration, notes: dict[str, Any]) -> None:
        """Write the averaged weights as a checkpoint for the node. Only the first process does."""
        if self.process.rank == 0:
            checkpoints.save(path, self.average, calibration,
                             {'step': self.step, 'minutes': self.elapsed_s / 60, **notes})
