# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Kinds of `highway`: which of them count as roads, how wide they are and how fast they are driven.

https://wiki.openstreetmap.org/wiki/Key:highway
"""

from __future__ import annotations

from typing import NamedTuple

from attention_fusion_ros.errors import ConfigurationError


class Kind(NamedTuple):
    """What holds for roads of a kind where no tag of the road itself tells."""

    width: float  # m, of the carriageway in both directions together
    oneway_width: float  # m, of one direction
    speed: float  # km/h


KINDS = {
    'motorway': Kind(22.0, 11.0, 110.0), 'motorway_link': Kind(8.0, 5.0, 60.0),
    'trunk': Kind(14.0, 8.0, 90.0), 'trunk_link': Kind(8.0, 5.0, 50.0),
    'primary': Kind(9.0, 7.0, 60.0), 'primary_link': Kind(7.0, 4.5, 40.0),
    'secondary': Kind(8.0, 6.5, 50.0), 'secondary_link': Kind(7.0, 4.5, 40.0),
    'tertiary': Kind(7.0, 5.5, 45.0), 'tertiary_link': Kind(6.0, 4.5, 35.0),
    'unclassified': Kind(6.0, 4.5, 40.0), 'residential': Kind(6.0, 4.5, 30.0), 'road': Kind(6.0, 4.5, 30.0),
    'living_street': Kind(5.0, 4.0, 10.0), 'service': Kind(4.0, 3.5, 15.0), 'track': Kind(3.0, 3.0, 15.0),
    'busway': Kind(7.0, 3.5, 40.0), 'pedestrian': Kind(5.0, 5.0, 6.0),
}
# Streets with a carriageway. Service roads (drives, aisles of car parks) and tracks are in the file by the thousand,
# mapped unevenly, and are not among the maps that networks are trained with: whoever drives there names them.
DEFAULT_KINDS = tuple(kind for kind in KINDS if kind not in ('service', 'track', 'busway', 'pedestrian'))


def checked_kinds(kinds: tuple[str, ...]) -> tuple[str, ...]:
    """The kinds, in the order of the table and each once. Raises ConfigurationError for unknown ones and for none."""
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        what = f"unknown kinds of highway: {', '.join(map(repr, unknown))}" if unknown else 'no kind of highway counts'
        raise ConfigurationError(f"{what}. Remedy: choose among {', '.join(KINDS)}")
    return tuple(kind for kind in KINDS if kind in kinds)
