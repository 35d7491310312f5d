# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Ways -> road graph: cut where roads meet, oneway roads turned the way they are driven, with the turns they forbid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attention_fusion_ros.maps.kinds import KINDS
from attention_fusion_ros.maps.osm_file import Ways
from attention_fusion_ros.maps.roads import RoadGraph
from attention_fusion_ros.maps.tags import AGAINST, BOTH, read_tags
from attention_fusion_ros.maps.turns import forbidden_turns

EARTH_RADIUS_M = 6371008.8  # mean (IUGG); lengths are within 0.5 %, for travel times


def build_roads(ways: Ways) -> RoadGraph:
    """The graph. A way is broken where the file lacks a node: what lies between is not known to be straight.

    Parts of ways with fewer than two nodes are left out; there may be no edge at all.
    """
    place, way, run = _runs(ways)
    used = np.bincount(place, minlength=len(ways.node_ids))
    last = np.append(run[1:] != run[:-1], True) if len(run) else np.zeros(0, bool)
    begins = np.append(True, last[:-1]) if len(run) else last
    used += np.bincount(place[last | begins], minlength=len(used))  # an end is always a joint
    used[np.flatnonzero(np.isin(ways.node_ids, ways.barred))] += 1  # and so is what cannot be passed
    joint = np.flatnonzero(used[place] > 1)
    same = run[joint[1:]] == run[joint[:-1]]
    start, stop = joint[:-1][same], joint[1:][same]
    tags = [read_tags(t) for t in ways.tags]
    edge_way = way[start]
    against = np.array([t.direction == AGAINST for t in tags], bool)[edge_way]
    counts = stop - start + 1
    first = np.append(0, np.cumsum(counts))
    step = np.arange(first[-1]) - np.repeat(first[:-1], counts)
    at = place[np.where(np.repeat(against, counts), np.repeat(stop, counts) - step, np.repeat(start, counts) + step)]
    latitudes, longitudes = ways.latitudes[at], ways.longitudes[at]
    lengths = _lengths(latitudes, longitudes, first)
    numbers, ends = np.unique(np.stack([at[first[:-1]], at[first[1:] - 1]], axis=1), return_inverse=True)
    names = {'': 0}
    kinds = {kind: i for i, kind in enumerate(KINDS)}

    def of_edges(values: list, dtype: type) -> np.ndarray:
        return np.asarray(np.array(values, dtype)[edge_way])

    graph = RoadGraph(
        latitudes=latitudes, longitudes=longitudes, first=first, ends=ends.reshape(-1, 2).astype(np.int32),
        lengths=lengths, speeds=of_edges([t.speed for t in tags], np.float32),
        widths=of_edges([t.width for t in tags], np.float32), kinds=of_edges([kinds[t.kind] for t in tags], np.uint8),
        oneway=of_edges([t.direction != BOTH for t in tags], np.bool_),
        routable=of_edges([t.routable for t in tags], np.bool_),
        roundabout=of_edges([t.roundabout for t in tags], np.bool_),
        layers=of_edges([t.layer for t in tags], np.int8),
        names=of_edges([names.setdefault(t.name, len(names)) for t in tags], np.int32),
        name_list=np.array(list(names)), nodes=len(numbers),
        barred=np.flatnonzero(np.isin(ways.node_ids[numbers], ways.barred)).astype(np.int32),
        turns=np.zeros((0, 4), np.int32))
    via = np.searchsorted(ways.node_ids[numbers], ways.turns[:, 1])
    known = np.isin(ways.turns[:, 1], ways.node_ids[numbers])  # not where nothing meets
    origin, _, target, kind = ways.turns.T
    return replace(graph, turns=forbidden_turns(graph, edge_way, np.stack([origin, via, target, kind], axis=1)[known]))


def _runs(ways: Ways) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every ref that the file holds, in order: number of its node, of its way, and of its unbroken run of refs."""
    way = np.repeat(np.arange(len(ways.tags)), np.diff(ways.first))
    place = np.searchsorted(ways.node_ids, ways.refs)
    held = place < len(ways.node_ids)
    held[held] = ways.node_ids[place[held]] == ways.refs[held]
    number = np.flatnonzero(held)
    new = np.ones(len(number), bool)
    new[1:] = (number[1:] != number[:-1] + 1) | (way[number[1:]] != way[number[:-1]])
    repeated = np.zeros(len(number), bool)
    repeated[1:] = (place[number[1:]] == place[number[:-1]]) & ~new[1:]  # the same node twice in a row
    run = np.cumsum(new)
    keep = ~repeated
    return place[number][keep], way[number][keep], run[keep]


def _lengths(latitudes: np.ndarray, longitudes: np.ndarray, first: np.ndarray) -> np.ndarray:
    """(E,) float32 m."""
    if len(first) == 1:
        return np.zeros(0, np.float32)
    lat = np.radians(latitudes)
    across = np.radians((np.diff(longitudes) + 180.0) % 360.0 - 180.0) * np.cos((lat[1:] + lat[:-1]) / 2)
    steps = np.append(np.hypot(np.diff(lat), across) * EARTH_RADIUS_M, 0.0)
    steps[first[1:] - 1] = 0.0  # from one edge to the next
    return np.asarray(np.maximum(np.add.reduceat(steps, first[:-1]), 0.01), np.float32)
