# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A drive through a real city along a planned route: LiDAR, odometry that drifts, fixes, an IMU by choice, truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attention_fusion_ros.errors import ConfigurationError, InputError
from attention_fusion_ros.maps.frames import LocalFrame, in_bounds
from attention_fusion_ros.maps.load import load_roads
from attention_fusion_ros.maps.local_roads import LocalRoads
from attention_fusion_ros.maps.roads import RoadGraph
from attention_fusion_ros.maps.route import Route, RoutePlanner
from attention_fusion_ros.simulation.city_options import CityOptions, Degrees
from attention_fusion_ros.simulation.drive import CORNER_M, paced
from attention_fusion_ros.simulation.drive_options import DriveOptions
from attention_fusion_ros.simulation.sensors.dead_reckoning import DeadReckoning
from attention_fusion_ros.simulation.sensors.gnss import GnssFix, GnssReceiver
from attention_fusion_ros.simulation.sensors.imu import Imu, ImuReading
from attention_fusion_ros.simulation.sweeps import SimulatedDrive
from attention_fusion_ros.simulation.world.city import City, Streets, streets_along
from attention_fusion_ros.simulation.world.generate import way_line
from attention_fusion_ros.simulation.world.polyline import arc_length, normals, smoothed, substring
from attention_fusion_ros.simulation.world.world import Pose, World

TRIES = 60
SHORTEST_M, LONGEST_M = 350.0, 1500.0  # of routes that are chosen here
APART_M = (250.0, 900.0)  # start and goal, as the crow flies
AROUND_M = 2000.0  # of a datum, where they are chosen
LEAST_M = 40.0  # of any route
STEP_M = 0.5  # of the driven line
CHANGE_LANE_M = 6.0  # standard deviation of the smoothing where the lane changes
BEHIND_M, AHEAD_M = 60.0, 150.0  # of the route that are in the world


class CityDrive(SimulatedDrive):
    """As `SimulatedDrive`, through real roads; the world is the local frame of their datum.

    Raises ConfigurationError (a file without roads, a sensor or numbers that make no drive), InputError (a start or
    goal off the network, a goal that cannot be reached).
    """

    def __init__(self, options: DriveOptions, city: CityOptions, lookahead: float = 20.0):
        self.city_options = city
        super().__init__(options, lookahead)
        ground = self.world_at(0)
        path = [(time_ns, pose) for i in range(len(self)) for time_ns, pose in self.poses(i)]

        def rng(number: int) -> np.random.Generator:
            return np.random.default_rng([options.seed, 14, number])

        draws, odometry = rng(0), DeadReckoning(city.odometry)
        self._odometry = [(t, odometry.measure(ground, pose, draws, t)) for t, pose in path]
        self._fixes: list[GnssFix] = []
        if city.gnss is not None:
            draws, receiver = rng(1), GnssReceiver(self.frame, city.gnss)
            for t in np.arange(0, path[-1][0] + 1, round(1e9 / city.gnss.rate)).tolist():
                self._fixes.append(receiver.measure(ground, self.pose_at(t), draws, t))
        self._readings: list[ImuReading] = []
        if city.imu is not None:
            draws, imu = rng(2), Imu(self.frame, city.imu)
            self._readings = [imu.measure(ground, pose, draws, t) for t, pose in path]

    def _driven(self, speed: float, rate_hz: float) -> tuple[np.ndarray, np.ndarray]:
        city, seed = self.city_options, self.options.seed
        self.roads, self.route = planned(load_roads(city.osm), city.start, city.goals, seed)
        streets = streets_along(np.random.default_rng([seed, 10]), self.roads, self.route)
        self._way, (self._begin, self._end) = way_line(streets.plan), (streets.begin, streets.end)
        line, ways = driven_line(streets, city.left_hand)
        along = arc_length(line)
        begin, end = np.interp([self._begin, self._end], ways, along)
        stamps, poses, at = paced(line, float(begin), float(end), speed, rate_hz)
        self._ways = np.interp(at, along, ways)
        self._city = City(streets, line, seed, city.left_hand)
        self.world = self._city.around(poses[0, :2])
        return stamps, poses

    @property
    def frame(self) -> LocalFrame:
        """What the world is in."""
        return self.roads.frame

    def world_at(self, index: int) -> World:
        """The world in sight of a sweep, with its pose and the route around it."""
        _, pose = self.poses(index)[0]
        at = self._ways[index * self._between]
        begin, end = max(at - BEHIND_M, self._begin), min(at + AHEAD_M, self._end)
        return replace(self._city.around(np.array(pose[:2])), pose=pose, route=substring(self._way, begin, end))

    def odometry(self, index: int) -> list[tuple[int, Pose]]:
        """As `SimulatedDrive.odometry`, in a frame that begins at the first pose, and drifts."""
        first, count = index * self._between, len(self.poses(index))
        return self._odometry[first:first + count]

    def fixes(self, index: int) -> list[GnssFix]:
        """As `SimulatedDrive.fixes`. Raises IndexError."""
        return [fix for fix in self._fixes if self._belongs(index, fix.stamp_ns)]

    def imu(self, index: int) -> list[ImuReading]:
        """As `SimulatedDrive.imu`. Raises IndexError."""
        return [reading for reading in self._readings if self._belongs(index, reading.stamp_ns)]

    def _belongs(self, index: int, time_ns: int) -> bool:
        begin = self.poses(index)[0][0]
        return begin <= time_ns and (index + 1 == len(self) or time_ns < self.poses(index + 1)[0][0])

    def pose_at(self, time_ns: int) -> Pose:
        """The true pose at any time of the drive, in the local frame."""
        yaws = np.unwrap(self._poses[:, 2])
        x, y, yaw = (float(np.interp(time_ns, self._times, values)) for values in (*self._poses[:, :2].T, yaws))
        return x, y, float(np.angle(np.exp(1j * yaw)))

    @property
    def datum(self) -> tuple[float, float, float]:
        """Of `frame`."""
        return self.frame.latitude, self.frame.longitude, self.frame.height

    @property
    def route_geojson(self) -> str:
        """The route that was planned."""
        return self.route.geojson()

    @property
    def antenna(self) -> tuple[float, float, float] | None:
        """As the options have it."""
        return None if self.city_options.gnss is None else self.city_options.gnss.antenna

    @property
    def has_imu(self) -> bool:
        """As the options have it."""
        return self.city_options.imu is not None

    def degrees(self, pose: Pose) -> Degrees:
        """Latitude and longitude of a pose."""
        latitude, longitude = self.frame.to_degrees(np.array(pose[:2]))
        return float(latitude), float(longitude)

    def _follows_route(self) -> bool:
        return self.options.route


