# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A process that is a nuisance on the graph: python helper.py KIND [ARGUMENT ...], until standard input ends.

crowd N: N topics with a publisher and a subscriber each. flood TOPIC HZ: transforms of other frames. rogue TOPIC TYPE:
messages of another type on a topic. subscribe TOPIC TYPE ...: reliable subscriptions.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2])]

from geometry_msgs.msg import TransformStamped  # noqa: E402
from rclpy.qos import QoSProfile  # noqa: E402
from std_msgs.msg import String  # noqa: E402
from tf2_msgs.msg import TFMessage  # noqa: E402

from attention_fusion_ros.ros.clients.session import Session  # noqa: E402
from attention_fusion_ros.ros.messages import sensors  # noqa: E402
from attention_fusion_ros.ros.messages.types import message_class  # noqa: E402

FRAMES = 50


def crowd(session: Session, count: str) -> None:
    """Topics that nobody needs, each with a message now and then."""
    publishers = [session.node.create_publisher(String, f'/crowd/topic_{k}', 10) for k in range(int(count))]
    for k in range(int(count)):
        session.node.create_subscription(String, f'/crowd/topic_{k}', lambda _: None, 10)
    while True:
        for publisher in publishers:
            publisher.publish(String(data='here'))
        time.sleep(1.0)


def flood(session: Session, topic: str, hz: str) -> None:
    """Ten transforms a message."""
    publisher = session.node.create_publisher(TFMessage, topic, QoSProfile(depth=100))
    k, due = 0, time.monotonic()
    while True:
        head = sensors.header(time.time_ns(), 'map')
        moves: list[TransformStamped] = [
            sensors.transform((0.0, 0.0, 0.0), 0.0, head, f'frame_{(k + j) % FRAMES}') for j in range(10)]
        publisher.publish(TFMessage(transforms=moves))
        k, due = k + 10, due + 10 / float(hz)
        time.sleep(max(0.0, due - time.monotonic()))


def rogue(session: Session, topic: str, kind: str) -> None:
    """Empty messages of a type, ten a second."""
    publisher = session.node.create_publisher(message_class(kind), topic, 10)
    while True:
        publisher.publish(message_class(kind)())
        time.sleep(0.1)


def subscribe(session: Session, *arguments: str) -> None:
    """Topic and type, again and again."""
    for topic, kind in zip(arguments[::2], arguments[1::2]):
        session.node.create_subscription(message_class(kind), topic, lambda _: None, 10)
    threading.Event().wait()


def main() -> None:
    """Until standard input ends."""
    with Session(f'helper_{sys.argv[1]}') as session:
        work = {'crowd': crowd, 'flood': flood, 'rogue': rogue, 'subscribe': subscribe}[sys.argv[1]]
        threading.Thread(target=work, args=(session, *sys.argv[2:]), daemon=True).start()
        time.sleep(0.5)
        print('ready', flush=True)
        sys.stdin.read()


if __name__ == '__main__':
    main()
