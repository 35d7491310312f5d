# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`python3 -m attention_fusion_ros NAME ...` is `ros2 run attention_fusion_ros NAME ...` without a ROS build."""

from __future__ import annotations

import difflib
import importlib
import sys

# name -> what it does. A command is the module of that name in `commands`, with `main(arguments) -> exit status`;
# setup.py makes the executables from the same names.
COMMANDS = {
    'fusion_node': 'the lifecycle node: sweeps and map images in, road directions out',
    'map_source': 'the lifecycle node: a file of roads and a position in, map image and route out',
    'replay': 'run over a recording without ROS: CSV files and a report',
    'draw_map': 'write map images from a file of roads into a copy of a recording',
    'play': 'publish a recording on the ROS graph',
    'simulate': 'publish a simulated drive on the ROS graph, or write it as a recording',
    'train': 'train the network on simulated worlds or on recordings',
    'evaluate': 'measure the network against truth and baselines',
    'benchmark': 'measure latency and throughput on this machine',
    'export': 'write the network for other runtimes',
    'gallery': 'draw a sheet of simulated scenes to look at',
}


def module_of(command: str) -> str:
    """The full name of the module that runs a command."""
    return f'attention_fusion_ros.commands.{command}'


def usage() -> str:
    """The list of commands."""
    width = max(map(len, COMMANDS))
    rows = '\n'.join(f'  {name:<{width}}  {summary}' for name, summary in COMMANDS.items())
    return (f'usage: python3 -m attention_fusion_ros COMMAND [options]\n\ncommands:\n{rows}\n\n'
            'Each has its own --help with examples.')


def main(argv: list[str] | None = None) -> int:
    """Hand over to the command; returns its exit status, or 2 when there is none of that name."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ('-h', '--help', 'help'):
        print(usage())
        return 0 if arguments else 2
    name, *rest = arguments
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known are: {', '.join(COMMANDS)}"
        print(f"attention_fusion_ros: unknown command '{name}'; {hint}", file=sys.stderr)
        return 2
    return int(importlib.import_module(module_of(name)).main(rest) or 0)


if __name__ == '__main__':
    sys.exit(main())
