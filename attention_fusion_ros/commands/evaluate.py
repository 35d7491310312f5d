# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`evaluate`: every metric with its 95 % interval, beside the baselines, on held-out simulation and on real drives."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from attention_fusion_ros.commands import cli
from attention_fusion_ros.errors import ConfigurationError

NETWORK = 'network'
UNTRAINED = 'untrained'
EXAMPLES = """  evaluate --sim 2000 --out results
  evaluate --drives ../shared/data --out results
  evaluate --sim 2000 --checkpoint runs/new/checkpoint.safetensors --compare concatenation=runs/cat.safetensors
  evaluate --drives ../shared/data --baselines-only --every 5
  evaluate --ablation --ablation-seeds 3 --out ablation"""


def main(argv: list[str] | None = None) -> int:
    """Entry point."""
    parser = _parser()
    options = parser.parse_args(argv)
    arguments = ['evaluate', *(sys.argv[1:] if argv is None else argv)]
    return cli.run(lambda: evaluate(options, arguments))


def _parser() -> argparse.ArgumentParser:
    parser = cli.parser('evaluate', __doc__, EXAMPLES)
    parser.add_argument('--sim', type=int, default=0, metavar='N', help='evaluate on N held-out simulated scenes')
    parser.add_argument('--drives', type=Path, metavar='DIR', help='evaluate on the real drives in this folder')
    parser.add_argument('--map-share', type=int, default=0, metavar='N', help="on N held-out simulated scenes with a "
                        "map: the map's channel share when the map image is removed, rotated or replaced by noise")
    parser.add_argument('--gradcam', type=int, default=0, metavar='N', help='on N such scenes: how well spatial '
                        'attention agrees with Grad-CAM')
    parser.add_argument('--checkpoint', default='', metavar='PATH',
                        help=f"checkpoint; the shipped one when left out; '{UNTRAINED}' for random weights")
    parser.add_argument('--compare', nargs='+', default=[], metavar='NAME=PATH', help='further checkpoints, by name; '
                        'in the simulation, PATH@lidar withholds the map from it and PATH@map the LiDAR')
    parser.add_argument('--baselines-only', action='store_true', help='without any network')
    parser.add_argument('--out', type=Path, default=Path('evaluation'), help='folder for tables, JSON and plots '
                        '(default: %(default)s)')
    parser.add_argument('--cache', type=Path, default=Path('~/.cache/attention_fusion_ros'),
                        help='where simulated scenes are kept (default: %(default)s)')
    parser.add_argument('--first-seed', type=int, default=20_000_000, metavar='SEED', help='of the simulated scenes; '
                        'training uses those below 10,000,000 (default: %(default)s)')
    parser.add_argument('--osm', type=Path, metavar='FILE', help='OpenStreetMap extract (.osm, .osm.gz): a share of '
                        'the simulated scenes takes its roads from there')
    parser.add_argument('--every', type=int, default=1, metavar='K', help='only each k-th sweep of the drives')
    parser.add_argument('--route', action='store_true', help='draw the driven route into the maps of the drives')
    parser.add_argument('--workers', type=int, default=2, help='processes (default: %(default)s)')
    parser.add_argument('--device', default='auto', help='where the networks run: auto, cpu or cuda (default: '
                        '%(default)s)')
    ablation = parser.add_argument_group('comparison of attention mechanisms')
    ablation.add_argument('--ablation', action='store_true', help='train and test all of them alike; goes on in --out')
    ablation.add_argument('--ablation-rows', nargs='+', default=[], metavar='ROW', help='only these, for example '
                          'none se cam sam7')
    ablation.add_argument('--ablation-seeds', type=int, default=3, metavar='N', help='trainings each (default: '
                          '%(default)s)')
    ablation.add_argument('--ablation-steps', type=int, metavar='N', help='length of a training')
    ablation.add_argument('--ablation-set', nargs='+', default=[], metavar='NAME=VALUE', help='anything else of the '
                          'schedule, for example scenes=500 cells=128 widths=24,40,64')
    return parser


def evaluate(options: argparse.Namespace, arguments: list[str]) -> int:
    """Run what was asked for. Raises ConfigurationError."""
    if max(options.sim, options.map_share, options.gradcam) <= 0 and options.drives is None and not options.ablation:
        raise ConfigurationError('nothing to evaluate: give --sim N, --drives DIR, --map-share N, --gradcam N, or '
                                 '--ablation')
    if options.every < 1 or options.workers < 1:
        raise ConfigurationError('--every and --workers must be at least 1')
    networks = _networks(options)
    written = _ablation(options, arguments) if options.ablation else []
    if options.sim > 0:
        written += _simulated(options, networks, arguments)
    if options.map_share > 0:
        written += _map_share(options, networks, arguments)
    if options.gradcam > 0:
        written += _gradcam(options, networks, arguments)
    if options.drives is not None:
        written += _drives(options, networks, arguments)
    print('\n'.join(f'wrote {path}' for path in written))
    return 0


