"""Casts LiDAR rays into height-field rasters: exact first hits, batched torch, one code path for CPU and CUDA.

The ground and everything standing on it is a height field h(r) along each azimuth. A ray of slope t = tan(elevation)
leaving height z0 meets it where (h(r) - z0) / r first reaches t. The running maximum of that ratio along r is
monotone, so a binary search finds the first hit of every ray. Things that let rays through (fences, hedges, thin
poles) are present in some of K realisations of the height field and absent in others; tree crowns overhang and are
traversed ray by ray (Beer-Lambert extinction).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from attention_fusion_ros.simulation.raster import NOTHING, Label, Raster

REALISATIONS = 3
CROWN_STRIDE = 3  # crowns are sampled at every third range
CROWN_FREE_PATH = 0.9  # m a ray travels on average inside a crown
FACE_STEPS = 3  # halvings of the last range step on a vertical face
TERRAIN, POROUS, VEHICLE, CROWN, NO_HIT = 0, 1, 2, 3, 4


@dataclass(frozen=True)
class Rays:
    """Rays from one point. Layout (A, B), azimuth first, so that neighbours in memory look at the same cells."""

    origin: tuple[float, float, float]  # world, m
    direction: Tensor  # (A, B, 3) unit, world

    def slopes(self) -> tuple[Tensor, Tensor, Tensor]:
        """(A, B): tan(elevation), and the two components of the horizontal unit direction."""
        d = self.direction
        horizontal = torch.sqrt(d[..., 0] * d[..., 0] + d[..., 1] * d[..., 1]).clamp_min(1e-6)
        return d[..., 2] / horizontal, d[..., 0] / horizontal, d[..., 1] / horizontal


@dataclass(frozen=True)
class Luck:
    """Random numbers of a cast, uniform in 0..1, drawn by ray so that a change of scene does not shift them."""

    column: Tensor  # (C,) for what passes or stops a column as a whole
    realisation: Tensor  # (A, B) which realisation of the porous things a ray sees
    depth: Tensor  # (A, B) how deep a ray goes into leaves


@dataclass(frozen=True)
class Hits:
    """What each ray met. All (A, B)."""

    distance: Tensor  # horizontal distance from the origin, m; inf without a hit
    kind: Tensor  # int64: TERRAIN, POROUS, VEHICLE, CROWN, NO_HIT
    cell: Tensor  # int64, index of the raster cell hit
    z: Tensor  # world height of the hit, m


def ranges(farthest: float, device='cpu') -> Tensor:
    """(R,) horizontal distances at which columns are sampled: every 0.12 m near, every 0.24 m far."""
    r, steps = 0.6, []
    while r < farthest:
        steps.append(r)
        r += min(0.12 + 0.004 * max(r - 5.0, 0.0), 0.24)
    return torch.tensor(steps, dtype=torch.float32, device=device)


class Scene:
    """A raster uploaded to a device, with and without its vehicles."""

    def __init__(self, raster: Raster, device='cpu'):
        def flat(a):
            return torch.as_tensor(a).reshape(-1).to(device)
        self.raster, self.device = raster, torch.device(device)
        self.layers = torch.stack([flat(raster.solid), flat(raster.porous), flat(raster.porosity),
                                   flat(raster.vehicle)], dim=1)  # (n * n, 4): one memory access a sample
        self.coherent, self.has_porous = flat(raster.coherent), bool((raster.porosity > 0).any())
        self.crowns = torch.stack([flat(raster.crown_bottom), flat(raster.crown_top)], dim=1)
        self.has_crowns = bool((raster.crown_top > NOTHING).any())
        self.columns, self.rows = raster.frame.shape[1], raster.frame.shape[0]

    def cell(self, x: Tensor, y: Tensor) -> Tensor:
        """World metres -> index of the nearest cell (clamped at the border), int64."""
        m = self.raster.frame.matrix
        column = (x * float(m[0, 0]) + float(m[0, 2] + 0.5)).long().clamp_(0, self.columns - 1)
        row = (y * float(m[1, 1]) + float(m[1, 2] + 0.5)).long().clamp_(0, self.rows - 1)
        return row * self.columns + column


def cast(scene: Scene, rays: Rays, luck: Luck, farthest: float, vehicles: bool = True) -> Hits:
    """First hit of every ray within `farthest` metres (horizontal).

    Work is done in C azimuth columns, C = len(luck.column), evenly spread over the circle; a ray uses the nearest
    one for its range and its own direction for its position.
    """
    x0, y0, z0 = rays.origin
    # Local coordinates keep float32 exact far from the world origin.
    m = scene.raster.frame.matrix
    local = (x0 + m[0, 2] / m[0, 0], y0 + m[1, 2] / m[1, 1])
    slope, ux, uy = rays.slopes()
    count = luck.column.shape[0]
    r = ranges(farthest, scene.device)
    angle = torch.arange(count, device=scene.device, dtype=torch.float32) * (2 * math.pi / count)
    cos, sin = torch.cos(angle), torch.sin(angle)
    column = torch.round(torch.atan2(uy, ux) * (count / (2 * math.pi))).long() % count

    cells = _cells(scene, local, cos, sin, r)  # (C, R)
    samples = scene.layers.index_select(0, cells.reshape(-1)).view(count, len(r), 4)
    base = samples[..., 0]
    if vehicles:
        base = torch.maximum(base, samples[..., 3])
    chance = _chances(luck.column) if scene.has_porous else luck.column[None]
    surfaces = base[None]
    if scene.has_porous:
        coherent = scene.coherent[cells]
        porous, porosity = samples[..., 1], samples[..., 2]
        surfaces = torch.stack([torch.where(porosity <= torch.where(coherent, luck.column[:, None], chance[k][:, None]),
                                            torch.maximum(base, porous), base) for k in range(len(chance))])
    profile = running_max((surfaces - z0) / r).reshape(-1)
    surfaces = surfaces.reshape(-1)

    pick = (luck.realisation * len(chance)).long().clamp_max(len(chance) - 1)
    start = (pick * count + column) * len(r)
    index = first_reaching(profile, start, slope, len(r))
    missed = index == len(r)
    index = index.clamp(1, len(r) - 1)

    h1, h0 = surfaces[start + index], surfaces[start + index - 1]
    r1, r0 = r[index], r[index - 1]
    along = (slope * r0 - (h0 - z0)) / ((h1 - h0) - slope * (r1 - r0)).clamp_min(1e-9)
    distance = r0 + (r1 - r0) * along.clamp(0, 1)
    # On a steep step the surface does not rise in a straight line: look for the face inside the last range step.
    face = torch.nonzero(((h1 - h0) > 0.06 + 0.5 * (r1 - r0)).reshape(-1) & ~missed.reshape(-1))[:, 0]
    if len(face):
        def at(t):
            return t.reshape(-1)[face]
        share = torch.where(torch.ones((), dtype=torch.bool, device=scene.device), chance[at(pick), at(column)], 0)
        near, far = at(r0), at(r1)
        for _ in range(FACE_STEPS):
            middle = (near + far) * 0.5
            c = _local_cells(scene, local, cos[at(column)], sin[at(column)], middle)
            inside = _surface(scene, c, share, luck.column[at(column)], vehicles) >= z0 + at(slope) * middle
            near, far = torch.where(inside, near, middle), torch.where(inside, middle, far)
        distance.view(-1)[face] = far
    hit_cell = cells[column, index]
    kind = _kinds(samples[column, index], h1, vehicles)
    distance = torch.where(missed, torch.full_like(distance, math.inf), distance)
    kind = torch.where(missed, torch.full_like(kind, NO_HIT), kind)
    if scene.has_crowns:
        _crown_hits(scene, cells, r, z0, slope, column, luck.depth, distance, kind, hit_cell)
    z = z0 + slope * distance
    return Hits(distance, kind, hit_cell, z)


def running_max(x: Tensor) -> Tensor:
    """Running maximum along the last axis, by doubling (faster than cummax, which also makes indices)."""
    step = 1
    while step < x.shape[-1]:
        y = x.clone()
        torch.maximum(x[..., step:], x[..., :-step], out=y[..., step:])
        x, step = y, step * 2
    return x


def first_reaching(profile: Tensor, start: Tensor, value: Tensor, length: int) -> Tensor:
    """For each value: how many of the `length` entries of the flat, non-decreasing profile after `start` are below it."""
    low = torch.zeros_like(start)
    step = 1 << (length.bit_length() - 1)
    while step:
        probe = low + step
        below = (probe <= length) & (profile[start + (probe - 1).clamp_max(length - 1)] < value)
        low = torch.where(below, probe, low)
        step >>= 1
    return low


def _cells(scene: Scene, local, cos: Tensor, sin: Tensor, r: Tensor) -> Tensor:
    return _local_cells(scene, local, cos[:, None], sin[:, None], r[None, :])


def _local_cells(scene: Scene, local, cos: Tensor, sin: Tensor, r: Tensor) -> Tensor:
    scale = 1 / scene.raster.frame.resolution
    column = (cos * (r * scale) + (local[0] * scale + 0.5)).to(torch.int32).clamp_(0, scene.columns - 1)
    row = (sin * (r * scale) + (local[1] * scale + 0.5)).to(torch.int32).clamp_(0, scene.rows - 1)
    return (row * scene.columns + column).long()


def _chances(column: Tensor) -> Tensor:
    """(C,) uniform -> (K, C) uniform, stratified over the K realisations, rotated from column to column."""
    k = torch.arange(REALISATIONS, device=column.device, dtype=torch.float32)[:, None]
    return (column[None] + k / REALISATIONS) % 1.0


def _surface(scene: Scene, cells: Tensor, chance: Tensor, column_chance: Tensor, vehicles: bool) -> Tensor:
    s = scene.layers.index_select(0, cells)
    top = torch.maximum(s[:, 0], s[:, 3]) if vehicles else s[:, 0]
    stops = s[:, 2] <= torch.where(scene.coherent[cells], column_chance, chance)
    return torch.where(stops, torch.maximum(top, s[:, 1]), top)


def _kinds(sample: Tensor, surface: Tensor, vehicles: bool) -> Tensor:
    kind = torch.where(surface <= sample[..., 0], TERRAIN, POROUS)
    return torch.where(sample[..., 3] >= surface, VEHICLE, kind) if vehicles else kind


def _crown_hits(scene, cells, r, z0, slope, column, depth, distance, kind, hit_cell) -> None:
    """Overwrites distance, kind and cell where leaves stop a ray before anything else does."""
    r = r[::CROWN_STRIDE]
    layers = scene.crowns.index_select(0, cells[:, ::CROWN_STRIDE].reshape(-1)).view(cells.shape[0], len(r), 2)
    bottom, top = layers[..., 0], layers[..., 1]
    lowest, highest = ((bottom - z0) / r).amin(1), ((top - z0) / r).amax(1)
    flat_column, flat_slope = column.reshape(-1), slope.reshape(-1)
    rays = torch.nonzero((flat_slope > lowest[flat_column]) & (flat_slope < highest[flat_column]))[:, 0]
    free = -CROWN_FREE_PATH * torch.log1p(-depth.reshape(-1).clamp_max(0.9999))
    stride = torch.diff(r, append=r[-1:] + (r[-1:] - r[-2:-1]))
    for part in rays.split(8192):
        c, t = flat_column[part], flat_slope[part]
        z = z0 + t[:, None] * r
        inside = (z > bottom[c]) & (z < top[c])
        travelled = torch.cumsum(inside * stride, dim=1)
        stopped = travelled >= free[part][:, None]
        first = stopped.to(torch.uint8).argmax(dim=1)
        # A share of the stride keeps leaves from lying on circles.
        at = r[first] + stride[first] * ((free[part] * 7.3) % 1.0 - 0.5)
        nearer = stopped.any(dim=1) & (at < distance.view(-1)[part])
        chosen = part[nearer]
        distance.view(-1)[chosen] = at[nearer]
        kind.view(-1)[chosen] = CROWN
        hit_cell.view(-1)[chosen] = cells[c[nearer], first[nearer] * CROWN_STRIDE]


def labels(scene: Scene, hits: Hits) -> Tensor:
    """(A, B) uint8 `Label` of what was hit; meaningless where nothing was."""
    ground = torch.as_tensor(scene.raster.label).reshape(-1).to(scene.device)[hits.cell]
    vehicle = torch.as_tensor(scene.raster.vehicle_label).reshape(-1).to(scene.device)[hits.cell]
    out = torch.where(hits.kind == VEHICLE, vehicle, ground)
    return torch.where(hits.kind == CROWN, torch.full_like(out, int(Label.CROWN)), out)
