#!/usr/bin/env python3
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Wrong directions in the situations that sensors, robots and recordings bring about, of this version and of others.

    python tools/situations.py                                this version
    python tools/situations.py --python-path ../old           and an older one, checked out in ../old
    python tools/situations.py --only 'nothing wrong' 'blind +-45 deg' --sweeps 8

Simulates one drive, writes a recording of each situation, runs `replay` on it and prints a table (Markdown). A
direction is wrong when it lies more than 15 degrees off the true one; where the recording shows no route and the truth
is a junction without a way to prefer, off every road there.
"""
from __future__ import annotations

import argparse
import csv
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT), str(ROOT / 'test')]

import situation_kit as kit  # noqa: E402
from situation_kit import Drive, Recipe  # noqa: E402

from attention_fusion_ros.geometry import angle_between  # noqa: E402

WRONG_RAD = math.radians(15.0)
TAI_AHEAD_NS = 37 * 10**9
NO_ROUTE = {'route': False}  # what the picture of the map does not show, the truth does not ask for


def turned(rotation: np.ndarray) -> np.ndarray:
    """(4, 4) T_base_sensor of the simulated sensor, mounted otherwise."""
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = rotation, (0.0, 0.0, 1.73)
    return T


def camera(rgb: np.ndarray) -> tuple[np.ndarray, str]:
    """A street with a house and a red car instead of a map."""
    street = np.zeros((480, 640, 3))
    street[:220], street[220:] = (150, 190, 235), (95, 95, 100)
    street[170:330, 60:230], street[250:330, 420:520] = (140, 120, 100), (210, 20, 25)
    return np.clip(street + np.random.default_rng(0).normal(0, 6, street.shape), 0, 255).astype(np.uint8), 'rgb8'


def bright(rgb: np.ndarray) -> tuple[np.ndarray, str]:
    """Roads in white on the light ground of OpenStreetMap's standard style."""
    out = np.full(rgb.shape, (242, 239, 233), np.uint8)
    out[rgb.max(2) > 60] = 255
    return out, 'rgb8'


def nodata(rgb: np.ndarray) -> tuple[np.ndarray, str]:
    """32FC1 of 0..1 whose border is the largest float."""
    out = rgb.max(2).astype(np.float32) / 255
    out[:, :6] = np.finfo(np.float32).max
    return out, '32FC1'


def row_step(size: str) -> Callable[[Any], Any]:
    """Cloud messages with another row_step, organised in 64 rows where it is that of the whole cloud."""
    def change(message: Any) -> Any:
        if size == '0':
            message.row_step = 0
            return message
        message.width, message.height = len(message.data) // 16 // 64, 64
        message.data = message.data[:message.width * 64 * 16]
        message.row_step = len(message.data)
        return message
    return change


def garbled(information: dict) -> None:
    """QoS of every topic as nobody writes it."""
    for topic in information['topics_with_message_count']:
        topic['topic_metadata']['offered_qos_profiles'] = '- history: 3\n  durability: [volatile\n'


FORWARD = np.array([[1.0, 0, 0, 2.4], [0, 1, 0, 0], [0, 0, 1, 1.73], [0, 0, 0, 1]])
SITUATIONS: dict[str, Recipe] = {
    'nothing wrong': Recipe(),
    'nothing wrong, no map': Recipe(picture=None, **NO_ROUTE),
    **{f'blind +-{half} deg ahead, no map': Recipe(clouds=kit.blind(half), picture=None, **NO_ROUTE)
       for half in (30, 45, 60, 90)},
    'two LiDARs in turn on one topic, no map': Recipe(clouds=kit.two_lidars('/lidar/points'), picture=None, **NO_ROUTE),
    'two LiDARs on two topics, no map': Recipe(clouds=kit.two_lidars('/lidar_2/points'), picture=None, **NO_ROUTE),
    'tenths of a turn, no map': Recipe(clouds=kit.tenths, picture=None, **NO_ROUTE),
    'LIO odometry, upside down': Recipe(sensor=turned(kit.HALF_TURN_X), lidar_odometry=True, every_map=10),
    'LIO odometry, on its side': Recipe(sensor=turned(kit.QUARTER_TURN_X), lidar_odometry=True, every_map=10),
    'a camera as the only image': Recipe(picture=camera, map_topic='/camera/image_raw',
                                         map_frame='camera_optical_frame', **NO_ROUTE),
    'map bright everywhere': Recipe(picture=bright, **NO_ROUTE),
    'map inverted': Recipe(picture=lambda rgb: (255 - rgb.max(2), 'mono8'), **NO_ROUTE),
    'map 32FC1, nodata 3e38': Recipe(picture=nodata, **NO_ROUTE),
    'map of 12 bits in 16': Recipe(picture=lambda rgb: (rgb.max(2).astype(np.uint16) * 16, '16UC1'), **NO_ROUTE),
    'row_step 0': Recipe(message=row_step('0')),
    'row_step of the whole cloud': Recipe(message=row_step('whole')),
    'no-return points at zero, no map': Recipe(sensor=FORWARD, picture=None, **NO_ROUTE,
                                               clouds=lambda d, s: kit.zero_returns(d, s, FORWARD)),
    'sweeps 37 s ahead (TAI)': Recipe(cloud_ahead_ns=TAI_AHEAD_NS, **NO_ROUTE),
    'QoS garbled in metadata.yaml': Recipe(metadata=garbled),
    'tf at 1 Hz': Recipe(tf_period_ns=10**9),
}


