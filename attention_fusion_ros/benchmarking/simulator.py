# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Throughput of the LiDAR simulator, world to points: `python -m attention_fusion_ros.benchmarking.simulator`."""

from __future__ import annotations

import argparse
import time

import numpy as np

from attention_fusion_ros.simulation.sensors.lidar import PRESETS, hdl_64e


def benchmark(seconds: float = 5.0, device: str = 'cpu') -> dict[str, tuple[float, float, float]]:
    """Milliseconds a sweep, world to points, of each preset and of 64 x 1024 rays, on the threads torch has now.

    Returns (median, fastest, CPU time) by sensor, over worlds made beforehand.
    """
    from attention_fusion_ros.simulation.sensors.scan import scan
    from attention_fusion_ros.simulation.world.generate import generate_world
    worlds = [generate_world(seed) for seed in range(8)]
    models = {name: preset() for name, preset in PRESETS.items()} | {'64 x 1024': hdl_64e(steps=1024)}
    result = {}
    for name, model in models.items():
        scan(worlds[0], worlds[0].pose, model, 0, device=device)
        times, cpu = [], time.process_time()
        while sum(times) < seconds:
            world, start = worlds[len(times) % len(worlds)], time.perf_counter()
            scan(world, world.pose, model, len(times), device=device)
            times.append(time.perf_counter() - start)
        cpu = (time.process_time() - cpu) / len(times)
        result[name] = (1e3 * float(np.median(times)), 1e3 * min(times), 1e3 * cpu)
    return result


def main(arguments: list[str] | None = None) -> None:
    """Command line of the benchmark."""
    import torch
    parser = argparse.ArgumentParser(description='Throughput of the LiDAR simulator, world to points.',
                                     epilog='Example: python -m attention_fusion_ros.benchmarking.simulator')
    parser.add_argument('--seconds', type=float, default=5.0, help='time for each sensor')
    parser.add_argument('--threads', type=int, default=1, help='CPU threads')
    parser.add_argument('--device', default='cpu', help='where rays are cast: cpu, cuda, cuda:N')
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    print(f'{"":14s} {"median":>8s} {"fastest":>8s} {"CPU":>8s}  ms/sweep {"":6s} sweeps/s (median)')
    for name, (median, fastest, cpu) in benchmark(options.seconds, options.device).items():
        print(f'{name:14s} {median:8.1f} {fastest:8.1f} {cpu:8.1f} {1e3 / median:25.1f}')


if __name__ == '__main__':
    main()
