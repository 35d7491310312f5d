# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Road lines in GeoJSON (RFC 7946), and the route graphs of nav2, as ways.

Lines: LineString and MultiLineString features; their properties are read like the tags of OpenStreetMap (`highway`,
`oneway`, `width`, ...). Of several values in a list, as OSMnx writes them, the first that is known counts.
`other_tags`, where GDAL and QGIS put what has no column, are read, too. Lines that say nothing about `highway` are of
kind `road`, unless another tag tells what they are, a railway for example. Roads meet where they share a vertex.

Route graphs of nav2 (nav2_route, GeoJsonGraphFileLoader): points with an `id`, lines with `startid` and `endid`, each
driven from the one to the other. They claim EPSG:3857, but their coordinates are metres in the frame `map`; these need
the datum of that frame.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from attention_fusion_ros.errors import ConfigurationError, InputError
from attention_fusion_ros.maps.frames import LocalFrame, web_mercator_to_degrees
from attention_fusion_ros.maps.kinds import KINDS
from attention_fusion_ros.maps.osm_file import Ways
from attention_fusion_ros.utils import outside

SAME_PLACE_DEG = 1e-8  # a millimetre
OTHER_TAG = re.compile(r'"((?:[^"\\]|\\.)*)"=>"((?:[^"\\]|\\.)*)"')  # hstore, as GDAL's driver of OSM writes it
NO_ROADS = ('railway', 'waterway', 'aerialway', 'power', 'building', 'boundary', 'landuse', 'natural', 'leisure',
            'man_made', 'barrier', 'place')  # what else a line can be
LOCAL_M = 100e3  # coordinates beyond are those of the projection that the file names


def read_geojson(path: str | Path, kinds: Collection[str], datum: tuple[float, float] | None = None) -> Ways:
    """The lines as ways; see `maps.load.load_roads` for `kinds` and `datum`. Raises ConfigurationError."""
    try:
        content = outside.read_json(path, encoding='utf-8-sig')
        if isinstance(content.get('elements'), list):
            raise ConfigurationError(f"'{path}' is JSON of Overpass, not GeoJSON. Remedy: export it as GeoJSON, or as "
                                     'raw OSM data in XML ([out:xml]) under a name that ends in .osm')
        features = content['features'] if content['type'] == 'FeatureCollection' else [content]
        return _ways(path, content, [f for f in features if f.get('geometry')], kinds, datum)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        if isinstance(error, (ConfigurationError, InputError)):
            raise ConfigurationError(str(error)) from error
        raise ConfigurationError(f"'{path}' is no GeoJSON file with road lines: {type(error).__name__}: {error}. "
                                 'Remedy: give a FeatureCollection of LineString features') from error


def _ways(path: str | Path, content: dict, features: list[dict], kinds: Collection[str],
          datum: tuple[float, float] | None) -> Ways:
    points = {f['properties']['id']: f['geometry']['coordinates'][:2] for f in features
              if f['geometry']['type'] == 'Point' and 'id' in (f.get('properties') or {})}
    lines, tags, graph = [], [], False
    for feature in features:
        found = _tags(feature.get('properties') or {})
        shape, coordinates = feature['geometry']['type'], feature['geometry']['coordinates']
        if shape not in ('LineString', 'MultiLineString'):
            continue
        parts = coordinates if shape == 'MultiLineString' else [coordinates]
        if 'startid' in found and 'endid' in found:
            graph = True
            ends = [points.get(feature['properties'][name]) for name in ('startid', 'endid')]
            if None in ends:
                raise ConfigurationError(f"edge {found.get('id')} of the route graph '{path}' ends at a node that is "
                                         'not there. Remedy: export the graph with its nodes')
            parts = [[ends[0], *[p for part in parts for p in part][1:-1], ends[1]]]
            found.setdefault('oneway', 'yes')
        if found['highway'] in kinds:
            for part in parts:
                lines.append(np.array([p[:2] for p in part], np.float64).reshape(-1, 2))
                tags.append(found)
    lines, tags = _two_way(lines, tags)
    coordinates = np.concatenate(lines) if lines else np.zeros((0, 2))
    if not np.isfinite(coordinates).all():
        raise ConfigurationError(f"'{path}' has coordinates that are not finite")
    longitudes, latitudes = _degrees(path, content, coordinates, graph, datum).T
    if (np.abs(latitudes) >= 90.0).any() or (np.abs(longitudes) > 360.0).any():
        raise ConfigurationError(f"'{path}' has coordinates that are nowhere on earth. Remedy: look at its projection, "
                                 'and export it anew')
    rounded = np.rint(np.stack([latitudes, longitudes], axis=1) / SAME_PLACE_DEG).astype(np.int64)
    places, refs = np.unique(rounded, axis=0, return_inverse=True)
    first = np.append(0, np.cumsum([len(line) for line in lines])).astype(np.int64)
    return Ways(refs.ravel().astype(np.int64), first, tuple(tags), np.arange(len(places)),
                places[:, 0] * SAME_PLACE_DEG, places[:, 1] * SAME_PLACE_DEG, None)


