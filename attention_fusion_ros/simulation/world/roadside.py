# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What stands beside the roads: facades with gaps, fences, hedges, trees and poles in rows, clutter, open land."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from attention_fusion_ros.simulation.world.polyline import arc_length, point_at, substring
from attention_fusion_ros.simulation.world.roads import Plan
from attention_fusion_ros.simulation.world.site import Site
from attention_fusion_ros.simulation.world.world import Bush, Post, Terrain, Wall

SCATTER_M2 = 47.0  # land for each place where something may stand
LUSH = 0.4  # share of the places where much grows and stands along the roads
BLOCKS = 6  # pieces of land with styles of their own; further ones repeat them


@dataclass(frozen=True)
class Style:
    """How one side of a road is furnished; distances from the kerb in metres, 0 where there is none."""

    facades: float = 0.0  # distance
    facade_height: float = 8.0
    facade_length: tuple[float, float] = (8.0, 20.0)
    row: float = 0.5  # share of buildings that touch the next one
    gap: tuple[float, float] = (3.0, 9.0)
    front: float = 0.0  # distance of the front-garden boundary
    front_kind: str = 'fence'  # fence, wall, hedge, rail
    front_height: float = 1.2
    driveway: float = 16.0  # m between gaps in the boundary
    trees: float = 0.0
    tree_spacing: float = 9.0
    tree_size: float = 1.0
    lamps: float = 0.0
    lamp_spacing: float = 28.0
    bollards: float = 0.0
    edging: float = 0.0  # a second kerb: cycle track, tram line, lawn
    clutter: float = 0.0  # bushes per 100 m of row
    forest: float = 0.0  # trees per 100 m2
    forest_edge: float = 3.0  # m
    yard: float = 0.0  # things per 1000 m2 behind the first line


EDGING = Style(front_kind='wall', front_height=0.12, driveway=60.0)


@dataclass(frozen=True)
class EnvironmentConfig:
    """The kind of place: ground, kerb corners, styles of the land, density of parked and moving vehicles."""

    settlement: str
    terrain: Terrain
    corner_radius: float
    styles: tuple[Style, ...]  # two for each block, and one for islands
    divides: np.ndarray  # (blocks, 3) the line between the two styles of a block: unit normal, metres from the centre
    shift: float  # m added to every distance
    parking: float  # share of parking places taken
    parking_kind: str  # kerb, half (on the sidewalk), bays
    traffic: float  # vehicles per 100 m of lane
    people: float  # pedestrians and cyclists near the vehicle

    def style_numbers(self, site: Site, points: np.ndarray) -> np.ndarray:
        """(P, 2) -> (P,) indices into `styles`."""
        block = site.block_at(points)
        island = site.island[block]
        block = block % len(self.divides)
        line = self.divides[block]
        number = 2 * block + (((points - site.centre) * line[:, :2]).sum(axis=1) > line[:, 2])
        return np.where(island, len(self.styles) - 1, number)


def random_environment(rng: np.random.Generator, plan: Plan, settlement: str = '') -> EnvironmentConfig:
    """A kind of place that suits the roads, or the settlement asked for."""
    wide = max(s.lanes for s in plan.sections) > 3 or any(s.kind == 'carriageway' for s in plan.sections)
    settlements = ['urban', 'suburb', 'industrial', 'country', 'forest', 'park']
    drawn = str(rng.choice(settlements, p=[0.3, 0.12, 0.22, 0.14, 0.12, 0.1] if wide
                           else [0.32, 0.33, 0.1, 0.1, 0.07, 0.08]))
    settlement = settlement or drawn
    built = settlement in ('urban', 'suburb', 'industrial')
    styles = []
    for _ in range(BLOCKS):
        first = random_style(rng, settlement if rng.random() < 0.7 else str(rng.choice(settlements)))
        second = first if rng.random() < 0.55 else random_style(rng, str(rng.choice(settlements)))
        styles += [first, second]
    styles.append(Style(trees=3.6 if rng.random() < 0.4 else 0.0, clutter=float(rng.choice([0.0, 8.0, 30.0])),
                        front=1.8 if rng.random() < 0.3 else 0.0, front_kind=str(rng.choice(['wall', 'hedge', 'rail'])),
                        front_height=float(rng.uniform(0.3, 1.0)), driveway=200.0))
    if rng.random() < LUSH:
        styles = [_lush(rng, style) for style in styles]
    angles = rng.uniform(-math.pi, math.pi, BLOCKS)
    divides = np.stack([np.cos(angles), np.sin(angles), rng.uniform(-25, 25, BLOCKS)], axis=1)
    shift = rng.uniform(-0.15, 0.6) if rng.random() < 0.6 else rng.uniform(0.6, 4.0)
    return EnvironmentConfig(settlement, random_terrain(rng, built), float(rng.uniform(4, 10)), tuple(styles),
                        divides, float(shift),
                        parking=(float(rng.choice([0.0, 0.25, 0.6, 0.9], p=[0.2, 0.2, 0.25, 0.35])) if built
                                 else float(rng.random() < 0.2) * 0.2),
                        parking_kind=str(rng.choice(['kerb', 'half', 'bays'], p=[0.55, 0.25, 0.2])),
                        traffic=float(rng.choice([0.0, 0.4, 1.0, 2.5, 4.0], p=[0.2, 0.3, 0.25, 0.15, 0.1])),
                        people=float(rng.choice([0, 2, 6, 15], p=[0.25, 0.4, 0.25, 0.1])) * (1.0 if built else 0.3))


