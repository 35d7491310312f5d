# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Points where a sensor measured them, to where they lie as seen from the vehicle.

Each coordinate is summed from left to right in the points' own type, on every device and in every version: a point on
the edge of two cells then falls into the same one. A matrix product sums as its library pleases.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from attention_fusion_ros.kernels import operation
from attention_fusion_ros.utils.tensors import as_tensor
from attention_fusion_ros.utils.torch_later import Tensor, torch


class Placed(NamedTuple):
    """Points and where their frame is: of the sweep itself its sensor, of an earlier sweep the vehicle then.

    xyz: (N, 3) float32, m, finite; an array, of any strides, or a tensor. intensity: (N,) float32, likewise, in the
    sensor's own unit; None when it sends none. T: (4, 4) base_link now <- frame of the points; None: they are in
    base_link.
    """

    xyz: Tensor | np.ndarray
    intensity: Tensor | np.ndarray | None = None
    T: np.ndarray | None = None

    def points(self) -> tuple[Tensor, Tensor | None]:
        """xyz (N, 3) in base_link and intensities, as tensors on the device of the points, the CPU for arrays."""
        xyz, intensity = as_tensor(self.xyz), None if self.intensity is None else as_tensor(self.intensity)
        return xyz if self.T is None else place(self.T, xyz), intensity


def place(T: np.ndarray, xyz: Tensor) -> Tensor:
    """Points (N, 3) in frame b -> the same in frame a, given T_a_b (4, 4)."""
    x, y, z = xyz.unbind(1)
    # As numbers of the points' own type: a wider one would be rounded after the product by some, before it by others.
    rows = T[:3].astype(np.float32).tolist()
    return torch.stack([x * a + y * b + z * c + d for a, b, c, d in rows], dim=1)


@operation('outside_own_body')
def outside_own_body(placed: Placed, min_range: float) -> tuple[Tensor | np.ndarray, Tensor | np.ndarray | None]:
    """xyz (M, 3) in base_link and intensities of the points at least `min_range` m (horizontally) from its origin.

    Tensors; of arrays a compiled version makes arrays.
    """
    xyz, intensity = placed.points()
    outside = xyz[:, 0] ** 2 + xyz[:, 1] ** 2 >= min_range ** 2
    index = outside.nonzero()[:, 0]
    return xyz.index_select(0, index), None if intensity is None else intensity.index_select(0, index)
