# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Cross-sections and centre lines of roads, and how they are joined into the plan of a scene."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from attention_fusion_ros.simulation.world.polyline import arc_length, point_at
from attention_fusion_ros.simulation.world.world import Road

STEP_M = 0.25  # integration step of centre lines
TURN_PER_VERTEX_RAD = math.radians(1.0)  # centre lines keep a vertex each such turn: headings are exact to half of it
LONGEST_M = 8.0  # between two vertices


@dataclass(frozen=True)
class Section:
    """What a road looks like across: parking strip, lanes, parking strip."""

    lanes: int = 2
    lane_width: float = 3.0  # m
    parking: tuple[float, float] = (0.0, 0.0)  # m, strip on the left and on the right of the centre line's direction
    oneway: bool = False
    kind: str = 'street'
    median: float = 0.0  # m between the lanes of the two directions

    @property
    def width(self) -> float:
        """Outer kerb to outer kerb, m."""
        return self.lanes * self.lane_width + sum(self.parking) + self.median

    def lane_offset(self, lane: int) -> float:
        """Middle of a lane, counted from the right, in metres to the left of the centre line."""
        beyond = self.median if 2 * lane >= self.lanes else 0.0
        return -self.width / 2 + self.parking[1] + (lane + 0.5) * self.lane_width + beyond

    def forward_lanes(self, left_hand: bool) -> range:
        """Lanes driven along the centre line's direction."""
        if self.oneway or self.lanes == 1:
            return range(self.lanes)
        forward = (self.lanes + 1) // 2
        return range(self.lanes - forward, self.lanes) if left_hand else range(forward)

    def reversed(self) -> Section:
        """The same road seen against the direction of its centre line."""
        return replace(self, parking=self.parking[::-1])


@dataclass(frozen=True)
class Piece:
    """A stretch of a way: vertices in driving direction on one street."""

    street: int
    xy: np.ndarray  # (P, 2) m
    forward: bool  # along the street's centre line


@dataclass
class Plan:
    """Streets that are joined at shared vertices, and the way the vehicle takes through them."""

    centres: list[np.ndarray] = field(default_factory=list)  # (P, 2) m each
    sections: list[Section] = field(default_factory=list)
    way: list[Piece] = field(default_factory=list)
    focus: float = 0.0  # m along the way: the junction, or the middle of the bend
    nearest: float = -12.0  # m before the focus: the vehicle stands between these two
    farthest: float = 42.0

    def add(self, centre: np.ndarray, section: Section) -> int:
        """Index of the new street."""
        self.centres.append(centre)
        self.sections.append(section)
        return len(self.centres) - 1

    def insert_vertex(self, street: int, s: float) -> tuple[np.ndarray, float]:
        """Give the street a vertex at arc length s: (point (2,), heading there in rad)."""
        centre = self.centres[street]
        at = arc_length(centre)
        s = float(np.clip(s, 0.5, at[-1] - 0.5))
        k = int(np.searchsorted(at, s, side='right')) - 1
        f = (s - at[k]) / (at[k + 1] - at[k])
        point = (1 - f) * centre[k] + f * centre[k + 1]
        dx, dy = centre[k + 1] - centre[k]
        self.centres[street] = np.insert(centre, k + 1, point, axis=0)
        return point, math.atan2(dy, dx)

    def drive(self, *legs: tuple[int, bool]) -> None:
        """Set the way: whole streets one after the other, each along its centre line or against it."""
        self.way = [Piece(i, self.centres[i] if forward else self.centres[i][::-1], forward) for i, forward in legs]
        self.focus = float(arc_length(self.way[0].xy)[-1])

    def roads(self) -> tuple[Road, ...]:
        """The streets as world geometry."""
        return tuple(Road(c, s.width, s.lanes, s.oneway, s.kind, s.median)
                     for c, s in zip(self.centres, self.sections))

    def mirrored(self) -> Plan:
        """Left and right swapped: the same plan for traffic on the other side."""
        flip = np.array([1.0, -1.0])
        return replace(self, centres=[c * flip for c in self.centres],
                       sections=[replace(s, parking=s.parking[::-1]) for s in self.sections],
                       way=[replace(p, xy=p.xy * flip) for p in self.way])

    def moved(self, rotation: np.ndarray, shift: np.ndarray) -> Plan:
        """The plan rotated by a (2, 2) matrix, then shifted by (2,) metres."""
        return replace(self, centres=[c @ rotation.T + shift for c in self.centres],
                       way=[replace(p, xy=p.xy @ rotation.T + shift) for p in self.way])


