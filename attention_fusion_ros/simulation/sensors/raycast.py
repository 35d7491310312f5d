# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Casts LiDAR rays into height-field rasters: exact first hits, batched torch, one code path for CPU and CUDA.

The ground and everything standing on it is a height field h(r) along each azimuth. A ray of slope t = tan(elevation)
leaving height z0 meets it where (h(r) - z0) / r first reaches t. The running maximum of that ratio along r is
monotone, so a binary search finds the first hit of every ray. Things that let rays through (fences, hedges, thin
poles) are present in some of K realisations of the height field and absent in others; tree crowns overhang and are
traversed ray by ray (Beer-Lambert extinction).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attention_fusion_ros.simulation.sensors.raster import NOTHING_M, Label, Raster

REALISATIONS = 2
CPU_CHUNK = 128  # azimuth columns that are worked on together, so that they stay in the cache
CROWN_STRIDE = 3  # crowns are sampled at every third range
CROWN_FREE_PATH_M = 0.9  # a ray travels on average inside a crown
FACE_STEPS = 3  # halvings of the last range step on a vertical face
TERRAIN, POROUS, VEHICLE, CROWN, NO_HIT = 0, 1, 2, 3, 4


@dataclass(frozen=True)
class Rays:
    """Rays from one point. Layout (A, B), azimuth first, so that neighbours in memory look at the same cells."""

    origin: tuple[float, float, float]  # world, m
    slope: Tensor  # (A, B) tan(elevation)
    ux: Tensor  # (A, B) horizontal unit direction
    uy: Tensor

    @staticmethod
    def towards(origin: Sequence[float] | np.ndarray, x: Tensor, y: Tensor, z: Tensor) -> Rays:
        """Rays in the directions (x, y, z), (A, B) each, of any length."""
        scale = torch.rsqrt((x * x).addcmul_(y, y).clamp_min_(1e-12))
        here = (float(origin[0]), float(origin[1]), float(origin[2]))
        return Rays(here, z * scale, x * scale, y * scale)


@dataclass(frozen=True)
class RandomDraws:
    """Random numbers of a cast, uniform in 0..1, drawn by ray so that a change of scene does not shift them."""

    column: Tensor  # (C,) for what passes or stops a column as a whole
    realisation: Tensor  # (A, B) which realisation of the porous things a ray sees
    depth: Tensor  # (A, B) how deep a ray goes into leaves


@dataclass(frozen=True)
class Hits:
    """What each ray met. All (A, B)."""

    distance: Tensor  # horizontal distance from the origin, m; inf without a hit
    kind: Tensor  # uint8: TERRAIN, POROUS, VEHICLE, CROWN, NO_HIT
    cell: Tensor  # int32, index of the raster cell hit
    z: Tensor  # world height of the hit, m


def ranges(farthest: float, device: torch.device | str = 'cpu') -> Tensor:
    """(R,) horizontal distances at which columns are sampled: every 0.13 m near, every 0.25 m far."""
    r, steps = 0.6, []
    while r < farthest:
        steps.append(r)
        r += min(0.13 + 0.005 * max(r - 5.0, 0.0), 0.25)
    return torch.tensor(steps, dtype=torch.float32, device=device)


class Scene:
    """A raster uploaded to a device. One flat array a layer, because one-dimensional gathers are fastest."""

    def __init__(self, raster: Raster, device: torch.device | str = 'cpu'):
        def flat(layer: np.ndarray) -> Tensor:
            return torch.as_tensor(layer).reshape(-1).to(device)

        self.raster, self.device = raster, torch.device(device)
        self.solid, self.vehicle = flat(raster.solid), flat(raster.vehicle)
        self.porous, self.porosity = flat(raster.porous), flat(raster.porosity)
        self.crown_bottom, self.crown_top = flat(raster.crown_bottom), flat(raster.crown_top)
        self.label, self.vehicle_label = flat(raster.label), flat(raster.vehicle_label)
        self.vehicle_loss = flat(raster.vehicle_loss)
        self.has_porous, self.has_crowns, self.has_vehicles = (
            bool(layer.max() > NOTHING_M) for layer in (raster.porous, raster.crown_top, raster.vehicle))
        self.traffic = torch.maximum(self.solid, self.vehicle) if self.has_vehicles else self.solid
        self.rows, self.columns = raster.frame.shape
        self.scale = 1 / raster.frame.resolution

    def local(self, x: float, y: float) -> tuple[float, float]:
        """World metres -> metres from the corner of cell (0, 0): small numbers that float32 holds exactly."""
        column, row = self.raster.frame.pixels(np.array([x, y]))
        return float(column + 0.5) / self.scale, float(row + 0.5) / self.scale

    def cells(self, origin: tuple[float, float], cos: Tensor, sin: Tensor, r: Tensor) -> Tensor:
        """Index of the cell at distance r from the local origin in direction (cos, sin); broadcasts; int32."""
        column = (cos * (r * self.scale) + origin[0] * self.scale).to(torch.int32).clamp_(0, self.columns - 1)
        row = (sin * (r * self.scale) + origin[1] * self.scale).to(torch.int32).clamp_(0, self.rows - 1)
        return row.mul_(self.columns).add_(column)

    def surface(self, cells: Tensor, chance: Tensor, column_chance: Tensor, vehicles: bool) -> Tensor:
        """Height (N,) of what stops rays of chance (N,), (N,) in (N,) cells, m."""
        top = (self.traffic if vehicles else self.solid).index_select(0, cells)
        if self.has_porous:
            porosity = self.porosity.index_select(0, cells)
            passes = (porosity > chance) | (porosity < -column_chance)
            top = torch.maximum(top, self.porous.index_select(0, cells) + passes * float(NOTHING_M))
        return top


