# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The whole chain of the demo: a real city, a goal, a receiver; `map_source` draws the map images that are fused.

Nobody draws a map by hand here. Fixes and odometry go to the node `map_source`, which knows the file of roads; its map
image goes to the fusion node; map alignments go back and correct where the next image is drawn.
"""

from __future__ import annotations

import argparse
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from attention_fusion_ros.errors import ConfigurationError, InputError
from attention_fusion_ros.geometry import angle_between, quaternion_from_yaw
from attention_fusion_ros.maps import example_extract
from attention_fusion_ros.maps.fix import Fix
from attention_fusion_ros.maps.map_position import MapPosition
from attention_fusion_ros.maps.odometry_track import OdometryTrack, Pose2
from attention_fusion_ros.simulation.city_drive import CityDrive
from attention_fusion_ros.simulation.city_options import CityOptions
from attention_fusion_ros.simulation.drive_options import DriveOptions
from attention_fusion_ros.simulation.sensors.gnss import FIX
from attention_fusion_ros.simulation.sensors.navigation_errors import GnssErrors

if TYPE_CHECKING:
    from rclpy.node import Node

START, GOAL = (42.34790, -71.03780), (42.34607, -71.03398)  # to the right at a T, through a roundabout, past forks
FIXES = GnssErrors(bias=3.0, jumps=1.0, losses=1.0)
RECEIVER = 'the receiver of this drive is simulated, and loses its fix or jumps now and then'
SOURCE, FUSION = 'map_source', 'attention_fusion'
STAND_IN = '/stand_in/map_alignment'
NOISE_M, NOISE_RAD = 0.4, math.radians(1.0)  # of the stand-in
STAND_IN_PERIOD_NS = 500_000_000  # as often as there are sweeps
POSITIONS = 4000  # that are kept
Error = tuple[float, float]  # m, rad


def city_drive(options: argparse.Namespace, rate_hz: float) -> CityDrive:
    """The drive. Raises ConfigurationError, InputError."""
    own = options.osm is not None
    start, goals = (options.start, tuple(options.goal)) if own or options.goal else (START, (GOAL,))
    return CityDrive(DriveOptions(seed=options.seed, rate=rate_hz, lidar=options.lidar, with_map=False,
                                  duration=options.seconds),
                     CityOptions(options.osm or example_extract(), start, goals, gnss=FIXES))


def source_parameters(drive: CityDrive) -> dict[str, Any]:
    """Parameters of `map_source`: the file, the goal, and the datum of the truth, so that poses can be compared."""
    latitude, longitude, _ = drive.datum
    return {'file': str(drive.city_options.osm), 'datum': f'"{latitude!r}, {longitude!r}"',
            'goal': f'"{float(drive.route.latitudes[-1])!r}, {float(drive.route.longitudes[-1])!r}"',
            'diagnostics.period': 0.5}


def source_remaps(registers: bool) -> dict[str, str]:
    """Topics of `map_source`. registers: whether the fusion network says where the map belongs."""
    return {'~/input/fix': '/fix', '~/input/odometry': '/odom', '~/map_image': '/map_image',
            '~/input/map_alignment': f'/{FUSION}/map_alignment' if registers else STAND_IN}


def registers_map(checkpoint: str) -> bool:
    """Whether a checkpoint ('' is the one that ships) registers the map image; one that cannot be read does not."""
    from attention_fusion_ros.network.checkpoint import load, path_of
    try:
        return bool(load(path_of(checkpoint or '')).network.config.map_registration['name'] != 'none')
    except ConfigurationError:
        return False  # the node says what is wrong with it


def poses_by_fixes(drive: CityDrive) -> list[Pose2 | None]:
    """Where fixes and odometry alone place the vehicle at each sweep, by the filter of `map_source`."""
    events: deque[tuple[int, int, Any]] = deque(sorted(
        [(t, 0, pose) for i in range(len(drive)) for t, pose in drive.odometry(i)]
        + [(fix.stamp_ns, 1, fix) for i in range(len(drive)) for fix in drive.fixes(i) if fix.status == FIX],
        key=lambda event: event[:2]))
    position = MapPosition(drive.frame)
    found: list[Pose2 | None] = []
    for index in range(len(drive)):
        time_ns, _ = drive.poses(index)[0]
        while events and events[0][0] <= time_ns:
            stamp_ns, kind, value = events.popleft()
            if not kind:
                position.add_odometry(stamp_ns, *value)
            else:
                std = math.sqrt(value.covariance[0, 0])
                position.add_fix(Fix(stamp_ns, 'gnss', value.latitude, value.longitude, value.altitude, std, True))
        try:
            found.append(position.estimate(time_ns).pose)
        except InputError:
            found.append(None)
    return found


def errors_of(poses: list[Pose2 | None], drive: CityDrive) -> list[Error | None]:
    """By how much the map would be off at each sweep."""
    return [None if pose is None else _off(pose, drive.poses(i)[0][1]) for i, pose in enumerate(poses)]


def _off(pose: Pose2, true: tuple[float, float, float]) -> Error:
    return math.hypot(pose.x - true[0], pose.y - true[1]), float(angle_between(pose.yaw, true[2]))


@dataclass
class Placed:
    """Where `map_source` said that the vehicle was."""

    stamp_ns: int
    pose: Pose2


class PositionListener:
    """Hears where `map_source` places the vehicle, and knows where it is."""

    def __init__(self, node: Node, drive: CityDrive, stand_in: bool, seed: int):
        """stand_in: publish map alignments in place of the fusion node, the truth with noise."""
        from geometry_msgs.msg import PoseWithCovarianceStamped
        from sensor_msgs.msg import Image
        self._node, self._drive = node, drive
        self._offset_ns: int | None = None  # of stamps against times of the drive
        self._said: deque[Placed] = deque(maxlen=POSITIONS)
        self._track = OdometryTrack()  # the same, to look up what was said between two of them
        self._drawn: deque[int] = deque(maxlen=50)  # stamps of map images
        self._rng, self._sent_ns, self.images = np.random.default_rng([seed, 15]), 0, 0
        self._publisher = node.create_publisher(PoseWithCovarianceStamped, STAND_IN, 5) if stand_in else None
        node.create_subscription(PoseWithCovarianceStamped, f'/{SOURCE}/position', self._on_position, 50)
        node.create_subscription(Image, '/map_image', self._on_image, 50)

    def connected(self) -> bool:
        """Whether both nodes and this one have found each other."""
        return (self._node.count_publishers(f'/{SOURCE}/position') > 0
                and self._node.count_subscribers('/map_image') > 1
                and (self._publisher is None or self._publisher.get_subscription_count() > 0))

    def starts(self, stamp_ns: int, time_ns: int) -> None:
        """A sweep goes out: its stamp, and its time of the drive."""
        self._offset_ns = stamp_ns - time_ns

    def pose_at(self, stamp_ns: int) -> Pose2 | None:
        """The last pose not younger than a stamp, none older than a second."""
        said = [p for p in list(self._said) if stamp_ns - 10**9 <= p.stamp_ns <= stamp_ns]
        return said[-1].pose if said else None

    def error_at(self, stamp_ns: int, time_ns: int) -> Error | None:
        """By how much the map was off that was drawn for a sweep. time_ns: of the sweep."""
        said = [p for p in list(self._said) if stamp_ns - 10**9 <= p.stamp_ns <= stamp_ns]
        return _off(said[-1].pose, self._drive.pose_at(said[-1].stamp_ns - stamp_ns + time_ns)) if said else None

    def track(self) -> np.ndarray:
        """(N, 2) m: all places that were said."""
        return np.array([p.pose[:2] for p in list(self._said)]).reshape(-1, 2)

    def _on_position(self, message: Any) -> None:
        p, q = message.pose.pose.position, message.pose.pose.orientation
        placed = Placed(_stamp_ns(message), Pose2(p.x, p.y, 2 * math.atan2(q.z, q.w)))
        self._said.append(placed)
        if not len(self._track) or placed.stamp_ns > self._track.stamp_ns:
            self._track.add(placed.stamp_ns, placed.pose)
        self._align()

    def _on_image(self, message: Any) -> None:
        self.images += 1
        self._drawn.append(_stamp_ns(message))
        self._align()

    def _align(self) -> None:
        """In place of a network: where the newest image should have been drawn whose place has been said."""
        if self._publisher is None or self._offset_ns is None:
            return
        # Images and positions have stamps of their own, so a position is looked up between two.
        found = aligned(self._drawn, self._track, self._sent_ns + STAND_IN_PERIOD_NS)
        if found is None:
            return
        stamp_ns, pose = found
        self._sent_ns = stamp_ns
        motion = Pose2(*self._drive.pose_at(stamp_ns - self._offset_ns)).relative(pose)
        noise = self._rng.normal(0.0, (NOISE_M, NOISE_M, NOISE_RAD))
        self._publisher.publish(_alignment(stamp_ns, np.array(motion) + noise))


def aligned(drawn: Sequence[int], track: OdometryTrack, from_ns: int) -> tuple[int, Pose2] | None:
    """Stamp and place of the newest image that has one, of those stamped from a time on. drawn: their stamps."""
    for stamp_ns in sorted(drawn, reverse=True):
        if stamp_ns < from_ns:
            break
        if (pose := track.at(stamp_ns)) is not None:
            return stamp_ns, pose
    return None


def _alignment(stamp_ns: int, motion: np.ndarray) -> Any:
    from geometry_msgs.msg import PoseWithCovarianceStamped

    from attention_fusion_ros.ros.messages.sensors import header
    message = PoseWithCovarianceStamped(header=header(stamp_ns, 'base_link'))
    message.pose.pose.position.x, message.pose.pose.position.y = float(motion[0]), float(motion[1])
    q = message.pose.pose.orientation
    q.x, q.y, q.z, q.w = quaternion_from_yaw(float(motion[2]))
    message.pose.covariance = np.diag([NOISE_M**2, NOISE_M**2, 1e-6, 1e-6, 1e-6, NOISE_RAD**2]).ravel().tolist()
    return message


def _stamp_ns(message: Any) -> int:
    return int(message.header.stamp.sec * 10**9 + message.header.stamp.nanosec)


def words(registers: bool) -> str:
    """Where the corrections come from."""
    return 'map alignments: ' + ('by the fusion network' if registers else
                                 f'by a stand-in, the truth with noise of {NOISE_M:g} m and '
                                 f'{math.degrees(NOISE_RAD):g} deg, for this network does not register the map')