def _networks(options: argparse.Namespace) -> dict[str, str]:
    """Name -> checkpoint, the one in question first. Raises ConfigurationError."""
    if options.baselines_only:
        if options.checkpoint or options.compare:
            raise ConfigurationError('--baselines-only leaves no place for --checkpoint and --compare')
        return {}
    networks = {NETWORK: options.checkpoint}
    for text in options.compare:
        (name, path), = cli.assignments([text], '--compare').items()
        if name in networks:
            raise ConfigurationError(f"--compare: the name '{name}' is taken")
        networks[name] = path
    return networks


def _configs(options: argparse.Namespace, networks: dict[str, str]) -> tuple[tuple, float, dict[str, Path], list[str]]:
    """Node configurations, the ring they share, checkpoint files, and remarks for the tables."""
    from attention_fusion_ros.config import from_flat
    from attention_fusion_ros.network import checkpoint as checkpoints
    made, rings, files, notes = [], {}, {}, []
    for name, path in networks.items():
        untrained = path == UNTRAINED
        loaded = checkpoints.resolve(path, untrained)
        rings[name] = loaded.network.config.lookahead
        if untrained:
            notes.append(f"'{name}' has random weights: its figures mean nothing")
        else:
            files[name] = Path(path or checkpoints.SHIPPED)
        made.append((name, from_flat({'checkpoint': path, 'allow_untrained': untrained, 'device': options.device,
                                      'threads': 1, 'lookahead': rings[name]})))
    if len(set(rings.values())) > 1:
        raise ConfigurationError('the checkpoints are for rings of different radius: '
                                 + ', '.join(f'{n} {r:g} m' for n, r in rings.items()))
    return tuple(made), next(iter(rings.values()), 20.0), files, notes


def _drives(options: argparse.Namespace, networks: dict[str, str], arguments: list[str]) -> list[Path]:
    from attention_fusion_ros.evaluation import plots
    from attention_fusion_ros.evaluation.drives import report as drive_report
    from attention_fusion_ros.evaluation.drives import run as run_drives
    from attention_fusion_ros.utils import provenance
    whole = {name: path for name, path in networks.items() if _sees(name, path) == 'both'}
    configs, lookahead, files, notes = _configs(options, whole)
    setup = run_drives.DriveSetup(configs, lookahead, options.every, options.route)
    if options.every > 1:
        notes.append(f'Only every {options.every}. sweep was used.')
    if options.route:
        notes.append('The driven route is drawn into the map.')
    with cli.progress(total=run_drives.total_steps(options.drives, setup), desc='drives', unit='run') as bar:
        scores = run_drives.evaluate_drives(options.drives, setup, options.workers, progress=bar.update)
    ours = NETWORK if configs else None
    report = drive_report.build(scores, ours, provenance.collect(arguments, files), notes)
    written = report.write(options.out, 'drives')
    print(report.markdown())
    panels = {drive: {method: a.heading_error.ravel() for (condition, method), a in found.items()
                      if condition == 'standard'} for drive, found in scores.items()}
    written.append(plots.error_distribution(panels, options.out / 'drives_heading_error.png', ours,
                                            'heading error [deg], standard map error'))
    return written


def _simulated(options: argparse.Namespace, networks: dict[str, str], arguments: list[str]) -> list[Path]:
    from attention_fusion_ros.evaluation import plots
    from attention_fusion_ros.evaluation.simulation import report as sim_report
    from attention_fusion_ros.evaluation.simulation import run as sim_run
    from attention_fusion_ros.utils import provenance
    _check_held_out(options)
    configs, lookahead, files, notes = _configs(options, {n: path.partition('@')[0] for n, path in networks.items()})
    asked = tuple(sim_run.Network(name, config, _sees(name, networks[name])) for name, config in configs)
    if options.osm is not None and not options.osm.is_file():
        raise ConfigurationError(f"--osm: '{options.osm}' does not exist")
    setup = sim_run.SimSetup(asked, options.cache.expanduser(), lookahead, osm=options.osm)
    with cli.progress(total=options.sim, desc='scenes', unit='scene') as bar:
        scenes = sim_run.evaluate_scenes(options.first_seed, options.sim, setup, options.workers, bar.update)
    ours = NETWORK if configs else None
    built = sim_report.SimulationReport(scenes, ours, provenance.collect(arguments, files), notes)
    report = built.build()
    written = report.write(options.out, 'simulation')
    print('\n'.join(table.markdown(report.provenance.lines()) for table in report.tables[:3]))
    written.append(plots.error_distribution(built.errors(), options.out / 'simulation_bearing_error.png', ours))
    if ours:
        written.append(plots.reliability(built.reliability(ours), options.out / 'simulation_reliability.png'))
        if built.curved:
            written.append(plots.map_error_curve(*built.curves(ours), options.out / 'simulation_map_error.png', ours))
        if built.ratios():
            written.append(plots.attention_ratios(built.ratios(), options.out / 'simulation_attention.png',
                                                  {'roadside': ('>=', 2.0), 'vehicles': ('<=', 0.5)}))
    return written


