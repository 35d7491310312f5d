# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Strips of land between the two directions of a street: where they lie, and what grows and stands on them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from attention_fusion_ros.simulation.world.polyline import (
    arc_length,
    distances,
    offset_curve,
    point_at,
    project,
    resample,
    substring,
)
from attention_fusion_ros.simulation.world.site import Site
from attention_fusion_ros.simulation.world.world import Bush, Island, Post, Road, Wall

NARROWEST_M, WIDEST_M = 0.8, 14.0  # of a gap between two carriageways that counts as a median
MOUTH_M = 5.0  # beyond the edge of a crossing road where an island begins
SHORTEST_M = 6.0  # of an island
STEP_M = 2.0
Strip = tuple[np.ndarray, float]  # (P, 2) line and width, m


def islands_of(roads: Sequence[Road], rng: np.random.Generator) -> list[Island]:
    """The medians of roads that have one, with openings where other roads come in and here and there between."""
    islands = []
    for number, road in enumerate(roads):
        if road.median <= 0:
            continue
        planted = bool(rng.random() < 0.8)
        others = [r for i, r in enumerate(roads) if i != number and r.median <= 0]
        for line in _clear_of(road.centre, others, rng):
            islands.append(Island(line, road.median, planted))
    return islands


def _clear_of(centre: np.ndarray, others: Sequence[Road], rng: np.random.Generator) -> list[np.ndarray]:
    s = arc_length(centre)
    at = np.arange(0.0, s[-1], STEP_M)
    points = point_at(centre, at, s)
    open_ = np.zeros(len(at), bool)
    for road in others:
        near = np.array([distances(road.centre, p).min() for p in points])
        open_ |= near < road.width / 2 + MOUTH_M
    gap = float(rng.uniform(20, 60))
    while gap < s[-1] and rng.random() < 0.6:  # where vehicles turn round
        open_ |= np.abs(at - gap) < rng.uniform(3, 7)
        gap += float(rng.uniform(40, 110))
    edges = np.flatnonzero(np.diff((~open_).astype(np.int8), prepend=0, append=0))
    return [substring(centre, at[a], at[b - 1], s) for a, b in zip(edges[::2], edges[1::2])
            if at[b - 1] - at[a] >= SHORTEST_M]


def gaps_between(roads: Sequence[Road]) -> list[Strip]:
    """The strips of land between one-way roads that run side by side against each other."""
    strips: list[Strip] = []
    single = [r for r in roads if r.oneway and r.kind != 'roundabout' and arc_length(r.centre)[-1] > 15]
    for i, a in enumerate(single):
        points = resample(a.centre, 4.0)
        ahead = np.gradient(points, axis=0)
        for b in single[i + 1:]:
            middle, widths = [], []
            for point, way in zip(points, ahead):
                s, away = project(b.centre, point)
                width = away - (a.width + b.width) / 2
                if NARROWEST_M < width < WIDEST_M:
                    there, on = point_at(b.centre, np.array([s, s + 1.0]))
                    if (on - there) @ way < -0.8 * np.linalg.norm(way) * np.linalg.norm(on - there):
                        u = (there - point) / away
                        middle.append(point + u * (a.width + width) / 2)
                        widths.append(width)
                        continue
                _keep(strips, middle, widths)
                middle, widths = [], []
            _keep(strips, middle, widths)
    return strips


def _keep(strips: list[Strip], middle: list[np.ndarray], widths: list[float]) -> None:
    if len(middle) > 3:
        strips.append((np.array(middle), float(min(widths))))


def plant(rng: np.random.Generator, site: Site, strips: Sequence[Strip]) -> tuple[list[Wall], list[Post], list[Bush]]:
    """Trees, hedges, bushes, rails and lamps on strips of land, one manner for all of them."""
    walls: list[Wall] = []
    posts: list[Post] = []
    bushes: list[Bush] = []
    trees, hedge, rail, lamps = rng.random(4) < (0.65, 0.35, 0.25, 0.3)
    spacing, size = float(rng.uniform(4.5, 12)), float(rng.uniform(0.5, 1.5))
    clumps = float(rng.choice([0.0, 4.0, 15.0, 40.0]))  # bushes per 100 m
    height = float(rng.uniform(0.5, 1.8))
    for line, width in strips:
        s = arc_length(line)
        if hedge and width > 1.2:
            thick = float(min(rng.uniform(0.5, 2.0), width - 0.7))
            walls.append(Wall(line, height, thick, 'hedge', float(rng.uniform(0.02, 0.2))))
        elif rail:
            for side in (1, -1) if width > 2.5 else (0,):
                walls.append(Wall(offset_curve(line, side * (width / 2 - 0.5)), 0.75, 0.1, 'rail',
                                  float(rng.uniform(0.0, 0.4))))
        if trees and width > 1.0:
            at = np.arange(rng.uniform(0, spacing), s[-1], spacing)
            for x, y in point_at(line, at + rng.normal(0, 0.3, len(at)), s).tolist():
                if site.open_land(np.array([x, y]), 0.35):
                    scale = size * rng.uniform(0.75, 1.25)
                    top = float(np.clip(9 * scale, 3.0, 16))
                    posts.append(Post(x, y, float(np.clip(0.15 * scale, 0.06, 0.4)), 0.7 * top, 'tree',
                                      float(np.clip(2.4 * scale, 0.7, 5)), float(np.clip(0.3 * top, 1.2, 5)), top))
        if lamps:
            at = np.arange(rng.uniform(0, 25), s[-1], rng.uniform(20, 35))
            posts += [Post(x, y, 0.08, 7.0, 'lamp') for x, y in point_at(line, at, s).tolist()
                      if site.open_land(np.array([x, y]), 0.2)]
        count = int(rng.poisson(clumps * s[-1] / 100))
        aside = rng.uniform(-0.5, 0.5, count) * max(width - 1.2, 0.0)
        for at_bush, left in zip(rng.uniform(0, s[-1], count), aside):
            a, b = point_at(line, np.array([at_bush, at_bush + 0.5]), s)
            x, y = a + left * _left(b - a)
            radius = float(rng.uniform(0.25, min(1.2, width / 2)))
            if site.open_land(np.array([x, y]), radius + 0.1):
                bushes.append(Bush(float(x), float(y), radius, radius * float(rng.uniform(0.7, 1.6))))
    return site.standing(walls, margin=0.15), posts, bushes


def _left(way: np.ndarray) -> np.ndarray:
    length = max(math.hypot(*way), 1e-9)
    return np.array([-way[1], way[0]]) / length
