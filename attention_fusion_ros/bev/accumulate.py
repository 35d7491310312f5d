# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Earlier sweeps that are laid on top of the present one: a sparse sensor sees more of the road while it drives."""

from __future__ import annotations

from collections import deque

import numpy as np
import torch
from torch import Tensor

from attention_fusion_ros.config import CloudConfig
from attention_fusion_ros.geometry import inverse


class SweepAccumulator:
    """The last sweeps with where they were taken. Bounded in number, in points and in age, see `config.CloudConfig`."""

    def __init__(self, config: CloudConfig):
        self._sweeps: deque[tuple[int, np.ndarray, Tensor, Tensor | None]] = deque()
        self.update(config)

    def update(self, config: CloudConfig) -> None:
        """Take over changed parameters."""
        self._config = config
        self._sweeps = deque(self._sweeps, maxlen=config.accumulate - 1)

    def clear(self) -> None:
        """Forget all."""
        self._sweeps.clear()

    def add(self, stamp_ns: int, T_odom_base: np.ndarray, xyz: Tensor, intensity: Tensor | None) -> None:
        """Remember a sweep: points (N, 3) in base_link of its time."""
        if not self._sweeps.maxlen or len(xyz) >= self._config.accumulate_points:
            return
        # The vehicle's own body goes with it; seen from the next sweep it would lie on the road behind.
        other = xyz[:, 0] ** 2 + xyz[:, 1] ** 2 >= self._config.min_range ** 2
        self._sweeps.append((stamp_ns, T_odom_base, xyz[other], None if intensity is None else intensity[other]))

    def accumulate(self, stamp_ns: int, T_odom_base: np.ndarray, xyz: Tensor,
                   intensity: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Points (N, 3) of now with those of earlier sweeps, all in base_link of now; intensities (N,) likewise.

        The newest sweeps first, as long as all of them together keep to `accumulate_points`.
        """
        clouds, intensities, points = [xyz], [intensity], len(xyz)
        for then, T_odom_then, old_xyz, old_intensity in reversed(self._sweeps):
            points += len(old_xyz)
            if points > self._config.accumulate_points or abs(stamp_ns - then) > self._config.accumulate_age * 1e9:
                break
            T = torch.as_tensor(inverse(T_odom_base) @ T_odom_then, dtype=torch.float32, device=xyz.device)
            clouds.append(old_xyz @ T[:3, :3].T + T[:3, 3])
            intensities.append(old_intensity)
        if len(clouds) == 1:
            return xyz, intensity
        return torch.cat(clouds), None if any(i is None for i in intensities) else torch.cat(intensities)
