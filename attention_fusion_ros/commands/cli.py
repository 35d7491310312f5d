# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the commands share: help with examples, node parameters on the command line, ROS on demand, one way to fail.

Only the standard library, PyYAML and tqdm are imported here and at the top of the command modules, so that `--help`
answers at once and without ROS; torch and everything that needs it is imported by what a command runs.
"""

from __future__ import annotations

import argparse
import errno
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from attention_fusion_ros.config import NodeConfig, flatten, from_flat
from attention_fusion_ros.errors import ConfigurationError, InputError
from attention_fusion_ros.utils import outside
from attention_fusion_ros.utils.interrupt import Interrupted, SignalGuard
from attention_fusion_ros.utils.parameter_file import SECTION, matches, sections

PROGRAM = 'python3 -m attention_fusion_ros'  # works with and without a ROS build
RECORDING_HELP = 'folder of the recording, or its .mcap, .db3 or .bag file'
# What to do about errors of the system that have nothing to do with the file they happen to.
REMEDIES = {number: 'make room, or write to another disk, and run the same command again.'
            for number in (errno.ENOSPC, errno.EDQUOT)}
REMEDIES[errno.EROFS] = 'write to a folder that is not read-only.'
REMEDIES[errno.EMFILE] = 'let the process open more files (ulimit -n).'
PARAMETER_FILE_REMEDY = ('Remedy: give a ROS parameter file (NODE: {ros__parameters: {...}}), or names with values '
                         'in YAML.')
YAML_OPTIONS = ('-p', '-s')  # whose values are read as YAML
OF_TORCH = ('torch', 'safetensors')  # what the light install is without
FUSION_NODE, MAP_NODE = '/attention_fusion', '/map_source'  # whose parameter files are read
ROS_ARGUMENTS, END_OF_ROS_ARGUMENTS = '--ros-args', '--'


def parser(name: str, description: str, examples: str) -> argparse.ArgumentParser:
    """An argument parser whose --help ends with examples.

    name: of the command.
    examples: one command line a line. One that starts with the name of the command is shown with what must be typed
        before it, so that all can be copied as they stand.
    """
    lines = [line.strip() for line in examples.strip().splitlines()]
    lines = [f'  {PROGRAM} {line}' if line.split()[0] == name else f'  {line}' for line in lines]
    return argparse.ArgumentParser(prog=f'{PROGRAM} {name}', description=description,
                                   epilog='\n'.join(['examples:', *lines]),
                                   formatter_class=argparse.RawDescriptionHelpFormatter)


def output_folder(text: str) -> Path:
    """The type of an option that names a folder to write to: before the work, one that cannot be is refused."""
    path = Path(text)
    there = next((p for p in (path, *path.absolute().parents) if p.exists()), Path('/'))
    if not there.is_dir():
        raise argparse.ArgumentTypeError(f"'{there}' is a file; give a folder")
    try:
        Path(tempfile.mkdtemp(prefix='.attention_fusion_', dir=there)).rmdir()
    except OSError as error:
        raise argparse.ArgumentTypeError(
            f"'{path}' cannot be written to: nothing can be made in {there} ({error.strerror}). Remedy: "
            + REMEDIES.get(error.errno or 0, 'give a folder that can be written to.')) from error
    return path


def output_file(text: str) -> Path:
    """The type of an option that names a file to write: its folder is as `output_folder` wants it."""
    path = Path(text)
    output_folder(str(path.parent))
    return path


def add_topic_options(to: argparse.ArgumentParser) -> None:
    """--pointcloud, --map-image, ...: which topics of a recording are the inputs."""
    from attention_fusion_ros.stream.inputs import selectable_inputs
    for spec in selectable_inputs():
        types = ' or '.join(dict.fromkeys(name.split('/')[-1] for name in spec.types))
        without = '' if spec.required else f'; none: without {spec.label}'
        default = 'none' if spec.only_when_named else f'the only {types} topic{without}'
        to.add_argument(spec.option, default='', metavar='TOPIC', help=f'default: {default}')


def topic_options(options: argparse.Namespace) -> dict[str, str]:
    """{input name: topic} of what `add_topic_options` has added, for `Recording.input_topics`."""
    from attention_fusion_ros.stream.inputs import selectable_inputs
    return {spec.name: getattr(options, spec.name) for spec in selectable_inputs()}


def add_live_options(to: argparse.ArgumentParser, shown: str, recorded: bool = True) -> None:
    """--live and what belongs to it. shown: what is to be seen. recorded: whether there is a pace to keep."""
    to.add_argument('--live', action='store_true', help=f'show {shown} in a viewer (Foxglove, Lichtblick) as a '
                    'Foxglove WebSocket: needs foxglove-sdk, but no ROS tools')
    to.add_argument('--host', default='127.0.0.1', help='with --live: address to listen on; 0.0.0.0 lets every other '
                    'machine in (default %(default)s)')
    to.add_argument('--port', type=int, default=8765, help='with --live: port to listen on, 0 for a free one (default '
                    '%(default)s)')
    to.add_argument('--wait', type=float, default=0.0, metavar='SECONDS', help='with --live: so long for a viewer '
                    'before beginning')
    if recorded:
        to.add_argument('--rate', type=float, default=1.0, help='with --live: speed against the recording, 0 for as '
                        'fast as results come (default 1)')


def announce_live(url: str, wait_s: float) -> None:
    """Say where viewers find the live view."""
    print(f'live view   {url} (Foxglove, Lichtblick: open connection, Foxglove WebSocket; layout: '
          'config/attention_fusion.foxglove.json)'
          + (f'; waiting up to {wait_s:g} s for a viewer' if wait_s else ''), flush=True)


def add_parameter_options(to: argparse.ArgumentParser) -> None:
    """Add --params, -p and --device: the parameters of the node, given as to the node."""
    to.add_argument('--params', type=Path, metavar='FILE', help='parameter file of the node (YAML)')
    to.add_argument('-p', dest='overrides', action='append', default=[], metavar='NAME:=VALUE',
                    help='set one parameter, for example map.resolution:=0.5; may be repeated, wins over --params')
    to.add_argument('--device', default='', help='auto, cpu or cuda[:i] (short for -p device:=...)')


def assignments(texts: Iterable[str], option: str, separator: str = '=') -> dict[str, str]:
    """Split `NAME=VALUE` texts into {name: value}; a repeated name takes its last value.

    texts: as typed.
    option: where they were typed, for the message (for example `-s`).
    separator: `=`, or `:=` as ROS writes parameters.

    Raises ConfigurationError for a text without separator, name or value.
    """
    values: dict[str, str] = {}
    for text in texts:
        name, found, value = text.partition(separator)
        if not found or not name.strip() or not value.strip():
            raise ConfigurationError(f"'{option} {text}' is not NAME{separator}VALUE" + (
                f'. Remedy: for an empty text, write {option} "{name.strip()}{separator}\'\'", with both kinds of '
                'quotes' if name.strip() and found and option in YAML_OPTIONS else ''))
        values[name.strip()] = value.strip()
    return values


def yaml_values(values: dict[str, str], option: str) -> dict[str, Any]:
    """Read each value as YAML: numbers, booleans, lists. Raises ConfigurationError for one that is none."""
    read: dict[str, Any] = {}
    for name, text in values.items():
        try:
            read[name] = outside.parse_yaml(text)
        except ValueError as error:
            raise ConfigurationError(f"'{option} {name}': the value '{text}' is not valid YAML") from error
    return read


def node_config(options: argparse.Namespace, defaults: dict[str, Any] | None = None) -> NodeConfig:
    """The configuration from defaults < --params < -p < --device. Raises ConfigurationError."""
    config: NodeConfig = from_flat(flat_parameters(options, defaults))
    return config


def flat_parameters(options: argparse.Namespace, defaults: dict[str, Any] | None = None) -> dict[str, Any]:
    """The same as {dotted name: value}, not yet validated. Raises ConfigurationError."""
    values = dict(defaults or {})
    if options.params:
        values.update(read_parameter_file(options.params))
    values.update(yaml_values(assignments(options.overrides, '-p', ':='), '-p'))
    if options.device:
        values['device'] = options.device
    return values


def read_parameter_file(path: Path, node: str = FUSION_NODE) -> dict[str, Any]:
    """A ROS parameter file (`node: ros__parameters: ...`) or the bare parameters -> {dotted name: value}.

    node: its full name. Of a ROS file what is for this node counts, wildcards included, later ones before earlier ones,
    as in rcl; where there is nothing, what is for a node of this name in a namespace.

    Raises ConfigurationError when the file is missing, no YAML mapping, or has parameters for other nodes only.
    """
    try:
        content = outside.read_yaml(path)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f'parameter file {path} cannot be read: {error}. {PARAMETER_FILE_REMEDY}') from error
    if not isinstance(content, dict):
        raise ConfigurationError(f'parameter file {path} holds no names with values. {PARAMETER_FILE_REMEDY}')
    values: dict[str, Any] = {}
    for given in _sections_for(node, content, path):
        if not isinstance(given, dict):
            raise ConfigurationError(f'parameter file {path} has {given!r} as {SECTION}, which must be a mapping of '
                                     'names and values')
        values.update(flatten(given))
    values.pop('use_sim_time', None)  # every ROS node has it; here the recording is the clock
    return values


def _sections_for(node: str, content: dict[Any, Any], path: Path) -> list[Any]:
    """What a parameter file has for a node; all of it where it names no node."""
    found = list(sections(content))
    if not found:
        return [content]
    own = [given for name, given in found if matches(name, node)]
    in_namespace = {name: given for name, given in found if name.endswith(node)}
    if not own and len(in_namespace) == 1:
        own = list(in_namespace.values())
    if not own:
        names = ', '.join(in_namespace or dict(found))
        raise ConfigurationError(f'parameter file {path} has parameters for {names}, but none for {node}. Remedy: '
                                 f"begin it with '{node[1:]}:' or '/**:', and '  {SECTION}:' below, or give another")
    return [{} if given is None else given for given in own]


def without_ros_arguments(arguments: Sequence[str]) -> list[str]:
    """The arguments of the command itself: those from --ros-args to the next `--`, or to the end, are left out."""
    own: list[str] = []
    inside = False
    for argument in arguments:
        if argument == ROS_ARGUMENTS:
            inside = True
        elif inside and argument == END_OF_ROS_ARGUMENTS:
            inside = False
        elif not inside:
            own.append(argument)
    return own


def made_by(command: str, options: argparse.Namespace, files: Iterable[Path | str | None]) -> str:
    """A name for what a command makes: other options, other files and other code make another name.

    files: what it reads, with the files in folders; by path, size and time, for recordings may be large.
    """
    from attention_fusion_ros.utils.digest import digest, source_files
    stats = []
    for path in (Path(file).absolute() for file in files if file):
        for file in sorted(f for f in path.iterdir() if f.is_file()) if path.is_dir() else [path]:
            if file.is_file():
                stats.append((str(file), file.stat().st_size, file.stat().st_mtime_ns))
    return digest(source_files(), [command, sorted(vars(options).items()), stats], length=32)


def is_done(folder: Path, status: int | None) -> bool:
    """Whether a recording is there already, made by this very command; says so. status: of `status_of`."""
    if status is not None:
        from attention_fusion_ros.utils.new_folder import remove_left_behind
        remove_left_behind(folder)
        print(f'{folder} is there already, complete, made by this very command: nothing is left to do. To make it '
              'anew, remove it.')
    return status is not None


@contextmanager
def importing_ros(what: str) -> Iterator[None]:
    """Import what needs ROS 2 within this block. Raises ConfigurationError where it cannot be imported.

    what: the command or option, for the message.
    """
    try:
        yield
    except ImportError as error:
        raise ConfigurationError(f'{what} needs ROS 2 ({error}). Source its setup file first: '
                                 'source /opt/ros/<distribution>/setup.bash') from error


_without_progress = False


def progress(*iterable: Any, **settings: Any) -> tqdm:
    """A progress bar that does not flood logs. The arguments are those of tqdm."""
    if _without_progress:
        settings['disable'] = True
    return tqdm(*iterable, **{'mininterval': 0.5, 'dynamic_ncols': True, **settings})


@contextmanager
def without_progress() -> Iterator[None]:
    """Show no progress within this block: it is part of something that shows its own."""
    global _without_progress
    before, _without_progress = _without_progress, True
    try:
        yield
    finally:
        _without_progress = before


def run(body: Callable[[], int], stopped: int | None = None) -> int:
    """Run a command; returns its exit status: 2 for a user's mistake, told in one line on stderr; 130 for Ctrl-C.

    A file or folder that cannot be read or written is such a mistake; other errors of the system are raised.

    A command that handles signals (`Interrupted`) says more, and ends with 143 for SIGTERM. stopped: the exit status
    for both, where being stopped is no failure and nothing is to be said.
    """
    try:
        return body()
    except (InputError, ConfigurationError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if error.name not in OF_TORCH:
            raise
        print(f'error: this needs {error.name}, which is not installed: pip install {" ".join(OF_TORCH)}. Without it '
              'there are fusion_node and replay with backend onnxruntime, map_source, draw_map and play '
              '(docs/light_install.md).', file=sys.stderr)
        return 2
    except OSError as error:
        if error.filename is None and error.errno not in (None, errno.ENOSPC):
            raise
        remedy = REMEDIES.get(error.errno or 0)
        print(f'error: {error}' + (f'. Remedy: {remedy}' if remedy else ''), file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        if stopped is not None:
            return stopped
        if isinstance(stop, Interrupted):
            print(stop, file=sys.stderr)
            return stop.exit_status
        print('interrupted', file=sys.stderr)
        return 130


def run_until_stopped(body: Callable[[SignalGuard], int]) -> int:
    """As `run`, for what others stop: SIGINT or SIGTERM, once or several times, end it with 0 as they are meant to.

    A launch file and the terminal may both send SIGINT, and launch sends SIGTERM to what takes its time. body: gets the
    guard; it should hold it while it imports, for libraries swallow what is raised in there, and look at it in loops.
    """
    guard = SignalGuard(final=True)
    try:
        with guard:
            return run(lambda: body(guard), stopped=0)
    except KeyboardInterrupt:
        return 0
