# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The one place that knows how metres, BEV cells and sampling coordinates relate.

The grid is square with the vehicle at its centre; row 0 is farthest ahead (+x), column 0 farthest left (+y), so the
array looks like the road does to the driver. Cell (0, 0) covers x in (extent - cell, extent], y likewise.

Three coordinates are in use: metres in base_link (x, y), continuous cells (row, column) whose integers are cell
centres, and unit coordinates (u right, v down) in -1..1 for `torch.nn.functional.grid_sample(align_corners=False)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from attention_fusion_ros.utils.torch_later import Tensor, torch

Number: TypeAlias = Any  # float, array or tensor; results are of the same kind


@dataclass(frozen=True)
class Grid:
    """A square BEV grid reaching from -extent to +extent metres in x and y."""

    extent: float = 40.0  # m
    cells: int = 256

    @property
    def resolution(self) -> float:
        """Edge of a cell in metres."""
        return 2 * self.extent / self.cells

    def metres_to_cells(self, x: Number, y: Number) -> tuple[Number, Number]:
        """Metres in base_link -> continuous (row, column); integers are cell centres. Numbers, arrays or tensors."""
        return (self.extent - x) / self.resolution - 0.5, (self.extent - y) / self.resolution - 0.5

    def cells_to_metres(self, row: Number, column: Number) -> tuple[Number, Number]:
        """(row, column), continuous, integers are cell centres -> (x, y) in metres. Numbers, arrays or tensors."""
        return self.extent - (row + 0.5) * self.resolution, self.extent - (column + 0.5) * self.resolution

    def metres_to_unit(self, x: Number, y: Number) -> tuple[Number, Number]:
        """Metres in base_link -> unit coordinates (u right, v down) for `grid_sample`. Numbers, arrays or tensors."""
        return -y / self.extent, -x / self.extent

    def containing_cells(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Positions (N,) in metres -> (row, column), (N,) int64, of the cell each lies in; clamped to the grid."""
        cells_per_metre = self.cells / (2 * self.extent)
        row = ((self.extent - x) * cells_per_metre).long().clamp_(0, self.cells - 1)
        column = ((self.extent - y) * cells_per_metre).long().clamp_(0, self.cells - 1)
        return row, column

    def contains(self, x: Tensor, y: Tensor) -> Tensor:
        """Positions (N,) in metres -> (N,) bool: whether each lies strictly inside the grid."""
        return (x.abs() < self.extent) & (y.abs() < self.extent)

    def centres(self) -> tuple[np.ndarray, np.ndarray]:
        """(H, W) float64 arrays of the x and of the y of every cell centre, metres."""
        index = np.arange(self.cells, dtype=np.float64)
        x, _ = self.cells_to_metres(index, index)
        shape = (self.cells, self.cells)
        return np.broadcast_to(x[:, None], shape), np.broadcast_to(x[None, :], shape)

    def centre_tensors(self, device: torch.device | str = 'cpu') -> tuple[Tensor, Tensor]:
        """(H, W) float32 tensors of the x and of the y of every cell centre, metres. Made once for each device."""
        return _centre_tensors(self, str(device))


@lru_cache(maxsize=64)
def _centre_tensors(grid: Grid, device: str) -> tuple[Tensor, Tensor]:
    with torch.inference_mode(False):  # what is cached must be usable in training, too
        x, y = (torch.from_numpy(np.ascontiguousarray(c, dtype=np.float32)).to(device) for c in grid.centres())
    return x, y


def unit_centres(cells: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """(cells,) unit coordinates, within -1..1, of the cell centres along one axis."""
    return (torch.arange(cells, device=device, dtype=dtype) * 2 + 1) / cells - 1


def pixels_to_unit(column: Tensor, row: Tensor, width: int, height: int) -> Tensor:
    """Positions in pixels from an image's upper left corner, (...) each -> (..., 2) unit coordinates (u, v)."""
    return torch.stack([2 * column / width - 1, 2 * row / height - 1], dim=-1)
