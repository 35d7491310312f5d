# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Everything together: what sensors say in; position, route and map images out. The topics are the node's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from attention_fusion_ros.errors import ConfigurationError, InputError
from attention_fusion_ros.geometry import wrap, yaw_of
from attention_fusion_ros.maps.config import MapSourceConfig
from attention_fusion_ros.maps.earth import earth_fixed
from attention_fusion_ros.maps.fix import Fix
from attention_fusion_ros.maps.frames import LocalFrame, in_bounds
from attention_fusion_ros.maps.guide import RouteGuide
from attention_fusion_ros.maps.load import load_roads
from attention_fusion_ros.maps.local_roads import LocalRoads
from attention_fusion_ros.maps.localizer import Estimate
from attention_fusion_ros.maps.map_position import MapPosition
from attention_fusion_ros.maps.odometry_track import Pose2
from attention_fusion_ros.maps.painter import MapPainter
from attention_fusion_ros.maps.reasons import REASON_REMEDIES, REASONS
from attention_fusion_ros.maps.roads import RoadGraph
from attention_fusion_ros.maps.route import Route
from attention_fusion_ros.maps.settings import (
    Degrees,
    alignment_settings,
    check,
    datum_of,
    kinds_of,
    layout_of,
    parse_goals,
    utm_of,
)

NO_ROADS_M = 500.0  # without a road this near there is no image
FAR_FIXES = 5  # in a row beyond the reach of a datum that nobody gave: there is a new one
OTHER_CLOCK_NS = 2_000_000_000  # between fixes and odometry
YAW_NS = 100_000_000  # headings and absolute poses are not used more often than this ...
YAW_MEMORY_S = 1.0  # ... and those of so long together are worth one: their errors last
CLOCK_BACK = 'clock_went_back'


@dataclass(frozen=True)
class Drawing:
    """A map image and where it was drawn."""

    pixels: np.ndarray  # (rows, columns, 3) uint8 rgb
    estimate: Estimate

    @property
    def stamp_ns(self) -> int:
        """For which it holds."""
        return self.estimate.stamp_ns


class _Place(NamedTuple):
    """What there is once the datum is known."""

    frame: LocalFrame
    roads: LocalRoads
    position: MapPosition


