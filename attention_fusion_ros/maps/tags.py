# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the tags of a road say: direction, width, speed, layer, and whether cars may use it; what a barrier on it does,
and which turn a relation forbids or prescribes.

https://wiki.openstreetmap.org/wiki/Key:oneway, Key:maxspeed, Key:access, Key:layer, Key:barrier, Relation:restriction
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from attention_fusion_ros.maps.kinds import KINDS

ALONG, AGAINST, BOTH = 1, -1, 0
CLOSED = {'no', 'private', 'agricultural', 'forestry', 'delivery', 'emergency', 'psv', 'bus', 'military'}
ACCESS = ('motorcar', 'motor_vehicle', 'vehicle', 'access')  # the narrower word counts
# Of what stands on a road, what a car cannot drive through. Gates count as open unless their access says otherwise.
IMPASSABLE = {'bollard', 'block', 'jersey_barrier', 'cycle_barrier', 'motorcycle_barrier', 'horse_stile', 'stile',
              'kissing_gate', 'turnstile', 'full-height_turnstile', 'planter', 'log', 'debris', 'chain',
              'barrier_board', 'fence', 'wall', 'ditch', 'hedge', 'bus_trap', 'sump_buster'}
ONEWAY = ('oneway:motorcar', 'oneway:motor_vehicle', 'oneway:vehicle', 'oneway')  # the same
RESTRICTION = ('restriction:motorcar', 'restriction:motor_vehicle', 'restriction:vehicle', 'restriction')  # the same
# What they may say: a turn is forbidden, or all others are.
TURNS = ('no_left_turn', 'no_right_turn', 'no_straight_on', 'no_u_turn', 'no_entry', 'no_exit', 'only_left_turn',
         'only_right_turn', 'only_straight_on', 'only_u_turn')
HOURS = ('day_on', 'day_off', 'hour_on', 'hour_off')  # as conditions were tagged once
NUMBER = re.compile(r'\s*(\d+(?:[.,]\d+)?)\s*(.*)')
UNITS_KMH = {'': 1.0, 'km/h': 1.0, 'kmh': 1.0, 'kph': 1.0, 'mph': 1.609344, 'knots': 1.852}
UNITS_M = {'': 1.0, 'm': 1.0, 'ft': 0.3048, "'": 0.3048}
WALK_KMH, NO_LIMIT_KMH = 7.0, 130.0
MIN_WIDTH_M, MAX_WIDTH_M = 2.0, 40.0
LANE_M = 3.25
MAX_DIGITS = 20  # of a whole number: Python refuses those of some thousand


class RoadTags(NamedTuple):
    """One road."""

    kind: str
    direction: int  # ALONG, AGAINST, BOTH
    routable: bool
    roundabout: bool
    layer: int  # 0 on the ground, 1 the bridge above it, -1 the tunnel below
    width: float  # m
    speed: float  # m/s
    name: str


def read_tags(tags: Mapping[str, str]) -> RoadTags:
    """Tags of a way whose `highway` is in KINDS. What cannot be read counts as not given."""
    kind = tags['highway']
    roundabout = tags.get('junction') in ('roundabout', 'circular')
    direction, changes = _direction(tags, kind, roundabout)
    return RoadTags(kind, direction, _open(tags, True) and not changes, roundabout, _layer(tags),
                    _width(tags, kind, direction), _speed(tags, kind), tags.get('name') or tags.get('ref') or '')


def is_impassable(tags: Mapping[str, str]) -> bool:
    """Whether a node with these tags ends the road for cars: a bollard, a block, a gate that is closed to them."""
    barrier = tags.get('barrier', '')
    blocks = barrier in IMPASSABLE and not (barrier == 'bollard' and tags.get('bollard') == 'rising')
    return bool(barrier) and not _open(tags, not blocks)


def turn_of(tags: Mapping[str, str]) -> str | None:
    """Which of TURNS a relation with these tags forbids or prescribes to cars at all hours; None: none of them."""
    if tags.get('type') != 'restriction' or any(key in tags for key in HOURS):
        return None
    if any(value.strip() in ACCESS for value in tags.get('except', '').split(';')):
        return None
    value = next((tags[key].strip() for key in RESTRICTION if key in tags), None)
    return value if value in TURNS else None


def _open(tags: Mapping[str, str], otherwise: bool) -> bool:
    """What the narrowest word about access says; of several values one that opens is enough."""
    access = next((tags[key] for key in ACCESS if key in tags), None)
    return otherwise if access is None else any(value.strip() not in CLOSED for value in access.split(';'))


def _direction(tags: Mapping[str, str], kind: str, roundabout: bool) -> tuple[int, bool]:
    """Direction, and whether it changes with the hour: such lanes are drawn, but no route can count on them."""
    value = next((tags[key] for key in ONEWAY if key in tags), '').lower()  # GDAL writes True of OSMnx as text
    if value in ('yes', 'true', '1'):
        return ALONG, False
    if value in ('-1', 'reverse'):
        return AGAINST, False
    if value in ('reversible', 'alternating'):
        return BOTH, True
    if value not in ('no', 'false', '0') and (roundabout or kind == 'motorway'):
        return ALONG, False
    return BOTH, False


def _layer(tags: Mapping[str, str]) -> int:
    try:
        return max(-9, min(9, int(tags['layer'][:MAX_DIGITS])))
    except (KeyError, ValueError):
        pass
    if tags.get('bridge', 'no') != 'no':
        return 1
    # A passage through a building lies on the ground.
    return -1 if tags.get('tunnel', 'no') not in ('no', 'building_passage') else 0


def _quantity(text: str, units: Mapping[str, float]) -> float | None:
    found = NUMBER.fullmatch(text)
    factor = units.get(found[2].strip().lower()) if found else None
    return None if found is None or factor is None else float(found[1].replace(',', '.')) * factor


def _width(tags: Mapping[str, str], kind: str, direction: int) -> float:
    width = _quantity(tags.get('width', tags.get('est_width', '')), UNITS_M)
    lanes = _quantity(tags.get('lanes', ''), {'': LANE_M})
    if not width and lanes:
        width = lanes
    if not width:
        width = KINDS[kind].width if direction == BOTH else KINDS[kind].oneway_width
    return max(MIN_WIDTH_M, min(MAX_WIDTH_M, width))


def _speed(tags: Mapping[str, str], kind: str) -> float:
    text = tags.get('maxspeed', '')
    limit = {'walk': WALK_KMH, 'none': NO_LIMIT_KMH}.get(text) or _quantity(text, UNITS_KMH)
    usual = KINDS[kind].speed
    return max(5.0, min(limit or usual, NO_LIMIT_KMH)) / 3.6
