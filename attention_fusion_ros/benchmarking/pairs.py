# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Providers side by side in one run: the same sweep goes through each of them before the next sweep does.

What slows the machine down slows all of them alike; the ratio of a pair says more than that of two medians. Which one
goes first changes from sweep to sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from attention_fusion_ros.benchmarking import floor, sweeps
from attention_fusion_ros.benchmarking.core import Times
from attention_fusion_ros.benchmarking.floor import Machine, Work
from attention_fusion_ros.benchmarking.providers import STAGES, Provider, create
from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.contracts import Mode
from attention_fusion_ros.decode import decode_cloud, decode_map_image, plain_messages
from attention_fusion_ros.network.config import NetworkConfig

POINTS = (30_000, 120_000, 300_000)
REFERENCE = 'default'
VARIETY = 4  # different sweeps, taken in turn
WARM_UP = 3  # sweeps that are not counted
Progress = Callable[[Iterable[int]], Iterable[int]]


@dataclass(frozen=True)
class Measured:
    """One provider at one number of points."""

    wall: dict[str, Times]  # ms, by stage
    processor: dict[str, Times]
    ratio: dict[str, Times]  # of each pair: its time over that of the reference
    processor_ratio: dict[str, Times]
    fused: int  # sweeps whose answer used the map image
    peak_mb: float | None  # resident memory at its most during one sweep; None where the system does not tell
    grown_mb: float | None  # of it, what the sweep added
    apart: float  # largest difference of its circular distribution from the reference's


@dataclass
class Comparison:
    """Everything that was measured."""

    machine: Machine
    threads: int
    device: str
    checkpoint: str
    network: NetworkConfig
    runs: int
    notes: dict[str, str] = field(default_factory=dict)  # provider -> what a reader has to know
    left_out: dict[str, str] = field(default_factory=dict)  # provider -> why
    measured: dict[int, dict[str, Measured]] = field(default_factory=dict)  # points -> provider
    work: dict[int, dict[str, Work]] = field(default_factory=dict)  # points -> stage


def compare(config: NodeConfig, runs: int, names: Sequence[str], points: Sequence[int] = POINTS,
            progress: Progress = lambda runs: runs) -> Comparison:
    """Every provider at every number of points. names: of `providers.PROVIDERS`; the reference is always there.

    Raises ConfigurationError, see FusionPipeline.
    """
    made, left_out = [], {}
    try:
        for name in dict.fromkeys((REFERENCE, *names)):
            provider, why = create(name, config)
            if provider is None:
                left_out[name] = why
            else:
                made.append(provider)
        backend, info = made[0].pipeline.backend, made[0].pipeline.info
        machine = floor.measure_machine(torch.device(info.device), backend.threads)
        found = Comparison(machine, backend.threads, info.device, info.checkpoint_name, backend.model.network, runs,
                           {p.name: p.note for p in made}, left_out)
        for count in points:
            messages = [sweeps.message(seed, count) for seed in range(VARIETY)]
            found.measured[count] = _side_by_side(made, messages, runs, progress)
            found.work[count] = floor.work(backend.model.network, len(messages[0].data), decode_cloud(messages[0]))
        return found
    finally:
        for provider in made:
            provider.close()


def _side_by_side(providers: list[Provider], plain: list[Any], runs: int, progress: Progress) -> dict[str, Measured]:
    image = decode_map_image(plain_messages.image(sweeps.map_picture(), 10**9))
    messages = {p.name: [p.message(message) for message in plain] for p in providers}
    shape = len(STAGES), runs
    wall, processor = ({p.name: np.zeros(shape) for p in providers} for _ in range(2))
    fused, apart = dict.fromkeys(messages, 0), dict.fromkeys(messages, 0.0)
    for i in progress(range(-WARM_UP, runs)):
        stamp_ns, results = 10**9 + (i + WARM_UP + 1) * 10**8, {}
        turn = (i + WARM_UP) % len(providers)
        for provider in (*providers[turn:], *providers[:turn]):
            run = provider.run(messages[provider.name][i % VARIETY], image, stamp_ns)
            results[provider.name] = run.result
            if i >= 0:
                fused[provider.name] += run.result.mode is Mode.FUSED
                for times, of in ((wall, run.wall_ms), (processor, run.processor_ms)):
                    times[provider.name][:, i] = [of[stage] for stage in STAGES]
        for name, result in results.items():
            apart[name] = max(apart[name], floor.spread(result.distribution, results[REFERENCE].distribution))
    found = {}
    for provider in providers:
        name = provider.name
        peak = _peak(provider, messages[name][0], image)
        found[name] = Measured(
            *(_by_stage(times) for times in (wall[name], processor[name])),
            *(_by_stage(times[name] / np.maximum(times[REFERENCE], 1e-6)) for times in (wall, processor)),
            fused[name], *peak, apart[name])
    return found


def _by_stage(values: np.ndarray) -> dict[str, Times]:
    found = {}
    for stage, row in zip(STAGES, values, strict=True):
        times = Times.of(row.tolist())
        assert times is not None
        found[stage] = times
    return found


def _peak(provider: Provider, message: Any, image: Any) -> tuple[float | None, float | None]:
    """Resident memory at its most during one sweep, and what of it the sweep added; MB."""
    before = floor.peak_memory_mb() if floor.reset_peak_memory() else None
    if before is None:
        return None, None
    provider.run(message, image, 10**15)
    after = floor.peak_memory_mb()
    provider.pipeline.reset()  # stamps begin anew with the next number of points
    return (None, None) if after is None else (after[1], after[1] - before[0])