class MapSource:
    """Takes decoded messages in the order in which they come, and draws. Not thread-safe.

    Whatever cannot be used is raised as InputError, costs that message only, and leaves everything ready for the next.
    """

    def __init__(self, graph: RoadGraph, config: MapSourceConfig):
        """Raises ConfigurationError when the parameters do not fit together or with the roads."""
        check(config)
        self.graph, self.config = graph, config
        self.guide = RouteGuide()
        self._bounds = graph.bounds
        self._earth = earth_fixed(config.position.coordinates, utm_of(config))
        self._place: _Place | None = None
        self._painter: MapPainter | None = None
        self._last: Drawing | None = None
        self._backs = 0
        self._far_fixes = 0
        self._odometry_ns: int | None = None
        self._odometry_since_fix = 0
        self._yaw_ns: int | None = None
        self._pose_ns: int | None = None
        datum = datum_of(config)
        self.datum_given = datum is not None
        if datum is not None:
            try:
                self._start_at(datum)
            except InputError as error:
                raise ConfigurationError(f"parameter 'datum': {error}") from error
        self.guide.set_goals(parse_goals(config.goal))

    @classmethod
    def from_file(cls, config: MapSourceConfig) -> MapSource:
        """Read the file of the configuration. Raises ConfigurationError."""
        if not config.file:
            raise ConfigurationError("parameter 'file' is empty. Remedy: give the path of a file of roads, an extract "
                                     'from download.geofabrik.de for example')
        check(config)
        datum = datum_of(config)
        graph = load_roads(config.file, kinds_of(config), None if datum is None else (datum.latitude, datum.longitude),
                           config.cache)
        return cls(graph, config)

    def update(self, config: MapSourceConfig, goal_given: bool = False) -> None:
        """Take over parameters that may change while it runs. goal_given: the goal counts though it is the same."""
        if config.map != self.config.map:
            self._last = None
            if self._painter is not None:
                self._painter.layout = layout_of(config.map)
        if goal_given or config.goal != self.config.goal:
            self.guide.set_goals(parse_goals(config.goal))
        self.config = config

    # -- what there is -------------------------------------------------------------------------------------------------

    @property
    def frame(self) -> LocalFrame | None:
        """The local frame, None until the datum is known."""
        return None if self._place is None else self._place.frame

    @property
    def roads(self) -> LocalRoads | None:
        """The roads around the datum."""
        return None if self._place is None else self._place.roads

    @property
    def position(self) -> MapPosition | None:
        """The filter."""
        return None if self._place is None else self._place.position

    def estimate(self, stamp_ns: int | None = None) -> Estimate:
        """Where base_link is. Raises InputError: no_position, no_heading, position_stale."""
        return self._known().position.estimate(stamp_ns)

    def _known(self) -> _Place:
        if self._place is None:
            raise InputError('no_position', 'there has been no good fix yet.',
                             'check the topic of the fix, and its status.')
        return self._place

    # -- messages ------------------------------------------------------------------------------------------------------

    def add_fix(self, fix: Fix, antenna: tuple[float, float] = (0.0, 0.0)) -> None:
        """A fix; antenna: its place in base_link [m].

        Raises InputError: datum_far_from_map, far_from_datum, fix_at_another_time.
        """
        if (self._odometry_ns is not None and self._odometry_since_fix > 1
                and abs(fix.stamp_ns - self._odometry_ns) > OTHER_CLOCK_NS):
            self._odometry_since_fix = 0
            raise InputError('fix_at_another_time', 'the stamps of fixes and of odometry are '
                             f'{abs(fix.stamp_ns - self._odometry_ns) / 1e9:.0f} s apart.',
                             'let both drivers stamp with the same clock.')
        self._odometry_since_fix = 0
        place = self._start_unless_known(Degrees(fix.latitude, fix.longitude, fix.altitude))
        try:
            place.position.add_fix(fix, antenna)
        except InputError:
            self._far_fixes += 1
            if self.datum_given or self._far_fixes < FAR_FIXES:
                raise
            self._restart(Degrees(fix.latitude, fix.longitude, fix.altitude)).position.add_fix(fix, antenna)
        self._far_fixes = 0
        self._notice_time()

    def add_odometry(self, stamp_ns: int, x: float, y: float, yaw: float) -> None:
        """A pose of base_link in the frame of odometry, which may lie anywhere [m, rad]."""
        self._odometry_ns, self._odometry_since_fix = stamp_ns, self._odometry_since_fix + 1
        if self._place is not None:
            self._place.position.add_odometry(stamp_ns, x, y, yaw)
            self._notice_time()

    def add_absolute(self, stamp_ns: int, T: np.ndarray, std: float, yaw_std: float,
                     odometry: tuple[float, float, float] | None = None) -> None:
        """A pose (4, 4) of base_link in the coordinates of position.coordinates.

        odometry: the pose in the frame of odometry, for tf map -> odom; default: x, y, yaw of T. Deviations in m, rad.
        Raises InputError: bad_fix, near_pole, far_from_datum, datum_far_from_map.
        """
        if self._place is None:
            self._start_unless_known(self._earth.datum(T))
        place = self._known()
        try:
            pose = self._earth.pose(T, place.frame)
        except InputError as error:
            self._far_fixes += error.reason == 'far_from_datum'
            if self.datum_given or self._far_fixes < FAR_FIXES:
                raise
            place = self._restart(self._earth.datum(T))
            pose = self._earth.pose(T, place.frame)
        self._far_fixes = 0
        planar = (float(T[0, 3]), float(T[1, 3]), yaw_of(T)) if odometry is None else odometry
        place.position.add_odometry(stamp_ns, *planar)
        since_ns = _since(self._pose_ns, stamp_ns)
        if since_ns >= YAW_NS:
            self._pose_ns, wider = stamp_ns, _wider(since_ns)
            place.position.add_pose(stamp_ns, *pose, std=std * wider, yaw_std=yaw_std * wider)
        self._notice_time()

    def add_yaw(self, stamp_ns: int, yaw: float, std: float) -> None:
        """An absolute yaw of base_link [rad, from true east]. Raises InputError bad_yaw."""
        if self._place is None:
            return
        since_ns = _since(self._yaw_ns, stamp_ns)
        if since_ns >= YAW_NS:
            self._yaw_ns = stamp_ns
            self._place.position.add_yaw(stamp_ns, wrap(yaw), std * _wider(since_ns))

    def add_alignment(self, stamp_ns: int, dx: float, dy: float, dyaw: float, covariance: np.ndarray) -> None:
        """What `map_alignment` of the fusion node says, see `MapPosition.add_alignment`.

        Raises InputError with the reason why it is not used.
        """
        reason = self._known().position.add_alignment(stamp_ns, dx, dy, dyaw, covariance)
        if reason:
            raise InputError(reason, f'{REASONS[reason]}.', REASON_REMEDIES[reason])

    # -- images --------------------------------------------------------------------------------------------------------

    def image_due(self, stamp_ns: int, wanted: bool = True) -> bool:
        """Whether enough has changed since the last image. wanted: somebody listens; else they come seldom."""
        if self._last is None:
            return True
        settings, seconds = self.config.map, (stamp_ns - self._last.stamp_ns) * 1e-9
        if seconds >= settings.max_period or seconds < -1.0:
            return True
        if not wanted or seconds < settings.min_period:
            return False
        try:
            pose = self.estimate(stamp_ns).pose
        except InputError:
            return True
        last = self._last.estimate.pose
        return (math.hypot(pose.x - last.x, pose.y - last.y) >= settings.min_distance
                or abs(wrap(pose.yaw - last.yaw)) >= settings.min_turn)

    def draw(self, stamp_ns: int | None = None) -> Drawing:
        """The image for a time, by default the latest.

        Raises InputError: no_position, no_heading, position_stale, position_uncertain, heading_uncertain,
        no_roads_near.
        """
        place = self._known()
        estimate = place.position.pose_for_image(stamp_ns)
        if self._painter is None or self._painter.roads is not place.roads:
            self._painter = MapPainter(place.roads, layout_of(self.config.map))
        layout = self._painter.layout
        pixels = self._painter.draw(estimate.pose, self.guide.ahead(layout.route_behind, layout.reach()))
        if not pixels.any():
            place.roads.nearest(np.array(estimate.pose[:2]), NO_ROADS_M)
        self._last = Drawing(pixels, estimate)
        return self._last

    def place_image(self, stamp_ns: int | None = None) -> Estimate:
        """The pose that an image for a time would be drawn around, where it is drawn later. Raises as `draw`."""
        place = self._known()
        estimate = place.position.pose_for_image(stamp_ns)
        place.roads.nearest(np.array(estimate.pose[:2]), NO_ROADS_M)
        self._last = Drawing(np.zeros((0, 0, 3), np.uint8), estimate)
        return estimate

    def follow(self, stamp_ns: int | None = None) -> bool:
        """Plan or follow the route; whether it is another one now. Raises InputError, see `estimate`."""
        place = self._known()
        changed = self.guide.update(place.position.estimate(stamp_ns), place.roads)
        if changed:
            self._last = None
        return changed

    def plan(self) -> Route:
        """Plan to the goals at once. Raises InputError: with why there is no route, or see `estimate`."""
        place = self._known()
        return self.guide.plan(place.position.estimate(), place.roads)

    def odom_in_map(self, stamp_ns: int | None = None) -> Pose2:
        """Pose of the frame of odometry in the local frame. Raises InputError, see `estimate`."""
        return self._known().position.odom_in_map(stamp_ns)

    # -- datum and time ------------------------------------------------------------------------------------------------

    def _start_unless_known(self, datum: Degrees) -> _Place:
        if self._place is None:
            if not in_bounds(self._bounds, datum.latitude, datum.longitude):
                south, west, north, east = self._bounds
                raise InputError('datum_far_from_map', f'the position {datum.latitude:.4f}, {datum.longitude:.4f} is '
                                 f'nowhere near the roads of the map ({south:.4f} to {north:.4f} north, {west:.4f} to '
                                 f'{east:.4f} east).',
                                 'give the file of the region that the vehicle is in, or check the receiver.')
            self._start_at(datum)
        return self._known()

    def _start_at(self, datum: Degrees) -> None:
        frame = LocalFrame(*datum)
        roads = LocalRoads(self.graph, frame)
        self._place = _Place(frame, roads, MapPosition(frame, alignment_settings(self.config)))
        self._backs, self._yaw_ns, self._pose_ns = 0, None, None
        self.guide.reset_roads()

    def _restart(self, datum: Degrees) -> _Place:
        """The vehicle is out of reach of a datum that nobody gave: another recording, or a long drive."""
        before, self._place, self._last = self._place, None, None
        try:
            return self._start_unless_known(datum)
        except InputError:
            self._place = before
            raise

    def _notice_time(self) -> None:
        """Stamps went back: what was drawn and driven is another drive."""
        backs = self._known().position.reference.counts.get(CLOCK_BACK, 0)
        if backs != self._backs:
            self._backs, self._last = backs, None
            self.guide.start_over()
            if self._painter is not None:
                self._painter.reset()


def _since(last_ns: int | None, stamp_ns: int) -> float:
    """Nanoseconds since the last measurement of a kind; infinite for the first, and where time went back."""
    return math.inf if last_ns is None or stamp_ns < last_ns else stamp_ns - last_ns


def _wider(since_ns: float) -> float:
    """By what the deviation of a measurement is multiplied: those of YAW_MEMORY_S together are worth one."""
    return math.sqrt(max(1.0, YAW_MEMORY_S / since_ns * 1e9))
