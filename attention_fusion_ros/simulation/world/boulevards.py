# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Layouts beyond those of `layouts`: streets with a median, drawn as one way or as two, and acute junctions.

All are drawn for traffic on the right, as in `layouts`.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from attention_fusion_ros.simulation.world.polyline import arc_length, offset_curve
from attention_fusion_ros.simulation.world.roads import (
    STEP_M,
    Piece,
    Plan,
    Section,
    clothoid_bump,
    curved,
    junction_arm,
    random_section,
)

REACH_M = 130.0  # how far roads lead away from the middle
ACUTE_DEG = (20.0, 60.0)


def boulevard(rng: np.random.Generator) -> Plan:
    """A street with a median: one way of the map down its middle, or one for each direction; perhaps a crossing."""
    return _one_way_of_the_map(rng) if rng.random() < 0.4 else _a_way_each(rng)


def acute(rng: np.random.Generator) -> Plan:
    """A side road, or a crossing one, at 20 to 60 degrees to the main road."""
    main = replace(random_section(rng), oneway=False)
    minor = replace(random_section(rng, minor=True), oneway=False)
    minor = minor if minor.width <= main.width else replace(main, parking=(0.0, 0.0))
    angle = math.radians(rng.uniform(*ACUTE_DEG)) * rng.choice([-1, 1]) + (math.pi if rng.random() < 0.5 else 0.0)
    headings, sections = [math.pi, float(rng.normal(0, 0.05)), angle], [main.reversed(), main, minor]
    if rng.random() < 0.5:
        headings.append(angle + math.pi + float(rng.normal(0, 0.05)))
        sections.append(minor.reversed())
    return _star(rng, headings, sections, straight_length=25.0)


def _star(rng: np.random.Generator, headings: list[float], sections: list[Section], straight_length: float) -> Plan:
    plan = Plan()
    for heading, section in zip(headings, sections):
        plan.add(junction_arm(rng, (0, 0), heading, REACH_M, straight_length), section)
    inward, outward = rng.permutation(len(headings))[:2]
    plan.drive((int(inward), False), (int(outward), True))
    return plan


def _axis(rng: np.random.Generator) -> np.ndarray:
    s = np.arange(0, 2 * REACH_M, STEP_M)
    bend = clothoid_bump(s, REACH_M + rng.uniform(-60, 40), rng.uniform(20, 80), rng.normal(0, 1 / 120))
    return curved((0, 0), 0.0, s, bend * (rng.random() < 0.5))


def _one_way_of_the_map(rng: np.random.Generator) -> Plan:
    """The centre line lies on the median, which ends before crossings."""
    lanes = int(rng.choice([2, 4, 6], p=[0.45, 0.45, 0.1]))
    strip = float(rng.uniform(1.9, 2.3)) if rng.random() < 0.4 else 0.0
    main = Section(lanes, float(rng.uniform(3.0, 4.2)), (strip, strip), median=float(rng.uniform(1.2, 7.0)))
    side = Section(2, float(rng.uniform(2.7, 3.5)))
    headings, sections = [math.pi, float(rng.normal(0, 0.05))], [main.reversed(), main]
    across = math.pi / 2 + float(rng.normal(0, 0.2))
    if rng.random() < 0.75:
        headings.append(across)
        sections.append(side)
        if rng.random() < 0.5:
            headings.append(across - math.pi)
            sections.append(side.reversed())
    plan = _star(rng, headings, sections, straight_length=15.0)
    if rng.random() < 0.6:  # straight on
        plan.drive((0, False), (1, True))
    return plan


def _a_way_each(rng: np.random.Generator) -> Plan:
    """Two carriageways on both sides of a median, each a one-way street, crossed by up to two roads."""
    plan, axis = Plan(), _axis(rng)
    section = Section(int(rng.choice([1, 2, 3], p=[0.3, 0.55, 0.15])), float(rng.uniform(2.9, 3.8)), oneway=True,
                      kind='carriageway')
    half = section.width / 2 + float(rng.uniform(1.2, 12.0)) / 2
    length = arc_length(axis)[-1]
    middle = length / 2
    places = [middle] if rng.random() < 0.6 else []
    if rng.random() < 0.4:
        places.append(middle + float(rng.choice([-1, 1]) * rng.uniform(40, 80)))
    on = plan.add(offset_curve(axis, -half), section)
    back = plan.add(offset_curve(axis, half)[::-1], section)
    crossings = [_crossing(rng, plan, on, back, at) for at in places]
    way = plan.centres[on]
    plan.way, plan.focus = [Piece(on, way, True)], float(arc_length(way)[-1]) / 2
    if crossings and rng.random() < 0.5:
        _turn_off(rng, plan, on, *crossings[0])
    return plan


def _crossing(rng: np.random.Generator, plan: Plan, on: int, back: int,
              at: float) -> tuple[np.ndarray, int | None, dict[str, int]]:
    """(where the near carriageway is met, the link through the median or None, the side roads by side)."""
    side = Section(2, float(rng.uniform(2.6, 3.3)))
    right, heading = plan.insert_vertex(on, at)
    left, _ = plan.insert_vertex(back, float(arc_length(plan.centres[back])[-1]) - at)
    link = plan.add(np.stack([right, left]), side) if rng.random() < 0.7 else None
    lean, arms = float(rng.normal(0, 0.1)), {}
    if rng.random() < 0.8:
        arms['right'] = plan.add(junction_arm(rng, right, heading - math.pi / 2 + lean, REACH_M), side)
    if rng.random() < 0.6:
        arms['left'] = plan.add(junction_arm(rng, left, heading + math.pi / 2 + lean, REACH_M), side)
    return right, link, arms


def _turn_off(rng: np.random.Generator, plan: Plan, on: int, right: np.ndarray, link: int | None,
              arms: dict[str, int]) -> None:
    """Let the way leave the near carriageway at a crossing, to the right or through the median to the left."""
    k = int(np.argmin(np.abs(plan.centres[on] - right).sum(axis=1)))
    before = Piece(on, plan.centres[on][:k + 1], True)
    ways = [[before, Piece(arms['right'], plan.centres[arms['right']], True)]] if 'right' in arms else []
    if 'left' in arms and link is not None:
        ways.append([before, Piece(link, plan.centres[link], True), Piece(arms['left'], plan.centres[arms['left']],
                                                                          True)])
    if ways:
        plan.way = ways[int(rng.integers(len(ways)))]
        plan.focus = float(arc_length(before.xy)[-1])
