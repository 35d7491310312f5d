# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Real road topologies, cut from an OpenStreetMap extract: parsed once, then kept in memory and in ~/.cache."""

from __future__ import annotations

import functools
import hashlib
import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.maps.osm_apart import read_ways
from attention_fusion_ros.simulation.world.polyline import arc_length, clip_to_disc, distances, project, smoothed
from attention_fusion_ros.simulation.world.roads import Piece, Plan, Section, simplify
from attention_fusion_ros.utils import atomic
from attention_fusion_ros.utils.arrays import read_arrays

EARTH_RADIUS_M = 6378137.0  # WGS84 semi-major axis
# Kinds of `highway` that cars use as roads, with lanes (both directions together) where no tag tells.
KINDS = {'motorway': 2, 'motorway_link': 1, 'trunk': 2, 'trunk_link': 1, 'primary': 2, 'primary_link': 1,
         'secondary': 2, 'secondary_link': 1, 'tertiary': 2, 'tertiary_link': 1, 'unclassified': 2, 'residential': 2,
         'living_street': 1}
MAJOR = ('motorway', 'trunk', 'primary', 'secondary')
WINDOW_M = 140.0  # around the focus that are cut out
MARGIN_M = 170.0  # from the edge of the extract: beyond it roads are missing
SMOOTH_M = 3.0  # standard deviation: drawn corners are rounded, as they are on the ground
VERSION = 3  # of the cache: change it with `parse` or `_unpack`
Way = tuple[list[int], dict[str, str]]  # ids of its nodes, tags


@dataclass(frozen=True)
class Extract:
    """Stretches of road between the nodes where roads meet or end, in metres east and north of the middle."""

    lines: tuple[np.ndarray, ...]  # (P, 2) each
    ends: np.ndarray  # (S, 2) node number at the first and last vertex
    kinds: tuple[str, ...]
    lanes: np.ndarray  # (S,) 0 = no tag tells
    oneway: np.ndarray  # (S,) bool, along the line
    roundabout: np.ndarray  # (S,) bool
    level: np.ndarray  # (S,) bool, bridges and tunnels are not
    half_size: tuple[float, float]  # m, east and north

    @functools.cached_property
    def middles(self) -> np.ndarray:
        """(S, 3) middle of each stretch and the radius around it that holds the stretch."""
        boxes = [(line.min(axis=0), line.max(axis=0)) for line in self.lines]
        return np.array([[*((a + b) / 2), np.hypot(*(b - a)) / 2] for a, b in boxes])

    @functools.cached_property
    def joints(self) -> np.ndarray:
        """Numbers of the nodes where at least three stretches meet, well inside the extract."""
        numbers, counts = np.unique(self.ends, return_counts=True)
        places = {int(n): line[k] for line, ends in zip(self.lines, self.ends) for n, k in zip(ends, (0, -1))}
        return np.array([n for n in numbers[counts >= 3] if self.is_inside(places[int(n)])])

    def is_inside(self, place: np.ndarray) -> bool:
        """Whether a place (2,) [m] is far enough from the edge that no road around it is missing."""
        return bool((np.abs(place) < np.array(self.half_size) - MARGIN_M).all())


