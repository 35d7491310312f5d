#!/usr/bin/env python3
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Write config/attention_fusion.yaml and config/map_source.yaml, the parameters of the nodes with their defaults, from
the one source of them.

    python tools/parameter_file.py            write the files
    python tools/parameter_file.py --check    fail when one of them is not what the source says
"""
from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import generated  # noqa: E402

from attention_fusion_ros.config import NodeConfig, ParameterInfo, parameters  # noqa: E402
from attention_fusion_ros.maps.config import MapSourceConfig  # noqa: E402

PATH = generated.ROOT / 'config' / 'attention_fusion.yaml'
FILES = {'attention_fusion': NodeConfig, 'map_source': MapSourceConfig}  # by node
WIDTH = 110
HEAD = """\
# The parameters of {} with their defaults; made by tools/parameter_file.py, do not edit here.
# Copy it, change what you need, leave out the rest. Unknown names and values out of bounds are errors.
/**:
  ros__parameters:
"""


def scalar(value: Any) -> str:
    """A default as ROS reads it: floats keep their point, texts their quotes."""
    if isinstance(value, bool):
        return 'true' if value else 'false'
    if isinstance(value, str):
        return f"'{value}'"
    if isinstance(value, list):
        return f"[{', '.join(map(scalar, value))}]"
    return repr(value)


def comment(info: ParameterInfo) -> str:
    """Description, unit, bounds, choices, and whether it is fixed."""
    notes = []
    if info.low is not None:
        notes.append(f'{info.low:g} .. {info.high:g} {info.unit}'.rstrip())
    elif info.unit:
        notes.append(info.unit)
    if info.choices:
        notes.append(' | '.join(info.choices))
    if info.read_only:
        notes.append('read-only')
    return f"{info.description} [{'; '.join(notes)}]" if notes else info.description


def text(node: str = 'attention_fusion') -> str:
    """The whole file of a node."""
    lines, section = [], None
    for info in parameters(FILES[node]):
        *path, name = info.name.split('.')
        indent = '    ' + '  ' * len(path)
        if path and path != section:
            lines.append(f"\n    {'.'.join(path)}:")
        section = path
        lines += textwrap.wrap(comment(info), WIDTH, initial_indent=f'{indent}# ', subsequent_indent=f'{indent}# ')
        lines.append(f'{indent}{name}: {scalar(info.default)}')
    return HEAD.format(node) + '\n'.join(lines) + '\n'


def main(argv: list[str] | None = None) -> int:
    """Write or check; returns the exit status."""
    options = generated.parser(__doc__).parse_args(argv)
    files = {PATH.with_name(f'{node}.yaml'): text(node) for node in FILES}
    return generated.write_or_check(files, options.check, 'python tools/parameter_file.py')


if __name__ == '__main__':
    sys.exit(main())