def planned(graph: RoadGraph, start: Degrees | None, goals: tuple[Degrees, ...], seed: int) -> tuple[LocalRoads, Route]:
    """The roads around a datum at the start (without one, at a goal or any road), and the route.

    Raises ConfigurationError when the route turns on the spot, is too short, or none is found; InputError, see
    `RoutePlanner.plan`.
    """
    rng = np.random.default_rng([seed, 9])
    level = np.flatnonzero(graph.routable & (graph.layers == 0))
    level = level if len(level) else np.arange(len(graph))
    some = int(graph.first[int(rng.choice(level))])
    datum = start or (goals[0] if goals else (float(graph.latitudes[some]), float(graph.longitudes[some])))
    for place, reason in [(goal, 'goal_off_network') for goal in goals] + [(datum, 'start_off_network')]:
        if not in_bounds(graph.bounds, *place):
            south, west, north, east = graph.bounds
            raise InputError(reason, f'{place[0]:.4f}, {place[1]:.4f} is nowhere near the roads of the map '
                             f'({south:.4f} to {north:.4f} north, {west:.4f} to {east:.4f} east).',
                             'give a place on them (latitude first), or the file of another region.')
    roads = LocalRoads(graph, LocalFrame(*datum))
    planner = RoutePlanner(roads)
    targets = [planner.place(*goal) for goal in goals]
    if start is not None and targets:
        return roads, _checked(planner.plan(targets, np.zeros(2)))
    around = np.zeros(2) if start is not None or not targets else targets[0]
    near = np.intersect1d(level, roads.edges_in(around - AROUND_M, around + AROUND_M))
    places = np.array([roads.line(int(e)).mean(axis=0) for e in near])
    problem: InputError | None = None
    for _ in range(TRIES):
        fixed = around if start is not None or targets else places[int(rng.integers(len(places)))]
        away = np.hypot(*(places - fixed).T)
        others = np.flatnonzero((away >= APART_M[0]) & (away <= APART_M[1]))
        if not len(others):
            continue
        other = places[int(rng.choice(others))]
        try:
            route = _checked(planner.plan(targets or [other], other if start is None and targets else fixed))
        except InputError as error:
            if error.reason == 'goal_off_network':
                raise
            problem = error
            continue
        except ConfigurationError:
            continue
        simple = len(set(route.edges)) == len(route.edges) and not graph.layers[list(route.edges)].any()
        if simple and SHORTEST_M <= route.length and (goals or route.length <= LONGEST_M):
            return roads, route
    if problem is not None and goals:
        raise problem
    raise ConfigurationError(f'no route of at least {SHORTEST_M:.0f} m was found around {datum[0]:.5f}, '
                             f'{datum[1]:.5f}. Remedy: give both --start and --goal, or another --seed')


def _checked(route: Route) -> Route:
    steps = list(zip(route.edges, route.forward))
    if any(a == b and f != g for (a, f), (b, g) in zip(steps[:-1], steps[1:])):
        raise ConfigurationError('the route turns on the spot at a goal on the way, which is not simulated. Remedy: '
                                 'give goals that lie on the way to the last one')
    if route.length < LEAST_M:
        raise ConfigurationError(f'the route is {route.length:.0f} m long; at least {LEAST_M:.0f} m are needed. '
                                 'Remedy: give a goal farther away')
    return route


def driven_line(streets: Streets, left_hand: bool) -> tuple[np.ndarray, np.ndarray]:
    """(P, 2) the way with rounded corners, in the lane by the kerb; and (P,) m along the way of each vertex."""
    way = way_line(streets.plan)
    smooth = smoothed(way, CORNER_M, STEP_M)
    ways = np.linspace(0.0, arc_length(way)[-1], len(smooth))
    begin, aside = 0.0, np.zeros(len(smooth))
    for piece in streets.plan.way:
        section = streets.plan.sections[piece.street]
        section = section if piece.forward else section.reversed()
        lanes = section.forward_lanes(left_hand)
        aside[ways >= begin] = section.lane_offset(lanes[-1] if left_hand else lanes[0])
        begin += float(arc_length(piece.xy)[-1])
    reach = int(3 * CHANGE_LANE_M / STEP_M)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) * STEP_M / CHANGE_LANE_M)**2)
    aside = np.convolve(np.pad(aside, reach, mode='edge'), weights / weights.sum(), mode='valid')
    line = smooth + normals(smooth) * aside[:, None]
    return line, ways
