# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a network costs for one sweep: parameters, operations, time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from attention_fusion_ros.bev.lidar import CHANNELS as LIDAR_CHANNELS
from attention_fusion_ros.bev.map_image import CHANNELS as MAP_CHANNELS
from attention_fusion_ros.network.config import NetworkConfig
from attention_fusion_ros.network.history import History
from attention_fusion_ros.network.model import FusionNetwork, NetworkOutput

WARM_UP = 3  # runs that are not counted


@dataclass(frozen=True)
class Cost:
    """Of one sweep. MACs: 1e9 multiply-accumulates of convolutions and matrix products."""

    parameters: int
    gmacs: float
    latency_ms: float  # median


def network_costs(configs: dict[str, NetworkConfig], runs: int,
                  progress: Callable[[int], object] = lambda n: None) -> dict[str, Cost]:
    """Costs of untrained networks, by name, on one thread. progress(n): n more networks are done.

    Networks that look back are given the earlier sweeps encoded, as in the node. They take turns, so that whatever else
    the machine does meets all of them.
    """
    calls = {name: _call(config) for name, config in configs.items()}
    times: dict[str, list[float]] = {name: [] for name in configs}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            for turn in range(-WARM_UP, runs):
                for name, (_, call) in calls.items():
                    start = time.perf_counter()
                    call()
                    if turn >= 0:
                        times[name].append(1e3 * (time.perf_counter() - start))
    finally:
        torch.set_num_threads(threads)
    found = {}
    for name, (network, call) in calls.items():
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            call()
        found[name] = Cost(sum(p.numel() for p in network.parameters()), counter.get_total_flops() / 2e9,
                           float(np.median(times[name])))
        progress(1)
    return found


def _call(config: NetworkConfig) -> tuple[FusionNetwork, Callable[[], NetworkOutput]]:
    network = FusionNetwork(config).eval()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    random = torch.Generator().manual_seed(0)
    grids = [torch.rand(1, len(channels), config.cells, config.cells, generator=random)
             for channels in (LIDAR_CHANNELS, MAP_CHANNELS)]
    lidar, image = (grid.to(memory_format=torch.channels_last) for grid in grids)
    earlier, small = config.time_steps - 1, config.cells // 4
    history = History(torch.rand(1, earlier, config.lidar_width, small, small, generator=random),
                      torch.eye(3).expand(1, earlier, 3, 3), torch.ones(1, earlier, dtype=torch.bool), encoded=True)
    return network, lambda: network(lidar, image, history if earlier else None)