def load_extract(path: str | Path) -> Extract:
    """The roads of an .osm, .osm.gz or .osm.pbf file.

    Raises ConfigurationError when it cannot be read, holds no roads, or osmium is not installed.
    """
    path = Path(path).expanduser().resolve()
    try:
        stat = path.stat()
    except OSError as error:
        raise ConfigurationError(f"OpenStreetMap extract '{path}' cannot be read: {error}") from error
    return _load(str(path), stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _load(path: str, size: int, mtime_ns: int) -> Extract:
    key = hashlib.sha256(f'{path}:{size}:{mtime_ns}:{VERSION}'.encode()).hexdigest()[:16]
    cache = Path(os.environ.get('XDG_CACHE_HOME', '~/.cache')).expanduser() / 'attention_fusion_ros' / f'osm-{key}.npz'
    if cache.exists():
        try:
            return _unpack(read_arrays(cache))
        except (OSError, ValueError, KeyError, IndexError):
            pass  # damaged: made again
    packed = parse(path)
    try:
        atomic.save_arrays(cache, packed)  # several processes may come here at a time
    except OSError:
        pass  # a read-only home only costs time
    return _unpack(packed)


def parse(path: str) -> dict[str, np.ndarray]:
    """The roads of a file as flat arrays, see `_unpack`. Raises ConfigurationError, see `read_ways`."""
    found = read_ways(path, KINDS)
    if not len(found.node_ids):
        raise ConfigurationError(f"OpenStreetMap extract '{path}' holds no roads for cars")
    south, north = found.latitudes.min(), found.latitudes.max()
    bounds = found.bounds or (south, found.longitudes.min(), north, found.longitudes.max())
    places = zip(found.latitudes.tolist(), found.longitudes.tolist())
    refs = found.refs.tolist()
    ways = [(refs[a:b], tags) for a, b, tags in zip(found.first[:-1], found.first[1:], found.tags)]
    return _stretches(dict(zip(found.node_ids.tolist(), places)), ways, [float(edge) for edge in bounds])


def _stretches(nodes: dict[int, tuple[float, float]], ways: list[Way], bounds: list[float]) -> dict[str, np.ndarray]:
    """Ways cut where they meet.

    nodes: id -> (latitude, longitude) in degrees. bounds: south, west, north, east.
    """
    lat0, lon0 = (bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2
    scale = np.array([math.cos(math.radians(lat0)), 1.0]) * math.radians(1.0) * EARTH_RADIUS_M
    used: dict[int, int] = {}
    for refs, _ in ways:
        refs[:] = [r for r in refs if r in nodes]
        for r in refs:
            used[r] = used.get(r, 0) + 1
        for r in refs[:1] + refs[-1:]:
            used[r] = used.get(r, 0) + 1  # an end is always a joint
    number = {r: i for i, r in enumerate(r for r, n in used.items() if n > 1)}
    points, lengths, ends, kinds, lanes, oneway, roundabout, level = [], [], [], [], [], [], [], []
    names = list(KINDS)
    for refs, tags in ways:
        if tags.get('oneway') == '-1':
            refs = refs[::-1]
        joints = [k for k, r in enumerate(refs) if r in number]
        for a, b in zip(joints[:-1], joints[1:]):
            xy = np.array([nodes[r] for r in refs[a:b + 1]])[:, ::-1]
            points.append((xy - (lon0, lat0)) * scale)
            lengths.append(b + 1 - a)
            ends.append((number[refs[a]], number[refs[b]]))
            kinds.append(names.index(tags['highway']))
            lanes.append(int(tags['lanes']) if tags.get('lanes', '').isdigit() else 0)
            circle = tags.get('junction') == 'roundabout'
            roundabout.append(circle)
            oneway.append(circle or tags.get('oneway') in ('yes', 'true', '1', '-1') or tags['highway'] == 'motorway')
            level.append(tags.get('layer', '0') == '0' and not any(tags.get(k, 'no') != 'no'
                                                                   for k in ('bridge', 'tunnel')))
    if not points:
        raise ConfigurationError('the OpenStreetMap extract holds no roads whose nodes are in it')
    half = (np.array([bounds[3] - bounds[1], bounds[2] - bounds[0]]) / 2) * scale
    return dict(points=np.concatenate(points), lengths=np.array(lengths), ends=np.array(ends), kinds=np.array(kinds),
                lanes=np.array(lanes), oneway=np.array(oneway), roundabout=np.array(roundabout), level=np.array(level),
                half=half)


def _unpack(z: dict[str, np.ndarray]) -> Extract:
    lines = tuple(np.split(z['points'], np.cumsum(z['lengths'])[:-1]))
    names = list(KINDS)
    return Extract(lines, z['ends'], tuple(names[k] for k in z['kinds']), z['lanes'], z['oneway'], z['roundabout'],
                   z['level'], (float(z['half'][0]), float(z['half'][1])))


def osm_plan(rng: np.random.Generator, extract: Extract) -> Plan:
    """A window of the extract around a junction (3 of 4) or a place on a road, with a way through it."""
    for _ in range(200):
        plan = _try_plan(rng, extract)
        if plan is not None:
            return plan
    raise ConfigurationError('the OpenStreetMap extract has no place with roads on level ground around it')


def _try_plan(rng: np.random.Generator, extract: Extract) -> Plan | None:
    if len(extract.joints) and rng.random() < 0.75:
        joint = int(rng.choice(extract.joints))
        incident = np.flatnonzero((extract.ends == joint).any(axis=1))
        start = int(rng.choice(incident))
        towards = bool(extract.ends[start, 1] == joint)
    else:
        lengths = 2 * extract.middles[:, 2]
        start = int(rng.choice(len(lengths), p=lengths / lengths.sum()))
        towards = bool(extract.oneway[start] or rng.random() < 0.5)
    centre = extract.lines[start][-1 if towards else 0]
    if not extract.is_inside(centre):
        return None
    touched = np.flatnonzero(np.hypot(*(extract.middles[:, :2] - centre).T) < WINDOW_M + extract.middles[:, 2])
    near = [int(i) for i in touched if distances(extract.lines[i], centre).min() < WINDOW_M]
    if not all(extract.level[i] for i in near if distances(extract.lines[i], centre).min() < 70):
        return None
    plan = Plan()
    index: dict[int, int] = {}  # stretch of the extract -> street of the plan
    width = {kind: section_of_kind(rng, kind) for kind in KINDS}
    for i in near:
        if not extract.level[i]:
            continue
        section = tagged_section(width[extract.kinds[i]], int(extract.lanes[i]), bool(extract.oneway[i]),
                                 bool(extract.roundabout[i]), extract.kinds[i])
        line = simplify(smoothed(extract.lines[i], SMOOTH_M))
        inside = clip_to_disc(line - centre, WINDOW_M + 20.0)
        for run in inside:
            index.setdefault(i, plan.add(run, section))
    legs = _legs(rng, extract, start, towards, index)
    plan.way = [Piece(index[i], plan.centres[index[i]] if forward else plan.centres[index[i]][::-1], forward)
                for i, forward in legs]
    whole = np.concatenate([p.xy for p in plan.way])
    if arc_length(whole)[-1] < 60:
        return None
    plan.focus = project(whole, (0.0, 0.0))[0] if len(legs) else 0.0
    plan.nearest, plan.farthest = -12.0, 42.0
    return plan


def _legs(rng: np.random.Generator, extract: Extract, start: int, towards: bool,
          index: dict[int, int]) -> list[tuple[int, bool]]:
    """Stretches in driving order: the one that starts it, two or three back and on from there."""
    legs = [(start, towards)]
    used = {start}
    for sense in (1, -1, 1, -1, 1):
        i, forward = legs[-1] if sense > 0 else legs[0]
        node = extract.ends[i, 1 if forward == (sense > 0) else 0]
        options = []
        for j in np.flatnonzero((extract.ends == node).any(axis=1)):
            j = int(j)
            if j in used or j not in index:
                continue
            leaves = bool(extract.ends[j, 0] == node)  # the line begins at the node
            along = leaves == (sense > 0)
            options.append((j, along, bool(along or not extract.oneway[j])))
        allowed = [o for o in options if o[2]] or options
        if allowed:
            j, along, _ = allowed[int(rng.integers(len(allowed)))]
            used.add(j)
            legs = [*legs, (j, along)] if sense > 0 else [(j, along), *legs]
    return legs


def section_of_kind(rng: np.random.Generator, kind: str) -> Section:
    """What roads of a kind look like in this scene."""
    major = kind.split('_')[0] in MAJOR
    lane_width = float(rng.uniform(3.0, 3.7) if major else rng.uniform(2.5, 3.4))
    if kind == 'living_street':
        lane_width = float(rng.uniform(3.2, 5.0))
    parking = (0.0, 0.0)
    if not major and 'link' not in kind and rng.random() < 0.4:
        strip = float(rng.uniform(1.9, 2.3))
        parking = ((strip, strip), (strip, 0.0), (0.0, strip))[int(rng.integers(3))]
    return Section(KINDS[kind], lane_width, parking)


def tagged_section(section: Section, lanes: int, oneway: bool, roundabout: bool, kind: str) -> Section:
    """The section of a kind, as the tags of one road have it. lanes: 0 where no tag tells."""
    lanes = min(lanes or section.lanes, 6)
    carriageway = oneway and kind.split('_')[0] in MAJOR
    if oneway and not carriageway and kind != 'living_street':
        lanes = max(1, lanes // 2)
    return Section(lanes, max(section.lane_width, 3.2) if lanes == 1 else section.lane_width,
                   (0.0, 0.0) if roundabout or carriageway else section.parking, oneway,
                   'roundabout' if roundabout else 'carriageway' if carriageway else 'street')
