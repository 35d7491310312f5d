# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the network remembers of earlier sweeps: their encoded features and where they were taken."""

from __future__ import annotations

from collections import deque

import numpy as np
import torch
from torch import Tensor

from attention_fusion_ros.geometry import inverse, planar
from attention_fusion_ros.network.model import Past


class Memory:
    """The encoded features of the last `steps` sweeps that odometry can place."""

    def __init__(self, steps: int):
        self._sweeps: deque[tuple[np.ndarray, Tensor]] = deque(maxlen=max(steps, 0))

    def clear(self) -> None:
        """Forget all."""
        self._sweeps.clear()

    def add(self, T_odom_base: np.ndarray | None, encoded: Tensor | None) -> None:
        """Remember a sweep, `NetworkOutput.encoded` (1, C, h, w); nothing is kept of one without odometry."""
        if self._sweeps.maxlen and T_odom_base is not None and encoded is not None:
            self._sweeps.append((T_odom_base, encoded))

    def past(self, T_odom_base: np.ndarray | None) -> Past | None:
        """The remembered sweeps as seen from here, oldest first; None when there are none or nobody knows where."""
        if T_odom_base is None or not self._sweeps:
            return None
        lidar = torch.stack([encoded for _, encoded in self._sweeps], dim=1)  # (1, P, C, h, w)
        moves = np.stack([planar(inverse(T_odom_base) @ then) for then, _ in self._sweeps])[None]
        return Past(lidar, torch.as_tensor(moves, dtype=lidar.dtype, device=lidar.device),
                    torch.ones(1, len(self._sweeps), dtype=torch.bool, device=lidar.device), encoded=True)
