# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Small road networks by hand, real ones, and drives through them with all that is wrong with sensors."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from attention_fusion_ros.geometry import wrap
from attention_fusion_ros.maps.build import build_roads
from attention_fusion_ros.maps.fix import Fix
from attention_fusion_ros.maps.frames import LocalFrame
from attention_fusion_ros.maps.load import load_roads
from attention_fusion_ros.maps.local_roads import LocalRoads
from attention_fusion_ros.maps.map_position import MapPosition
from attention_fusion_ros.maps.odometry_track import Pose2
from attention_fusion_ros.maps.osm_file import Ways
from attention_fusion_ros.maps.route import RoutePlanner
from attention_fusion_ros.maps.tags import TURNS

FRAME = (49.43, 7.76)
START_NS = 1_700_000_000_000_000_000
CITIES = ('kaiserslautern', 'boston_seaport', 'singapore_queenstown')


def ways_of(nodes: dict[int, tuple[float, float]], ways: list[tuple[list[int], dict[str, str]]],
            frame: LocalFrame, barred: Sequence[int] = (), turns: Sequence[tuple[int, int, int, str]] = ()) -> Ways:
    """Ways from places in metres.

    nodes: id -> (x, y). barred: nodes that no car can pass. turns: number of the way from, node, number of the way to,
    and what the restriction says.
    """
    ids = np.array(sorted(nodes), np.int64)
    latitudes, longitudes = frame.to_degrees(np.array([nodes[i] for i in ids], float))
    refs = np.array([r for way, _ in ways for r in way], np.int64)
    first = np.append(0, np.cumsum([len(way) for way, _ in ways]))
    tags = tuple({'highway': 'residential', **t} for _, t in ways)
    rows = np.array([(a, node, b, TURNS.index(what)) for a, node, b, what in turns], np.int64).reshape(-1, 4)
    return Ways(refs, first, tags, ids, latitudes, longitudes, None, np.array(barred, np.int64), rows)


def town(nodes: dict[int, tuple[float, float]], ways: list[tuple[list[int], dict[str, str]]],
         datum: tuple[float, float] = FRAME, barred: Sequence[int] = (),
         turns: Sequence[tuple[int, int, int, str]] = ()) -> LocalRoads:
    """Roads around a datum from places in metres, see `ways_of`."""
    frame = LocalFrame(*datum)
    return LocalRoads(build_roads(ways_of(nodes, ways, frame, barred, turns)), frame)


@functools.cache
def city(folder: Path, name: str) -> LocalRoads:
    """A real city with the datum in its middle."""
    graph = load_roads(folder / 'data' / 'osm' / f'{name}.osm.gz', cache=None)
    south, west, north, east = graph.bounds
    return LocalRoads(graph, LocalFrame((south + north) / 2, (west + east) / 2))


def drive_through(roads: LocalRoads, seed: int, seconds: float, speed: float = 9.0) -> np.ndarray:
    """(N, 3) true poses [m, rad] every 0.1 s along a route."""
    rng = np.random.default_rng(seed)
    planner = RoutePlanner(roads)
    while True:
        a, b = rng.choice(len(roads.graph), 2)
        try:
            route = planner.plan([roads.line(a)[0]], roads.line(b)[0])
        except ValueError:
            continue
        if route.length > speed * (seconds + 1.0):
            break
    s = np.append(0.0, np.cumsum(np.hypot(*np.diff(route.xy, axis=0).T)))
    at = np.arange(0.0, speed * seconds, speed * 0.1)
    xy = np.stack([np.interp(at, s, route.xy[:, 0]), np.interp(at, s, route.xy[:, 1])], axis=1)
    smooth = np.stack([np.convolve(np.pad(c, 4, 'edge'), np.ones(9) / 9, 'valid') for c in xy.T], axis=1)
    d = np.gradient(smooth, axis=0)
    return np.column_stack([smooth, np.unwrap(np.arctan2(d[:, 1], d[:, 0]))])