def _tags(properties: dict) -> dict[str, str]:
    """Properties of a feature as tags."""
    other = dict(OTHER_TAG.findall(str(properties.get('other_tags') or '')))
    own = {str(k): _text(v) for k, v in properties.items() if v is not None}
    tags = {**other, **own}
    something_else = 'highway' in properties or any(tags.get(key, 'no') not in ('', 'no') for key in NO_ROADS)
    return {'highway': '' if something_else else 'road', **tags}


def _text(value: Any) -> str:
    if isinstance(value, list):  # others hold more than texts, as the `@relations` of Overpass Turbo do
        plain = [v for v in value if isinstance(v, (str, int, float))]
        return next((v for v in plain if isinstance(v, str) and v in KINDS), _text(plain[0]) if plain else '')
    return {True: 'yes', False: 'no'}[value] if isinstance(value, bool) else str(value)


def _two_way(lines: list[np.ndarray], tags: list[dict[str, str]]) -> tuple[list[np.ndarray], list[dict[str, str]]]:
    """Pairs of lines there and back along the same vertices are one road, as in the graphs of nav2 and OSMnx."""
    number: dict[bytes, int] = {}
    kept: list[tuple[np.ndarray, dict[str, str]]] = []
    for line, found in zip(lines, tags):
        back = number.get(np.ascontiguousarray(line[::-1]).tobytes())
        if back is not None:
            kept[back][1]['oneway'] = 'no'
        else:
            number[line.tobytes()] = len(kept)
            kept.append((line, dict(found)))
    return [line for line, _ in kept], [found for _, found in kept]


def _degrees(path: str | Path, content: dict, xy: np.ndarray, graph: bool,
             datum: tuple[float, float] | None) -> np.ndarray:
    """(P, 2) longitude and latitude."""
    name = str(((content.get('crs') or {}).get('properties') or {}).get('name', ''))
    if name.endswith(('CRS84', '4326')) or (not name and not graph):
        if len(xy) and ((np.abs(xy[:, 1]) > 90.0).any() or (np.abs(xy[:, 0]) > 360.0).any()):
            raise ConfigurationError(f"'{path}' holds coordinates that are no degrees. Remedy: export it with "
                                     'longitude and latitude (RFC 7946, EPSG:4326)')
        return xy
    if name.endswith('3857') and len(xy) and np.abs(xy).max() > LOCAL_M:
        return web_mercator_to_degrees(xy)
    if not graph:
        raise ConfigurationError(f"'{path}' is in the projection {name}. Remedy: export it with longitude and latitude "
                                 '(RFC 7946, EPSG:4326)')
    if datum is None:
        raise ConfigurationError(f"the route graph '{path}' is in metres of a local frame. Remedy: give `datum`, the "
                                 'latitude and longitude of the origin of that frame (x east, y north)')
    latitudes, longitudes = LocalFrame(*datum).to_degrees(xy)
    return np.stack([longitudes, latitudes], axis=1)