def _lush(rng: np.random.Generator, style: Style) -> Style:
    """The style with rows of large trees, bushes and things in every yard, as in leafy streets and in the tropics."""
    return replace(style, trees=style.trees or float(rng.choice([0.0, 1.8, 2.6])),
                   tree_spacing=float(rng.uniform(4.5, 9.0)), tree_size=float(rng.uniform(0.9, 1.7)),
                   clutter=style.clutter + float(rng.uniform(4, 30)), yard=style.yard + float(rng.uniform(3, 14)),
                   lamp_spacing=float(rng.uniform(12, 28)))


def random_terrain(rng: np.random.Generator, built: bool) -> Terrain:
    """Slopes, crown and kerb; a ditch or nothing where nobody lives."""
    if built:
        kerb = float(rng.choice([rng.uniform(0.08, 0.18), rng.uniform(0.02, 0.08), 0.0], p=[0.68, 0.22, 0.1]))
        sidewalk, roughness = float(rng.uniform(1.2, 4.5)), float(rng.uniform(0.003, 0.025))
    else:
        kerb = float(rng.choice([0.0, rng.uniform(-0.35, -0.03), rng.uniform(0.05, 0.15)], p=[0.4, 0.35, 0.25]))
        sidewalk, roughness = float(rng.uniform(0.3, 2.5)), float(rng.uniform(0.01, 0.06))
    return Terrain(slope_x=float(np.clip(rng.normal(0, 0.02), -0.07, 0.07)),
                   slope_y=float(np.clip(rng.normal(0, 0.02), -0.07, 0.07)),
                   undulation=float(max(rng.normal(0, 0.25), 0.0)), wavelength=float(rng.uniform(40, 150)),
                   phase=(float(rng.uniform(0, 6.28)), float(rng.uniform(0, 6.28))),
                   crown=float(max(rng.normal(0.05, 0.05), 0.0)), kerb=kerb, sidewalk=sidewalk,
                   verge_slope=float(rng.normal(0, 0.02 if built else 0.07)), roughness=roughness)


