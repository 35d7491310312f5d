# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Dataclasses to JSON and back."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field

import numpy as np
import pytest

from attention_fusion_ros.utils.typed_json import from_plain, to_plain


@dataclass(frozen=True)
class Inner:
    value: float
    label: str | None = None


@dataclass(frozen=True)
class Outer:
    pair: tuple[int, float]
    many: tuple[Inner, ...]
    by_key: dict[tuple[str, float], Inner]
    by_name: dict[str, list[bool]] = field(default_factory=dict)


WHOLE = Outer((1, 2.5), (Inner(1.0, 'a'), Inner(-0.1)), {('x', 0.5): Inner(3.0)}, {'b': [True, False]})


def test_there_and_back_through_json():
    assert from_plain(Outer, json.loads(json.dumps(to_plain(WHOLE)))) == WHOLE
    assert from_plain(Outer, to_plain(Outer((0, 0.0), (), {}))) == Outer((0, 0.0), (), {})


def test_floats_keep_every_digit_and_numpy_numbers_become_plain():
    values = np.random.default_rng(0).normal(size=50)
    assert from_plain(list[float], json.loads(json.dumps(to_plain(list(values))))) == list(values)
    assert math.isnan(from_plain(float, json.loads(json.dumps(to_plain(np.float32('nan'))))))


@pytest.mark.parametrize('change', [{'pair': [1]}, {'many': [{'value': 'x', 'label': None}]}, {'extra': 1},
                                    {'by_name': {'b': ['True']}}, {'many': 3}])
def test_what_does_not_fit_is_refused(change):
    with pytest.raises((ValueError, TypeError, KeyError)):
        from_plain(Outer, to_plain(WHOLE) | change)
