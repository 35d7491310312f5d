# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""From goals to the route that is driven: planned when the position is known, planned again when it was left."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attention_fusion_ros.errors import InputError
from attention_fusion_ros.maps.follow import LOOK_BACK_M, Progress, RouteFollower
from attention_fusion_ros.maps.local_roads import LocalRoads
from attention_fusion_ros.maps.localizer import Estimate
from attention_fusion_ros.maps.route import Route, RoutePlanner, route_from_path
from attention_fusion_ros.maps.settings import Degrees

AGAIN_NS = 5_000_000_000  # between two attempts
FOREVER = ('goal_malformed', 'goal_off_network')  # do not depend on where the vehicle is
Place = Degrees | np.ndarray  # (2,) m in the local frame
PASSED_M = 20.0  # of a waypoint: a new route leaves it out


@dataclass(frozen=True)
class Guidance:
    """The state of the route. state: none, waiting, no_route, driving, off_route, arrived."""

    state: str
    route: Route | None = None
    progress: Progress | None = None
    problem: InputError | None = None


class RouteGuide:
    """Goals or a given path, and the route to follow. `version` rises with every change of the route."""

    def __init__(self) -> None:
        self.version = 0
        self.replanned = 0
        self._planner: RoutePlanner | None = None
        self._goals: list[Place] = []  # ahead
        self._wanted: tuple[Place, ...] = ()  # as they were given
        self._s: np.ndarray = np.zeros(0)  # m from the start of the route, of its vertices
        self.clear()

    def reset_roads(self) -> None:
        """Other roads, or another datum: places in metres mean nothing any more."""
        self._planner = None
        if self._path or any(not isinstance(g, Degrees) for g in self._wanted):
            self.clear()
        else:
            self.set_goals(self._wanted)

    def clear(self) -> None:
        """No goal, no route."""
        self._goals, self._wanted = [], ()
        self._path = False
        self._arrived = False
        self._problem: InputError | None = None
        self._tried_ns: int | None = None
        self._drop()

    def _drop(self) -> None:
        self._follower: RouteFollower | None = None
        self._progress: Progress | None = None
        self.version += 1

    def set_goals(self, goals: Sequence[Place]) -> None:
        """Waypoints and a goal; () for none. The route is planned at the next position."""
        self.clear()
        self._goals, self._wanted = list(goals), tuple(goals)

    def set_path(self, points: np.ndarray, roads: LocalRoads) -> None:
        """A path (P, 2) m that somebody else planned. Raises InputError path_too_short."""
        route = route_from_path(points, roads.frame)
        self.clear()
        self._path = True
        self._follow(route)

    def start_over(self) -> None:
        """The drive begins anew: goals are planned for again, a given path is followed from its beginning."""
        self._tried_ns = None
        if self._path and self._follower is not None:
            self._follow(self._follower.route)
        elif self._wanted:
            self.set_goals(self._wanted)

    def _follow(self, route: Route) -> None:
        self._follower = RouteFollower(route)
        self._s = np.append(0.0, np.cumsum(np.hypot(*np.diff(route.xy, axis=0).T)))
        self._problem = None
        self.version += 1

    @property
    def route(self) -> Route | None:
        """What is driven."""
        return None if self._follower is None else self._follower.route

    @property
    def guidance(self) -> Guidance:
        """The state of the route."""
        if self._arrived:
            state = 'arrived'
        elif self._follower is not None:
            state = 'off_route' if self._progress is not None and self._progress.off_route else 'driving'
        elif self._goals:
            state = 'waiting' if self._problem is None else 'no_route'
        else:
            state = 'none'
        return Guidance(state, self.route, self._progress, self._problem)

    def update(self, estimate: Estimate, roads: LocalRoads) -> bool:
        """Plan or follow; whether the route is another one now. Never raises: see `guidance`."""
        before = self.version
        if self._follower is not None:
            self._progress = self._follower.update(estimate.stamp_ns, np.array(estimate.pose[:2]),
                                                   estimate.position_std, estimate.pose.yaw)
            if self._progress.arrived:
                self._arrived, self._goals = True, []
                self._drop()
            elif self._progress.off_route and not self._path and self._due(estimate.stamp_ns):
                self._leave_out_passed()
                self.replanned += self._plan(estimate, roads)
        elif self._goals and self._due(estimate.stamp_ns):
            self._plan(estimate, roads)
        return self.version != before

    def plan(self, estimate: Estimate, roads: LocalRoads) -> Route:
        """Plan at once. Raises InputError with why there is no route."""
        self._plan(estimate, roads)
        if self._problem is not None:
            raise self._problem
        assert self.route is not None
        return self.route

    def _due(self, stamp_ns: int) -> bool:
        if self._problem is not None and self._problem.reason in FOREVER:
            return False
        return self._tried_ns is None or not 0 <= stamp_ns - self._tried_ns < AGAIN_NS

    def _plan(self, estimate: Estimate, roads: LocalRoads) -> bool:
        self._tried_ns = estimate.stamp_ns
        try:
            if self._planner is None or self._planner.roads is not roads:
                self._planner = RoutePlanner(roads)
            places = [self._planner.place(g.latitude, g.longitude) if isinstance(g, Degrees) else g
                      for g in self._goals]
            self._follow(self._planner.plan(places, np.array(estimate.pose[:2]), estimate.pose.yaw))
            self._progress = None
        except InputError as error:
            self._problem = error
            return False
        return True

    def _leave_out_passed(self) -> None:
        """Waypoints that lie behind on the route that was left."""
        assert self._follower is not None and self._planner is not None
        line = self._follower.route.xy
        while len(self._goals) > 1:
            goal = self._goals[0]
            place = self._planner.place(goal.latitude, goal.longitude) if isinstance(goal, Degrees) else goal
            if self._s[int(np.hypot(*(line - place).T).argmin())] > self._follower.farthest + PASSED_M:
                break
            self._goals.pop(0)

    def ahead(self, behind: float, reach: float) -> np.ndarray | None:
        """(P, 2) m of the route from `behind` metres behind the vehicle to where it is out of sight.

        A route that comes back to the same place later is not drawn there yet.
        """
        if self._follower is None:
            return None
        along = 0.0 if self._progress is None else self._progress.along
        first = int(np.searchsorted(self._s, along - behind - LOOK_BACK_M, side='right')) - 1
        last = int(np.searchsorted(self._s, along + math.pi * reach)) + 1
        part: np.ndarray = self._follower.route.xy[max(first, 0):last]
        return part if len(part) > 1 else None
