# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`evaluate`: every metric with its 95 % interval, beside the baselines, on held-out simulation and on real drives."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from attention_fusion_ros.commands import cli, many
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.simulation.world.profile import PROFILES

if TYPE_CHECKING:
    from attention_fusion_ros.evaluation.checkpoints import Networks
    from attention_fusion_ros.evaluation.run_settings import RunOutput, RunSettings

UNTRAINED = 'untrained'
EXAMPLES = """\
evaluate --sim 200 --out out/evaluation
evaluate --sim 2000 --checkpoint runs/new/checkpoint.safetensors --compare concatenation=runs/cat.safetensors
evaluate --drives drives --baselines-only --every 5 --out out/drives
evaluate --bags 'drives/*' --out out/recordings --ray local
evaluate --interventions --scenes 240 --out out/interventions
evaluate --ablation --ablation-seeds 3 --out out/ablation
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit status, 2 for mistakes. argv: None takes the process's own arguments."""
    arguments = sys.argv[1:] if argv is None else argv
    options = options_parser().parse_args(arguments)
    if options.bags:
        return cli.run(lambda: _recordings(options, ['evaluate', *arguments]))
    return cli.run(lambda: evaluate(options, ['evaluate', *arguments]))


def options_parser() -> argparse.ArgumentParser:
    """The options of `evaluate`."""
    parser = cli.parser('evaluate', __doc__, EXAMPLES)
    parser.add_argument('--sim', type=int, default=0, metavar='N', help='evaluate on N held-out simulated scenes')
    parser.add_argument('--drives', type=Path, metavar='DIR', help='evaluate on the real drives in this folder')
    parser.add_argument('--bags', nargs='+', metavar='BAG', help='score recordings, each by itself: against truth.json '
                        'beside it (simulate --bag writes it), else against the way that was driven (needs odometry); '
                        + many.RECORDINGS_HELP)
    cli.add_topic_options(parser)
    parser.add_argument('--map-share', type=int, default=0, metavar='N', help="on N held-out simulated scenes with a "
                        "map: the map's channel share when the map image is removed, rotated or replaced by noise")
    parser.add_argument('--gradcam', type=int, default=0, metavar='N', help='on N such scenes: how well spatial '
                        'attention agrees with Grad-CAM')
    parser.add_argument('--interventions', action='store_true', help='does attention decide? Its weights replaced, '
                        'cells deleted, maps moved, vehicles taken away, on held-out simulated scenes')
    parser.add_argument('--scenes', type=int, default=240, metavar='N', help='how many for --interventions (default: '
                        '%(default)s)')
    parser.add_argument('--checkpoint', default='', metavar='PATH',
                        help=f"checkpoint; the shipped one when left out; '{UNTRAINED}' for random weights")
    parser.add_argument('--compare', nargs='+', default=[], metavar='NAME=PATH', help='further checkpoints, by name; '
                        'in the simulation, PATH@lidar withholds the map from it and PATH@map the LiDAR')
    parser.add_argument('--baselines-only', action='store_true', help='without any network')
    parser.add_argument('--out', type=cli.output_folder, default='evaluation',
                        help='folder for tables, JSON and plots (default: %(default)s)')
    parser.add_argument('--cache', type=Path, default=Path('~/.cache/attention_fusion_ros'),
                        help='where simulated scenes are kept (default: %(default)s)')
    parser.add_argument('--first-seed', type=int, default=20_000_000, metavar='SEED', help='of the simulated scenes; '
                        'training uses those below 10,000,000 (default: %(default)s)')
    parser.add_argument('--osm', type=Path, metavar='FILE',
                        help='OpenStreetMap extract (.osm, .osm.gz, .osm.pbf): a share of '
                        'the simulated scenes takes its roads from there')
    parser.add_argument('--profile', choices=tuple(PROFILES), default='v1',
                        help='kinds of places and sensors of the simulated scenes: v2 has medians, rows of parked '
                        'cars, driveways and faulty sensors; with -city all roads come from --osm '
                        '(default: %(default)s)')
    parser.add_argument('--every', type=int, default=1, metavar='K', help='only each k-th sweep of the drives '
                        'and recordings')
    parser.add_argument('--route', action='store_true', help='draw the driven route into the maps of the drives')
    parser.add_argument('--workers', type=int, default=2, help='processes (default: %(default)s)')
    parser.add_argument('--device', default='auto', help='where the networks run: auto, cpu or cuda (default: '
                        '%(default)s)')
    ablation = parser.add_argument_group('comparison of attention mechanisms')
    ablation.add_argument('--ablation', action='store_true', help='train and test all of them alike; resumes from '
                          '--out')
    ablation.add_argument('--ablation-rows', nargs='+', default=[], metavar='ROW', help='only these, for example '
                          'none se cam sam7')
    ablation.add_argument('--ablation-seeds', type=int, default=3, metavar='N', help='training runs per row (default: '
                          '%(default)s)')
    ablation.add_argument('--ablation-steps', type=int, metavar='N', help='length of a training')
    ablation.add_argument('--ablation-set', nargs='+', default=[], metavar='NAME=VALUE', help='anything else of the '
                          'schedule, for example scenes=500 cells=128 widths=24,40,64')
    many.add_many_options(parser)
    return parser


