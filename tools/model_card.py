#!/usr/bin/env python3
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Write the model card of a training from what `train` left in its folder.

    python tools/model_card.py RUN           RUN/model_card.md
    python tools/model_card.py RUN --ship    RUN/checkpoint.safetensors becomes the shipped weights, with their exported
                                          file, and the card theirs
"""
from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import generated  # noqa: E402

from attention_fusion_ros.backends.export import export  # noqa: E402
from attention_fusion_ros.datasets.scenes import MAX_RAYS  # noqa: E402
from attention_fusion_ros.metrics.registry import Metric, logged  # noqa: E402
from attention_fusion_ros.network import checkpoint as checkpoints  # noqa: E402
from attention_fusion_ros.network.config import NetworkConfig  # noqa: E402
from attention_fusion_ros.network.cost import network_size  # noqa: E402
from attention_fusion_ros.simulation.sensors.lidar import PRESETS  # noqa: E402
from attention_fusion_ros.training import record  # noqa: E402
from attention_fusion_ros.utils import atomic  # noqa: E402
from attention_fusion_ros.utils.provenance import fingerprint  # noqa: E402
from attention_fusion_ros.utils.tables import Table  # noqa: E402

STATES = {'fused': 'with map', 'route': 'route drawn', 'nomap': 'no map'}


def shortened(command: str) -> str:
    """Absolute paths are of no use on another machine: only their last part is kept."""
    return re.sub(r'(?<=[\s=])/(?:[^\s/]+/)*([^\s/]+)', r'\1', command)


def network_text(config: NetworkConfig) -> str:
    """Which mechanism is where, and the sizes that differ from the defaults."""
    def named(entry: dict[str, Any]) -> str:
        options = ', '.join(f'{k}={v}' for k, v in entry.items() if k != 'name')
        return f'`{entry["name"]}`' + (f' ({options})' if options else '')
    values, usual = config.to_dict(), NetworkConfig().to_dict()
    slots = [f'{name.replace("_", " ")} {named(v)}' for name, v in values.items()
             if isinstance(v, dict) and v['name'] != 'none']
    others = [f'{k}={v}' for k, v in values.items()
              if not isinstance(v, dict) and v != usual[k] and k not in ('architecture', 'rings')]
    kind = 'TwoReadings' if config.architecture == 'two_readings' else 'FusionNetwork'
    radii = [f'{radius:g}' for radius in config.rings]
    rings = f'ring of {radii[0]} m' if len(radii) == 1 else f'rings of {", ".join(radii[:-1])} and {radii[-1]} m'
    return (f'`{kind}`: {"; ".join(slots)}; polar head with {config.bins} bearings, {rings}'
            + (f'; other than the defaults: {", ".join(others)}' if others else ''))


def scenes_text(data: dict[str, Any]) -> str:
    """One data set in words."""
    if not data.get('seeds'):
        return f'{data["sweeps"]} sweeps'
    classes = ', '.join(f'{name} {count}' for name, count in data['classes'].items())
    return (f'{data["sweeps"]} sweeps of {data["seeds"]} simulated scenes, seeds {data["first seed"]} to '
            f'{data["last seed"]} ({classes})')


def figures_table(found: dict[str, float]) -> str:
    """The logged metrics on the held-back scenes, one row a state."""
    metrics = logged()

    def value(state: str, metric: Metric) -> str:
        key = f'{state}_{metric.log_name}'
        return f'{found[key]:.{metric.decimals}f}' if key in found else '-'
    rows = [(title, *(value(state, metric) for metric in metrics)) for state, title in STATES.items()]
    return Table('', ('', *(metric.title for metric in metrics)), rows).markdown_grid()


def card(run: dict[str, Any], checkpoint: Path, name: str) -> str:
    """The whole card of a checkpoint that is to be called `name`. Raises KeyError when the run has not ended."""
    loaded = checkpoints.load(checkpoint)
    size, settings, data = network_size(loaded.network), run['settings'], run['data']
    before = next((h for h in run['history'] if h['step'] == 0), None)
    used = [f'{name}: {scenes_text(data[name])}' for name in ('simulated', 'recorded') if name in data]
    real = 'recordings of a vehicle are among them' if 'recorded' in data else 'no real sweep was used'
    reason = 'the schedule counts time' if settings['minutes'] else 'sums on another machine are rounded differently'
    shipped = name == checkpoints.SHIPPED.name
    rows = {
        'what': network_text(loaded.network.config),
        'size': f'{size.parameters / 1e6:.2f} M parameters, {size.gflops:.2f} GFLOPs a sweep '
                '(`python -m attention_fusion_ros benchmark` prints both)',
        'file': f'`{name}`, sha256 {fingerprint(checkpoint)}',
        'data': '; '.join(used) + f'; maps are drawn anew, with new errors, every epoch; {real}',
        'held back': f'{scenes_text(data["held back"])}; used to watch the training and to fit the probabilities',
        'started from': run['started from'] + (' (its card is in the history of this file)' if shipped and
                                               run['started from'] != 'random weights' else ''),
        'training': f'{run["steps"]} steps of {settings["batch"]} samples, {run["minutes"]:.0f} minutes, on '
                    f'{run["machine"]}; learning rate {settings["learning_rate"]:g} at most, AdamW, averaged weights',
        'when': f'{run["started"]} to {run["finished"]}',
        'commit': run['commit'],
        'command': '; '.join(f'`{c}`' for c in run['commands']),
        'repeating it': f'gives other weights: {reason}'}
    if shipped:
        rows['figures'] = '[docs/results.md](../../docs/results.md)'
    table = Table('', ('', ''), list(rows.items())).markdown_grid()
    parts = [f'# Model card: {name}\n\n{table}',
             'Figures on the held-back scenes at the end of the training, printed by `train`. The maps there are '
             'spoiled as\nin training: 65 % with the standard error (2.5 m, 4 deg), 15 % doubled, 10 % a fifth of it, '
             '10 % up to 8 m and 15 deg.\n\n' + figures_table(run['validation'])]
    if before:
        parts.append('The same scenes before this training, with the weights it started from:\n\n'
                     + figures_table(before))
    beams = [len(preset().elevations) for preset in PRESETS.values()]
    parts.append(f'Limits: sensors of {min(beams)} to {max(beams)} beams at 1.2 to 2.2 m height, at most {MAX_RAYS} '
                 'rays a sweep. Worlds of the simulator have one level\nand flat or gently sloping ground; rain, snow '
                 'and fog were never seen.' + (' Where it loses, on simulated and on real roads, is in\n'
                                              '[docs/results.md](../../docs/results.md).' if shipped else ''))
    return '\n\n'.join(parts) + '\n'


def sums(folder: Path, instead: dict[str, Path]) -> str:
    """SHA-256 of every checkpoint and exported file in a folder, as `sha256sum` writes it; of those in `instead`, of
    these files.
    """
    found = {file.name: file for ending in ('safetensors', 'onnx') for file in folder.glob(f'*.{ending}')} | instead
    return ''.join(f'{hashlib.sha256(file.read_bytes()).hexdigest()}  {name}\n' for name, file in sorted(found.items()))


def main(argv: list[str] | None = None) -> int:
    """Write or check; returns the exit status, 2 for a run that has not ended."""
    parser = generated.parser(__doc__)
    parser.add_argument('run', type=Path, metavar='RUN', help='folder given to `train --out`')
    parser.add_argument('--ship', action='store_true', help='make it the shipped weights')
    parser.add_argument('--weights', type=Path, default=checkpoints.SHIPPED.parent, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    run, checkpoint = record.read(options.run), options.run / 'checkpoint.safetensors'
    if run is None or 'finished' not in run:
        print(f'error: {options.run / record.NAME} is not the record of a run that has ended', file=sys.stderr)
        return 2
    run['commands'] = [shortened(command) for command in run['commands']]
    target = options.weights / 'README.md' if options.ship else options.run / 'model_card.md'
    files = {target: card(run, checkpoint, checkpoints.SHIPPED.name if options.ship else checkpoint.name)}
    if options.ship:
        files[options.weights / 'default.json'] = json.dumps(run, indent=1) + '\n'
        if not options.check:
            shipped = options.weights / 'default.safetensors'
            atomic.copy(checkpoint, shipped)
            list(export(checkpoints.load(shipped), options.weights, ['onnx']))  # beside it, for the CPU
        files[options.weights / checkpoints.SUMS] = sums(options.weights, {'default.safetensors': checkpoint})
    return generated.write_or_check(files, options.check, f'python tools/model_card.py {options.run}')


if __name__ == '__main__':
    sys.exit(main())
