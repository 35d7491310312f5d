#!/usr/bin/env python3
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""rclpy's executors under the load of the node: how late callbacks are, and what they cost.

    python tools/executors.py                      30 s each, 20 Hz, 24 subscriptions, 4 timers of 50 Hz
    ROS_WHEELS=kilted tools/setup.sh; .venv-wheels-kilted/bin/python tools/executors.py

Another process publishes clouds with the time at which they are sent. Latency is from there to the callback; CPU is
that of the process with the executor, in cores. The kinds take turns, so that what else the machine does meets all
alike.
"""
from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from attention_fusion_ros.utils.tables import LEFT, RIGHT, Table  # noqa: E402

TOPIC = 'executors_cloud'


def send(seconds: float, rate: float, size: int) -> None:
    """Publish clouds of `size` bytes with the time of the steady clock, which processes share, in the stamp."""
    import rclpy
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import PointCloud2
    rclpy.init()
    node = rclpy.create_node('executors_sender')
    publisher = node.create_publisher(PointCloud2, TOPIC, qos_profile_sensor_data)
    message = PointCloud2(height=1, width=size // 16, point_step=16, row_step=size, data=bytes(size))
    deadline = time.monotonic() + 20.0
    while not publisher.get_subscription_count() and time.monotonic() < deadline:
        time.sleep(0.05)
    end = time.monotonic() + seconds
    while time.monotonic() < end and rclpy.ok():
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(time.monotonic_ns(), 10**9)
        with suppress(Exception):  # of a context that goes while it is used
            publisher.publish(message)
        time.sleep(1.0 / rate)
    rclpy.try_shutdown()


def receive(kind: str, seconds: float, subscriptions: int, timers: int) -> None:
    """Serve the callbacks with one kind of executor; prints latencies [ms] and CPU [cores] as JSON."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import PointCloud2
    from std_msgs.msg import String
    if kind == 'events':
        from rclpy.experimental import EventsExecutor as Kind
    else:
        Kind = SingleThreadedExecutor
    rclpy.init()
    node = rclpy.create_node('executors_receiver')
    found: list[float] = []
    late: list[float] = []

    def on_cloud(message: PointCloud2) -> None:
        sent = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        found.append((time.monotonic_ns() - sent) / 1e6)

    node.create_subscription(PointCloud2, TOPIC, on_cloud, qos_profile_sensor_data)
    for number in range(subscriptions - 1):  # the node listens to a topic for every input and its transports
        node.create_subscription(String, f'executors_idle_{number}', lambda message: None, 10)
    for _ in range(timers):
        node.create_timer(0.02, lambda: late.append(0.0))
    executor = Kind(context=node.context)
    executor.add_node(node)
    begun, cpu = time.monotonic(), time.process_time()
    while time.monotonic() - begun < seconds:
        executor.spin_once(timeout_sec=0.1)
    used = (time.process_time() - cpu) / (time.monotonic() - begun)
    print(json.dumps({'ms': found, 'cores': used, 'ticks': len(late)}), flush=True)
    os._exit(0)


def measure(kind: str, options: argparse.Namespace) -> dict[str, object]:
    """One run of a kind."""
    words = [sys.executable, __file__, '--seconds', str(options.seconds), '--rate', str(options.rate), '--bytes',
             str(options.bytes), '--subscriptions', str(options.subscriptions), '--timers', str(options.timers)]
    sender = subprocess.Popen([*words, '--role', 'send'])
    try:
        done = subprocess.run([*words, '--role', kind], stdout=subprocess.PIPE, text=True, timeout=600)
        found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
        return found
    finally:
        sender.terminate()
        sender.wait()


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seconds', type=float, default=30.0, help='of each run (default: %(default)s)')
    parser.add_argument('--runs', type=int, default=3, help='of each kind (default: %(default)s)')
    parser.add_argument('--rate', type=float, default=20.0, help='clouds a second (default: %(default)s)')
    parser.add_argument('--bytes', type=int, default=320_000, help='of a cloud (default: %(default)s)')
    parser.add_argument('--subscriptions', type=int, default=24, help='(default: %(default)s)')
    parser.add_argument('--timers', type=int, default=4, help='of 50 Hz (default: %(default)s)')
    parser.add_argument('--role', default='', help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role == 'send':
        send(options.seconds + 5.0, options.rate, options.bytes)
        return 0
    if options.role:
        receive(options.role, options.seconds, options.subscriptions, options.timers)
    kinds = ['single_threaded', 'events']
    try:
        from rclpy.experimental import EventsExecutor  # noqa: F401
    except ImportError:
        kinds.remove('events')
        print('this version of rclpy has no executor of events', file=sys.stderr)
    import numpy as np
    runs: dict[str, list[dict[str, object]]] = {kind: [] for kind in kinds}
    for _ in range(options.runs):
        for kind in kinds:
            runs[kind].append(measure(kind, options))
    rows = []
    for kind, found in runs.items():
        ms = np.concatenate([np.asarray(run['ms'], float) for run in found])
        cores = np.mean([run['cores'] for run in found])
        p50, p95 = np.percentile(ms, [50, 95]) if len(ms) else (np.nan, np.nan)
        rows.append((kind, len(ms), f'{p50:.2f}', f'{p95:.2f}', f'{cores:.3f}'))
    from importlib.metadata import version
    print(Table(f'Executors of rclpy {version("rclpy")}', ('executor', 'clouds', 'p50 ms', 'p95 ms', 'CPU cores'), rows,
                alignment=LEFT + 4 * RIGHT).markdown([f'Load average at the end: {os.getloadavg()[0]:.1f}']))
    return 0


if __name__ == '__main__':
    sys.exit(main())
