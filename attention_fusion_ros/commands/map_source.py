# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`map_source`: the lifecycle node that draws the map image."""

from __future__ import annotations

import argparse
import sys

from attention_fusion_ros.commands import cli
from attention_fusion_ros.utils.interrupt import SignalGuard

EXAMPLES = """\
map_source --activate --ros-args -p file:=city.osm.pbf -r /map_source/input/fix:=/gps/fix
map_source --activate --ros-args -p file:=city.osm.pbf -p 'goal:="49.4431, 7.7689"'
"""


def options_parser() -> argparse.ArgumentParser:
    """The options of `map_source`."""
    parser = cli.parser('map_source', 'The lifecycle node map_source: a file of roads, fixes and odometry in, map '
                        'image and route out (docs/maps.md). The launch file configures and activates it; --activate '
                        'does so without a launch file. Needs ROS 2.', EXAMPLES)
    parser.add_argument('--activate', action='store_true', help='configure and activate at once')
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the node until it is stopped; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = options_parser().parse_args(cli.without_ros_arguments(arguments))

    def body(guard: SignalGuard) -> int:
        with guard.hold(), cli.importing_ros('map_source'):
            from attention_fusion_ros.ros.map_source import node
        guard.check()
        return node.run(arguments, options.activate)
    return cli.run_until_stopped(body)


if __name__ == '__main__':
    sys.exit(main())
