# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Everything that is measured on one scene, and what the tables are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from attention_fusion_ros.datasets.held_out import HeldOutInfo
from attention_fusion_ros.metrics.branches import Prediction, Scores, TrueRoads, score

# What a scene was asked about. First entries of the keys, see `SceneRecord`.
AS_IT_IS, WIDE_MAP, NO_MAP, TURNED, NO_VEHICLES = ('as it is',), ('wide',), ('no map',), ('turned',), ('no vehicles',)
REPLACED, DELETED, KEPT, MOVED, REGISTERED = 'replaced', 'deleted', 'kept', 'moved', 'registered'
EXACT = (MOVED, 'by nothing')
LIDAR, MAP = 'LiDAR', 'map'
Key = tuple[str, ...]


@dataclass(frozen=True)
class SceneRecord:
    """Answers and numbers of one scene, by what was done to it.

    Keys: (REPLACED, map, target, way), (DELETED or KEPT, LIDAR or MAP, heat, share), (MOVED, way, size), (REGISTERED,
    error), or one of the states above. Numbers have the key of the answer and their name after it.
    """

    info: HeldOutInfo
    truth_routed: TrueRoads
    truth_unrouted: TrueRoads
    answers: dict[Key, Prediction] = field(default_factory=dict)
    numbers: dict[Key, float] = field(default_factory=dict)

    def truth(self, key: Key) -> TrueRoads:
        """What is right for the map of this key: whether a route is drawn in it."""
        return self.truth_unrouted if key == NO_MAP or key[0] in (MOVED, REGISTERED) else self.truth_routed


def scored(records: Iterable[SceneRecord], key: Key) -> Scores:
    """Scores of the answers of this key; all records must have one."""
    records = list(records)
    return score([r.answers[key] for r in records], [r.truth(key) for r in records])


def having(records: Iterable[SceneRecord], *keys: Key) -> list[SceneRecord]:
    """Records with answers of all these keys."""
    return [r for r in records if all(key in r.answers for key in keys)]


def keys(records: Iterable[SceneRecord], *first: str) -> list[Key]:
    """Keys of answers that begin so, in the order in which they were first given."""
    found = dict.fromkeys(key for r in records for key in r.answers if key[:len(first)] == first)
    return list(found)


def number(key: Key, name: str) -> Key:
    """Key of the number called `name` of an answer."""
    return (*key, name)


def numbers(records: Sequence[SceneRecord], *key: str) -> np.ndarray:
    """(n,) the number of this key of every record, nan where it has none."""
    return np.array([r.numbers.get(key, np.nan) for r in records])
