# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The roads in an .osm, .osm.gz or .osm.pbf file, as they stand there: ways, tags, places of nodes, turns."""

from __future__ import annotations

import bz2
import gzip
import re
from array import array
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.maps.pbf_sizes import unpacked_bytes
from attention_fusion_ros.maps.tags import RESTRICTION, TURNS, is_impassable, turn_of

OSMOSIS_BOUND = re.compile(rb'<bound\s[^>]*box="([-0-9.,]+)"')
DELETED_WAY = re.compile(rb'<way\s[^>]*\baction=[\'"]delete[\'"][^>]*>')
WAY_ID = re.compile(rb'\sid=[\'"](-?\d+)[\'"]')
HEAD_BYTES = 4096  # of a file, in which that stands
# How files begin, with the ending of their names by which osmium tells of what kind they are.
STARTS = {b'\x1f\x8b': '.osm.gz', b'BZh': '.osm.bz2', b'OSMHeader': '.pbf', b'<?xml': '.osm'}
SIGNATURE_BYTES = 16
TEXTS: dict[str, Callable[..., Any]] = {'.osm': open, '.osm.gz': gzip.open, '.osm.bz2': bz2.open}
PIECE_BYTES = 1 << 20
UNITS = 10**7  # of osmium's places, in a degree
NO_PLACE = 2**31 - 1  # of nodes that are not there
SMALL_BYTES = 600 * 10**6  # unpacked, of files whose nodes are all kept in memory while they are read
# What is kept of a file at most: the roads of a country. A file of a megabyte can unpack to anything.
MAX_REFS, MAX_WAYS, MAX_TAG_LETTERS = 120 * 10**6, 6 * 10**6, 600 * 10**6
MAX_TURNS = 4 * 10**6


@dataclass(frozen=True)
class Ways:
    """Ways that are roads, where the nodes on them are, and how cars may not turn, or have to.

    A row of `turns` is the number of the way from, the id of the node via, the number of the way to, and the number in
    `tags.TURNS`.
    """

    refs: np.ndarray  # (R,) int64 ids of nodes, one way after the other
    first: np.ndarray  # (W + 1,) where each way begins in `refs`
    tags: tuple[dict[str, str], ...]  # of each way
    node_ids: np.ndarray  # (N,) int64 in rising order: the nodes of `refs` that the file holds
    latitudes: np.ndarray  # (N,) degrees
    longitudes: np.ndarray
    bounds: tuple[float, float, float, float] | None  # south, west, north, east as the file states them; degrees
    barred: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # (B,) ids of nodes no car can pass
    turns: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.int64))  # (T, 4), see above


def read_ways(path: str | Path, kinds: Collection[str]) -> Ways:
    """Ways whose `highway` is one of `kinds` and that are no areas, and the restrictions of turns between them.

    It does not matter in which order ways and nodes stand, and an extract of a whole country needs memory for its roads
    only. Ids may be negative, as editors number what is not uploaded; what is deleted is left out. There may be no way
    at all in the result.
    Raises ConfigurationError when the file cannot be read, or osmium is not installed or too old.
    """
    path = str(path)
    osmium = library(path)
    tags: list[dict[str, str]] = []
    ids = array('q')  # of the ways
    try:
        small = unpacked_bytes(path) < SMALL_BYTES
        refs, first, places = _roads(osmium, path, kinds, tags, ids, small)
        if not small or (places == NO_PLACE).any():  # ways before their nodes, or nodes that are not there
            found = _nodes(osmium, path, np.unique(refs))
        else:
            found = np.unique(refs, return_index=True)
            found = found[0], places[found[1]]
        numbers = np.array(ids, np.int64)
        once = np.sort(np.unique(numbers, return_index=True)[1])
        if len(once) < len(numbers) and numbers.all():  # two extracts in one file; 0 is a way without an id
            refs = np.concatenate([refs[first[k]:first[k + 1]] for k in once.tolist()])
            first = np.append(0, np.cumsum(np.diff(first)[once]))
            numbers, tags = numbers[once], [tags[k] for k in once.tolist()]
        bounds, (barred, turns) = _bounds(osmium, path), _barred_and_turns(osmium, path)
    except ConfigurationError:
        raise
    except Exception as error:  # osmium has exceptions of its own, which have no common base
        raise ConfigurationError(f"'{path}' is no OpenStreetMap extract: {error}. Remedy: {_remedy(path)}") from error
    return Ways(refs, first, tuple(tags), found[0], found[1][:, 0] / UNITS, found[1][:, 1] / UNITS, bounds,
                barred[np.isin(barred, found[0])], _among(turns, numbers, found[0]))


def _remedy(path: str) -> str:
    """What to do about a file that osmium cannot read, by how it begins."""
    try:
        with open(path, 'rb') as stream:
            head = stream.read(HEAD_BYTES)
    except OSError:
        head = b''
    is_of = next((ending for start, ending in STARTS.items() if start in head[:SIGNATURE_BYTES]), '')
    if is_of and not path.endswith(is_of):
        return f'it is of another kind than its name says: let that end in {is_of}'
    return 'get the file again, and look whether it is whole and no message of the server'


def library(path: str) -> Any:
    """osmium.

    Raises ConfigurationError when it is not installed, or too old: the packages of Ubuntu 22.04 and 24.04
    (python3-pyosmium 3) have no FileProcessor.
    """
    try:
        import osmium
    except ImportError as error:
        raise ConfigurationError(f"reading the OpenStreetMap extract '{path}' needs osmium, which is not installed. "
                                 "Remedy: pip install 'osmium>=4'") from error
    if not hasattr(osmium, 'FileProcessor'):
        raise ConfigurationError(f"reading the OpenStreetMap extract '{path}' needs osmium 4 or later; the one that is "
                                 "installed is older. Remedy: pip install 'osmium>=4'")
    return osmium


