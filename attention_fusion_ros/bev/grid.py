# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The one place that knows how metres and BEV cells relate.

The grid is square with the vehicle at its centre; row 0 is farthest ahead (+x), column 0 farthest left (+y), so the
array looks like the road does to the driver. Cell (0, 0) covers x in (extent - cell, extent], y likewise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Grid:
    """A square BEV grid reaching from -extent to +extent metres in x and y."""

    extent: float = 40.0  # m
    cells: int = 256

    @property
    def resolution(self) -> float:
        """Edge of a cell in metres."""
        return 2 * self.extent / self.cells

    def metres_to_cells(self, x, y):
        """Metres in base_link -> continuous (row, column); integers are cell centres. Arrays or tensors."""
        return (self.extent - x) / self.resolution - 0.5, (self.extent - y) / self.resolution - 0.5

    def cells_to_metres(self, row, column):
        """(row, column), continuous, integers are cell centres -> (x, y) in metres."""
        return self.extent - (row + 0.5) * self.resolution, self.extent - (column + 0.5) * self.resolution

    def metres_to_unit(self, x, y):
        """Metres -> (u, v) in -1..1 for `torch.nn.functional.grid_sample(align_corners=False)`: u right, v down."""
        return -y / self.extent, -x / self.extent

    def centres(self) -> tuple[np.ndarray, np.ndarray]:
        """(H, W) arrays of the x and of the y of every cell centre, metres."""
        index = np.arange(self.cells, dtype=np.float64)
        x, _ = self.cells_to_metres(index, index)
        return np.broadcast_to(x[:, None], (self.cells, self.cells)), np.broadcast_to(x[None, :],
                                                                                     (self.cells, self.cells))