def evaluate(options: argparse.Namespace, arguments: list[str]) -> int:
    """Run what was asked for and print it; returns the exit status. Raises ConfigurationError."""
    simulated = max(options.sim, options.map_share, options.gradcam) > 0 or options.interventions
    if not simulated and options.drives is None and not options.ablation:
        raise ConfigurationError('nothing to evaluate: give --sim N, --drives DIR, --bags BAG, --map-share N, '
                                 '--gradcam N, --interventions, or --ablation')
    if options.every < 1 or options.workers < 1 or options.scenes < 1:
        raise ConfigurationError('--every, --workers and --scenes must be at least 1')
    others = {'--map-share': options.map_share, '--gradcam': options.gradcam, '--interventions': options.interventions,
              '--ablation': options.ablation}
    if options.ray is not None and (given := [name for name, value in others.items() if value]):
        raise ConfigurationError(f'--ray works for --sim, --drives and --bags: leave {", ".join(given)} out')
    from attention_fusion_ros.evaluation.run_settings import RunSettings
    written = []
    with many.ray_of(options) as engine:
        settings = RunSettings(options.out, options.cache.expanduser(), options.first_seed, options.workers, arguments,
                               _new_bar, engine)
        for run in list(_chosen(options)):  # all options are checked before the first of them runs
            output = run(settings)
            print(output.text)
            written += output.written
    print('\n'.join(f'wrote {path}' for path in written))
    return 0


def _recordings(options: argparse.Namespace, arguments: list[str]) -> int:
    """Score recordings. Raises ConfigurationError for what else cannot be asked for with them."""
    others = {'--sim': options.sim, '--drives': options.drives, '--map-share': options.map_share, '--gradcam':
              options.gradcam, '--interventions': options.interventions, '--ablation': options.ablation,
              '--compare': options.compare, '--baselines-only': options.baselines_only}
    given = [name for name, value in others.items() if value]
    if given:
        raise ConfigurationError(f'--bags is an evaluation of its own: leave {", ".join(given)} out')
    if options.every < 1:
        raise ConfigurationError('--every must be at least 1')
    from attention_fusion_ros.commands.evaluate_many import evaluate_many
    return evaluate_many(options, arguments)


def _new_bar(title: str, total: int, unit: str) -> tqdm:
    return cli.progress(total=total, desc=title, unit=unit)


def _chosen(options: argparse.Namespace) -> Iterator[Callable[[RunSettings], RunOutput]]:
    """What was asked for, in order, ready to run. Raises ConfigurationError when a network cannot be used."""
    if options.ablation:
        from attention_fusion_ros.studies.ablation.report import write_ablation
        schedule = cli.assignments(options.ablation_set, '--ablation-set')
        if options.ablation_steps is not None:
            schedule['steps'] = str(options.ablation_steps)
        yield partial(write_ablation, options.ablation_rows, options.ablation_seeds, schedule)
    if options.sim > 0:
        from attention_fusion_ros.evaluation.simulation.evaluate import write_simulation
        yield partial(write_simulation, _networks(options), options.sim, osm=options.osm, profile=options.profile)
    if options.map_share > 0:
        from attention_fusion_ros.studies.map_share import write_map_share
        yield partial(write_map_share, _one_network(options, '--map-share'), options.map_share)
    if options.gradcam > 0:
        from attention_fusion_ros.studies.gradcam_agreement import write_gradcam
        yield partial(write_gradcam, _one_network(options, '--gradcam'), options.gradcam)
    if options.interventions:
        from attention_fusion_ros.evaluation.interventions.evaluate import write_interventions
        yield partial(write_interventions, _one_network(options, '--interventions'), options.scenes, osm=options.osm,
                      profile=options.profile)
    if options.drives is not None:
        from attention_fusion_ros.evaluation.drives.evaluate import write_drives
        yield partial(write_drives, _networks(options, whole_only=True), options.drives, every=options.every,
                      route=options.route)


def _networks(options: argparse.Namespace, whole_only: bool = False) -> Networks:
    """The networks of the options. whole_only: without those from which an input is withheld."""
    from attention_fusion_ros.evaluation.checkpoints import BOTH, load_networks, parse_checkpoints
    if options.baselines_only:
        if options.checkpoint or options.compare:
            raise ConfigurationError('--baselines-only leaves no place for --checkpoint and --compare')
        return load_networks([], options.device)
    named = parse_checkpoints(options.checkpoint, _compared(options))
    return load_networks([c for c in named if c.sees == BOTH or not whole_only], options.device)


def _one_network(options: argparse.Namespace, option: str) -> Networks:
    from attention_fusion_ros.evaluation.checkpoints import load_networks, parse_checkpoints
    if options.baselines_only:
        raise ConfigurationError(f'{option} needs a network: leave --baselines-only out')
    return load_networks(parse_checkpoints(options.checkpoint, _compared(options))[:1], options.device)


def _compared(options: argparse.Namespace) -> list[tuple[str, str]]:
    """(name, path) of --compare, in order; a name may be there twice."""
    return [pair for text in options.compare for pair in cli.assignments([text], '--compare').items()]
