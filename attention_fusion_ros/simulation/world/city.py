# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The streets along a route through real roads, and what stands beside them: furnished square by square.

The world is in the local frame of the roads, so that a place in it has a latitude and a longitude. It is flat but for
its terrain: bridges and tunnels that the route takes lie on the ground, others are left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from attention_fusion_ros.maps.kinds import KINDS as MAP_KINDS
from attention_fusion_ros.maps.local_roads import LocalRoads
from attention_fusion_ros.maps.route import Route
from attention_fusion_ros.maps.tags import LANE_M
from attention_fusion_ros.simulation.world.details import Details
from attention_fusion_ros.simulation.world.generate import populate_world
from attention_fusion_ros.simulation.world.osm import KINDS, SMOOTH_M, section_of_kind, tagged_section
from attention_fusion_ros.simulation.world.polyline import arc_length, project, smoothed
from attention_fusion_ros.simulation.world.profile import V2
from attention_fusion_ros.simulation.world.roads import Piece, Plan, Section, simplify
from attention_fusion_ros.simulation.world.roadside import random_environment
from attention_fusion_ros.simulation.world.world import World

CORRIDOR_M = 200.0  # around the route, of which roads are taken
SQUARE_M = 120.0
MARGIN_M = 20.0  # around a square, furnished with it so that what stands at its edge is as elsewhere
SIGHT_M = 75.0  # that sensors see at most; raster and rays end at 60
ROADS_M = 170.0  # around the vehicle, of which roads are in its world
CLEAR_M = 1.6  # on both sides of the driven line that stay free
SETTLEMENTS = ('urban', 'suburb')


@dataclass(frozen=True)
class Streets:
    """The streets around a route. `way` of the plan are those of the route, whole, in driving order."""

    plan: Plan
    begin: float  # m along the way at which the route begins
    end: float


def streets_along(rng: np.random.Generator, roads: LocalRoads, route: Route) -> Streets:
    """The plan of the roads within CORRIDOR_M of a route that was planned on them."""
    graph, kinds = roads.graph, list(MAP_KINDS)
    own = set(route.edges)
    near: set[int] = set()
    for place in route.xy[::8].tolist() + route.xy[-1:].tolist():
        near |= set(roads.edges_in(np.array(place) - CORRIDOR_M, np.array(place) + CORRIDOR_M).tolist())
    sections = {kind: section_of_kind(rng, kind if kind in KINDS else 'residential') for kind in MAP_KINDS}
    plan, index = Plan(), {}
    own_lines = [roads.line(edge) for edge in own]
    for edge in sorted(near | own):
        # Bridges and tunnels, also those that no tag tells: no road on the ground crosses another without a junction.
        if edge not in own and (graph.layers[edge] or any(_cross(roads.line(edge), line) for line in own_lines)):
            continue
        kind = kinds[graph.kinds[edge]]
        section = _section(roads, edge, kind, sections[kind])
        index[edge] = plan.add(simplify(smoothed(roads.line(edge), SMOOTH_M)), section)
    plan.way = [Piece(index[e], plan.centres[index[e]][::1 if f else -1], f)
                for e, f in zip(route.edges, route.forward)]
    return Streets(plan, *_ends(plan, route))


