# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Earlier sweeps as the network sees them: encoded features and where they were taken."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from attention_fusion_ros.geometry import planar_motion
from attention_fusion_ros.utils.tensors import upload
from attention_fusion_ros.utils.torch_later import Tensor, torch


@dataclass(frozen=True)
class History:
    """P earlier sweeps of each of B sweeps, oldest first. Networks without `temporal` take no notice of them."""

    lidar: Tensor  # (B, P, C, H, W) BEV features; encoded: NetworkOutput.encoded of then, (B, P, C', H / 4, W / 4)
    T_now_then: Tensor  # (B, P, 3, 3) planar, metres in base_link
    valid: Tensor  # (B, P) bool, False where there is no such sweep
    encoded: bool = False

    def last(self, count: int) -> History:
        """The newest `count` of them."""
        first = max(self.lidar.shape[1] - count, 0)
        return History(self.lidar[:, first:], self.T_now_then[:, first:], self.valid[:, first:], self.encoded)

    def to(self, device: torch.device | str) -> History:
        """The same on another device."""
        return replace(self, lidar=self.lidar.to(device, non_blocking=True),
                       T_now_then=self.T_now_then.to(device, non_blocking=True),
                       valid=self.valid.to(device, non_blocking=True))

    def clone(self) -> History:
        """A copy whose tensors may be part of a graph, though these were made in inference mode."""
        return replace(self, lidar=self.lidar.clone(), T_now_then=self.T_now_then.clone(), valid=self.valid.clone())


class FeatureHistory:
    """The encoded features of the last `length` sweeps that odometry can place."""

    def __init__(self, length: int):
        self._sweeps: deque[tuple[np.ndarray, Tensor]] = deque(maxlen=max(length, 0))

    def clear(self) -> None:
        """Forget all sweeps."""
        self._sweeps.clear()

    def add(self, T_odom_base: np.ndarray | None, encoded: Tensor | None) -> None:
        """Remember a sweep, `NetworkOutput.encoded` (1, C, h, w); nothing is kept of one without odometry."""
        if self._sweeps.maxlen and T_odom_base is not None and encoded is not None:
            self._sweeps.append((T_odom_base, encoded))

    def before(self, T_odom_base: np.ndarray | None) -> History | None:
        """The remembered sweeps as seen from T_odom_base (4, 4), oldest first.

        None when there are none, or without odometry.
        """
        if T_odom_base is None or not self._sweeps:
            return None
        lidar = torch.stack([encoded for _, encoded in self._sweeps], dim=1)  # (1, P, C, h, w)
        moves = np.stack([planar_motion(T_odom_base, then) for then, _ in self._sweeps])[None]
        return History(lidar, upload(moves, lidar.device).to(lidar.dtype),
                       torch.ones(1, len(self._sweeps), dtype=torch.bool, device=lidar.device), encoded=True)