def cast(scene: Scene, rays: Rays, draws: RandomDraws, farthest: float, vehicles: bool = True) -> Hits:
    """First hit of every ray within `farthest` metres (horizontal).

    Work is done in C azimuth columns, C = len(luck.column), evenly spread over the circle; a ray uses the nearest
    one for its range and its own direction for its position.
    """
    z0, origin = rays.origin[2], scene.local(*rays.origin[:2])
    count = draws.column.shape[0]
    r = ranges(farthest, scene.device)
    angle = torch.arange(count, device=scene.device, dtype=torch.float32) * (2 * math.pi / count)
    cos, sin = torch.cos(angle), torch.sin(angle)
    column = torch.round(torch.atan2(rays.uy, rays.ux) * (count / (2 * math.pi))).to(torch.int32)
    column = column.remainder_(count).view(-1)
    slope = rays.slope.reshape(-1)

    chance = _chances(draws.column) if scene.has_porous else draws.column[None]
    cells = torch.empty(count, len(r), dtype=torch.int32, device=scene.device)
    surfaces, profile = (torch.empty(len(chance), count, len(r), device=scene.device) for _ in range(2))
    chunk = CPU_CHUNK if scene.device.type == 'cpu' else count
    for part in (slice(i, i + chunk) for i in range(0, count, chunk)):
        cells[part] = scene.cells(origin, cos[part, None], sin[part, None], r)
        _surfaces(scene, cells[part], chance[:, part], draws.column[part], vehicles, out=surfaces[:, part])
        profile[:, part] = running_max((surfaces[:, part] - z0).mul_(1 / r))
    cells, profile = cells.view(-1), profile.view(-1)
    pick = (draws.realisation.view(-1) * len(chance)).to(torch.int32).clamp_(max=len(chance) - 1)
    index = first_reaching(profile, (pick * count + column) * len(r), slope, len(r))
    missed = index == len(r)
    index.clamp_(1, len(r) - 1)

    at = (pick * count + column) * len(r) + index
    surfaces = surfaces.view(-1)
    h1, h0 = surfaces.index_select(0, at), surfaces.index_select(0, at - 1)
    r1, r0 = r.index_select(0, index), r.index_select(0, index - 1)
    along = (slope * r0 - (h0 - z0)) / ((h1 - h0) - slope * (r1 - r0)).clamp_min_(1e-9)
    distance = r0 + (r1 - r0) * along.clamp_(0, 1)
    # On a steep step the surface does not rise in a straight line: look for the face inside the last range step.
    face = torch.nonzero(((h1 - h0) > 0.06 + 0.5 * (r1 - r0)) & ~missed)[:, 0]
    if len(face):
        c, t, near, far = (v.index_select(0, face) for v in (column, slope, r0, r1))
        share = chance.view(-1).index_select(0, pick.index_select(0, face) * count + c)
        cos, sin, column_share = cos.index_select(0, c), sin.index_select(0, c), draws.column.index_select(0, c)
        for _ in range(FACE_STEPS):
            middle = (near + far) * 0.5
            there = scene.surface(scene.cells(origin, cos, sin, middle), share, column_share, vehicles)
            inside = there >= z0 + t * middle
            near, far = torch.where(inside, near, middle), torch.where(inside, middle, far)
        distance[face] = far
    hit_cell = cells.index_select(0, column * len(r) + index)
    kind = (h1 > scene.solid.index_select(0, hit_cell)).to(torch.uint8) * POROUS
    if vehicles and scene.has_vehicles:
        kind.masked_fill_(scene.vehicle.index_select(0, hit_cell) >= h1, VEHICLE)
    distance.masked_fill_(missed, math.inf)
    kind.masked_fill_(missed, NO_HIT)
    if scene.has_crowns:
        _crown_hits(scene, cells.view(count, -1), r, z0, slope, column, draws.depth.view(-1), distance, kind, hit_cell)
    shape = draws.depth.shape
    return Hits(distance.view(shape), kind.view(shape), hit_cell.view(shape), (z0 + slope * distance).view(shape))


