#!/usr/bin/env python3
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Write the measured parts of docs/results.md, and of docs/attention.md, from what `evaluate` wrote.

    python tools/write_results.py --simulation A --drives B    take over A/simulation.json, B/drives.json and the plots
    python tools/write_results.py --interventions C            take over C/interventions.json (evaluate --interventions)
    python tools/write_results.py --cities D E F               a table of these (evaluate --profile v1-city), by city
    python tools/write_results.py                              write the pages again from docs/results/*.json
    python tools/write_results.py --check                      fail when the pages are not what docs/results/*.json say

A to F are the folders given to `evaluate --out`. Prose between the measured parts is written by hand and quotes no
figure, so that it cannot go stale.
"""
from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import generated  # noqa: E402

from attention_fusion_ros.evaluation.tables import cell  # noqa: E402
from attention_fusion_ros.metrics.bootstrap import Estimate  # noqa: E402
from attention_fusion_ros.network.checkpoint import SHIPPED  # noqa: E402
from attention_fusion_ros.utils.provenance import Provenance, fingerprint  # noqa: E402
from attention_fusion_ros.utils.tables import Table  # noqa: E402

KINDS = ('drives', 'simulation')  # of results.md
INTERVENTIONS = 'interventions'  # of attention.md
CITIES = 'cities'  # of results.md
# Extracts whose roads the shipped weights have seen, see their card.
TRAINED_ON = ('boston_seaport', 'kaiserslautern', 'mia')
CITY_COLUMNS = {  # heading: part of simulation.json, figure, decimals
    'F1@10': ('branches with a map', 'f1_10', 3), 'F1@10, no map': ('branches without a map', 'f1_10', 3),
    'bearing median [deg]': ('branches with a map', 'bearing_median', 2),
    'heading median [deg]': ('branches with a map', 'heading_median', 2),
    'direction within 5 deg, route drawn': ('direction with a route', 'direction_within_5', 3)}
BEGIN, END = '<!-- {}: made by tools/write_results.py -->', '<!-- end of {} -->'
PLOTS: dict[str, dict[str, str]] = {
    INTERVENTIONS: {},
    'drives': {'drives_heading_error.png': 'Heading error per drive and method'},
    'simulation': {'simulation_bearing_error.png': 'Bearing error of every true branch, by method',
                   'simulation_map_error.png': 'Direction error against the error of the map',
                   'simulation_reliability.png': 'Reliability of the probabilities',
                   'simulation_attention.png': 'Attention ratios'}}
GROUPS = 'Held-out simulation: by '
# What makes a drive or a kind of road hard; printed only where the figures say that it is.
WHY = {
    'pittsburgh_junction_ahead': 'One sweep only, hence no interval. A wide street of several lanes, with cars parked '
    'on both sides that hide the kerbs, seen by two merged 32-beam sensors: the centre line of the road is far from '
    'what the LiDAR shows beside the vehicle.',
    'singapore_left_turn': 'A 32-beam sensor on a wide street with trees in its middle, then a turn across a junction '
    'wider than the ring: the driven path, which is the truth here, cuts through an open area without edges.',
    'suburb_side_roads': 'Sweeps a second apart past side roads: the truth is the driven path alone, and side roads '
    'next to it compete for the match.',
    'karlsruhe_street': 'The centre line of the map is a lane away from the driven path, which is the truth for the '
    'headings.',
    'roundabout': 'Exits follow each other closely and cross the ring at a flat angle, where a small shift along the '
    'ring is a large change of the bearing.',
    'staggered': 'Two side roads close to each other are one opening to a sparse sensor.',
    'fork': 'The two roads of a fork are still side by side on the ring.',
    'y': 'Arms at an acute angle share one opening in the facades.',
    'skewed': 'Arms at an acute angle share one opening in the facades.',
    'dead_end': 'Where a road ends beyond or within the ring is decided by a wall that may be a parked truck.',
}


def measured(page: str, name: str, content: str) -> str:
    """The page with what stands between the markers of `name` replaced. Raises ValueError without the markers."""
    return generated.block(page, BEGIN.format(name), END.format(name), f'\n{content.strip()}\n')


def tables(data: dict[str, Any], groups: bool) -> str:
    """The tables of one evaluation as markdown: those by groups of scenes, or all others."""
    origin = data['provenance']
    provenance = Provenance(**{**origin, 'checkpoints': tuple(origin['checkpoints'])})
    return '\n'.join(Table(t['title'], tuple(t['header']), [tuple(row) for row in t['rows']],
                           tuple(t['notes'])).markdown(provenance.lines())
                     for t in data['tables'] if t['title'].startswith(GROUPS) == groups)


def estimate_cell(value: dict[str, float | None], decimals: int) -> str:
    """An estimate of the JSON as a cell."""
    return cell(Estimate(*(float('nan') if value[k] is None else value[k] for k in ('value', 'low', 'high'))), decimals)


def verdicts(targets: Iterable[dict[str, Any]], without: str = '') -> list[str]:
    """One line that counts, one for every target that is missed or was not measured."""
    targets = list(targets)
    missed = [t for t in targets if t['met'] is False]
    unknown = [t for t in targets if t['met'] is None]
    count = f'{sum(t["met"] is True for t in targets)} of {len(targets)} targets met'
    lines = [count + (f', {len(unknown)} not measured' if unknown else '') + '.']
    lines += [f'  - missed: {t["what"].removeprefix(without)}: {estimate_cell(t["value"], t["decimals"])}, '
              f'goal {t["goal"]}' for t in missed]
    lines += [f'  - not measured: {t["what"].removeprefix(without)}, goal {t["goal"]}' for t in unknown]
    return lines


def drives_summary(data: dict[str, Any]) -> str:
    """Drive by drive: median heading errors, and the targets."""
    lines = []
    for drive, found in data.items():
        if drive in ('provenance', 'targets', 'tables'):
            continue
        of = [t for t in data['targets'] if t['what'].startswith(f'{drive}, ')]
        medians = {key: estimate_cell(found[key]['heading_median'], 2) for key in
                   ('standard / network', 'standard / map alone', 'doubled / network', 'doubled / map alone',
                    'no map / network')}
        lines.append(f'- **`{drive}`**: median heading error {medians["standard / network"]} deg at the standard map '
                     f'error (map alone {medians["standard / map alone"]}), {medians["doubled / network"]} at twice '
                     f'that (map alone {medians["doubled / map alone"]}), {medians["no map / network"]} without a map. '
                     + '\n'.join(verdicts(of, f'{drive}, ')))
        if any(t['met'] is False for t in of) and drive in WHY:
            lines.append(f'  - why it is hard: {WHY[drive]}')
    return '\n'.join(lines)


def simulation_summary(data: dict[str, Any]) -> str:
    """The targets, what beats the network, and its weakest groups."""
    scenes = data['scenes']
    lines = [f'- **{scenes["number"]} held-out scenes**, {scenes["junctions"]:.0%} junctions: '
             + '\n'.join(verdicts(data['targets']))]
    for table in data['tables']:
        if table['title'].startswith(GROUPS) or table['header'][-1] != 'beats the network in':
            continue
        for row in table['rows']:
            if row[-1] not in ('', '-'):
                where = table['title'].removeprefix('Held-out simulation: ')
                lines.append(f'- **{row[0]}** beats the network ({where}) in: {row[-1]}')
    for group, unit in (('scene class', 'F1@10'), ('sensor', 'F1@10'), ('map error', 'F1@10')):
        found = data.get(f'network by {group}', {})
        weakest = sorted((f for f in found if found[f]['f1_10']['value'] is not None),
                         key=lambda f: found[f]['f1_10']['value'])[:3]
        if len(found) > 1:
            lines.append(f'- Weakest by {group} ({unit}): '
                         + ', '.join(f'{name} {estimate_cell(found[name]["f1_10"], 3)}' for name in weakest) + '.')
            lines += [f'  - {name}: {WHY[name]}' for name in weakest if name in WHY]
    return '\n'.join(lines)


def interventions_summary(data: dict[str, Any]) -> str:
    """Attention by attention: what its mean in its place costs, and whether it decides."""
    lines = []
    for state, where in (('as it is', 'maps as they are'), ('wide', 'maps up to 8 m and 15 deg off')):
        found = data['replaced'].get(state, {})
        for name, variant in found.items():
            if name.endswith(', mean map'):
                change = estimate_cell(variant['change']['f1_10'], 3)
                lines.append(f'- **{name.removesuffix(", mean map")}**, {where}: F1@10 changes by {change} when its '
                             f'mean takes its place. Does it decide? {variant["decides"].capitalize()}.')
    return '\n'.join(lines)


def cities(folders: Iterable[Path]) -> dict[str, Any]:
    """What cities.json holds: of each evaluation of one city its figures of the network. Raises ValueError unless all
    are of the same checkpoint.
    """
    found: dict[str, Any] = {}
    for folder in folders:
        data = json.loads((folder / 'simulation.json').read_text())
        words = data['provenance']['command'].split()
        city = Path(words[words.index('--osm') + 1]).name.partition('.')[0]
        found[city] = {'provenance': data['provenance'], 'scenes': data['scenes']['number'],
                       **{heading: data[part]['network'][figure]
                          for heading, (part, figure, _) in CITY_COLUMNS.items()}}
    if len({tuple(one['provenance']['checkpoints']) for one in found.values()}) != 1:
        raise ValueError('the cities were not all evaluated with the same checkpoint')
    return found


def city_table(found: dict[str, Any]) -> str:
    """The cities as a table, those that training knew first."""
    order = sorted(found, key=lambda city: (city not in TRAINED_ON, city))
    rows = [(city, 'yes' if city in TRAINED_ON else 'no', str(found[city]['scenes']),
             *(estimate_cell(found[city][heading], decimals) for heading, (_, _, decimals) in CITY_COLUMNS.items()))
            for city in order]
    origin = found[order[0]]['provenance']
    command = origin['command'].replace(f'/{order[0]}.', '/CITY.').replace(f'_{order[0]}', '_CITY')
    lines = Provenance(**{**origin, 'command': command, 'checkpoints': tuple(origin['checkpoints'])}).lines()
    return Table('By city', ('city', 'seen in training', 'scenes', *CITY_COLUMNS), rows,
                 ('Brackets: 95 % interval, whole scenes resampled.',)).markdown(lines)


SUMMARIES = {'drives': drives_summary, 'simulation': simulation_summary}


def pages(docs: Path) -> dict[Path, str]:
    """Path -> text of the pages as docs/results/*.json say; parts that were not measured yet stay as they are."""
    main = (docs / 'results.md').read_text()
    written = {}
    for kind in KINDS:
        path = docs / 'results' / f'{kind}.json'
        if not path.exists():
            continue
        data = json.loads(path.read_text())
        pictures = '\n\n'.join(f'![{what}](images/{name})' for name, what in PLOTS[kind].items()
                               if (docs / 'images' / name).exists())
        groups = tables(data, groups=True)
        link = 'By scene class, sensor and map: [results_groups.md](results_groups.md).\n\n' if groups else ''
        main = measured(main, f'{kind}, in short', SUMMARIES[kind](data))
        main = measured(main, kind, f'{link}{pictures}\n\n{tables(data, groups=False)}')
        if groups:
            written[docs / 'results_groups.md'] = ('# Results by scene class, sensor and map\n\nMade by '
                                                   'tools/write_results.py; what it means is in '
                                                   f'[results.md](results.md).\n\n{groups.strip()}\n')
    path = docs / 'results' / f'{CITIES}.json'
    if path.exists():
        main = measured(main, CITIES, city_table(json.loads(path.read_text())))
    path = docs / 'results' / f'{INTERVENTIONS}.json'
    if path.exists():
        data = json.loads(path.read_text())
        written[docs / 'attention.md'] = measured(
            (docs / 'attention.md').read_text(), INTERVENTIONS,
            f'{interventions_summary(data)}\n\n{tables(data, groups=False)}')
    return {docs / 'results.md': main, **written}


def copy_results(kind: str, folder: Path, docs: Path) -> str | None:
    """Copy JSON and plots of one evaluation below docs. Returns a warning when it is not of the shipped weights."""
    data = json.loads((folder / f'{kind}.json').read_text())
    (docs / 'results').mkdir(exist_ok=True)
    (docs / 'images').mkdir(exist_ok=True)
    shutil.copyfile(folder / f'{kind}.json', docs / 'results' / f'{kind}.json')
    for name in PLOTS[kind]:
        if (folder / name).exists():
            shutil.copyfile(folder / name, docs / 'images' / name)
    if not any(fingerprint(SHIPPED) in checkpoint for checkpoint in data['provenance']['checkpoints']):
        return f'{kind}.json is not of the shipped weights (sha256 {fingerprint(SHIPPED)})'
    return None


def main(argv: list[str] | None = None) -> int:
    """Write or check; returns the exit status."""
    parser = generated.parser(__doc__)
    for kind in (*KINDS, INTERVENTIONS):
        parser.add_argument(f'--{kind}', type=Path, metavar='DIR', help=f'copy {kind}.json and the plots from here')
    parser.add_argument('--cities', type=Path, nargs='+', metavar='DIR', help='a table of these evaluations')
    parser.add_argument('--docs', type=Path, default=generated.ROOT / 'docs', help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    for kind in (*KINDS, INTERVENTIONS):
        folder = getattr(options, kind)
        warning = copy_results(kind, folder, options.docs) if folder else None
        if warning:
            print(f'warning: {warning}', file=sys.stderr)
    if options.cities:
        text = json.dumps(cities(options.cities), indent=1)
        (options.docs / 'results' / f'{CITIES}.json').write_text(f'{text}\n', encoding='utf-8')
    return generated.write_or_check(pages(options.docs), options.check, 'python tools/write_results.py')


if __name__ == '__main__':
    sys.exit(main())