def _cross(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two lines cross other than where both have a vertex."""
    (low_a, high_a), (low_b, high_b) = ((line.min(axis=0), line.max(axis=0)) for line in (a, b))
    if (low_a > high_b).any() or (low_b > high_a).any():
        return False
    u, v = np.diff(a, axis=0)[:, None], np.diff(b, axis=0)[None]
    between = b[None, :-1] - a[:-1, None]
    area = u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
    with np.errstate(divide='ignore', invalid='ignore'):
        s = (between[..., 0] * v[..., 1] - between[..., 1] * v[..., 0]) / area
        t = (between[..., 0] * u[..., 1] - between[..., 1] * u[..., 0]) / area
    return bool(((s > 1e-6) & (s < 1 - 1e-6) & (t > 1e-6) & (t < 1 - 1e-6)).any())


def _section(roads: LocalRoads, edge: int, kind: str, usual: Section) -> Section:
    """As scenes of class `osm` have it; where a tag tells the width, as many lanes as fit into it."""
    graph = roads.graph
    width, oneway = float(graph.widths[edge]), bool(graph.oneway[edge])
    default = MAP_KINDS[kind].oneway_width if oneway else MAP_KINDS[kind].width
    lanes = 0 if abs(width - default) < 0.01 else max(1, round(width / LANE_M))
    in_kinds = kind if kind in KINDS else 'residential'
    if lanes and oneway and in_kinds.split('_')[0] not in ('motorway', 'trunk', 'primary', 'secondary'):
        lanes *= 2  # which `tagged_section` halves: it takes them for both directions
    return tagged_section(usual, lanes, oneway, bool(graph.roundabout[edge]), in_kinds)


def _ends(plan: Plan, route: Route) -> tuple[float, float]:
    """Where the route begins and ends along the way, which is made of whole streets."""
    lengths = [float(arc_length(p.xy)[-1]) for p in plan.way]
    begin, _ = project(plan.way[0].xy, route.xy[0])
    end, _ = project(plan.way[-1].xy, route.xy[-1])
    return begin, sum(lengths[:-1]) + end


class City:
    """The world around any place of a drive: the same whatever was asked for before."""

    def __init__(self, streets: Streets, line: np.ndarray, seed: int, left_hand: bool = False):
        """line: (P, 2) m, the way that the vehicle will drive."""
        rng = np.random.default_rng([seed, 12])
        self._plan, self._line, self._seed, self._left_hand = streets.plan, line, seed, left_hand
        self._details = Details.draw(rng, V2, self._plan)
        place = self._details.environment(random_environment(rng, self._plan, str(rng.choice(SETTLEMENTS))))
        # Slopes of a scene would make mountains of a city.
        terrain = replace(place.terrain, slope_x=place.terrain.slope_x / 4, slope_y=place.terrain.slope_y / 4)
        self._place = replace(place, terrain=terrain, parking=max(place.parking, 0.3), traffic=min(place.traffic, 0.6),
                              people=min(place.people, 6.0))
        self._roads = self._plan.roads()
        self._lows, self._highs = (np.array([f(c, axis=0) for c in self._plan.centres]) for f in (np.min, np.max))
        self._squares: dict[tuple[int, int], World] = {}
        self._around: tuple[tuple[tuple[int, int], ...], tuple[int, ...], World] | None = None

    def around(self, place: np.ndarray) -> World:
        """The world in sight of (2,) m: no route, and a pose that means nothing."""
        first, last = (np.floor((place + d) / SQUARE_M).astype(int) for d in (-SIGHT_M, SIGHT_M))
        squares = tuple((i, j) for i in range(first[0], last[0] + 1) for j in range(first[1], last[1] + 1))
        roads = tuple(self._near(place, ROADS_M))
        if self._around is None or self._around[:2] != (squares, roads):
            parts = [self._square(s) for s in squares]

            def together(name: str) -> Any:
                return tuple(thing for part in parts for thing in getattr(part, name))

            self._around = squares, roads, replace(
                self._bare(roads), walls=together('walls'), posts=together('posts'), bushes=together('bushes'),
                vehicles=together('vehicles'), islands=together('islands'), aprons=together('aprons'))
        return self._around[2]

    def _near(self, place: np.ndarray, reach: float) -> list[int]:
        near = ((self._lows < place + reach) & (self._highs > place - reach)).all(axis=1)
        return [int(i) for i in np.flatnonzero(near)]

    def _bare(self, roads: tuple[int, ...]) -> World:
        return World('osm', tuple(self._roads[i] for i in roads), self._place.terrain, seed=self._seed,
                     extra={'corner_radius': self._place.corner_radius, 'left_hand': self._left_hand})

    def _square(self, number: tuple[int, int]) -> World:
        """One square, furnished: what stands in it, or of what the middle lies in it."""
        if number not in self._squares:
            low = SQUARE_M * np.array(number)
            centre, extent = low + SQUARE_M / 2, SQUARE_M / 2 + MARGIN_M
            near = tuple(self._near(centre, extent + 30.0))
            rng = np.random.default_rng([self._seed, 13, number[0] % (1 << 32), number[1] % (1 << 32)])
            plan = Plan([self._plan.centres[i] for i in near], [self._plan.sections[i] for i in near])
            world = replace(self._bare(near), pose=(float(centre[0]), float(centre[1]), 0.0))
            self._squares[number] = world if not near else _within(populate_world(
                rng, world, plan, self._place, self._left_hand, extent, centre, replace(self._details, rng=rng),
                (self._line, CLEAR_M)), low)
        return self._squares[number]


def _within(world: World, low: np.ndarray) -> World:
    """What lies in the square from `low` (2,) on: vehicles whole, everything else by its middle."""
    def inside(xy: np.ndarray, margin: float = 0.0) -> bool:
        return bool((xy >= low + margin).all() and (xy < low + SQUARE_M - margin).all())

    def middle(line: np.ndarray) -> np.ndarray:
        return np.asarray((line.min(axis=0) + line.max(axis=0)) / 2)

    return replace(
        world, walls=tuple(w for w in world.walls if inside(middle(w.line))),
        posts=tuple(p for p in world.posts if inside(np.array([p.x, p.y]))),
        bushes=tuple(b for b in world.bushes if inside(np.array([b.x, b.y]))),
        aprons=tuple(a for a in world.aprons if inside(middle(a.line))),
        islands=tuple(i for i in world.islands if inside(middle(i.line))),
        vehicles=tuple(v for v in world.vehicles if inside(np.array([v.x, v.y]), math.hypot(v.length, v.width) / 2)))