def random_style(rng: np.random.Generator, settlement: str) -> Style:
    """One side of a road in this kind of place."""
    def pick(*choices: float) -> float:  # few distances in all, because each costs a contour
        return float(rng.choice(choices))
    lamps = pick(0.5, 1.0, 1.8) if rng.random() < 0.75 else 0.0
    street: dict[str, Any] = dict(edging=pick(1.8, 2.6, 3.6, 5.0) if rng.random() < 0.25 else 0.0,
                  lamps=lamps, lamp_spacing=float(rng.uniform(18, 40)),
                  trees=pick(1.0, 1.8, 2.6) if rng.random() < 0.55 else 0.0, tree_spacing=float(rng.uniform(6, 16)),
                  tree_size=float(rng.uniform(0.6, 1.4)), clutter=float(rng.choice([0.0, 1.0, 4.0])))
    if settlement == 'urban':
        return Style(facades=pick(1.8, 2.6, 3.6, 5.0, 7.0, 9.5), facade_height=float(rng.uniform(7, 15)),
                     facade_length=(8.0, float(rng.uniform(15, 32))), row=float(rng.uniform(0.5, 0.95)),
                     front=pick(0.0, 1.8, 2.6) if rng.random() < 0.3 else 0.0, front_kind=_boundary(rng),
                     front_height=float(rng.uniform(0.6, 1.6)), bollards=pick(0.0, 0.0, 0.5),
                     yard=float(rng.uniform(1, 6)), **street)
    if settlement == 'suburb':
        return Style(facades=pick(3.6, 5.0, 7.0, 9.5, 12.5), facade_height=float(rng.uniform(3.5, 9)),
                     facade_length=(7.0, 15.0), row=float(rng.choice([0.0, 0.15, 0.6])), gap=(2.5, 11.0),
                     front=pick(0.5, 1.0, 1.8, 2.6) if rng.random() < 0.8 else 0.0, front_kind=_boundary(rng),
                     front_height=float(rng.uniform(0.5, 2.0)), driveway=float(rng.uniform(8, 24)),
                     yard=float(rng.uniform(4, 14)), **{**street, 'clutter': float(rng.uniform(1, 10))})
    if settlement == 'industrial':
        return Style(facades=pick(7.0, 9.5, 12.5, 16.0) if rng.random() < 0.7 else 0.0,
                     facade_height=float(rng.uniform(4, 12)), facade_length=(15.0, 50.0), row=0.2, gap=(5.0, 25.0),
                     front=pick(0.5, 1.0, 1.8, 3.6, 7.0) if rng.random() < 0.65 else 0.0,
                     front_kind=str(rng.choice(['fence', 'wall', 'hedge', 'rail'], p=[0.5, 0.3, 0.1, 0.1])),
                     front_height=float(rng.uniform(1.0, 3.0)), driveway=float(rng.uniform(25, 80)),
                     yard=float(rng.uniform(1, 6)), **street)
    if settlement == 'forest':
        return Style(forest=float(rng.uniform(2, 9)), forest_edge=float(rng.uniform(1.0, 7.0)),
                     front=pick(0.5, 1.0) if rng.random() < 0.2 else 0.0, front_kind='rail', front_height=0.75,
                     driveway=200.0, clutter=float(rng.uniform(2, 15)))
    if settlement == 'park':
        return Style(front=pick(0.5, 1.8, 2.6, 3.6) if rng.random() < 0.5 else 0.0, front_kind=_boundary(rng),
                     front_height=float(rng.uniform(0.5, 2.5)), driveway=float(rng.uniform(30, 90)),
                     forest=float(rng.uniform(0.2, 1.2)), forest_edge=float(rng.uniform(1.5, 5)),
                     yard=float(rng.uniform(1, 4)), **street)
    return Style(lamps=pick(0.5, 1.0) if rng.random() < 0.4 else 0.0, lamp_spacing=float(rng.uniform(25, 50)),
                 trees=pick(1.8, 2.6, 3.6) if rng.random() < 0.35 else 0.0, tree_spacing=float(rng.uniform(8, 25)),
                 front=pick(0.5, 1.0, 1.8) if rng.random() < 0.3 else 0.0,
                 front_kind=str(rng.choice(['rail', 'fence', 'hedge'], p=[0.5, 0.3, 0.2])),
                 front_height=float(rng.uniform(0.7, 1.4)), driveway=float(rng.uniform(40, 150)),
                 clutter=float(rng.choice([0.0, 1.0, 6.0, 20.0])), forest=float(rng.uniform(0, 0.25)), forest_edge=4.0)


def _boundary(rng: np.random.Generator) -> str:
    return str(rng.choice(['fence', 'wall', 'hedge'], p=[0.35, 0.35, 0.3]))