@dataclass
class Outcome:
    """What `replay` made of one recording."""

    status: int
    sweeps: int = 0
    given: int = 0
    wrong: int = 0
    reasons: Counter[str] = field(default_factory=Counter)  # why there is no direction
    said: str = ''  # the first error, without a result

    def cells(self) -> list[str]:
        """Sweeps, directions given, wrong ones, and those withheld by reason."""
        if not self.sweeps:
            return ['0', '0', '0', f'ended with {self.status}: {self.said}']
        reasons = ', '.join(f'{name} {count}' for name, count in self.reasons.most_common())
        return [str(self.sweeps), str(self.given), str(self.wrong), reasons or '-']


def replay(checkout: Path, recording: Path, out: Path, options: list[str]) -> subprocess.CompletedProcess[str]:
    """`python -m attention_fusion_ros replay` of a version of the package; from elsewhere, to import no other one."""
    environment = {**os.environ, 'PYTHONPATH': str(checkout), 'OMP_NUM_THREADS': '1'}
    return subprocess.run([sys.executable, '-m', 'attention_fusion_ros', 'replay', str(recording), '--out', str(out),
                           '--device', 'cpu', '-p', 'threads:=1', '--pictures', '0', *options],
                          cwd=out.parent, env=environment, text=True, capture_output=True)


def outcome(drive: Drive, name: str, checkout: Path, recording: Path, out: Path) -> Outcome:
    """Replay one recording and compare its directions with the truth."""
    options = []
    if 'two topics' in name:
        options = ['--pointcloud', '/lidar/points', '--pointcloud-2', '/lidar_2/points']
    done = replay(checkout, recording, out, options)
    if 'unrecognized arguments' in done.stderr:
        done = replay(checkout, recording, out, options[:2])
    return judged(drive, SITUATIONS[name], out, done.returncode, done.stderr)


def judged(drive: Drive, recipe: Recipe, out: Path, status: int, moaned: str) -> Outcome:
    """Read what `replay` wrote to `out`."""
    if not (out / 'directions.csv').exists():
        lines = moaned.strip().splitlines()
        return Outcome(status, said=lines[-1] if lines else '')
    rows = list(csv.DictReader((out / 'directions.csv').open()))
    why = ({r['stamp_ns']: r['reason'] for r in csv.DictReader((out / 'reasons.csv').open())}
           if (out / 'reasons.csv').exists() else {})
    result = Outcome(status, len(rows))
    for row in rows:
        if not row['bearing_rad']:
            short = why.get(row['stamp_ns'], '').split(':')[0] or ('not told' if row['mode'] else 'sweep dropped')
            result.reasons[f'`{short}`' if short.isidentifier() else short] += 1
            continue
        result.given += 1
        result.wrong += is_wrong(drive, recipe, int(row['stamp_ns']), float(row['bearing_rad']))
    return result


def is_wrong(drive: Drive, recipe: Recipe, stamp_ns: int, bearing: float) -> bool:
    """Whether a direction is more than 15 degrees off the true one, or off every road where none is to be preferred."""
    true = drive.truth(stamp_ns - recipe.cloud_ahead_ns, recipe.route)
    ways = true.branches if true.direction is None else (true.direction,)
    return min((float(abs(angle_between(bearing, way[0]))) for way in ways), default=math.pi) > WRONG_RAD


def version(checkout: Path) -> str:
    """The commit, or the folder where there is none."""
    done = subprocess.run(['git', '-C', str(checkout), 'rev-parse', '--short', 'HEAD'], capture_output=True, text=True)
    return done.stdout.strip() or checkout.name


def table(versions: list[str], results: dict[str, list[Outcome]]) -> str:
    """Markdown: a row a situation, four columns a version."""
    titles = ['sweeps', 'directions', 'wrong', 'no direction']
    head = ['situation', *(f'{t}, {v}' for v in versions for t in titles)]
    rows = [head, ['---'] * len(head)]
    rows += [[name, *(cell for o in outcomes for cell in o.cells())] for name, outcomes in results.items()]
    return '\n'.join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n')[0])
    parser.add_argument('--python-path', type=Path, action='append', default=[], metavar='CHECKOUT',
                        help='another version of the package to compare with; may be repeated')
    parser.add_argument('--only', nargs='+', choices=[*SITUATIONS], default=[*SITUATIONS], metavar='SITUATION')
    parser.add_argument('--sweeps', type=int, default=kit.SWEEPS)
    parser.add_argument('--jobs', type=int, default=1, help='that run beside each other')
    options = parser.parse_args()
    checkouts = [*(path.resolve() for path in options.python_path), ROOT]
    versions = [version(checkout) for checkout in checkouts]
    drive = Drive(options.sweeps)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.jobs) as pool:
        def one(name: str) -> list[Outcome]:
            here = Path(folder) / f'{[*SITUATIONS].index(name)}'
            here.mkdir()
            kit.write(drive, SITUATIONS[name], here / 'bag')
            found = [outcome(drive, name, c, here / 'bag', here / f'out_{k}') for k, c in enumerate(checkouts)]
            shutil.rmtree(here)
            print(table([], {name: found}).splitlines()[-1], file=sys.stderr, flush=True)
            return found
        results = dict(zip(options.only, pool.map(one, options.only)))
    print(table(versions, results))


if __name__ == '__main__':
    main()
