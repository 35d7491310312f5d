# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Writes a simulated drive as a rosbag2 recording, without ROS: something to try the commands on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from attention_fusion_ros.contracts import PointCloud
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.geometry import quaternion_from_yaw, se3_from_quaternion, yaw_of
from attention_fusion_ros.simulation import truth_file
from attention_fusion_ros.simulation.drive import START_NS
from attention_fusion_ros.simulation.sensors.gnss import FRAME_ID as GNSS
from attention_fusion_ros.simulation.sensors.gnss import GnssFix
from attention_fusion_ros.simulation.sensors.imu import FRAME_ID as IMU
from attention_fusion_ros.simulation.sensors.imu import ImuReading
from attention_fusion_ros.simulation.sweeps import SimulatedDrive
from attention_fusion_ros.utils.new_folder import NewFolder

BASE, ODOM = 'base_link', 'odom'
TOPICS = {  # topic -> type, as `simulate` publishes them
    '/tf_static': 'tf2_msgs/msg/TFMessage',
    '/odom': 'nav_msgs/msg/Odometry',
    '/map_image': 'sensor_msgs/msg/Image',
    '/lidar/points': 'sensor_msgs/msg/PointCloud2',
}
CITY_TOPICS = {  # further ones of a drive through a real city
    '/fix': 'sensor_msgs/msg/NavSatFix',
    '/heading': 'sensor_msgs/msg/Imu',
}
FLOAT32 = 7  # sensor_msgs/PointField
GPS = 1  # sensor_msgs/NavSatStatus
LEVEL_VARIANCE = (1e-4, 1e-4)  # rad^2, of roll and pitch
NOT_SAID = np.array([-1.0] + 8 * [0.0])
LATCHED_DEPTH = 1
METADATA_VERSION: Literal[8, 9] = 8  # the newest that every distribution since Humble reads with its QoS profiles


def check_new(folder: Path) -> None:
    """Raises ConfigurationError when the folder of a recording to write exists."""
    if folder.exists():
        raise ConfigurationError(f"'{folder}' exists already. Remedy: give a new folder, or remove that one.")


def write_recording(drive: SimulatedDrive, folder: Path, start_ns: int = START_NS,
                    on_sweep: Callable[[], object] = lambda: None, notes: Mapping[str, str] | None = None) -> int:
    """Write every sweep of a drive with all that its sensors send, and their transforms; returns the number of sweeps.

    What is true of each sweep stands in truth.json in the same folder, see `truth_file`. Only what is complete gets
    the name asked for.

    folder: of the recording (mcap); must not exist yet.
    start_ns: stamp of the start of the drive.
    on_sweep: called after each sweep, for progress.
    notes: for `custom_data` of metadata.yaml.

    Raises ConfigurationError when the folder exists.
    """
    from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
    from rosbags.rosbag2 import StoragePlugin, Writer

    check_new(folder)
    messages, rows = _Messages(), []
    left_out = {topic for topic, there in (('/map_image', drive.options.with_map), ('/fix', drive.antenna is not None),
                                           ('/heading', drive.has_imu)) if not there}
    wanted = {topic: kind for topic, kind in (TOPICS | CITY_TOPICS).items() if topic not in left_out}
    latched = Qos(QosHistory.KEEP_LAST, LATCHED_DEPTH, QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL,
                  QosTime(0, 0), QosTime(0, 0), QosLiveliness.AUTOMATIC, QosTime(0, 0), False)
    with NewFolder(folder) as new:
        with Writer(new.work, version=METADATA_VERSION, storage_plugin=StoragePlugin.MCAP) as bag:
            for key, value in (notes or {}).items():
                bag.set_custom_data(key, value)
            topics = {topic: bag.add_connection(topic, kind, typestore=messages.store,
                                                offered_qos_profiles=[latched] if topic == '/tf_static' else [])
                      for topic, kind in wanted.items()}

            def write(topic: str, stamp_ns: int, message: Any) -> None:
                bag.write(topics[topic], stamp_ns, messages.store.serialize_cdr(message, wanted[topic]))

            for index in range(len(drive)):
                sweep = drive.sweep(index)
                if index == 0:
                    write('/tf_static', start_ns, messages.transforms(mountings(drive, sweep.cloud.frame_id), start_ns))
                rows.append(truth_file.row(drive, sweep, start_ns))
                (time_ns, pose), *later = drive.odometry(index)
                stamp_ns = start_ns + time_ns
                write('/odom', stamp_ns, messages.odometry(pose, stamp_ns))
                if sweep.map_image is not None:
                    write('/map_image', stamp_ns, messages.map_image(sweep.map_image, stamp_ns))
                write('/lidar/points', stamp_ns, messages.point_cloud(sweep.cloud, stamp_ns))
                rest = [(t, '/odom', messages.odometry(p, start_ns + t)) for t, p in later]
                rest += [(fix.stamp_ns, '/fix', messages.fix(fix, start_ns)) for fix in drive.fixes(index)]
                rest += [(r.stamp_ns, '/heading', messages.imu(r, start_ns)) for r in drive.imu(index)]
                for time_ns, topic, message in sorted(rest, key=lambda r: r[0]):
                    write(topic, start_ns + time_ns, message)
                on_sweep()
        truth_file.write(new.work, drive, rows)
    return len(drive)


