# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""From the bytes of a sweep to its grid, in plain torch against the fast versions of operations: pairs in one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attention_fusion_ros.backends.threads import torch_threads
from attention_fusion_ros.benchmarking import sweeps
from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.place import Placed, outside_own_body
from attention_fusion_ros.bev.sweep import Look, sweep_grids
from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.contracts import Motion, PointCloud, SyncedSweep
from attention_fusion_ros.decode import decode_cloud, plain_messages
from attention_fusion_ros.geometry import quaternion_from_yaw, se3_from_quaternion
from attention_fusion_ros.kernels import AUTO, PLAIN, use
from attention_fusion_ros.pipeline.preprocess import Preprocessor
from attention_fusion_ros.stream.deskew import knots_s, move_points

POINTS = (30_000, 120_000, 300_000)
STEPS = ('decode', 'deskew', 'place', 'bev', 'together')
VARIETY = 4  # different sweeps, taken in turn
WARM_UP = 3  # pairs that are not counted
SPEED, TURN_RATE = 10.0, 0.1  # m/s, rad/s, of the vehicle whose sweeps are deskewed


@dataclass(frozen=True)
class Pair:
    """One step in both versions, over as many sweeps, in turn."""

    step: str
    points: int
    runs: int
    plain_ms: float  # medians
    fast_ms: float
    plain_processor_ms: float
    fast_processor_ms: float
    ratio: float  # of each pair, plain over fast: median, and the 20th and 80th percentile
    ratio_20: float
    ratio_80: float


def measure(runs: int, points: Sequence[int] = POINTS,
            progress: Callable[[Iterable[int]], Iterable[int]] = lambda runs: runs) -> list[Pair]:
    """Every step at every number of points. One CPU thread; which version goes first changes from pair to pair."""
    found = []
    with torch_threads(1), torch.inference_mode():
        for count in points:
            work = _work(count)
            times = {(step, version): np.zeros((runs, 2)) for step in STEPS for version in (PLAIN, AUTO)}
            for i in progress(range(-WARM_UP, runs)):
                for step in STEPS:
                    for version in (PLAIN, AUTO) if i % 2 else (AUTO, PLAIN):
                        with use(version):
                            start, used = time.perf_counter(), time.process_time()
                            work[step](i % VARIETY)
                            spent = time.perf_counter() - start, time.process_time() - used
                        if i >= 0:
                            times[step, version][i] = spent
            found += [_pair(step, count, times[step, PLAIN], times[step, AUTO]) for step in STEPS]
    return found


def _pair(step: str, points: int, plain: np.ndarray, fast: np.ndarray) -> Pair:
    low, ratio, high = np.percentile(plain[:, 0] / fast[:, 0], (20, 50, 80))
    medians = [1e3 * float(np.median(times[:, k])) for k in (0, 1) for times in (plain, fast)]
    return Pair(step, points, len(plain), *medians, float(ratio), float(low), float(high))


def _work(points: int) -> dict[str, Callable[[int], object]]:
    """Step -> what it does with one of VARIETY sweeps."""
    made = [sweeps.sweep(seed, points) for seed in range(VARIETY)]
    messages = [plain_messages.point_cloud(sweep, 10**9, sweeps.FRAME) for sweep in made]
    clouds = [decode_cloud(message) for message in messages]
    offsets = [np.ascontiguousarray(sweep['time']) for sweep in made]
    knots = knots_s(offsets[0])
    motions = np.array([se3_from_quaternion((SPEED * t, 0.0, 0.0), quaternion_from_yaw(TURN_RATE * t)) for t in knots])
    config, T = NodeConfig(), sweeps.T_BASE_SENSOR
    limits, grid = config.cloud, Grid()
    preprocess = Preprocessor(grid, torch.device('cpu'), config)
    placed = [Placed(cloud.xyz, cloud.intensity, T) for cloud in clouds]
    looks = [Look(((0, len(cloud.xyz)),), 0.0, 0.0) for cloud in clouds]

    def together(k: int) -> object:
        cloud = decode_cloud(messages[k])
        moved = move_points(cloud.xyz, offsets[k], knots, motions)
        sweep = PointCloud(cloud.stamp_ns, cloud.frame_id, moved, cloud.intensity)
        return preprocess(SyncedSweep(sweep, Motion(T)))
    return {'decode': lambda k: decode_cloud(messages[k]),
            'deskew': lambda k: move_points(clouds[k].xyz, offsets[k], knots, motions),
            'place': lambda k: outside_own_body(placed[k], limits.min_range),
            'bev': lambda k: sweep_grids(placed[k], (), [looks[k]], grid, limits.min_range, limits.max_height),
            'together': together}
