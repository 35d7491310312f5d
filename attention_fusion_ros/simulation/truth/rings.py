# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Branches and direction on several rings at once, for a scene and for the scene turned by quarter turns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from attention_fusion_ros.geometry import wrap
from attention_fusion_ros.simulation.truth.branches import Truth, truths_of_turns
from attention_fusion_ros.simulation.world.world import World

RINGS_M = (10.0, 20.0, 30.0)
TURNS_RAD = tuple(k * math.pi / 2 for k in range(4))  # the rotations a grid allows without interpolation


@dataclass(frozen=True)
class RingTruth:
    """The branches on one ring, and which of them is the direction."""

    radius: float  # m
    branches: tuple[tuple[float, float], ...]  # (bearing, heading) in rad of the scene as it is, ordered by bearing
    directions: tuple[tuple[int, int], ...]  # [quarter turns of the scene][route drawn]: number of a branch, -1: none

    def turned(self, quarter: int) -> list[tuple[float, float]]:
        """The branches of the scene turned to the left by `quarter` quarter turns, in the same order."""
        turn = quarter * math.pi / 2
        return [(wrap(b + turn), wrap(h + turn)) for b, h in self.branches]


def ring_truths(world: World) -> tuple[RingTruth, ...]:
    """The truth on each of RINGS_M, for the world's pose."""
    rings = []
    for radius in RINGS_M:
        found = truths_of_turns(world, radius, TURNS_RAD)
        branches = found[0][0].branches

        def number(answer: Truth, turn: float, known: tuple[tuple[float, float], ...] = branches) -> int:
            if answer.direction is None:
                return -1
            here = answer.direction[0] - turn
            return min(range(len(known)), key=lambda k: abs(wrap(known[k][0] - here)))
        directions = tuple((number(pair[0], turn), number(pair[1], turn)) for pair, turn in zip(found, TURNS_RAD))
        rings.append(RingTruth(radius, branches, directions))
    return tuple(rings)


def ring_of(stored: Mapping[str, Any]) -> RingTruth:
    """A `RingTruth` from its fields as JSON has them."""
    return RingTruth(float(stored['radius']), tuple((float(b), float(h)) for b, h in stored['branches']),
                     tuple((int(without), int(routed)) for without, routed in stored['directions']))
