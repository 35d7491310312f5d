# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`draw_map` for many recordings: a copy with map images of each, and where the position was least certain."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from attention_fusion_ros.commands import cli, many
from attention_fusion_ros.commands.draw_map import draw_recording_map
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.fleet.work import BadSweep, Findings, Task

COLUMNS = ('duration [s]', 'images', 'with a route', 'position deviation, median [m]', 'largest [m]',
           'heading deviation, median [deg]', 'on roads', 'no image')


def draw_many(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Draw for the recordings that the options name; returns the exit status. Raises as `many.run_many`."""
    values = {} if options.params is None else cli.read_parameter_file(options.params, cli.MAP_NODE)
    values.update(cli.yaml_values(cli.assignments(options.overrides, '-p', ':='), '-p'))
    roads = options.osm or (Path(values['file']) if values.get('file') else None)
    if roads is None:
        raise ConfigurationError('no file of roads was given. Remedy: give --osm FILE')
    task = Task('draw_map', draw_work, options, many.dependencies(options), many.given_files(roads, options.params),
                COLUMNS, 'deviation of the position [m]', 'Largest deviation of the position')
    return many.run_many(options, options.bag, task, arguments)


def draw_work(recording: Path, folder: Path, options: argparse.Namespace) -> Findings:
    """Draw for one of them: the folder is the new recording. Raises InputError, ConfigurationError."""
    own = argparse.Namespace(**{**vars(options), 'bag': str(recording), 'out': folder})
    with cli.without_progress():
        done = draw_recording_map(own)
    stds = sorted(image.estimate.position_std for image in done.plan.images)
    turns = sorted(math.degrees(image.estimate.heading_std) for image in done.plan.images)
    missed = ', '.join(f'{reason} {count}' for reason, count in sorted(done.plan.missed.items())) or '-'
    row = (f'{done.duration_s:.1f}', done.drawn.images, done.drawn.with_route, f'{stds[len(stds) // 2]:.3f}',
           f'{stds[-1]:.3f}', f'{turns[len(turns) // 2]:.3f}', f'{done.drawn.on_roads:.3f}', missed)
    sweeps = [BadSweep(image.estimate.stamp_ns, round(float(image.estimate.position_std), 6),
                       f'position within {image.estimate.position_std:.2f} m (1 sigma), heading within '
                       f'{math.degrees(image.estimate.heading_std):.2f} deg') for image in done.plan.images]
    sweeps.sort(key=lambda sweep: (-sweep.badness, sweep.stamp_ns))
    return Findings(dict(zip(COLUMNS, map(str, row), strict=True)), float(stds[-1]), tuple(sweeps), not done.losses)
