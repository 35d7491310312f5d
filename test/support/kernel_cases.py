# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Arguments with which the versions of every operation are compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch

from attention_fusion_ros.attention.cbam import mean_and_max  # noqa: F401 - operations register when imported
from attention_fusion_ros.attention.pose_volume import pose_scores  # noqa: F401
from attention_fusion_ros.attention.warp import move, se2_matrix  # noqa: F401
from attention_fusion_ros.bev.coverage import AZIMUTHS, View, coverage, drawn_bearings  # noqa: F401
from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.ground import lowest_in_cells  # noqa: F401
from attention_fusion_ros.bev.lidar import lidar_bev, scatter_cells  # noqa: F401
from attention_fusion_ros.bev.map_image import with_wide_route  # noqa: F401
from attention_fusion_ros.bev.map_source import sample_planes  # noqa: F401
from attention_fusion_ros.bev.place import Placed, outside_own_body  # noqa: F401
from attention_fusion_ros.bev.sweep import Look, sensor_reach, sweep_grids  # noqa: F401
from attention_fusion_ros.decode.cloud import unpack_points, without_no_returns  # noqa: F401
from attention_fusion_ros.network.blocks import circular_pad  # noqa: F401
from attention_fusion_ros.pipeline.familiarity import summary  # noqa: F401
from attention_fusion_ros.stream.deskew import by_polynomial  # noqa: F401

Arguments = tuple


def _layouts(x: torch.Tensor) -> Iterator[torch.Tensor]:
    yield x
    if x.ndim == 4:
        yield x.contiguous(memory_format=torch.channels_last)


def _scatter(random: torch.Generator, dtype: torch.dtype) -> Iterator[Arguments]:
    for points, cells in ((1, 16), (5000, 64), (5000, 65536)):
        cell = torch.randint(cells, (points,), generator=random)
        yield cell, torch.randn(points, generator=random), torch.rand(points, generator=random), cells
        yield cell, torch.randn(points, generator=random), None, cells


def _lowest(random: torch.Generator, dtype: torch.dtype) -> Iterator[Arguments]:
    for points, cells in ((1, 16), (5000, 1024)):
        yield torch.randint(cells, (points,), generator=random), torch.randn(points, generator=random), cells


def _pad(random: torch.Generator, dtype: torch.dtype) -> Iterator[Arguments]:
    for shape, reach in (((2, 5, 24), 2), ((1, 3, 120), 8), ((2, 4, 6, 24), 1)):
        for x in _layouts(torch.randn(shape, generator=random).to(dtype)):
            yield x, reach


def _warp(random: torch.Generator, dtype: torch.dtype) -> Iterator[Arguments]:
    for shape in ((2, 3, 16, 16), (1, 8, 32, 20)):
        pose = torch.randn(shape[0], 3, generator=random) * torch.tensor([5.0, 5.0, 0.5])
        for x in _layouts(torch.randn(shape, generator=random).to(dtype)):
            yield x, se2_matrix(pose), 40.0


def _mean_and_max(random: torch.Generator, dtype: torch.dtype) -> Iterator[Arguments]:
    for shape in ((1, 1, 4, 4), (2, 40, 16, 12)):
        for x in _layouts(torch.randn(shape, generator=random).to(dtype)):
            yield (x,)


def _pose_scores(random: torch.Generator, dtype: torch.dtype) -> Iterator[Arguments]:
    for (b, y, c, h, w), shifts in (((2, 3, 4, 16, 16), 4), ((1, 1, 2, 12, 20), 2), ((1, 2, 1, 7, 5), 7),
                                    ((2, 1, 3, 8, 8), 0)):
        scale = (c * h * w) ** -0.5  # sums about 1
        for seen in _layouts((torch.randn(b, c, h, w, generator=random) * scale).to(dtype)):
            yield seen, torch.randn(b, y, c, h, w, generator=random).to(dtype), shifts
