# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`play`: publish a recording on the ROS graph."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from attention_fusion_ros.commands import cli
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.utils.interrupt import SignalGuard

if TYPE_CHECKING:
    from tqdm import tqdm

    from attention_fusion_ros.ros.clients.bag_player import BagPlayer
    from attention_fusion_ros.stream.recording import RawMessage

EXAMPLES = """\
play recording/
play recording/ --loop --rate 2 --wait
play recording/ --topics /lidar/points /map_image --clock
play recording/ --ros-args -r /lidar/points:=/attention_fusion/input/pointcloud
"""


def options_parser() -> argparse.ArgumentParser:
    """The options of `play`."""
    parser = cli.parser('play', 'Publish a recording (mcap, sqlite3 or ROS 1 bag) with its original stamps, at the '
                        'recorded pace. Needs ROS 2, but not rosbag2.', EXAMPLES)
    parser.add_argument('bag', help=cli.RECORDING_HELP)
    parser.add_argument('--loop', action='store_true', help='start again at the end, until stopped')
    parser.add_argument('--rate', type=float, default=1.0, help='speed: 2 plays twice as fast (default 1)')
    parser.add_argument('--topics', nargs='+', default=[], metavar='TOPIC', help='only these topics (default: all)')
    parser.add_argument('--clock', nargs='?', type=float, const=40.0, default=0.0, metavar='HZ',
                        help='publish /clock with the recorded time, for nodes with use_sim_time (default 40 Hz)')
    parser.add_argument('--wait', nargs='?', type=float, const=math.inf, default=0.0, metavar='SECONDS',
                        help='start when the point clouds have a subscriber and subscriptions have settled; fail '
                        'where there is none after SECONDS, if given')
    parser.add_argument('--quiet', action='store_true', help='show no progress bar')
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = options_parser().parse_args(cli.without_ros_arguments(arguments))
    if options.rate <= 0:
        options_parser().error('--rate must be greater than 0')
    return cli.run_until_stopped(lambda guard: play(options, arguments, guard))


def play(options: argparse.Namespace, ros_arguments: list[str], guard: SignalGuard) -> int:
    """Play the recording as the options say, until its end or a signal; returns the exit status.

    Raises InputError for a recording that cannot be used, ConfigurationError where ROS 2 is missing.
    """
    with guard.hold(), cli.importing_ros('play'):
        from attention_fusion_ros.ros.clients.bag_player import BagPlayer, playable
        from attention_fusion_ros.ros.clients.session import Session
        from attention_fusion_ros.stream.recording import Recording
    guard.check()
    with Recording(options.bag) as recording:
        topics, notes = playable(recording, options.topics)
        for note in [*recording.notes, *notes]:
            print(note, file=sys.stderr)
        if not any(info.count for info in recording.topics.values()):
            raise InputError('nothing_to_play', 'The recording holds no messages.',
                             'check that it was recorded to its end, or use another one.')
        if not topics:
            raise InputError('nothing_to_play', 'No topic of the recording can be sent.', 'see the reasons above.')
        with Session('attention_fusion_player', ros_arguments, spin=False) as session:
            def alive() -> bool:
                return session.ok() and guard.received is None

            player = BagPlayer(session.node, recording, topics, options.rate, options.clock)
            player.publish_static_transforms()
            if options.wait and not _wait(player, options.wait, alive):
                print(f'error: the point clouds had no subscriber within {options.wait:g} s. Remedy: start the node '
                      "first, and compare 'ros2 topic info -v' on both sides.", file=sys.stderr)
                return 1
            while alive():
                with cli.progress(total=player.message_count, unit=' messages', desc=recording.path.name,
                                  disable=options.quiet) as progress:
                    def on_message(_: RawMessage, bar: tqdm = progress) -> None:
                        bar.update()

                    player.play_once(alive, on_message)
                if not options.loop:
                    player.flush()
                    break
        for loss in recording.losses:
            print(f'WARNING: {loss}', file=sys.stderr)
    return 0


def _wait(player: BagPlayer, timeout_s: float, alive: Callable[[], bool]) -> bool:
    print('waiting for a subscriber ...', file=sys.stderr)
    return player.wait_for_subscribers(timeout_s, alive)


if __name__ == '__main__':
    sys.exit(main())
