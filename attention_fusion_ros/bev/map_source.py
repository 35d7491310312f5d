# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A map image prepared for sampling: averaged down where it is finer than the grid, but only where a grid reaches.

A map of a whole town, in pixels of 5 cm, costs what the 80 m around the vehicle cost: tiles are averaged when a grid
reaches them for the first time, and are kept for the sweeps after it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from attention_fusion_ros.bev.grid import Grid, pixels_to_unit
from attention_fusion_ros.contracts import MapImage
from attention_fusion_ros.kernels import operation
from attention_fusion_ros.utils.tensors import upload, zeros
from attention_fusion_ros.utils.torch_later import F, Tensor, torch

TILE = 128  # averaged pixels along an edge of a tile
MARGIN = 2.0  # averaged pixels around what a grid covers: bilinear sampling reads one further


class MapSource:
    """Road and route of one map image, as the sweeps with this image sample them. Not thread-safe."""

    def __init__(self, image: MapImage, resolution: float, grid: Grid, device: torch.device | str | None = 'cpu'):
        """resolution: m/pixel of the image. device: None for arrays."""
        height, width = image.road.shape
        shrink = int(grid.resolution // resolution)
        self.image, self.resolution, self.grid = image, resolution, grid
        self.device = None if device is None else torch.device(device)
        self._shrink = shrink if shrink >= 2 and min(height, width) >= shrink else 1
        self._shape = math.ceil(height / self._shrink), math.ceil(width / self._shrink)
        self._images = [image.road] if image.route is None else [image.road, image.route]
        self._aliased = self._shrink == 1 and (self.device is None or self.device.type == 'cpu')
        self._planes: list[Any] = [self._own(layer) if self._aliased else zeros(self._shape, self.device)
                                   for layer in self._images]
        self._kept: tuple[np.ndarray, tuple[float, float], Any] | None = None
        self._ready = np.zeros([math.ceil(n / TILE) for n in self._shape], bool)

    def fits(self, image: MapImage, resolution: float) -> bool:
        """Whether this is the source of that image at that resolution."""
        return self.image is image and self.resolution == resolution

    def _own(self, layer: np.ndarray) -> Any:
        """A layer of the image as the planes are; no copy where dtype and layout allow it."""
        return np.ascontiguousarray(layer, np.float32) if self.device is None else upload(layer, self.device)

    def known(self, T_up_left: np.ndarray, anchor: tuple[float, float]) -> Any:
        """What was made for a sweep at this very place, see `keep`; None where the last one was elsewhere."""
        if self._kept is None or self._kept[1] != anchor or not np.array_equal(self._kept[0], T_up_left):
            return None
        return _given(self._kept[2])

    def keep(self, T_up_left: np.ndarray, anchor: tuple[float, float], grids: Any) -> Any:
        """Remember what was made of a `sample`, for the next sweep at the same place; returns it, arrays read only."""
        if isinstance(grids, np.ndarray):
            grids.flags.writeable = False
        self._kept = T_up_left, anchor, grids
        return _given(grids)

    def sample(self, T_up_left: np.ndarray, anchor: tuple[float, float]) -> Any:
        """-> (3, H, W) float32 on the grid: road, route, and 1 where the image covers the cell.

        T_up_left: (3, 3) planar transform from base_link to metres up and left of the anchor in the image.
        anchor: (column, row) as fractions of width and height.
        """
        height, width = self.image.road.shape
        metres = self.resolution * self._shrink  # a pixel of the planes
        origin = anchor[0] * width / self._shrink, anchor[1] * height / self._shrink
        self._prepare(T_up_left, origin, metres)
        return sample_planes(self._planes, T_up_left, origin, metres, self.grid)

    def _prepare(self, T_up_left: np.ndarray, origin: tuple[float, float], metres: float) -> None:
        """Average the tiles that the grid reaches, as far as it has not been done."""
        if self._aliased or self._ready.all():
            return
        e = self.grid.extent
        corners = T_up_left @ np.array([[e, e, -e, -e], [e, -e, e, -e], [1, 1, 1, 1]])
        ends = []
        for start, position, count in zip(origin[::-1], corners[:2], self._ready.shape, strict=True):
            pixels = start - position / metres
            low, high = pixels.min() - MARGIN, pixels.max() + MARGIN
            ends.append((max(int(low // TILE), 0), min(int(high // TILE) + 1, count)))
        (top, bottom), (left, right) = ends
        for i in range(top, bottom):
            for j in range(left, right):
                if not self._ready[i, j]:
                    self._average(i, j)

    def _average(self, i: int, j: int) -> None:
        s = self._shrink
        tile = slice(i * TILE, (i + 1) * TILE), slice(j * TILE, (j + 1) * TILE)
        pixels = tuple(slice(t.start * s, t.stop * s) for t in tile)
        for plane, layer in zip(self._planes, self._images, strict=True):
            if self.device is None:
                plane[tile] = block_means(np.ascontiguousarray(layer[pixels], np.float32), s)
                continue
            part = upload(layer[pixels], 'cpu')
            if s > 1:
                part = F.avg_pool2d(part[None, None], s, ceil_mode=True, count_include_pad=False)[0, 0]
            plane[tile] = part.to(self.device)
        self._ready[i, j] = True


@operation('sample_planes')
def sample_planes(planes: Sequence[Tensor], T_up_left: np.ndarray, origin: tuple[float, float], metres: float,
                  grid: Grid) -> Tensor:
    """Road and, where there is one, route, (h, w) each -> (3, H, W): road, route, and 1 where the image covers a cell.

    T_up_left: (3, 3) base_link -> metres up and left of the origin, (column, row) in pixels. metres: a pixel.
    """
    device = planes[0].device
    x, y = grid.centre_tensors(device)
    T = upload(T_up_left, device)
    column = origin[0] - (T[1, 0] * x + T[1, 1] * y + T[1, 2]) / metres
    row = origin[1] - (T[0, 0] * x + T[0, 1] * y + T[0, 2]) / metres
    rows, columns = planes[0].shape
    unit = pixels_to_unit(column, row, columns, rows)[None]
    layers = [F.grid_sample(plane[None, None], unit, align_corners=False, padding_mode='zeros')[0, 0]
              for plane in planes]
    if len(layers) == 1:
        layers.append(torch.zeros_like(layers[0]))
    return torch.stack([*layers, _covered(column, columns) * _covered(row, rows)])


def _given(kept: Any) -> Any:
    """What is kept, as it is given away: an array that nobody can write to, or a tensor, which anybody can, copied."""
    return kept if isinstance(kept, np.ndarray) else kept.clone()


def block_means(pixels: np.ndarray, edge: int) -> np.ndarray:
    """(rows, columns) float32 -> the mean of every block of `edge` x `edge` pixels; those at the rim may be smaller."""
    if edge == 1:
        return pixels
    starts = [np.arange(0, size, edge) for size in pixels.shape]
    sums = np.add.reduceat(np.add.reduceat(pixels, starts[1], axis=1), starts[0], axis=0)
    counts = [np.minimum(edge, size - start) for start, size in zip(starts, pixels.shape)]
    means: np.ndarray = sums / (counts[0][:, None] * counts[1]).astype(np.float32)
    return means


def _covered(position: Tensor, size: int) -> Tensor:
    """How much of a bilinear sample lies on an image: 1 inside, down to 0 a pixel outside. position: pixels, any shape.

    What `grid_sample` makes of an image of ones, along one axis.
    """
    centre = position - 0.5
    return torch.minimum(centre + 1.0, size - centre).clamp_(0.0, 1.0)
