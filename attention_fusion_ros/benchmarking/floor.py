# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""How fast a stage could be at best: what it has to move and compute, by what this machine was measured to do.

After the roofline model (Williams, Waterman, Patterson, CACM 2009): the floor is the greater of bytes over bandwidth
and operations over peak. Bytes are those that have to be moved at least once: inputs, outputs and weights, each once;
what fits into a cache in between counts nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from attention_fusion_ros.bev import lidar, map_image
from attention_fusion_ros.contracts import PointCloud
from attention_fusion_ros.network.build import Network, build_network, lidar_layers
from attention_fusion_ros.network.config import NetworkConfig
from attention_fusion_ros.network.cost import network_size, random_inputs

COPIED_BYTES = 1 << 26  # more than caches hold
MATRIX = 768
REPEATS = 7
NUMBER = 4  # bytes
# Operations on a point, each addition, product, comparison and root counted once: placing it twice (2 x 18), range and
# cell for the ground (12), height above it (24), cell and statistics (14), sector and reach (30), voxel (10).
OPERATIONS_A_POINT = 126
OPERATIONS_A_CELL = 84  # logarithms and scaling; of the map: position, two bilinear samples, the width of the route


@dataclass(frozen=True)
class Machine:
    """What was measured on as many threads as the pipeline takes."""

    bandwidth_gb_s: float  # read and written
    peak_gflops: float  # of float32 matrix products


@dataclass(frozen=True)
class Work:
    """What a stage has to do at least."""

    bytes: int
    operations: int

    def floor_ms(self, machine: Machine) -> float:
        """The roofline."""
        return max(self.bytes / machine.bandwidth_gb_s, self.operations / machine.peak_gflops) / 1e6

    def bound(self, machine: Machine) -> str:
        """What limits it: memory or arithmetic."""
        memory = self.bytes / machine.bandwidth_gb_s >= self.operations / machine.peak_gflops
        return 'memory' if memory else 'arithmetic'


def measure_machine(device: torch.device, threads: int) -> Machine:
    """Bandwidth of a copy and rate of a matrix product; the best of some."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        source = torch.ones(COPIED_BYTES // NUMBER, device=device)
        target, a = torch.empty_like(source), torch.rand(MATRIX, MATRIX, device=device)
        copy_s = min(_seconds(lambda: target.copy_(source), device, threads) for _ in range(REPEATS))
        product_s = min(_seconds(lambda: a @ a, device, threads) for _ in range(REPEATS))
    finally:
        torch.set_num_threads(before)
    return Machine(2 * COPIED_BYTES / copy_s / 1e9, 2 * MATRIX ** 3 / product_s / 1e9)


def _seconds(call: Callable[[], object], device: torch.device, threads: int) -> float:
    """On the CPU no more than the processor time of each thread: others may take turns with it."""
    start, used = time.perf_counter(), time.process_time()
    call()
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
        return time.perf_counter() - start
    return min(time.perf_counter() - start, max(time.process_time() - used, 1e-9) / threads)


def work(config: NetworkConfig, message_bytes: int, cloud: PointCloud) -> dict[str, Work]:
    """Stage -> what it has to do for one sweep. message_bytes: of the message's data."""
    cells, points = config.cells ** 2, len(cloud.xyz)
    kept = cloud.xyz.shape[0] * 3 * NUMBER + (0 if cloud.intensity is None else points * NUMBER)
    grids = NUMBER * cells * (len(lidar.CHANNELS) + len(map_image.CHANNELS))
    network = build_network(config).eval()
    found = {'decode': Work(message_bytes, 4 * points),
             'bev': Work(kept + grids, points * OPERATIONS_A_POINT + cells * OPERATIONS_A_CELL),
             'network': Work(_network_bytes(network), round(1e9 * network_size(network).gflops)),
             'postprocess': Work(NUMBER * config.bins * 6, 100 * config.bins)}
    found['total'] = Work(sum(w.bytes for w in found.values()), sum(w.operations for w in found.values()))
    return found


@torch.no_grad()
def _network_bytes(network: Network) -> int:
    """Inputs, outputs and weights of every convolution and linear layer; what lies between them can be fused."""
    moved = 0

    def count(module: torch.nn.Module, given: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal moved
        weights = sum(p.numel() for p in module.parameters(recurse=False))
        moved += NUMBER * (given[0].numel() + output.numel() + weights)
    hooks = [module.register_forward_hook(count) for module in network.modules()
             if isinstance(module, (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Linear))]
    lidar_grid, drawn, history = random_inputs(network.config)
    assert lidar_grid.shape[1] == len(lidar_layers(network.config))
    network(lidar_grid, drawn, history)
    for hook in hooks:
        hook.remove()
    return moved


def peak_memory_mb() -> tuple[float, float] | None:
    """Resident memory now and the most since `reset_peak_memory`, in MB; None where the system does not tell."""
    try:
        with open('/proc/self/status') as status:
            found = dict(line.split(':', 1) for line in status)
        return tuple(float(found[name].split()[0]) * 1024 / 1e6 for name in ('VmRSS', 'VmHWM'))  # type: ignore[return-value]
    except (OSError, KeyError, ValueError):
        return None


def reset_peak_memory() -> bool:
    """Let the peak begin at what is resident now (Linux, proc(5): clear_refs); whether that worked."""
    try:
        with open('/proc/self/clear_refs', 'w') as file:
            file.write('5')
        return True
    except OSError:
        return False


def spread(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference of two arrays."""
    return float(np.abs(a - b).max())