def street(random: torch.Generator, points: int, spacing: float = 0.0) -> np.ndarray:
    """(N, 3) float32 points in a street: rough ground that climbs, walls, trees, some above, below and far away."""
    xy = (torch.rand(points, 2, generator=random) * 2 - 1) * torch.tensor([60.0, 25.0])
    ground = 0.03 * xy[:, 0] - 0.01 * xy[:, 1] + 0.02 * torch.randn(points, generator=random) - 1.7
    kind = torch.rand(points, generator=random)
    z = ground + torch.where(kind < 0.3, torch.rand(points, generator=random) * 9.0 - 1.5, torch.zeros(points))
    xyz = torch.cat([xy, z[:, None]], dim=1)
    xyz[kind > 0.97] *= 0.02  # the vehicle's own body
    if spacing:  # on the edges of cells, sectors and voxels
        xyz = torch.round(xyz / spacing) * spacing
    return xyz.numpy()


def _pose(x: float, y: float, z: float, yaw: float, pitch: float = 0.0) -> np.ndarray:
    T = np.eye(4)
    c, s, cp, sp = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    T[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    T[:3, 3] = x, y, z
    return T


def _clouds(random: torch.Generator) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Points and intensities as decoders give them: contiguous, strided over a message, with and without intensity."""
    for points, spacing in ((1, 0.0), (7, 0.0), (300, 0.0), (20_000, 0.0), (20_000, 0.3125), (20_000, 1.0)):
        xyz = street(random, points, spacing)
        if not np.any(np.abs(xyz).max(1) < 30):
            xyz[0] = 5.0, 2.0, -1.7
        yield xyz, (255 * torch.rand(points, generator=random)).round().numpy()
    yield xyz, None
    message = np.zeros((len(xyz), 8), np.float32)
    message[:, :3], message[:, 4] = xyz, torch.rand(len(xyz), generator=random).numpy() * 1e-3
    message.flags.writeable = False
    yield message[:, :3], message[:, 4]
    yield xyz, np.full(len(xyz), 3.0, np.float32)  # that say nothing
    absurd = torch.rand(len(xyz), generator=random).numpy()
    absurd[::97] = 3e38
    yield xyz, absurd


def _sweep(random: torch.Generator, dtype: torch.dtype) -> Iterator[Arguments]:
    mounted = _pose(0.4, 0.1, 1.9, 0.02, 0.01)
    for xyz, intensity in _clouds(random):
        half = len(xyz) // 2
        for T, earlier, looks in (
                (None, [], [Look(((0, len(xyz)),), 0.0, 0.0)]), (mounted, [], []),
                (mounted, [Placed(xyz, intensity, _pose(-3.0, 0.2, 0.0, 0.05)), Placed(xyz[:half], None)],
                 [Look(((0, half),), 0.4, 0.1)]),
                (mounted, [Placed(xyz, intensity, _pose(-3.0, 0.2, 0.0, 0.05))],
                 [Look(((0, half // 2), (half, len(xyz))), 1.0, 0.5), Look(((half // 2, half),), -1.0, -0.5)])):
            yield Placed(xyz, intensity, T), earlier, looks, Grid(), 1.8, 6.0
    yield Placed(xyz, intensity, mounted), [], [Look(((0, len(xyz)),), 0.0, 0.0)], Grid(25.0, 120), 0.0, 3.0
    as_tensors = torch.from_numpy(xyz), torch.from_numpy(intensity)
    yield Placed(*as_tensors, mounted), [], [Look(((0, len(xyz)),), 0.0, 0.0)], Grid(), 1.8, 6.0


def _reach(random: torch.Generator, dtype: torch.dtype) -> Iterator[Arguments]:
    for sweep, _, looks, _, min_range, max_height in _sweep(random, dtype):
        if looks:
            yield sweep, looks, min_range, max_height


def _views(random: torch.Generator, dtype: torch.dtype) -> Iterator[Arguments]:
    for count, bins, extent in ((1, 24, 40.0), (3, 120, 40.0), (2, 120, 25.0)):
        views = [View(torch.rand(AZIMUTHS, generator=random) * 45.0 * (torch.rand(AZIMUTHS, generator=random) > 0.2),
                      0.7 * k, -0.3 * k, 0.2 * k) for k in range(count)]
        yield views, bins, 20.0, extent


def _drawn(random: torch.Generator, dtype: torch.dtype) -> Iterator[Arguments]:
    for layers in _layers(random):
        for grid, ring in ((Grid(40.0, layers.shape[-1]), 20.0), (Grid(25.0, layers.shape[-1]), 25.5)):
            yield layers, grid, 120, ring


def _layers(random: torch.Generator) -> Iterator[torch.Tensor]:
    """Maps (3, H, W) on the grid: strokes thin and wide, at the rim, faint, and none."""
    for cells in (64, 256):
        for width, brightness in ((1, 1.0), (1, 0.1), (9, 1.0), (0, 1.0)):
            layers = torch.zeros(3, cells, cells)
            layers[0] = 0.6 * (torch.rand(cells, cells, generator=random) > 0.97)
            layers[1, :, cells // 2:cells // 2 + width] = brightness
            layers[1, :width] = brightness
            layers[2] = 1.0
            yield layers


def _features(random: torch.Generator, dtype: torch.dtype) -> Iterator[Arguments]:
    for cells, share in ((64, 0.5), (256, 0.05), (256, 0.0)):
        yield torch.rand(5, cells, cells, generator=random) * (torch.rand(cells, cells, generator=random) < share), 40.0


def _lidar(random: torch.Generator, dtype: torch.dtype) -> Iterator[Arguments]:
    for xyz, intensity in _clouds(random):
        yield torch.tensor(xyz), None if intensity is None else torch.tensor(intensity), Grid(), 1.8, 6.0
    unclean = torch.tensor(xyz)
    unclean[::50] = torch.nan
    unclean[::70, 0] = torch.inf
    yield unclean, None, Grid(), 1.8, 6.0


def _outside(random: torch.Generator, dtype: torch.dtype) -> Iterator[Arguments]:
    for xyz, intensity in _clouds(random):
        yield Placed(xyz, intensity, _pose(0.4, 0.1, 1.9, 0.02, 0.01)), 1.8
        yield Placed(xyz, intensity), 0.0
    yield Placed(np.zeros((0, 3), np.float32), np.zeros(0, np.float32)), 1.8
    yield Placed(np.zeros((5, 3), np.float32)), 1.8


def _fields(random: torch.Generator, dtype: torch.dtype) -> Iterator[Arguments]:
    """Fields of messages as drivers lay them out: any step, order of bytes, rows and types of numbers."""
    for rows, columns, step, order, coordinate, strength in (
            (1, 500, 16, '<', 'f4', 'f4'), (1, 500, 22, '<', 'f4', 'f4'), (4, 125, 29, '<', 'f4', 'u1'),
            (4, 125, 48, '<', 'f4', 'u2'), (2, 10, 40, '<', 'f8', 'f8'), (1, 30, 26, '>', 'f4', 'u2'),
            (3, 30, 26, '>', 'f4', 'f4'), (1, 1, 13, '<', 'f4', 'i1'), (0, 0, 16, '<', 'f4', 'f4')):
        data = torch.randint(0, 256, (rows * (columns * step + 5) + 64,), generator=random).to(torch.uint8).numpy()
        size = np.dtype(coordinate).itemsize
        strides = columns * step + 5, step
        x, y, z, intensity = (np.ndarray((rows, columns), np.dtype(order + code), data, offset, strides)
                              for code, offset in ((coordinate, 0), (coordinate, size), (coordinate, 2 * size),
                                                   (strength, 3 * size)))
        for field in (x, y, z):
            field[:] = np.random.default_rng(1).uniform(-80, 80, field.shape)
        intensity[:] = np.random.default_rng(2).integers(0, 100, intensity.shape)
        yield x, y, z, intensity
        yield x, y, z, None


def _returns(random: torch.Generator, dtype: torch.dtype) -> Iterator[Arguments]:
    """Clouds with what stands for 'no return': NaN, the origin, one place again and again."""
    for count in (1, 100, 3000, 30_000):
        clean = street(random, count) * 3 + np.float32([0, 0, 0.3])
        clean[0] = 9.0, 2.0, 1.0
        for spoil in (lambda xyz: None, _with_nan, _with_origin, _with_one_place,
                      lambda xyz: (_with_nan(xyz), _with_origin(xyz), _with_one_place(xyz))):
            xyz = clean.copy()
            spoil(xyz)
            intensity = torch.rand(count, generator=random).numpy()
            yield xyz, intensity
            yield xyz.copy(), None
            intensity = intensity.copy()
            intensity[::9] = np.nan
            yield xyz.copy(), intensity


def _with_nan(xyz: np.ndarray) -> None:
    xyz[1::7, 0], xyz[2::11, 2], xyz[3::50] = np.nan, np.inf, -np.inf


def _with_origin(xyz: np.ndarray) -> None:
    xyz[4::6] = 0.0
    xyz[5::70] = 0.04


def _with_one_place(xyz: np.ndarray) -> None:
    xyz[1::13] = 120.0, -3.0, 0.5


def _polynomial(random: torch.Generator, dtype: torch.dtype) -> Iterator[Arguments]:
    for count, degree in ((0, 1), (1, 2), (1000, 1), (20_000, 5)):
        coefficients = torch.randn(degree + 1, 3, 4, generator=random).double().numpy() * 0.01
        coefficients[0, :, :3] += np.eye(3)
        offsets = (torch.rand(count, generator=random) * 0.12 - 0.11).numpy()
        yield street(random, count), offsets, -0.05, 0.05, coefficients
        yield np.asfortranarray(street(random, count)), offsets.astype(np.float64), -0.05, 0.05, coefficients


def _maps(random: torch.Generator, dtype: torch.dtype) -> Iterator[Arguments]:
    """Smooth pictures: between steep pixels, a millionth of one would show."""
    for (rows, columns), metres, grid in (((320, 320), 0.25, Grid()), ((90, 70), 1.0, Grid()), ((5, 400), 0.5, Grid()),
                                          ((700, 30), 0.4, Grid(25.0, 120)), ((1, 1), 60.0, Grid())):
        v, u = torch.meshgrid(torch.arange(rows) / 40.0, torch.arange(columns) / 30.0, indexing='ij')
        planes = [0.5 + 0.5 * torch.sin(u + v), 0.5 + 0.5 * torch.cos(u - v)]
        for x, y, yaw in ((0.0, 0.0, 0.0), (3.0, -2.0, 0.4), (25.0, 31.0, 2.5), (-40.0, 5.0, math.pi / 2),
                          (500.0, 0.0, 0.0)):
            T = np.delete(np.delete(_pose(x, y, 0.0, yaw), 2, 0), 2, 1)
            yield planes, T, (0.5 * columns, 0.7 * rows), metres, grid
            yield planes[:1], T, (0.0, 0.0), metres, grid


def _routes(random: torch.Generator, dtype: torch.dtype) -> Iterator[Arguments]:
    """Layers of a map with no route, thin ones, faint ones, a wide one, and one everywhere."""
    for width, brightness in ((0, 1.0), (1, 1.0), (1, 0.15), (1, 0.001), (2, 0.9), (9, 1.0), (300, 0.7)):
        for row in (0, 31, 63):
            layers = torch.rand(3, 64, 64, generator=random)
            layers[1] = 0.0
            layers[1, row:row + width, 5:] = brightness
            layers[1, :, 40:40 + min(width, 2)] = brightness
            yield layers, Grid(10.0, 64)


def _cbam(random: torch.Generator, dtype: torch.dtype) -> Iterator[Arguments]:
    for (shape, biases, kernel, mean_first) in (((2, 5, 6, 7), False, 7, True), ((1, 20, 3, 11), True, 3, False)):
        channels, width = shape[1], 3
        of_mlp = [torch.randn(size, generator=random).to(dtype) * 0.3 if size else None for size in (
            (width, channels), (width,) if biases else None, (channels, width), (channels,) if biases else None)]
        of_conv = [torch.randn(1, 2, kernel, kernel, generator=random).to(dtype) * 0.2,
                   torch.randn(1, generator=random).to(dtype) if biases else None]
        # After a ReLU most maxima over channels are unique, and some cells are zero throughout.
        for x in _layouts(torch.randn(shape, generator=random).relu().to(dtype)):
            yield x, *of_mlp, *of_conv, mean_first


CASES: dict[str, Callable[[torch.Generator, torch.dtype], Iterator[Arguments]]] = {
    'scatter_cells': _scatter,
    'lowest_in_cells': _lowest,
    'lidar_bev': _lidar,
    'sweep_grids': _sweep,
    'outside_own_body': _outside,
    'sensor_reach': _reach,
    'coverage': _views,
    'drawn_bearings': _drawn,
    'familiarity_summary': _features,
    'unpack_points': _fields,
    'without_no_returns': _returns,
    'by_polynomial': _polynomial,
    'sample_planes': _maps,
    'with_wide_route': _routes,
    'cbam': _cbam,
    'circular_pad': _pad,
    'warp': _warp,
    'pose_scores': _pose_scores,
    'mean_and_max': _mean_and_max,
}