@dataclass
class Errors:
    """What is wrong with the sensors of a drive."""

    seed: int = 0
    fix_std: float = 3.0  # m: nine tenths of it wander over minutes
    scale: float = 0.01  # that odometry is too long
    drift: float = math.radians(0.004)  # rad per m
    noise: float = 0.003  # m, per step
    turn_noise: float = math.radians(0.01)  # rad, per step
    jumps: tuple[float, float] = (1e9, 1e9)  # s, when fixes are 30 m off
    outage: tuple[float, float] = (1e9, 1e9)  # s, without fixes
    start: tuple[float, float] | None = None  # m and rad by which the first pose is off
    align: bool = False
    align_until: float = 1e9
    align_offset: tuple[float, float, float] = (0.0, 0.0, 0.0)  # of alignments that are wrong, in the local frame
    align_from: float = 0.0


@dataclass
class Log:
    """Of every step at which there was an estimate."""

    position: MapPosition
    rows: list[tuple[float, ...]] = field(default_factory=list)

    def column(self, name: str, start: float = 0.0, stop: float = 1e9) -> np.ndarray:
        """`away` [m], `turned` [rad], `std` [m], `turn_std` [rad], `fix` [m, by which the last fix was off]."""
        rows = np.array(self.rows)
        chosen = (rows[:, 0] >= start) & (rows[:, 0] < stop)
        return rows[chosen, 1 + ('away', 'turned', 'std', 'turn_std', 'fix').index(name)]


def simulate(frame: LocalFrame, poses: np.ndarray, e: Errors) -> Log:
    """A drive along true poses (N, 3), 10 Hz; fixes once a second."""
    rng = np.random.default_rng(e.seed)
    log = Log(MapPosition(frame))
    log_fix = 0.0
    position = log.position
    odometry = Pose2(5.0, -3.0, float(rng.uniform(-3, 3)))
    bias = rng.normal(0, 0.9 * e.fix_std, 2)
    if e.start is not None:
        off = rng.uniform(-math.pi, math.pi)
        step = Pose2(e.start[0] * math.cos(off), e.start[0] * math.sin(off), e.start[1] * float(rng.choice([-1, 1])))
        first = Pose2(*poses[0]).then(step)
        position.add_odometry(START_NS, *odometry)
        position.add_pose(START_NS, *first, std=3.0, yaw_std=math.radians(4.0))
        bias = np.array([first.x, first.y]) - poses[0, :2]
    for i in range(1, len(poses)):
        t, stamp_ns = i * 0.1, START_NS + i * 100_000_000
        truth = Pose2(*poses[i])
        step = Pose2(*poses[i - 1]).relative(truth)
        length = math.hypot(step.x, step.y)
        odometry = odometry.then(Pose2(step.x * (1 + e.scale) + rng.normal(0, e.noise),
                                       step.y * (1 + e.scale) + rng.normal(0, e.noise),
                                       step.yaw + e.drift * length + rng.normal(0, e.turn_noise)))
        position.add_odometry(stamp_ns, *odometry)
        bias = bias * math.exp(-0.001) + rng.normal(0, 0.9 * e.fix_std * math.sqrt(0.002), 2)
        if i % 10 == 0 and not e.outage[0] <= t < e.outage[1]:
            off = bias + rng.normal(0, 0.4 * e.fix_std, 2)
            log_fix = float(np.hypot(*off))
            off = off + ((25.0, -18.0) if e.jumps[0] <= t < e.jumps[1] else (0.0, 0.0))
            latitude, longitude = frame.to_degrees(poses[i, :2] + off)
            position.add_fix(Fix(stamp_ns, 'gnss', float(latitude), float(longitude), 0.0, e.fix_std, True))
        try:
            drawn = position.pose_for_image(stamp_ns).pose
        except ValueError:
            continue
        if e.align and i % 2 == 0 and e.align_from <= t < e.align_until:  # the stand-in: the truth with noise
            wrong = Pose2(truth.x + e.align_offset[0], truth.y + e.align_offset[1], truth.yaw + e.align_offset[2])
            a = wrong.relative(drawn)
            position.add_alignment(stamp_ns, a.x + rng.normal(0, 0.4), a.y + rng.normal(0, 0.4),
                                   a.yaw + rng.normal(0, math.radians(1.0)),
                                   np.diag([0.16, 0.16, math.radians(1.0)**2]))
        found = position.estimate(stamp_ns)
        log.rows.append((t, math.hypot(found.pose.x - truth.x, found.pose.y - truth.y),
                         abs(wrap(found.pose.yaw - truth.yaw)), found.position_std, found.heading_std, log_fix))
    return log