def _ablation(options: argparse.Namespace, arguments: list[str]) -> list[Path]:
    from attention_fusion_ros.evaluation.tables import Report
    from attention_fusion_ros.studies.ablation import (
        cost as ablation_cost,
    )
    from attention_fusion_ros.studies.ablation import (
        plot as ablation_plot,
    )
    from attention_fusion_ros.studies.ablation import run as ablation
    from attention_fusion_ros.studies.ablation import (
        table as ablation_table,
    )
    from attention_fusion_ros.studies.ablation.rows import CLAIMS, chosen
    from attention_fusion_ros.utils import provenance
    settings = cli.assignments(options.ablation_set, '--ablation-set')
    if options.ablation_steps is not None:
        settings['steps'] = str(options.ablation_steps)
    schedule, rows = ablation.schedule_with(settings), chosen(options.ablation_rows)
    if options.ablation_seeds < 1:
        raise ConfigurationError('--ablation-seeds must be at least 1')
    pools = ablation.prepare(schedule, options.cache.expanduser(), options.workers,
                             lambda title, total: cli.progress(total=total, desc=title, unit='sample'))
    with cli.progress(total=len(rows) * options.ablation_seeds, desc='trainings', unit='run') as bar:
        results = ablation.run(rows, options.ablation_seeds, schedule, pools, options.out, options.workers, bar.update)
    with cli.progress(total=len(rows), desc='costs', unit='network') as bar:
        costs = ablation_cost.network_costs({row.key: ablation.full_size(row) for row in rows}, 20, bar.update)
    found = ablation.compared(rows, results, costs)
    notes = ablation_table.notes(found, schedule.words(), options.ablation_seeds)
    report = Report(provenance.collect(arguments), [ablation_table.main_table(found, notes),
                                                    ablation_table.change_table(found),
                                                    ablation_table.claim_table(found, CLAIMS)],
                    {'schedule': schedule, 'results': results, 'costs': costs})
    written = report.write(options.out, 'ablation')
    print(report.markdown())
    return [*written, ablation_plot.dots(found, options.out / 'ablation.png')]


def _check_held_out(options: argparse.Namespace) -> None:
    from attention_fusion_ros.datasets.held_out import FIRST_SEED
    if options.first_seed < FIRST_SEED:
        raise ConfigurationError(f'--first-seed {options.first_seed} is not held out: seeds below {FIRST_SEED} belong '
                                 'to training and validation')


def _map_share(options: argparse.Namespace, networks: dict[str, str], arguments: list[str]) -> list[Path]:
    from attention_fusion_ros.evaluation.tables import Report
    from attention_fusion_ros.studies import map_share
    from attention_fusion_ros.utils import provenance
    configs, lookahead, files = _held_out(options, networks, '--map-share')
    with cli.progress(total=options.map_share, desc='maps', unit='scene') as bar:
        shares = map_share.map_shares(configs[0][1], options.first_seed, options.map_share, options.cache.expanduser(),
                                   lookahead, bar.update)
    report = Report(provenance.collect(arguments, files), [map_share.table(shares)], {'map_share': shares})
    print(report.markdown())
    return report.write(options.out, 'map_share')


def _gradcam(options: argparse.Namespace, networks: dict[str, str], arguments: list[str]) -> list[Path]:
    from attention_fusion_ros.evaluation.tables import Report
    from attention_fusion_ros.studies import gradcam_agreement
    from attention_fusion_ros.utils import provenance
    configs, lookahead, files = _held_out(options, networks, '--gradcam')
    with cli.progress(total=options.gradcam, desc='explanations', unit='scene') as bar:
        found = gradcam_agreement.stage_agreements(configs[0][1], options.first_seed, options.gradcam,
                                          options.cache.expanduser(), lookahead, bar.update)
    report = Report(provenance.collect(arguments, files), [gradcam_agreement.table(found)], {'agreement': found})
    print(report.markdown())
    written = report.write(options.out, 'gradcam')
    return [*written, gradcam_agreement.example(configs[0][1], options.first_seed, options.cache.expanduser(),
                                                options.out / 'gradcam.png', lookahead)]


def _held_out(options: argparse.Namespace, networks: dict[str, str], option: str) -> tuple[tuple, float, dict]:
    """As `_configs`, of the network in question, for what is measured on held-out scenes."""
    _check_held_out(options)
    if NETWORK not in networks:
        raise ConfigurationError(f'{option} needs a network: leave --baselines-only out')
    return _configs(options, {NETWORK: networks[NETWORK]})[:3]


def _sees(name: str, path: str) -> str:
    """What the network is given, from the suffix of NAME=PATH@WHAT. Raises ConfigurationError."""
    _, separator, what = path.partition('@')
    if separator and what not in ('lidar', 'map'):
        raise ConfigurationError(f"--compare {name}: after '@' stands lidar or map, not '{what}'")
    return what or 'both'
