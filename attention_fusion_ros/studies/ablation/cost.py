# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the networks of the comparison cost for one sweep: parameters, operations, time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from attention_fusion_ros.network.build import Network, build_network
from attention_fusion_ros.network.config import NetworkConfig
from attention_fusion_ros.network.cost import network_size, random_inputs

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

    Networks that look back are given the earlier sweeps encoded, as in the node. They take turns, so that other load
    on the machine affects all of them alike.
    """
    networks = {name: _network(config) for name, config in configs.items()}
    inputs = {name: random_inputs(config) for name, config in configs.items()}
    times: dict[str, list[float]] = {name: [] for name in configs}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            for turn in range(-WARM_UP, runs):
                for name, network in networks.items():
                    start = time.perf_counter()
                    network(*inputs[name])
                    if turn >= 0:
                        times[name].append(1e3 * (time.perf_counter() - start))
    finally:
        torch.set_num_threads(threads)
    found = {}
    for name, network in networks.items():
        size = network_size(network, inputs[name])
        found[name] = Cost(size.parameters, size.gmacs, float(np.median(times[name])))
        progress(1)
    return found


def _network(config: NetworkConfig) -> Network:
    network = build_network(config).eval()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network