def _chances(column: Tensor) -> Tensor:
    """(C,) uniform -> (K, C) uniform: stratified over the realisations, rotated from column to column."""
    k = torch.arange(REALISATIONS, device=column.device, dtype=torch.float32)[:, None]
    return (column + k / REALISATIONS) % 1.0


def _surfaces(scene: Scene, cells: Tensor, chance: Tensor, column_chance: Tensor, vehicles: bool, out: Tensor) -> None:
    """Heights (K, C, R) in cells (C, R) for each realisation: what stops rays of chance (K, C), (C,) is there."""
    flat = cells.reshape(-1)
    base = (scene.traffic if vehicles else scene.solid).index_select(0, flat).view(cells.shape)
    if not scene.has_porous:
        out[0] = base
        return
    porous = scene.porous.index_select(0, flat).view(cells.shape)
    porosity = scene.porosity.index_select(0, flat).view(cells.shape)
    porous += (porosity < -column_chance[:, None]) * float(NOTHING_M)
    for c, surface in zip(chance, out):
        torch.maximum(base, porous + (porosity > c[:, None]) * float(NOTHING_M), out=surface)


def running_max(x: Tensor) -> Tensor:
    """Running maximum along the last axis, by doubling: faster than cummax on one CPU core. Overwrites x."""
    y = torch.empty_like(x)
    step = 1
    while step < x.shape[-1]:
        y[..., :step] = x[..., :step]
        torch.maximum(x[..., step:], x[..., :-step], out=y[..., step:])
        x, y, step = y, x, step * 2
    return x


def first_reaching(profile: Tensor, start: Tensor, value: Tensor, length: int) -> Tensor:
    """(N,) int32: how many of the `length` non-decreasing entries of the flat profile from `start` on are < value."""
    low = torch.zeros_like(start)
    last = start - 1
    step = 1 << (length.bit_length() - 1)
    while step:
        probe = low + step
        below = (profile.index_select(0, last + probe.clamp(max=length)) < value) & (probe <= length)
        low += below * step
        step >>= 1
    return low


def _crown_hits(scene: Scene, cells: Tensor, r: Tensor, z0: float, slope: Tensor, column: Tensor, depth: Tensor,
                distance: Tensor, kind: Tensor, hit_cell: Tensor) -> None:
    """Overwrites distance, kind and cell (N,) where leaves stop a ray before anything else does."""
    r = r[::CROWN_STRIDE].contiguous()
    coarse = cells[:, ::CROWN_STRIDE].reshape(-1)
    bottom = scene.crown_bottom.index_select(0, coarse).view(-1, len(r))
    top = scene.crown_top.index_select(0, coarse).view(-1, len(r))
    lowest, highest = ((bottom - z0) * (1 / r)).amin(1), ((top - z0) * (1 / r)).amax(1)
    rays = torch.nonzero((slope > lowest.index_select(0, column)) & (slope < highest.index_select(0, column)))[:, 0]
    free = -CROWN_FREE_PATH_M * torch.log1p(-depth.clamp(max=0.9999))
    stride = torch.diff(r, append=r[-1:] + (r[-1:] - r[-2:-1]))
    for part in torch.split(rays, 4096):
        c, t, f = column[part], slope[part], free[part]
        z = z0 + t[:, None] * r
        inside = (z > bottom.index_select(0, c)) & (z < top.index_select(0, c))
        travelled = torch.cumsum(inside * stride, dim=1)
        first = (travelled < f[:, None]).sum(dim=1)
        stopped = first < len(r)
        first.clamp_(max=len(r) - 1)
        # A share of the stride keeps leaves from lying on circles.
        at = r[first] + stride[first] * ((f * 7.3) % 1.0 - 0.5)
        nearer = stopped & (at < distance[part])
        chosen = part[nearer]
        distance[chosen] = at[nearer]
        kind[chosen] = CROWN
        hit_cell[chosen] = cells[c[nearer].long(), first[nearer] * CROWN_STRIDE]


def labels(scene: Scene, hits: Hits) -> Tensor:
    """(A, B) uint8 `Label` of what was hit; meaningless where nothing was."""
    cell = hits.cell.reshape(-1)
    out: Tensor = scene.label.index_select(0, cell).view(hits.cell.shape)
    if (hits.kind == VEHICLE).any():
        vehicle = scene.vehicle_label.index_select(0, cell).view(hits.cell.shape)
        out = torch.where(hits.kind == VEHICLE, vehicle, out)
    return out.masked_fill(hits.kind == CROWN, int(Label.CROWN))