def _roads(osmium: Any, path: str, kinds: Collection[str], tags: list[dict[str, str]], ids: array[int],
           places: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids of nodes (R,), where ways begin (W + 1,), and, if wanted, latitude and longitude (R, 2) in units of osmium.

    Tags are appended to `tags`, ids of ways to `ids`. Osmium keeps every node of the file for places, which is fast,
    but no way to read a country; those of nodes that come after their way are missing.
    """
    kinds_only = osmium.filter.KeyFilter('highway')
    if places:
        ways: Iterable[Any] = osmium.FileProcessor(path, osmium.osm.NODE | osmium.osm.WAY).with_locations().with_filter(
            osmium.filter.EntityFilter(osmium.osm.WAY)).with_filter(kinds_only)
    else:
        ways = osmium.FileProcessor(path, osmium.osm.WAY).with_filter(kinds_only)
    first, values, letters = [0], array('q'), 0
    columns = 3 if places else 1
    deleted = _deleted_in_editor(path)
    for way in ways:
        if not way.visible or way.id in deleted:
            continue
        if way.tags.get('highway') in kinds and way.tags.get('area') != 'yes':
            found = dict(way.tags)
            letters += sum(len(key) + len(value) for key, value in found.items())
            if len(first) > MAX_WAYS or len(values) > columns * MAX_REFS or letters > MAX_TAG_LETTERS:
                raise ConfigurationError(f"'{path}' holds the roads of more than a country: over {len(first) - 1} of "
                                         'them. Remedy: cut out the region where you drive (osmium extract --bbox)')
            if places:
                values.extend([v for node in way.nodes for v in (node.ref, node.y, node.x)])
            else:
                values.extend([node.ref for node in way.nodes])
            first.append(len(values))
            ids.append(way.id)
            tags.append(found)
    table = np.array(values, np.int64).reshape(-1, columns)
    return np.ascontiguousarray(table[:, 0]), np.array(first) // columns, table[:, 1:]


def _deleted_in_editor(path: str) -> frozenset[int]:
    """Ids of the ways that JOSM has deleted, which it keeps in what it saves; osmium does not tell."""
    unpack = next((unpack for ending, unpack in TEXTS.items() if path.endswith(ending)), None)
    if unpack is None:
        return frozenset()
    found: set[int] = set()
    rest = b''
    with unpack(path, 'rb') as stream:
        while piece := stream.read(PIECE_BYTES):
            text = rest + piece
            ids = (WAY_ID.search(tag.group()) for tag in DELETED_WAY.finditer(text))
            found.update(int(number[1]) for number in ids if number)
            rest = text[-HEAD_BYTES:]  # a tag may be cut in two
    return frozenset(found)


def _nodes(osmium: Any, path: str, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ids (N,) in rising order, latitudes and longitudes (N, 2) of the wanted nodes that the file holds."""
    nodes: Iterable[Any] = osmium.FileProcessor(path, osmium.osm.NODE)
    if len(wanted) and wanted[0] >= 0:  # osmium's sets of ids hold no negative ones
        nodes = nodes.with_filter(osmium.filter.IdFilter(wanted.tolist()))  # type: ignore[attr-defined]
    found = array('q')
    for node in nodes:
        place = node.location
        found.extend((node.id, place.y, place.x))
    table = np.array(found, np.int64).reshape(-1, 3)
    table = table[table[:, 1] != NO_PLACE]  # of nodes that were deleted
    numbers, first = np.unique(table[:, 0], return_index=True)
    known = np.isin(numbers, wanted, assume_unique=True)
    return numbers[known], table[first[known], 1:]


def _barred_and_turns(osmium: Any, path: str) -> tuple[np.ndarray, np.ndarray]:
    """(B,) int64 ids of the nodes that no car can pass, and (T, 4) as `Ways.turns`, but with ids of ways.

    All that the file holds, on roads or not.
    """
    things = osmium.FileProcessor(path, osmium.osm.NODE | osmium.osm.RELATION).with_filter(
        osmium.filter.KeyFilter('barrier', *RESTRICTION))
    barred, turns = array('q'), array('q')
    for thing in things:
        found = dict(thing.tags)
        if thing.is_node():
            if is_impassable(found):
                barred.append(thing.id)
        elif turn := turn_of(found):
            members = [(m.role, m.type, m.ref) for m in thing.members]
            origins, targets = ([ref for role, kind, ref in members if (role, kind) == (end, 'w')]
                                for end in ('from', 'to'))
            via = list({(kind, ref) for role, kind, ref in members if role == 'via'})  # some stand there twice
            if len(via) != 1 or via[0][0] != 'n':
                continue  # a way between the two, or none
            if len(turns) + 4 * len(origins) * len(targets) > 4 * MAX_TURNS:
                raise ConfigurationError(f"'{path}' holds over {MAX_TURNS} restrictions of turns. Remedy: cut out "
                                         'the region where you drive (osmium extract --bbox)')
            turns.extend([v for a in origins for b in targets for v in (a, via[0][1], b, TURNS.index(turn))])
    return np.array(barred, np.int64), np.array(turns, np.int64).reshape(-1, 4)


def _among(turns: np.ndarray, ways: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """(T, 4) restrictions between these ways (W,) at these nodes (N,), by ids -> with numbers of ways instead."""
    known = np.isin(turns[:, 1], nodes) & np.isin(turns[:, [0, 2]], ways).all(axis=1)
    turns, order = turns[known], np.argsort(ways, kind='stable')
    turns[:, [0, 2]] = order[np.searchsorted(ways, turns[:, [0, 2]], sorter=order)]
    return turns


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