def populate_roadside(rng: np.random.Generator, site: Site, place: EnvironmentConfig
                      ) -> tuple[list[Wall], list[Post], list[Bush]]:
    """Everything that stands beside the roads of the site; nothing of it on a road or on what is taken."""
    walls, posts, bushes = [], [], []
    styles, rows = place.styles, _Rows(site, place)
    for style, distance, line in rows.runs([s.facades for s in styles]):
        walls += _buildings(rng, site, style, line, distance)
    for style, _, line in rows.runs([s.front for s in styles]):
        walls += _boundaries(rng, style, line)
    for _, _, line in rows.runs([s.edging for s in styles]):
        walls += _boundaries(rng, EDGING, line)
    walls = site.standing(walls)
    for style, _, line in rows.runs([s.lamps for s in styles]):
        posts += _lamps(rng, site, style, line)
    for style, _, line in rows.runs([s.trees for s in styles]):
        points = _stations(rng, line, style.tree_spacing, 0.35, 0.88)
        posts += _trees(rng, site, points, style.tree_size * np.ones(len(points)))
    for _, _, line in rows.runs([s.bollards for s in styles]):
        posts += _bollards(rng, site, line)
    scattered_posts, scattered_bushes, sheds = _scatter(rng, site, place)
    for style, _, line in rows.runs([2.6 if s.clutter else 0.0 for s in styles]):
        bushes += _clutter(rng, site, style, line)
    return walls + site.standing(sheds), posts + scattered_posts, bushes + scattered_bushes


