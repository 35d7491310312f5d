# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The roads in an .osm, .osm.gz or .osm.pbf file, as they stand there: ways, tags, places of nodes."""

from __future__ import annotations

import gzip
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from attention_fusion_ros.errors import ConfigurationError

OSMOSIS_BOUND = re.compile(rb'<bound\s[^>]*box="([-0-9.,]+)"')
HEAD_BYTES = 4096  # of a file, in which that stands


@dataclass(frozen=True)
class Ways:
    """Ways that are roads, and where the nodes on them are."""

    refs: np.ndarray  # (R,) int64 ids of nodes, one way after the other
    first: np.ndarray  # (W + 1,) where each way begins in `refs`
    tags: tuple[dict[str, str], ...]  # of each way
    node_ids: np.ndarray  # (N,) int64 in rising order: the nodes of `refs` that the file holds
    latitudes: np.ndarray  # (N,) degrees
    longitudes: np.ndarray
    bounds: tuple[float, float, float, float] | None  # south, west, north, east as the file states them; degrees


def read_ways(path: str | Path, kinds: Collection[str]) -> Ways:
    """Ways whose `highway` is one of `kinds` and that are no areas. Relations are not read.

    Read by osmium in two passes, first roads and then the nodes on them, so that it does not matter in which order
    they stand, and an extract of a whole country needs memory for its roads only. Ids may be negative, as editors
    number what is not uploaded. There may be no way at all in the result.
    Raises ConfigurationError when the file cannot be read, or osmium is not installed.
    """
    path = str(path)
    try:
        import osmium
    except ImportError as error:
        raise ConfigurationError(f"reading the OpenStreetMap extract '{path}' needs osmium, which is not installed: "
                                 'pip install osmium') from error
    refs: list[int] = []
    first, tags = [0], []
    try:
        roads: Iterable[Any] = osmium.FileProcessor(path, osmium.osm.WAY).with_filter(
            osmium.filter.KeyFilter('highway'))
        for way in roads:
            found = dict(way.tags)
            if found['highway'] in kinds and found.get('area') != 'yes':
                refs.extend([node.ref for node in way.nodes])
                first.append(len(refs))
                tags.append(found)
        numbers = np.array(refs, np.int64)
        nodes = _places(osmium, path, np.unique(numbers))
        bounds = _bounds(osmium, path)
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigurationError(f"'{path}' is no OpenStreetMap extract: {error}") from error
    return Ways(numbers, np.array(first), tuple(tags), *nodes, bounds)


def _places(osmium: Any, path: str, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids in rising order, latitudes and longitudes in degrees of the wanted nodes that the file holds."""
    nodes: Iterable[Any] = osmium.FileProcessor(path, osmium.osm.NODE)
    if len(wanted) and wanted[0] >= 0:  # osmium's sets of ids hold no negative ones
        nodes = nodes.with_filter(osmium.filter.IdFilter(wanted.tolist()))  # type: ignore[attr-defined]
        known = None
    else:
        known = set(wanted.tolist())
    ids, latitudes, longitudes = [], [], []
    for node in nodes:
        if known is None or node.id in known:
            place = node.location
            if place.valid():
                ids.append(node.id)
                latitudes.append(place.lat)
                longitudes.append(place.lon)
    numbers, order = np.unique(np.array(ids, np.int64), return_index=True)
    return numbers, np.array(latitudes, np.float64)[order], np.array(longitudes, np.float64)[order]


def _bounds(osmium: Any, path: str) -> tuple[float, float, float, float] | None:
    """South, west, north and east edge in degrees, as the head of the file states them; None when it does not."""
    with osmium.io.Reader(path, osmium.osm.NOTHING) as reader:
        box = reader.header().box()
    if box.valid():
        return box.bottom_left.lat, box.bottom_left.lon, box.top_right.lat, box.top_right.lon
    if path.endswith(('.osm', '.osm.gz')):  # Osmosis up to 0.45 wrote <bound box="...">, which osmium does not know
        with (gzip.open if path.endswith('.gz') else open)(path, 'rb') as stream:
            found = OSMOSIS_BOUND.search(stream.read(HEAD_BYTES))
        if found:
            south, west, north, east = (float(value) for value in found[1].split(b','))
            return south, west, north, east
    return None
