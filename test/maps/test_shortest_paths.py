# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Shortest paths are the same with and without scipy."""

import numpy as np
import pytest

from attention_fusion_ros.maps.shortest_paths import (
    NOTHING_BEFORE,
    Links,
    _plain_paths,
    _scipy_paths,
    components,
)

NODES = 60


def graph(seed: int, links: int = 150) -> Links:
    rng = np.random.default_rng(seed)
    pairs = np.unique(rng.integers(0, NODES, (links, 2)), axis=0)
    return Links.of(pairs[:, 0], pairs[:, 1], rng.uniform(0.1, 5.0, len(pairs)), NODES)


@pytest.mark.parametrize('limit', [np.inf, 6.0])
@pytest.mark.parametrize('seed', range(5))
def test_plain_python_finds_what_scipy_finds(seed, limit):
    pytest.importorskip('scipy')
    links, reached = graph(seed), 0
    for source in range(0, NODES, 7):
        (costs, before), (expected, way) = (paths(links, source, limit) for paths in (_plain_paths, _scipy_paths))
        assert np.array_equal(costs, expected) and np.array_equal(before, way)
        assert before[source] == NOTHING_BEFORE
        reached += np.isfinite(costs).sum()
    assert reached > NODES


def test_one_more_node_leads_to_some_of_the_others():
    links = Links.of(np.array([0, 0, 2]), np.array([1, 2, 1]), np.array([1.0, 1.0, 1.5]), 3)
    for paths in (_plain_paths, lambda links, source, limit: links.paths(source, limit)):
        assert paths(links, 0, np.inf)[0].tolist() == [0.0, 1.0, 1.0]
        costs, before = paths(links.with_node([2, 1], [0.5, 3.0]), 3, np.inf)
        assert costs.tolist() == [np.inf, 2.0, 0.5, 0.0]
        assert before.tolist() == [NOTHING_BEFORE, 2, 3, NOTHING_BEFORE]
        assert paths(links.with_node([], []), 3, np.inf)[0].tolist() == [np.inf, np.inf, np.inf, 0.0]


@pytest.mark.parametrize('seed', range(5))
def test_connected_nodes_have_one_number(seed):
    csgraph, sparse = pytest.importorskip('scipy.sparse.csgraph'), pytest.importorskip('scipy.sparse')
    rng = np.random.default_rng(seed)
    links = rng.integers(0, NODES, (25, 2))
    label = components(links, NODES)
    _, expected = csgraph.connected_components(
        sparse.coo_matrix((np.ones(len(links)), links.T), shape=(NODES, NODES)), directed=False)
    assert len(set(zip(label.tolist(), expected.tolist()))) == len(set(expected.tolist())) == len(set(label.tolist()))
    chain = np.array([[k, k + 1] for k in range(NODES - 1)])[::-1]
    assert not components(chain, NODES).any()
