# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A file of roads -> RoadGraph, read once and then kept in ~/.cache."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.maps.build import build_roads
from attention_fusion_ros.maps.geojson_file import read_geojson
from attention_fusion_ros.maps.kinds import DEFAULT_KINDS, checked_kinds
from attention_fusion_ros.maps.osm_apart import read_ways
from attention_fusion_ros.maps.roads import RoadGraph
from attention_fusion_ros.utils import atomic
from attention_fusion_ros.utils.arrays import read_arrays

VERSION = 4  # of the cache: change it with what is read, or how it is kept
OSM_ENDINGS = ('.osm', '.osm.gz', '.osm.bz2', '.osm.pbf', '.pbf')
GEOJSON_ENDINGS = ('.geojson', '.json')
BLOCK = 2**20


def load_roads(path: str | Path, kinds: Sequence[str] = DEFAULT_KINDS,
               datum: tuple[float, float] | None = None, cache: str | Path | None = '') -> RoadGraph:
    """The roads of a file.

    kinds: values of `highway` that count. datum: latitude and longitude [deg] of the origin of files in metres
    (graphs of nav2). cache: a folder; '' is that of the user, None is none. The cache is found by the content of the
    file and by the settings, so a file may move; what is damaged is made again.
    Raises ConfigurationError when the file cannot be read, holds none of these roads, needs a datum, or a package that
    reads it is not installed.
    """
    path, kinds = Path(path).expanduser(), checked_kinds(tuple(kinds))
    if not path.name.lower().endswith(OSM_ENDINGS + GEOJSON_ENDINGS):
        raise ConfigurationError(f"'{path}' is no file of roads that is known. Remedy: give a file that ends in "
                                 f"{', '.join(OSM_ENDINGS + GEOJSON_ENDINGS)}")
    key = _key(path, (VERSION, kinds, datum))
    place = None if cache is None else Path(cache or _user_cache()).expanduser() / f'roads-{key[:24]}.npz'
    kept = None if place is None else _kept(place, key)
    if kept is not None:
        return kept
    if path.name.lower().endswith(OSM_ENDINGS):
        ways = read_ways(path, kinds)
    else:
        ways = read_geojson(path, kinds, datum)
    graph = build_roads(ways)
    if len(ways.tags) and not len(ways.node_ids):
        raise ConfigurationError(f"'{path}' holds {len(ways.tags)} roads, but not the places of their nodes. Remedy: "
                                 'export the nodes too (in Overpass: (._;>;); out body; and not out geom)')
    if not len(graph):
        raise ConfigurationError(f"'{path}' holds no roads of the kinds {', '.join(kinds)}. Remedy: choose another "
                                 'file, or other kinds')
    if place is not None:
        try:
            with atomic.replacing(place) as file:
                np.savez(file, key=np.array(key), **graph.arrays())  # type: ignore[arg-type]  # names, not options
        except OSError:
            pass  # a read-only home only costs time
    return graph


def _user_cache() -> Path:
    return Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser() / 'attention_fusion_ros'


def _key(path: Path, settings: tuple) -> str:
    found = hashlib.sha256(repr(settings).encode())
    try:
        with open(path, 'rb') as file:
            while block := file.read(BLOCK):
                found.update(block)
    except OSError as error:
        raise ConfigurationError(f"the map '{path}' cannot be read: {error}. Remedy: give the path of a file that "
                                 'exists, an extract from download.geofabrik.de for example') from error
    found.update(b'osm' if path.name.lower().endswith(OSM_ENDINGS) else b'geojson')
    return found.hexdigest()


def _kept(place: Path, key: str) -> RoadGraph | None:
    """What is in the cache, None when it is not there or damaged (members of the archive carry checksums)."""
    try:
        arrays = read_arrays(place)
        if str(arrays['key']) != key:
            return None
        return RoadGraph.from_arrays(arrays)
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None
