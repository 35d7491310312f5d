# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A process that publishes what a vehicle sends: python driver.py SCENE.npz [--best-effort].

Reads what to send as one JSON object a line (see `Wanted`) and prints each sweep it has sent: `good` or `odd`, its
stamp in ns, and time.monotonic() just before it was published.
"""

from __future__ import annotations

import json
import math
import queue
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

import numpy as np  # noqa: E402
from nav_msgs.msg import Odometry  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402
from sensor_msgs.msg import Image, PointCloud2  # noqa: E402
from tf2_msgs.msg import TFMessage  # noqa: E402

from attention_fusion_ros.geometry import quaternion_from_rotation  # noqa: E402
from attention_fusion_ros.ros.clients.session import Session  # noqa: E402
from attention_fusion_ros.ros.messages import sensors  # noqa: E402
from fault_kit.odd_clouds import CLOUDS, GOOD_CLOUDS  # noqa: E402
from fault_kit.odd_images import IMAGES  # noqa: E402

MAP_HZ, ODOMETRY_HZ, CLOCK_HZ = 1.0, 20.0, 50.0
NODE = '/attention_fusion'
STAMPS_NS = {'now': 0, 'one hour ahead': 3600 * 10**9, 'one hour behind': -3600 * 10**9, 'TAI': 37 * 10**9}
GOOD_STAMPS = ('now', 'TAI')


@dataclass
class Wanted:
    """What is sent. All defaults: what a vehicle sends."""

    rate: float = 2.0  # sweeps a second
    cloud: str = 'plain'  # of CLOUDS
    frame: str = 'lidar'
    stamp: str = 'now'  # of STAMPS_NS, or zero, the same, backwards
    picture: str = 'plain'  # of IMAGES, or none
    odometry: str = 'plain'  # none, jump, nan, other child
    tf: str = 'static'  # none, moved, hz100
    clock: float | None = None  # pace of /clock, None without it; sweeps are stamped by it
    jump_s: float = 0.0  # of /clock

    @property
    def good(self) -> bool:
        """Whether the sweeps ought to be answered."""
        return self.cloud in GOOD_CLOUDS and self.stamp in GOOD_STAMPS


class Driver:
    """Publishers of everything, and when each is due."""

    def __init__(self, scene: Path, best_effort: bool):
        stored = np.load(scene, allow_pickle=False)
        self.points, self.picture, self.T = stored['points'], stored['picture'], stored['T_base_sensor']
        self.session = Session('driver', spin=False)
        node = self.session.node
        reliability = ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE
        qos = QoSProfile(depth=5, reliability=reliability)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.clouds = node.create_publisher(PointCloud2, f'{NODE}/input/pointcloud', qos)
        self.maps = node.create_publisher(Image, f'{NODE}/input/map_image', qos)
        self.odometry = node.create_publisher(Odometry, f'{NODE}/input/odometry', qos)
        self.tf_static = node.create_publisher(TFMessage, '/tf_static', latched)
        self.tf = node.create_publisher(TFMessage, '/tf', QoSProfile(depth=100))
        self.clock = node.create_publisher(Clock, '/clock', 1)
        self.wanted = Wanted()
        self.messages: dict[str, PointCloud2] = {}
        self.count, self.tf_sent = 0, ''
        self.last_ns = self.now_ns()
        self.clock_ns, self.clock_at_s = self.now_ns(), time.monotonic()
        self.due_s = dict.fromkeys(('clock', 'tf', 'odometry', 'map', 'cloud'), time.monotonic())

    def now_ns(self) -> int:
        """The clock that sweeps are stamped by."""
        if not hasattr(self, 'wanted') or self.wanted.clock is None:
            return time.time_ns()
        return self.clock_ns + int(1e9 * self.wanted.clock * (time.monotonic() - self.clock_at_s))

    def want(self, wanted: Wanted) -> None:
        """Send that from now on."""
        self.clock_ns, self.clock_at_s = self.now_ns() + int(1e9 * wanted.jump_s), time.monotonic()
        self.wanted = wanted
        self.due_s['cloud'] = time.monotonic() + 0.5 / wanted.rate

    def tick(self) -> float:
        """Publish what is due; returns the seconds until something is due again."""
        hz = {'clock': CLOCK_HZ, 'tf': 100.0 if self.wanted.tf == 'hz100' else 5.0, 'odometry': ODOMETRY_HZ,
              'map': MAP_HZ, 'cloud': self.wanted.rate}
        for name, rate in hz.items():
            now_s = time.monotonic()
            if now_s >= self.due_s[name]:
                self.due_s[name] = max(self.due_s[name] + 1 / rate, now_s)
                getattr(self, f'send_{name}')()
        return max(0.0, min(self.due_s.values()) - time.monotonic())

    def send_clock(self) -> None:
        """/clock, where it is wanted."""
        if self.wanted.clock is not None:
            self.clock.publish(sensors.clock(self.now_ns()))

    def send_tf(self) -> None:
        """The sensor's pose, on /tf_static when it is another one, or on /tf."""
        wanted = self.wanted.tf
        if wanted in ('none', self.tf_sent) and wanted != 'hz100':
            return
        self.tf_sent = wanted
        message = sensors.transform(self.T[:3, 3] + (0.0, 0.0, 0.0 if wanted != 'moved' else 0.3), 0.0,
                                    sensors.header(self.now_ns(), 'base_link'), self.wanted.frame)
        q = quaternion_from_rotation(self.T[:3, :3])
        r = message.transform.rotation
        r.x, r.y, r.z, r.w = map(float, q)
        (self.tf if wanted == 'hz100' else self.tf_static).publish(TFMessage(transforms=[message]))

    def send_odometry(self) -> None:
        """A vehicle that stands still."""
        kind = self.wanted.odometry
        if kind != 'none':
            x = {'jump': 100.0 * (self.count % 2), 'nan': math.nan}.get(kind, 0.0)
            self.odometry.publish(sensors.odometry((x, 0.0, 0.0), sensors.header(self.now_ns(), 'odom'),
                                                   'gnss_antenna' if kind == 'other child' else 'base_link'))

    def send_map(self) -> None:
        """The map image."""
        if self.wanted.picture != 'none':
            pixels, encoding = IMAGES[self.wanted.picture](self.picture)
            self.maps.publish(sensors.image(pixels, sensors.header(self.now_ns(), 'base_link'), encoding))

    def send_cloud(self) -> None:
        """A sweep."""
        wanted, now_ns = self.wanted, self.now_ns()
        if wanted.cloud not in self.messages:
            self.messages[wanted.cloud] = CLOUDS[wanted.cloud](self.points)
        message = self.messages[wanted.cloud]
        stamp_ns = {'zero': 0, 'the same': self.last_ns, 'backwards': self.last_ns - 10**8}.get(
            wanted.stamp, now_ns + STAMPS_NS.get(wanted.stamp, 0))
        self.last_ns = stamp_ns if wanted.stamp != 'zero' else self.last_ns
        if isinstance(message, bytes):
            self.clouds.publish(message)
        else:
            message.header = sensors.header(stamp_ns, wanted.frame)
            at_s = time.monotonic()
            self.clouds.publish(message)
            print('good' if wanted.good else 'odd', stamp_ns, f'{at_s:.6f}', flush=True)
        self.count += 1


def main() -> None:
    """Publish until standard input ends."""
    driver = Driver(Path(sys.argv[1]), '--best-effort' in sys.argv)
    commands: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            commands.put(line)
        commands.put(None)

    threading.Thread(target=read, daemon=True).start()
    time.sleep(0.2)  # what was asked for before it was ready counts from the first message on
    while driver.session.ok():
        while not commands.empty():
            line = commands.get()
            if line is None:
                driver.session.close()
                return
            driver.want(Wanted(**json.loads(line)))
        try:
            time.sleep(min(driver.tick(), 0.05))
        except BrokenPipeError:  # whoever listened has ended
            return


if __name__ == '__main__':
    main()
