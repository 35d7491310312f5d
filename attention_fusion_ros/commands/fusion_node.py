# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`fusion_node`: the lifecycle node."""

from __future__ import annotations

import argparse
import sys

from attention_fusion_ros.commands import cli
from attention_fusion_ros.utils.interrupt import SignalGuard

EXAMPLES = """\
fusion_node --activate --ros-args -r /attention_fusion/input/pointcloud:=/lidar/points
fusion_node --activate --ros-args -p device:=cpu -p map.resolution:=0.5
"""


def options_parser() -> argparse.ArgumentParser:
    """The options of `fusion_node`."""
    parser = cli.parser('fusion_node', 'The lifecycle node attention_fusion. The launch file configures and activates '
                        'it; --activate does so without a launch file. Needs ROS 2.', EXAMPLES)
    parser.add_argument('--activate', action='store_true', help='configure and activate at once')
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the node until it is stopped; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = options_parser().parse_args(cli.without_ros_arguments(arguments))

    def body(guard: SignalGuard) -> int:
        with guard.hold(), cli.importing_ros('fusion_node'):
            from attention_fusion_ros.ros.node import node
        guard.check()
        return node.run(arguments, options.activate)
    return cli.run_until_stopped(body)


if __name__ == '__main__':
    sys.exit(main())
