# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The road layouts of the scene classes, each around the origin of its own frame, with one way through it.

All are drawn for traffic on the right (roundabouts turn left, see `Plan.mirrored` for the other half of the world).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from attention_fusion_ros.simulation.world.boulevards import acute, boulevard
from attention_fusion_ros.simulation.world.polyline import arc_length, offset_curve, point_at, project
from attention_fusion_ros.simulation.world.roads import (
    STEP_M,
    Piece,
    Plan,
    Section,
    clothoid_bump,
    curved,
    junction_arm,
    random_section,
    simplify,
    too_close,
)

REACH_M = 130.0  # how far arms lead away from the junction


def make_plan(rng: np.random.Generator, scene_class: str) -> Plan:
    """A plan of the class. Tries again when arms bend into each other."""
    for _ in range(12):
        plan = LAYOUTS[scene_class](rng)
        if not too_close(plan):
            break
    return plan


def _straight(rng: np.random.Generator) -> Plan:
    plan = Plan()
    s = np.arange(0, 2 * REACH_M, STEP_M)
    bend = rng.normal(0, 1 / 2000) * np.ones_like(s)
    road = plan.add(curved((0, 0), 0.0, s, bend), random_section(rng))
    return _along(rng, plan, road)


def _along(rng: np.random.Generator, plan: Plan, road: int, middle: float = REACH_M) -> Plan:
    forward = plan.sections[road].oneway or rng.random() < 0.5
    plan.drive((road, bool(forward)))
    plan.focus = middle if forward else plan.focus - middle
    return plan


def _curve(rng: np.random.Generator) -> Plan:
    plan = Plan()
    s = np.arange(0, 2 * REACH_M, STEP_M)
    radius = float(np.exp(rng.uniform(math.log(9), math.log(180))))
    turn = float(min(rng.uniform(0.25, 1.0) * math.pi * 0.75, 120 / radius))
    side = rng.choice([-1, 1])
    length = turn * radius
    curvature = clothoid_bump(s, REACH_M - length / 2, length, side / radius)
    if rng.random() < 0.3:  # an S
        radius2 = float(rng.uniform(25, 120))
        length2 = rng.uniform(0.2, 0.8) * min(radius2, 80)
        curvature += clothoid_bump(s, REACH_M + length / 2 + rng.uniform(5, 30), length2, -side / radius2)
    section = random_section(rng)
    if radius < section.width * 0.8:
        section = replace(section, lanes=min(section.lanes, 2), parking=(0.0, 0.0))
    return _along(rng, plan, plan.add(curved((0, 0), 0.0, s, curvature), section))


def _star(rng: np.random.Generator, headings: Sequence[float], sections: list[Section],
          straight_length: float = 8.0) -> Plan:
    """Arms from the origin; the way comes in by one and leaves by another."""
    plan = Plan()
    for heading, section in zip(headings, sections):
        plan.add(junction_arm(rng, (0, 0), heading, REACH_M, straight_length), section)
    inward, outward = rng.permutation(len(plan.centres))[:2]
    plan.drive((int(inward), False), (int(outward), True))
    return plan


def _main(rng: np.random.Generator) -> Section:
    return replace(random_section(rng), oneway=False)


def _minor(rng: np.random.Generator, widest: float = 30.0) -> Section:
    """A road that is not wider than the one it meets: its rounded end would stick out on the far side."""
    for _ in range(20):
        section = replace(random_section(rng, minor=bool(rng.random() < 0.6)), oneway=False)
        if section.width <= widest:
            return section
    return Section(1, min(widest, 3.5))


def _t(rng: np.random.Generator) -> Plan:
    main = _main(rng)
    bend = rng.normal(0, math.radians(6))
    side = math.radians(rng.uniform(72, 108)) * rng.choice([-1, 1])
    return _star(rng, [math.pi, bend, side], [main.reversed(), main, _minor(rng, main.width)])


def _x(rng: np.random.Generator) -> Plan:
    main = _main(rng)
    cross = _minor(rng, main.width)
    a = math.radians(rng.uniform(75, 105))
    return _star(rng, [math.pi, rng.normal(0, 0.08), a, a - math.pi + rng.normal(0, 0.1)],
                 [main.reversed(), main, cross, cross.reversed()])


def _y(rng: np.random.Generator) -> Plan:
    main = _main(rng)
    spread = math.radians(rng.uniform(32, 75))
    lean = rng.normal(0, math.radians(10))
    return _star(rng, [math.pi, lean + spread, lean - spread], [main.reversed(), main, _minor(rng, main.width)])


def _skewed(rng: np.random.Generator) -> Plan:
    main = _main(rng)
    cross = _minor(rng, main.width)
    a = math.radians(rng.uniform(28, 62)) * rng.choice([-1, 1])
    if rng.random() < 0.5:
        a += math.pi
    headings, sections = [math.pi, rng.normal(0, 0.06), a], [main.reversed(), main, cross]
    if rng.random() < 0.55:
        headings.append(a + math.pi + rng.normal(0, 0.08))
        sections.append(cross.reversed())
    return _star(rng, headings, sections, straight_length=20.0)