def mountings(drive: SimulatedDrive, lidar_frame: str) -> list[tuple[str, np.ndarray]]:
    """(frame, (4, 4) pose in base_link) of every sensor: what goes to /tf_static."""
    found = [(lidar_frame, drive.T_base_sensor)]
    if drive.antenna is not None:
        found.append((GNSS, se3_from_quaternion(drive.antenna, (0.0, 0.0, 0.0, 1.0))))
    if drive.has_imu:
        found.append((IMU, np.eye(4)))
    return found


class _Messages:
    """Makes messages from the definitions that come with rosbags."""

    def __init__(self) -> None:
        from rosbags.typesys import Stores, get_typestore
        self.store = get_typestore(Stores.ROS2_JAZZY)

    def _make(self, kind: str, *fields: Any) -> Any:
        return self.store.types[kind](*fields)

    def _header(self, stamp_ns: int, frame: str) -> Any:
        stamp = self._make('builtin_interfaces/msg/Time', *divmod(stamp_ns, 10**9))
        return self._make('std_msgs/msg/Header', stamp, frame)

    def _quaternion(self, yaw: float) -> Any:
        return self._make('geometry_msgs/msg/Quaternion', *map(float, quaternion_from_yaw(yaw)))

    def point_cloud(self, cloud: PointCloud, stamp_ns: int) -> Any:
        """x y z intensity as packed float32, 16 bytes a point."""
        points = np.zeros((len(cloud.xyz), 4), '<f4')
        points[:, :3] = cloud.xyz
        if cloud.intensity is not None:
            points[:, 3] = cloud.intensity
        fields = [self._make('sensor_msgs/msg/PointField', name, 4 * i, FLOAT32, 1)
                  for i, name in enumerate(('x', 'y', 'z', 'intensity'))]
        return self._make('sensor_msgs/msg/PointCloud2', self._header(stamp_ns, cloud.frame_id), 1, len(points), fields,
                          False, 16, points.nbytes, np.frombuffer(points.tobytes(), np.uint8), True)

    def map_image(self, image: np.ndarray, stamp_ns: int) -> Any:
        """(H, W, 3) uint8 rgb -> rgb8."""
        height, width, _ = image.shape
        return self._make('sensor_msgs/msg/Image', self._header(stamp_ns, BASE), height, width, 'rgb8', 0, 3 * width,
                          np.ascontiguousarray(image).reshape(-1))

    def odometry(self, pose: tuple[float, float, float], stamp_ns: int) -> Any:
        """pose: x, y [m], yaw [rad] of base_link in odom."""
        point = self._make('geometry_msgs/msg/Point', pose[0], pose[1], 0.0)
        where = self._make('geometry_msgs/msg/Pose', point, self._quaternion(pose[2]))
        zero = self._make('geometry_msgs/msg/Vector3', 0.0, 0.0, 0.0)
        twist = self._make('geometry_msgs/msg/Twist', zero, zero)
        return self._make('nav_msgs/msg/Odometry', self._header(stamp_ns, ODOM), BASE,
                          self._make('geometry_msgs/msg/PoseWithCovariance', where, np.zeros(36)),
                          self._make('geometry_msgs/msg/TwistWithCovariance', twist, np.zeros(36)))

    def fix(self, fix: GnssFix, start_ns: int) -> Any:
        """The message of a receiver of GPS."""
        status = self._make('sensor_msgs/msg/NavSatStatus', fix.status, GPS)
        return self._make('sensor_msgs/msg/NavSatFix', self._header(start_ns + fix.stamp_ns, GNSS), status,
                          fix.latitude, fix.longitude, fix.altitude, fix.covariance.ravel(), fix.covariance_type)

    def imu(self, reading: ImuReading, start_ns: int) -> Any:
        """Yaw and its rate; of acceleration nothing is said, as sensor_msgs/Imu has it (-1)."""
        def vector(z: float) -> Any:
            return self._make('geometry_msgs/msg/Vector3', 0.0, 0.0, z)
        return self._make('sensor_msgs/msg/Imu', self._header(start_ns + reading.stamp_ns, IMU),
                          self._quaternion(reading.yaw), np.diag(LEVEL_VARIANCE + (reading.std**2,)).ravel(),
                          vector(reading.rate), np.diag([1e-4] * 3).ravel(), vector(0.0), NOT_SAID)

    def transforms(self, mounted: list[tuple[str, np.ndarray]], stamp_ns: int) -> Any:
        """Poses (4, 4) in base_link, a translation and a yaw each, as static transforms."""
        stamped = []
        for frame, T in mounted:
            translation = self._make('geometry_msgs/msg/Vector3', *map(float, T[:3, 3]))
            transform = self._make('geometry_msgs/msg/Transform', translation, self._quaternion(yaw_of(T)))
            stamped.append(self._make('geometry_msgs/msg/TransformStamped', self._header(stamp_ns, BASE), frame,
                                      transform))
        return self._make('tf2_msgs/msg/TFMessage', stamped)
