# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a profile adds to a world. It draws from a generator of its own, so that the rest of a scene stays as it was."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from attention_fusion_ros.simulation.world.kerbside import parked_rows, paved_places
from attention_fusion_ros.simulation.world.medians import gaps_between, islands_of, plant
from attention_fusion_ros.simulation.world.profile import WorldProfile
from attention_fusion_ros.simulation.world.roads import Plan, too_close
from attention_fusion_ros.simulation.world.roadside import EnvironmentConfig
from attention_fusion_ros.simulation.world.site import Site
from attention_fusion_ros.simulation.world.world import Apron, Bush, Island, Post, Vehicle, Wall, World


@dataclass
class Things:
    """What is put into a world."""

    walls: list[Wall] = field(default_factory=list)
    posts: list[Post] = field(default_factory=list)
    bushes: list[Bush] = field(default_factory=list)
    vehicles: list[Vehicle] = field(default_factory=list)
    aprons: list[Apron] = field(default_factory=list)


@dataclass(frozen=True)
class Details:
    """Which of them this scene has."""

    rng: np.random.Generator
    planted_gap: bool
    parked_rows: bool
    lawn: bool
    ditch: bool
    driveways: bool
    car_parks: bool
    screens: bool
    broad: bool

    @staticmethod
    def draw(rng: np.random.Generator, profile: WorldProfile, plan: Plan) -> Details:
        """Decide by the shares of the profile; rows of parked cars hardly stand beside fast roads."""
        names = ('planted_gap', 'parked_rows', 'lawn', 'ditch', 'driveways', 'car_parks', 'screens', 'broad')
        there = {name: bool(rng.random() < getattr(profile, name)) for name in names}
        if any(s.kind == 'carriageway' and s.lanes > 2 for s in plan.sections):
            there['parked_rows'] &= bool(rng.random() < 0.3)
        return Details(rng, **there)

    def broadened(self, plan: Plan) -> Plan:
        """The plan with wider lanes, if that fits."""
        if not self.broad:
            return plan
        factor = float(self.rng.uniform(1.15, 1.5))
        wider = replace(plan, sections=[replace(s, lane_width=min(s.lane_width * factor, 5.5)) for s in plan.sections])
        return plan if too_close(wider) else wider

    def environment(self, place: EnvironmentConfig) -> EnvironmentConfig:
        """The place with its verges, ditches and screens."""
        rng, terrain, styles = self.rng, place.terrain, place.styles
        if self.lawn:
            low = float(rng.uniform(0.0, 0.06)) if rng.random() < 0.6 else terrain.kerb
            terrain = replace(terrain, lawn=float(rng.uniform(1.0, 4.5)), kerb=low)
            terrain = replace(terrain, sidewalk=terrain.lawn + float(rng.uniform(1.2, 2.5)))
        if self.ditch and terrain.kerb < 0.05:
            terrain = replace(terrain, ditch_depth=float(rng.choice([rng.uniform(0.15, 0.9), -rng.uniform(0.2, 1.5)])),
                              ditch_width=float(rng.uniform(1.5, 5.0)))
        if self.screens:
            noise = rng.random() < 0.5
            kind, height = ('wall', rng.uniform(2.2, 4.5)) if noise else ('hedge', rng.uniform(0.8, 2.5))
            distance = float(rng.choice([0.5, 1.8, 3.6]))
            some = rng.random(len(styles)) < 0.7
            styles = tuple(replace(s, front=distance, front_kind=kind, front_height=float(height), driveway=120.0)
                           if chosen else s for s, chosen in zip(styles, some))
        return replace(place, terrain=terrain, styles=styles)

    def islands(self, world: World) -> list[Island]:
        """The medians that lie on roads."""
        return islands_of(world.roads, self.rng)

    def before(self, site: Site, plan: Plan, world: World) -> Things:
        """Everything that is there before the roadside is furnished; its ground is taken."""
        things = Things()
        strips = [(island.line, island.width) for island in world.islands if island.planted]
        if self.planted_gap:
            strips += gaps_between(world.roads)
        if strips:
            things.walls, things.posts, things.bushes = plant(self.rng, site, strips)
        for line, width in [(island.line, island.width) for island in world.islands] + strips:
            for a, b in zip(line[:-1], line[1:]):  # nothing else is put there
                middle, way = (a + b) / 2, b - a
                site.take_box(float(middle[0]), float(middle[1]), math.atan2(way[1], way[0]), float(np.hypot(*way)),
                              max(width, 0.4))
        if self.driveways or self.car_parks:
            things.aprons, things.vehicles = paved_places(self.rng, site, plan, self.driveways, self.car_parks)
        if self.parked_rows:
            things.vehicles += parked_rows(self.rng, site, plan)
        return things