def _staggered(rng: np.random.Generator) -> Plan:
    plan = Plan()
    main = _main(rng)
    gap = rng.uniform(7, 32)
    left = rng.choice([-1, 1])
    back = plan.add(junction_arm(rng, (0, 0), math.pi, REACH_M), main.reversed())
    link = plan.add(np.array([[0.0, 0.0], [gap, 0.0]]), main)
    on = plan.add(junction_arm(rng, (gap, 0), rng.normal(0, 0.05), REACH_M), main)
    first = plan.add(junction_arm(rng, (0, 0), left * math.radians(rng.uniform(75, 105)), REACH_M),
                     _minor(rng, main.width))
    other = left if rng.random() < 0.2 else -left
    second = plan.add(junction_arm(rng, (gap, 0), other * math.radians(rng.uniform(75, 105)), REACH_M),
                      _minor(rng, main.width))
    ways = [((back, False), (link, True), (on, True)), ((back, False), (link, True), (second, True)),
            ((back, False), (first, True)), ((on, False), (link, False), (back, True)),
            ((on, False), (second, True)), ((on, False), (link, False), (first, True)),
            ((first, False), (back, True)), ((first, False), (link, True), (on, True)),
            ((first, False), (link, True), (second, True)), ((second, False), (link, False), (first, True))]
    plan.drive(*ways[int(rng.integers(len(ways)))])
    return plan


def _roundabout(rng: np.random.Generator) -> Plan:
    plan = Plan()
    lanes = int(rng.choice([1, 2], p=[0.75, 0.25]))
    ring = Section(lanes, float(rng.uniform(4.8, 7.0) if lanes == 1 else rng.uniform(3.6, 4.6)), oneway=True,
                   kind='roundabout')
    radius = float(rng.uniform(max(8.0, ring.width / 2 + 3.5), 24.0))
    count = int(rng.choice([3, 4, 5], p=[0.35, 0.5, 0.15]))
    angles = (np.arange(count) + rng.uniform(-0.18, 0.18, count)) * 2 * math.pi / count + rng.uniform(0, 6.28)
    angles = np.sort(angles % (2 * math.pi))
    steps = np.arange(0, 2 * math.pi, math.radians(2))
    steps = steps[np.abs((steps[:, None] - angles[None] + math.pi) % (2 * math.pi) - math.pi).min(axis=1)
                  > math.radians(1)]
    around = np.sort(np.concatenate([steps, angles]))
    around = np.append(around, around[0] + 2 * math.pi)
    centre = radius * np.stack([np.cos(around), np.sin(around)], axis=1)
    centre[-1] = centre[0]
    circle = plan.add(centre, ring)
    arms = []
    for a in angles:
        arm = junction_arm(rng, radius * np.array([math.cos(a), math.sin(a)]), a + rng.normal(0, 0.12), REACH_M, 12.0)
        arms.append(plan.add(arm, _minor(rng, ring.width + 1.0)))
    inward, outward = (int(i) for i in rng.permutation(count)[:2])
    sweep = (angles[outward] - angles[inward]) % (2 * math.pi)
    on_ring = angles[inward] + np.linspace(0, sweep, max(3, int(sweep / 0.04)))
    plan.drive((arms[inward], False), (arms[outward], True))
    plan.way.insert(1, Piece(circle, radius * np.stack([np.cos(on_ring), np.sin(on_ring)], axis=1), True))
    plan.nearest = -radius - 10.0
    return plan


def _dead_end(rng: np.random.Generator) -> Plan:
    plan = Plan()
    section = replace(random_section(rng, minor=True), oneway=False)
    centre = junction_arm(rng, (0, 0), math.pi, 2 * REACH_M, straight_length=rng.choice([2.0, 20.0]))
    road = plan.add(centre, section)
    if rng.random() < 0.5:  # a place to turn
        turning = Section(1, section.width + float(rng.uniform(3, 9)), kind='service')
        plan.add(np.array([[0.0, 0.0], [0.4, 0.0]]), turning)
    plan.drive((road, bool(rng.random() < 0.35)))
    inward = not plan.way[0].forward
    plan.focus = float(arc_length(centre)[-1]) if inward else 0.0
    plan.nearest, plan.farthest = (3.0, 42.0) if inward else (-42.0, -3.0)
    return plan


def _fork(rng: np.random.Generator) -> Plan:
    main = _main(rng)
    side = rng.choice([-1, 1])
    if rng.random() < 0.5:
        spread = math.radians(rng.uniform(9, 24))
        headings = [math.pi, spread, -spread]
    else:
        headings = [math.pi, rng.normal(0, 0.03), side * math.radians(rng.uniform(18, 42))]
    return _star(rng, headings, [main.reversed(), main, _minor(rng, main.width)], straight_length=25.0)


