# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the commands share: help with an example, node parameters on the command line, one way to fail."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from attention_fusion_ros.config import NodeConfig, flatten, from_flat
from attention_fusion_ros.errors import ConfigurationError, InputError


def parser(name: str, description: str, examples: str) -> argparse.ArgumentParser:
    """A parser whose --help ends with examples."""
    return argparse.ArgumentParser(prog=f'attention_fusion_ros {name}', description=description,
                                   epilog=f'examples:\n{examples}',
                                   formatter_class=argparse.RawDescriptionHelpFormatter)


def add_parameter_options(to: argparse.ArgumentParser) -> None:
    """--params, -p and --device: the parameters of the node, given as to the node."""
    to.add_argument('--params', type=Path, metavar='FILE', help='parameter file of the node (YAML)')
    to.add_argument('-p', dest='overrides', action='append', default=[], metavar='NAME:=VALUE',
                    help='set one parameter, for example map.resolution:=0.5; may be repeated, wins over --params')
    to.add_argument('--device', default='', help='auto, cpu or cuda[:i] (short for -p device:=...)')


def node_config(options: argparse.Namespace, defaults: dict[str, Any] | None = None) -> NodeConfig:
    """The configuration from defaults < --params < -p < --device. Raises ConfigurationError."""
    return from_flat(flat_parameters(options, defaults))


def flat_parameters(options: argparse.Namespace, defaults: dict[str, Any] | None = None) -> dict[str, Any]:
    """The same, as {dotted name: value}, not yet validated."""
    values = dict(defaults or {})
    if options.params:
        values.update(read_parameter_file(options.params))
    for text in options.overrides:
        name, separator, value = text.partition(':=')
        if not separator:
            raise ConfigurationError(f"'-p {text}' is not NAME:=VALUE")
        values[name.strip()] = yaml.safe_load(value)
    if options.device:
        values['device'] = options.device
    return values


def read_parameter_file(path: Path) -> dict[str, Any]:
    """A ROS parameter file (`node: ros__parameters: ...`) or the bare parameters -> {dotted name: value}.

    Raises ConfigurationError when the file is missing, no YAML mapping, or has parameters for several nodes.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f'parameter file {path} cannot be read: {error}') from error
    if not isinstance(content, dict):
        raise ConfigurationError(f'parameter file {path} must hold a mapping')
    sections = [v['ros__parameters'] for v in content.values() if isinstance(v, dict) and 'ros__parameters' in v]
    if len(sections) > 1:
        raise ConfigurationError(f'parameter file {path} has parameters for {len(sections)} nodes; give one with one')
    values = flatten(sections[0] or {}) if sections else flatten(content)
    values.pop('use_sim_time', None)  # every ROS node has it; here the recording is the clock
    return values


def progress(*iterable, **settings) -> tqdm:
    """A progress bar that does not flood logs."""
    return tqdm(*iterable, **{'mininterval': 0.5, 'dynamic_ncols': True, **settings})


def run(body: Callable[[], int]) -> int:
    """Run a command: errors of the user's making become one line on stderr and exit status 2."""
    try:
        return body()
    except (InputError, ConfigurationError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return 130