class _Rows:
    """The rows of a site, cut where the style of the land changes."""

    def __init__(self, site: Site, place: EnvironmentConfig):
        self._site, self._place = site, place
        self._strips: dict[float, list[tuple[int, np.ndarray]]] = {}

    def runs(self, distances: list[float]) -> Iterator[tuple[Style, float, np.ndarray]]:
        """(style, distance, polyline) for every stretch along which a style has the thing at that distance.

        distances: for each style, 0 where it has none.
        """
        for wanted in sorted(set(distances) - {0.0}):
            distance = max(wanted + self._place.shift, 0.4)
            if wanted not in self._strips:
                self._strips[wanted] = [s for line in self._site.rows(distance) for s in self._cut(line)]
            for number, strip in self._strips[wanted]:
                if distances[number] == wanted:
                    yield self._place.styles[number], distance, strip

    def _cut(self, line: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        s = arc_length(line)
        at = np.arange(0.0, s[-1], 1.5)
        if len(at) < 2:
            return
        number = self._place.style_numbers(self._site, point_at(line, at, s))
        edges = [0, *(np.flatnonzero(number[1:] != number[:-1]) + 1).tolist(), len(number)]
        for a, b in zip(edges[:-1], edges[1:]):
            if b - a > 1:
                yield int(number[a]), substring(line, at[a], min(at[b - 1] + 1.5, s[-1]), s)


def _stations(rng: np.random.Generator, line: np.ndarray, spacing: float, jitter: float, keep: float) -> np.ndarray:
    """Points (N, 2) at regular spacing on a polyline, shaken a little, some missing."""
    s = arc_length(line)
    at = np.arange(rng.uniform(0, spacing), s[-1], spacing)
    at = at[rng.random(len(at)) < keep]
    return point_at(line, np.clip(at + rng.normal(0, jitter, len(at)), 0, s[-1]), s)


def _buildings(rng: np.random.Generator, site: Site, style: Style, line: np.ndarray, distance: float) -> list[Wall]:
    """Facades along a run: a front and two sides each, set back by a different amount, with gaps between."""
    s = arc_length(line)
    begin = rng.uniform(-10, 4)
    fronts, heights, depths = [], [], []
    push = rng.uniform(0, 0.8)
    while begin < s[-1] - 3:
        end = begin + rng.uniform(*style.facade_length)
        a, b = max(begin, 0.0), min(end, s[-1])
        if b - a > 3:
            fronts.append((a, b, push if rng.random() < 0.8 else push + rng.uniform(1, 5)))
            heights.append(float(np.clip(style.facade_height * rng.uniform(0.75, 1.25), 3, 16)))
            depths.append(rng.uniform(7, 14))
        begin = end + (0.0 if rng.random() < style.row else rng.uniform(*style.gap))
        if rng.random() < 0.25:
            push = rng.uniform(0, 1.5)
        if rng.random() < 0.04:
            begin += rng.uniform(15, 35)  # a yard, a car park
    if not fronts:
        return []
    f = np.array(fronts)
    p, q = point_at(line, f[:, 0], s), point_at(line, f[:, 1], s)
    t = q - p
    length = np.hypot(t[:, 0], t[:, 1])
    t = t / np.maximum(length, 1e-6)[:, None]
    n = site.away((p + q) / 2, t)
    deep = site.distance((p + q) / 2 + 9.0 * n) > distance + 4.0  # there is land for a house
    p, q = p + n * f[:, 2:3], q + n * f[:, 2:3]
    walls = []
    for i in range(len(f)):
        if length[i] < 3 or not deep[i]:
            continue
        depth = n[i] * depths[i]
        walls.append(Wall(_front(rng, p[i], q[i], n[i]), heights[i], 0.3, 'facade'))
        walls.append(Wall(np.stack([p[i], p[i] + depth]), heights[i], 0.3, 'facade'))
        walls.append(Wall(np.stack([q[i], q[i] + depth]), heights[i], 0.3, 'facade'))
        if rng.random() < 0.2:  # a porch, a bay, steps
            w, d = rng.uniform(1.5, 4), min(rng.uniform(0.6, 1.6), max(distance - 1.5, 0.3))
            m = p[i] + (q[i] - p[i]) * rng.uniform(0.2, 0.8)
            walls.append(Wall(np.stack([m - t[i] * w / 2, m - t[i] * w / 2 - n[i] * d, m + t[i] * w / 2 - n[i] * d,
                                        m + t[i] * w / 2]), float(rng.uniform(1, 4)), 0.25, 'facade'))
    return walls


def _front(rng: np.random.Generator, p: np.ndarray, q: np.ndarray, away: np.ndarray) -> np.ndarray:
    """A front from p to q: flat, or stepping back and forth by up to a metre."""
    if rng.random() < 0.4:
        return np.stack([p, q])
    steps = np.sort(rng.uniform(0.05, 0.95, int(rng.integers(1, 5))))
    back = rng.uniform(0.0, 1.0, len(steps) + 1) * (rng.random(len(steps) + 1) < 0.6)
    share, depth = np.repeat([0.0, *steps, 1.0], 2)[1:-1], np.repeat(back, 2)
    return np.asarray(p + share[:, None] * (q - p) + depth[:, None] * away)


def _boundaries(rng: np.random.Generator, style: Style, line: np.ndarray) -> list[Wall]:
    """Front-garden walls, fences, hedges, guard rails along a run, with openings for drives and doors."""
    s = arc_length(line)
    walls, begin, kind, height = [], rng.uniform(0, 6), style.front_kind, style.front_height
    while begin < s[-1] - 1.5:
        end = min(begin + style.driveway * rng.uniform(0.5, 1.5), s[-1])
        if end - begin > 1.2 and rng.random() < 0.9:
            thickness = {'fence': 0.08, 'wall': 0.25, 'hedge': rng.uniform(0.4, 1.2), 'rail': 0.1}[kind]
            porosity = {'fence': rng.uniform(0.3, 0.75), 'wall': 0.0, 'hedge': rng.uniform(0.02, 0.2),
                        'rail': rng.uniform(0.0, 0.4)}[kind]
            walls.append(Wall(substring(line, begin, end, s), float(height), float(thickness), kind, float(porosity)))
        begin = end + rng.uniform(1.0, 5.0)
        if kind != 'rail' and style.front and rng.random() < 0.35:  # the next garden
            kind, height = _boundary(rng), float(np.clip(style.front_height * rng.uniform(0.6, 1.5), 0.4, 3))
    return walls


def _room(site: Site, points: np.ndarray, radius: float) -> np.ndarray:
    """Those of the (N, 2) points where a post can stand; their places are taken."""
    points = points[site.open_land(points, 0.6)] if len(points) else points
    site.take_discs(points, np.full(len(points), radius + 0.15))
    return points


def _lamps(rng: np.random.Generator, site: Site, style: Style, line: np.ndarray) -> list[Post]:
    radius, height = float(rng.uniform(0.04, 0.15)), float(rng.uniform(4, 10))
    kind = 'lamp' if rng.random() < 0.7 else 'pole'
    points = _room(site, _stations(rng, line, style.lamp_spacing, 0.4, 0.93), radius)
    return [Post(x, y, radius, height, kind) for x, y in points.tolist()]


def _bollards(rng: np.random.Generator, site: Site, line: np.ndarray) -> list[Post]:
    points = _stations(rng, line, rng.uniform(1.4, 3.0), 0.03, 0.97)
    groups = np.sin(np.arange(len(points)) * 0.2 + rng.uniform(0, 6)) > 0.2
    return [Post(x, y, 0.08, 0.95, 'bollard') for x, y in _room(site, points[groups], 0.08).tolist()]


def _trees(rng: np.random.Generator, site: Site, points: np.ndarray, size: np.ndarray) -> list[Post]:
    """Trees of relative sizes (N,) at those of the (N, 2) points that are free."""
    kept = site.open_land(points, 0.6)
    points, size = points[kept], size[kept] * rng.uniform(0.75, 1.25, int(kept.sum()))
    top = np.clip(9 * size, 3.5, 18)
    bottom = np.clip(top * rng.uniform(0.18, 0.4, len(top)), 1.2, 5)
    radius, crown = np.clip(0.17 * size, 0.06, 0.45), np.clip(2.6 * size, 0.8, 5)
    site.take_discs(points, radius + 0.15)
    return [Post(x, y, r, 0.7 * t, 'tree', c, b, t) for x, y, r, t, c, b in
            np.column_stack([points, radius, top, crown, bottom]).tolist()]


def _clutter(rng: np.random.Generator, site: Site, style: Style, line: np.ndarray) -> list[Bush]:
    s = arc_length(line)
    count = rng.poisson(style.clutter * s[-1] / 100)
    points = point_at(line, rng.uniform(0, s[-1], count), s) + rng.normal(0, 1.5, (count, 2))
    return _bushes(rng, site, points)


def _bushes(rng: np.random.Generator, site: Site, points: np.ndarray, large: float = 1.4) -> list[Bush]:
    if len(points) == 0:
        return []
    radius = rng.uniform(0.25, large, len(points))
    good = site.open_land(points, radius + 0.4)
    return [Bush(float(x), float(y), float(r), float(r * h)) for (x, y), r, h in
            zip(points[good], radius[good], rng.uniform(0.7, 1.8, int(good.sum())))]


def _scatter(rng: np.random.Generator, site: Site, place: EnvironmentConfig
             ) -> tuple[list[Post], list[Bush], list[Wall]]:
    """Forest trees with undergrowth, trees on open land, sheds and rear buildings behind the first line."""
    side = 2 * site.extent - 10.0
    count = int(side * side / SCATTER_M2)
    points = site.centre + rng.uniform(-side / 2, side / 2, (count, 2))
    area = SCATTER_M2  # m2 that each point stands for
    d = site.distance(points)
    numbers = place.style_numbers(site, points)
    dice = rng.random(count)
    near_edge = np.array([s.forest_edge for s in place.styles])[numbers]
    density = np.array([s.forest for s in place.styles])[numbers] / 100 * area
    tree = (d > near_edge) & (dice < density * np.where(d < near_edge + 12, 1.0, 0.45))
    posts = _trees(rng, site, points[tree], rng.uniform(0.5, 1.5, int(tree.sum())))
    under = (d > near_edge) & (d < near_edge + 9) & (rng.random(count) < density * 0.7)
    bushes = _bushes(rng, site, points[under] + rng.normal(0, 1, (int(under.sum()), 2)), 2.2)
    yard = np.array([s.yard for s in place.styles])[numbers] / 1000 * area
    first_line = np.array([max(s.facades, s.front) for s in place.styles])[numbers] + place.shift
    back = (d > first_line + 2.0) & (dice > 1 - yard)
    sheds = []
    for x, y in points[back]:
        if rng.random() < 0.5:
            bushes += _bushes(rng, site, np.array([[x, y]]) + rng.normal(0, 2, (3, 2)))
            continue
        c = np.array([x, y])
        a = site.uphill(c) + (rng.normal(0, 0.03) if rng.random() < 0.8 else rng.uniform(-math.pi, math.pi))
        length, width = rng.uniform(2, 12), rng.uniform(2, 8)
        t, n = np.array([math.cos(a), math.sin(a)]), np.array([-math.sin(a), math.cos(a)])
        corners = np.stack([c, c + t * length, c + t * length + n * width, c + n * width, c])
        sheds.append(Wall(corners, float(rng.uniform(2, 7)), 0.25, 'facade'))
    return posts, bushes, sheds