def _dual(rng: np.random.Generator) -> Plan:
    """Two carriageways, each one way, perhaps with a street that meets one or crosses both."""
    plan = Plan()
    s = np.arange(0, 2 * REACH_M, STEP_M)
    curvature = clothoid_bump(s, REACH_M + rng.uniform(-60, 40), rng.uniform(20, 80), rng.normal(0, 1 / 120))
    axis = curved((0, 0), 0.0, s, curvature * (rng.random() < 0.6))
    section = Section(int(rng.choice([1, 2, 3], p=[0.25, 0.55, 0.2])), float(rng.uniform(2.8, 3.7)), oneway=True,
                      kind='carriageway')
    half = section.width / 2 + float(np.exp(rng.uniform(math.log(0.6), math.log(9)))) / 2
    on = plan.add(offset_curve(axis, -half), section)
    back = plan.add(offset_curve(axis, half)[::-1], section)
    if rng.random() < 0.35:
        return _along(rng, plan, on)
    place = point_at(axis, REACH_M)
    sides = rng.choice(['right', 'left', 'both'], p=[0.4, 0.15, 0.45])
    right, heading = plan.insert_vertex(on, project(plan.centres[on], place)[0])
    left, _ = plan.insert_vertex(back, project(plan.centres[back], place)[0])
    opened = sides != 'right' or rng.random() < 0.5  # the median
    link = plan.add(np.stack([right, left]), _minor(rng, section.width)) if opened else None
    lean = rng.normal(0, 0.12)
    outs = []
    if sides in ('right', 'both'):
        arm = junction_arm(rng, right, heading - math.pi / 2 + lean, REACH_M)
        outs.append(plan.add(arm, _minor(rng, section.width)))
    if sides in ('left', 'both'):
        arm = junction_arm(rng, left, heading + math.pi / 2 + lean, REACH_M)
        outs.append(plan.add(arm, _minor(rng, section.width)))
    return _through_dual(rng, plan, on, right, link, outs, sides)


def _through_dual(rng: np.random.Generator, plan: Plan, on: int, right: np.ndarray, link: int | None,
                  outs: list[int], sides: str) -> Plan:
    k = int(np.argmin(np.abs(plan.centres[on] - right).sum(axis=1)))
    before, after = Piece(on, plan.centres[on][:k + 1], True), Piece(on, plan.centres[on][k:], True)
    choice = rng.random()
    plan.way = [before, after]
    if choice < 0.35 and sides != 'left':
        plan.way = [before, Piece(outs[0], plan.centres[outs[0]], True)]
    elif choice < 0.5 and sides != 'right' and link is not None:
        plan.way = [before, Piece(link, plan.centres[link], True), Piece(outs[-1], plan.centres[outs[-1]], True)]
    elif choice < 0.7 and sides != 'left':
        plan.way = [Piece(outs[0], plan.centres[outs[0]][::-1], False), after]
    plan.focus = float(arc_length(plan.way[0].xy)[-1])
    return plan


LAYOUTS: dict[str, Callable[[np.random.Generator], Plan]] = {
    'straight': _straight, 'curve': _curve, 't': _t, 'x': _x, 'y': _y, 'skewed': _skewed, 'staggered': _staggered,
    'roundabout': _roundabout, 'dead_end': _dead_end, 'fork': _fork, 'dual': _dual,
    'acute': acute, 'boulevard': boulevard,
}


def add_neighbours(rng: np.random.Generator, plan: Plan) -> None:
    """Now and then another side road off a long arm, and a parallel street that is joined nowhere near."""
    way = [p.street for p in plan.way]
    for street in range(len(plan.centres)):
        length = arc_length(plan.centres[street])[-1]
        long = 80 < length < 200  # longer ones are the whole scene, and stay what they are
        if not long or plan.sections[street].kind != 'street' or rng.random() > 0.22:
            continue
        trial = Plan(list(plan.centres), list(plan.sections))
        point, heading = trial.insert_vertex(street, rng.uniform(35, length - 15))
        side = rng.choice([-1, 1]) * math.radians(rng.uniform(65, 115))
        trial.add(junction_arm(rng, point, heading + side, 90.0), _minor(rng, trial.sections[street].width))
        if not too_close(trial):
            plan.centres, plan.sections = trial.centres, trial.sections
    if rng.random() < 0.25:
        street = way[0]
        aside = rng.choice([-1, 1]) * rng.uniform(28, 50)
        trial = Plan(list(plan.centres), list(plan.sections))
        trial.add(simplify(offset_curve(plan.centres[street], aside)), random_section(rng, minor=True))
        if not too_close(trial, apart=8.0, near_joint=0.0):
            plan.centres, plan.sections = trial.centres, trial.sections
