# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A map image on the grid of a sweep in compiled loops, on one core of the CPU, as far as the image covers the grid."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from attention_fusion_ros.bev import map_image
from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.map_source import sample_planes
from attention_fusion_ros.kernels import fast_version
from attention_fusion_ros.kernels.compiled import available, loops
from attention_fusion_ros.kernels.room import room
from attention_fusion_ros.utils.tensors import as_array, of_kind
from attention_fusion_ros.utils.torch_later import Tensor, torch

VERSION = 'numba'
f4 = np.float32


@fast_version('sample_planes', VERSION, devices=('cpu',), differentiable=False, available=available)
def _sample_planes(planes: Sequence[Any], T_up_left: np.ndarray, origin: tuple[float, float],
                   metres: float, grid: Grid) -> Any:
    if any(isinstance(plane, Tensor) and plane.dtype != torch.float32 for plane in planes):
        return sample_planes.plain(planes, T_up_left, origin, metres, grid)
    # Written to by nobody, but the loops ask for what could be.
    road, route = (np.require(as_array(plane), f4, ('C', 'W')) for plane in (planes[0], planes[-1]))
    layers = np.zeros((len(map_image.CHANNELS), grid.cells, grid.cells), f4)
    _loops().lay(road, route, len(planes) > 1, _centres(grid), np.ascontiguousarray(T_up_left, dtype=f4),
                 f4(origin[0]), f4(origin[1]), f4(metres), layers)
    return of_kind(planes[0], layers)


@fast_version('with_wide_route', VERSION, devices=('cpu',), differentiable=False, available=available)
def _with_wide_route(grids: Tensor | np.ndarray, grid: Grid) -> Any:
    if isinstance(grids, Tensor) and grids.dtype != torch.float32:
        return map_image.with_wide_route.plain(grids, grid)
    layers, shape = as_array(grids).copy(order='C'), tuple(grids.shape[1:])
    _loops().widen(layers, map_image.route_reach(grid), f4(map_image.THIN_CORE), f4(map_image.FAINTEST_ROUTE),
                   room('route_rows', shape), room('route_wide', shape))
    return of_kind(grids, layers)


def _loops() -> Any:
    found = loops()
    assert found is not None
    return found['map']


@lru_cache(maxsize=8)
def _centres(grid: Grid) -> np.ndarray:
    return np.ascontiguousarray(grid.centres()[0][:, 0], dtype=f4)
