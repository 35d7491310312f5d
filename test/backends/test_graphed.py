# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A network in CUDA graphs, here with a capture that needs no GPU: one a shape, results of one's own, fallback."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import pytest
import torch

from attention_fusion_ros.backends.graphed import MOST_GRAPHS, Graphed


@dataclass(frozen=True)
class Answer:
    head: torch.Tensor
    more: dict = field(default_factory=dict)
    nothing: None = None


def network(x, y=None):
    return Answer(2 * x, {'a': {'b': x + (0 if y is None else y)}})


class Captures:
    """Replays into the same memory each time, as a CUDA graph does."""

    def __init__(self, error=0.0):
        self.keys, self.replays, self.error = [], 0, error

    def __call__(self, function, given):
        self.keys.append(tuple(None if t is None else tuple(t.shape) for t in given))
        result = function(*given)

        def replay(*new):
            self.replays += 1
            found = function(*new)
            result.head.copy_(found.head + self.error)
            result.more['a']['b'].copy_(found.more['a']['b'])
            return result
        return replay


def test_one_graph_for_each_combination_of_shapes():
    captures = Captures()
    graphed = Graphed(network, captures)
    small, large, prior = torch.rand(2, 3), torch.rand(4, 3), torch.rand(2, 3)
    for given in ((small, None), (small + 1, None), (large, None), (small, prior), (large, None)):
        found, expected = graphed(*given), network(*given)
        assert torch.equal(found.head, expected.head) and found.nothing is None
        assert torch.equal(found.more['a']['b'], expected.more['a']['b'])
    assert captures.keys == [((2, 3), None), ((4, 3), None), ((2, 3), (2, 3))] and not graphed.fallback


def test_results_are_not_written_over():
    graphed, x = Graphed(network, Captures()), torch.ones(2)
    first = graphed(x)
    graphed(x * 5)
    assert torch.equal(first.head, 2 * x) and torch.equal(first.more['a']['b'], x)


def test_old_shapes_make_room():
    captures = Captures()
    graphed = Graphed(network, captures)
    for size in (*range(1, MOST_GRAPHS + 2), MOST_GRAPHS + 1, 1):
        graphed(torch.ones(size))
    assert len(captures.keys) == MOST_GRAPHS + 2  # the first shape was captured again


@pytest.mark.parametrize('fault', ['refuses', 'differs'])
def test_without_a_graph_everything_runs_as_before_with_one_warning(fault, caplog):
    def refuse(function, given):
        raise RuntimeError('operation not permitted when stream is capturing\nmore')
    graphed = Graphed(network, refuse if fault == 'refuses' else Captures(error=0.5))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert torch.equal(graphed(torch.ones(2)).head, torch.full((2,), 2.0))
    assert len(caplog.records) == 1 and 'CUDA graph' in caplog.text and graphed.fallback in caplog.text
    assert ('capturing' if fault == 'refuses' else 'does not give') in graphed.fallback