def simplify(line: np.ndarray) -> np.ndarray:
    """Keep a vertex per degree of turn and per 8 m, and both ends."""
    d = np.diff(line, axis=0)
    turn = np.abs(np.diff(np.unwrap(np.arctan2(d[:, 1], d[:, 0]))))
    spent = np.concatenate([[0.0], np.cumsum(turn)]) / TURN_PER_VERTEX_RAD + arc_length(line)[:-1] / LONGEST_M
    keep = np.concatenate([[True], np.diff(np.floor(spent)) > 0, [True]])
    return np.asarray(line[keep])


def curved(start: ArrayLike, heading: float, s: np.ndarray, curvature: np.ndarray) -> np.ndarray:
    """Centre line from `start` with the curvature [1/m] given at equally spaced arc lengths s; thinned."""
    step = s[1] - s[0]
    theta = heading + np.concatenate([[0.0], np.cumsum((curvature[1:] + curvature[:-1]) / 2 * step)])
    mid = (theta[1:] + theta[:-1]) / 2
    xy = np.concatenate([[[0.0, 0.0]], np.cumsum(np.stack([np.cos(mid), np.sin(mid)], axis=1) * step, axis=0)])
    return simplify(xy + np.asarray(start, dtype=np.float64))


def junction_arm(rng: np.random.Generator, start: ArrayLike, heading: float, length: float = 130.0,
                 straight_length: float = 8.0, sharpest: float = 1 / 40, p_curved: float = 0.55) -> np.ndarray:
    """A road leading away from `start`: straight for `calm` metres, then perhaps with one or two clothoid bends."""
    s = np.arange(0.0, length + STEP_M, STEP_M)
    curvature = np.zeros_like(s)
    if rng.random() < p_curved:
        for _ in range(int(rng.integers(1, 3))):
            turn = rng.normal(0, math.radians(22))
            k = math.copysign(min(abs(rng.normal(0, sharpest / 2)) + 1 / 400, sharpest), turn)
            curvature += clothoid_bump(s, straight_length + rng.uniform(0, 60), min(abs(turn / k), 80.0), k)
    return curved(start, heading, s, curvature)


def clothoid_bump(s: np.ndarray, begin: float, length: float, curvature: float) -> np.ndarray:
    """Clothoid in, arc, clothoid out: a trapezoid of curvature whose integral is curvature * length."""
    ramp = max(min(10.0, length / 2), 0.5)
    corners = [begin - ramp / 2, begin + ramp / 2, begin + length - ramp / 2, begin + length + ramp / 2]
    return np.asarray(curvature * np.interp(s, corners, [0, 1, 1, 0], left=0, right=0))


def random_section(rng: np.random.Generator, minor: bool = False) -> Section:
    """1 to 6 lanes of 2.6 to 3.7 m, perhaps with parking strips; minor roads are narrower."""
    lanes = int(rng.choice([1, 2, 3, 4, 5, 6], p=[0.25, 0.7, 0.03, 0.02, 0, 0] if minor
                           else [0.08, 0.53, 0.11, 0.16, 0.05, 0.07]))
    lane_width = float(rng.uniform(2.6, 3.7))
    if lanes == 1:
        lane_width = float(rng.uniform(2.8, 4.6))
    parking = (0.0, 0.0)
    if lanes <= 4 and rng.random() < 0.4:
        strip = float(rng.uniform(1.9, 2.4))
        parking = ((strip, strip), (strip, 0.0), (0.0, strip))[int(rng.choice(3, p=[0.6, 0.2, 0.2]))]
    return Section(lanes, lane_width, parking, oneway=bool(lanes == 1 and rng.random() < 0.5))


def too_close(plan: Plan, apart: float = 3.0, near_joint: float = 55.0) -> bool:
    """True when streets come near each other, or themselves, away from where they are joined."""
    samples = [_sampled(c) for c in plan.centres]
    ends = np.concatenate([c[[0, -1]] for c in plan.centres])
    joints = np.array([p for p in ends if sum(np.abs(c - p).max(axis=1).min() < 0.1 for c in plan.centres) > 1])
    for i, (a, sa) in enumerate(samples):
        for j in range(i, len(samples)):
            b, sb = samples[j]
            if i != j and plan.sections[i].kind == plan.sections[j].kind == 'carriageway':
                continue
            d2 = ((a[:, None] - b[None]) ** 2).sum(axis=2)
            bad = d2 < ((plan.sections[i].width + plan.sections[j].width) / 2 + apart) ** 2
            if i == j:
                if plan.sections[i].kind == 'roundabout':
                    continue
                bad &= np.abs(sa[:, None] - sb[None]) > 40.0
            if bad.any() and len(joints):
                points = a[bad.any(axis=1)]
                bad = ((points[:, None] - joints[None]) ** 2).sum(axis=2).min(axis=1) > near_joint ** 2
            if bad.any():
                return True
    return False


def _sampled(centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    s = arc_length(centre)
    at = np.arange(0.0, s[-1], 6.0)
    return point_at(centre, at, s), at
