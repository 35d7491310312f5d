# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Earlier sweeps accumulated under the current one: a sparse sensor sees more of the road while it drives.

The node and the training data use the same functions, so that the network is trained on what it is given later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from attention_fusion_ros.bev.coverage import View
from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.place import Placed, outside_own_body
from attention_fusion_ros.bev.sweep import joined, sweep_grids
from attention_fusion_ros.config import CloudConfig
from attention_fusion_ros.geometry import inverse, planar, yaw_of
from attention_fusion_ros.utils.tensors import as_tensor
from attention_fusion_ros.utils.torch_later import Tensor


class Points(NamedTuple):
    """The points of one sweep, or of several together: tensors, or arrays."""

    xyz: Any  # (N, 3) float32, m, in base_link
    intensity: Any  # (N,) float32 in the sensor's own unit; None when the sensor sends none


class EarlierSweep(NamedTuple):
    """A sweep taken before now."""

    points: Points  # in base_link at the time of that sweep
    T_now_then: np.ndarray  # (4, 4) base_link then -> base_link now
    views: tuple[View, ...] = ()  # what its sensors looked at, in base_link at the time of that sweep

    def placed(self) -> Placed:
        """Its points, and where they lie now."""
        return Placed(self.points.xyz, self.points.intensity, self.T_now_then)


def without_own_body(points: Points, min_range: float) -> Points:
    """The points at least `min_range` metres (horizontally) from the vehicle's origin.

    The vehicle's own body moves with it: seen from the next sweep, it would lie on the road behind.
    """
    return Points(*outside_own_body(Placed(*points), min_range))


def within_limit(now: Points | Placed, earlier: Iterable[EarlierSweep],
                 max_points: int | None = None) -> list[EarlierSweep]:
    """The earlier sweeps that are accumulated: as long as all points together are no more than `max_points`.

    earlier: newest first. max_points: None for no limit.
    """
    taken, count = [], len(now.xyz)
    for sweep in earlier:
        count += len(sweep.points.xyz)
        if max_points is not None and count > max_points:
            break
        taken.append(sweep)
    return taken


def views(earlier: Iterable[EarlierSweep]) -> list[View]:
    """What was looked at in the earlier sweeps, in base_link of now; see `bev.coverage`."""
    found = []
    for sweep in earlier:
        T = planar(sweep.T_now_then)
        found += [view.moved(float(T[0, 2]), float(T[1, 2]), yaw_of(T)) for view in sweep.views]
    return found


def accumulate(now: Points, earlier: Iterable[EarlierSweep], max_points: int | None = None) -> Points:
    """The points of now and of earlier sweeps together, all in base_link of now.

    earlier: newest first, each already `without_own_body`; taken as long as all points together are no more than
    `max_points` (None: no limit). Intensities are given up when a sweep among them has none.
    """
    taken = within_limit(now, earlier, max_points)
    return Points(*joined([Placed(*now).points(), *(sweep.placed().points() for sweep in taken)]))


def accumulated_bev(now: Points, earlier: Iterable[EarlierSweep], grid: Grid, config: CloudConfig,
                    max_points: int | None = None) -> Tensor:
    """The points of now and of earlier sweeps -> (C, H, W) float32 features, channels as in `bev.lidar.CHANNELS`.

    See `accumulate`. Raises InputError `no_points_in_range` when no point is left inside the grid.
    """
    taken = within_limit(now, earlier, max_points)
    return as_tensor(sweep_grids(Placed(*now), [sweep.placed() for sweep in taken], (), grid, config.min_range,
                                 config.max_height).bev)


class SweepAccumulator:
    """The last sweeps and where they were taken. Bounded in number, in points and in age, see `config.CloudConfig`."""

    def __init__(self, config: CloudConfig):
        self._sweeps: deque[tuple[int, np.ndarray, Points, tuple[View, ...]]] = deque()
        self.update(config)

    def update(self, config: CloudConfig) -> None:
        """Take over changed parameters."""
        self._config = config
        self._sweeps = deque(self._sweeps, maxlen=config.accumulate - 1)

    def clear(self) -> None:
        """Forget all sweeps."""
        self._sweeps.clear()

    def add(self, stamp_ns: int, T_odom_base: np.ndarray, points: Points | Placed, views: Iterable[View] = ()) -> None:
        """Remember a sweep: points and views in base_link at `stamp_ns`, T_odom_base (4, 4) of that time."""
        if not self._sweeps.maxlen or len(points.xyz) >= self._config.accumulate_points:
            return
        kept = Points(*outside_own_body(Placed(*points), self._config.min_range))
        self._sweeps.append((stamp_ns, T_odom_base, kept, tuple(views)))

    def earlier(self, stamp_ns: int, T_odom_base: np.ndarray) -> Iterator[EarlierSweep]:
        """The remembered sweeps that are not too old for a sweep taken at `stamp_ns`, newest first."""
        for then_ns, T_odom_then, points, looked_at in reversed(self._sweeps):
            if abs(stamp_ns - then_ns) > self._config.accumulate_age * 1e9:
                return
            yield EarlierSweep(points, inverse(T_odom_base) @ T_odom_then, looked_at)
