# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Tables, plots and the command on a synthetic drive."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.drive_kit import write_drive

from attention_fusion_ros.commands import evaluate
from attention_fusion_ros.datasets import drives
from attention_fusion_ros.evaluation import plots, tables
from attention_fusion_ros.evaluation.drives import benchmark
from attention_fusion_ros.evaluation.drives.report import drive_report
from attention_fusion_ros.metrics.bootstrap import Estimate
from attention_fusion_ros.utils import provenance

HERE = provenance.Provenance('evaluate --x', 'abc', 'a machine')


def test_the_last_column_names_what_a_baseline_does_better():
    gaps = {'heading_median': Estimate(-1, -2, -0.5), 'found': Estimate(0.1, -0.1, 0.2),
            'heading_p90': Estimate(2, 1, 3), 'f1_15': Estimate(-0.2, -0.3, -0.1)}
    row = tables.MethodRow(('map',), {}, gaps)
    assert tables.beats_network_in(row, list(gaps)) == 'heading median, found ~'
    assert tables.beats_network_in(tables.MethodRow(('map',), {}, {'found': Estimate(0.0, 0, 0)}), ['found']) == '-'
    assert tables.beats_network_in(tables.MethodRow(('network',), {}), ['found']) == ''


def test_cells_and_targets():
    assert tables.cell(Estimate(1.234, 1, 2), 2) == '1.23 [1.00, 2.00]'
    assert tables.cell(Estimate(1.2), 1) == '1.2' and tables.cell(Estimate(math.nan), 1) == '-'
    assert tables.at_least('', Estimate(0.92), 0.92).met and not tables.at_least('', Estimate(0.919), 0.92).met
    assert tables.at_most('', Estimate(2.0), 2.0).met and not tables.at_most('', Estimate(2.01), 2.0).met
    assert tables.at_most('', Estimate(math.nan), 2.0).met is None
    assert tables.below('', Estimate(-1, -2, -0.1)).met and not tables.below('', Estimate(-1, -2, 0.1)).met
    assert tables.below('', Estimate(-1)).met  # a single sweep has no interval
    text = tables.goal_table('T', [tables.at_most('x | y', Estimate(3), 2)]).markdown(HERE.lines())
    assert '| x \\| y | <= 2 | 3.00 | **missed** |' in text
    assert 'Command: `evaluate --x`' in text and 'Commit: abc' in text and 'Machine: a machine' in text


def test_plain_is_json():
    value = {('a', 'b'): Estimate(1.0), 'c': np.array([1.5]), 'd': (np.int64(2), True)}
    text = json.dumps(tables.plain(value), allow_nan=False)
    assert json.loads(text) == {'a / b': {'value': 1.0, 'low': None, 'high': None}, 'c': [1.5], 'd': [2, True]}


def test_provenance_names_commit_machine_and_checkpoint(tmp_path):
    (tmp_path / 'x.safetensors').write_bytes(b'abc')
    found = provenance.collect(['evaluate', '--out', 'a b'], {'network': tmp_path / 'x.safetensors'})
    assert found.command == "python -m attention_fusion_ros evaluate --out 'a b'"
    assert found.checkpoints == ('network: x.safetensors, sha256 ba7816bf8f01',)
    assert 'cores' in found.machine and found.commit


def scores(error: float, sweeps: int = 6) -> benchmark.DriveScores:
    n = sweeps * 3
    return benchmark.DriveScores(np.repeat(np.arange(sweeps), 3), np.full((n, 2), min(error, 25)),
                                 np.full((n, 2), error), np.full((n, 2), error < 25), np.tile([2, 0, 0], (n, 1)), True)


def test_drive_report_judges_every_drive_by_itself():
    good = {('standard', 'network'): scores(1.5), ('standard', 'map alone'): scores(3.0),
            ('doubled', 'network'): scores(4.0), ('doubled', 'map alone'): scores(6.0),
            ('no map', 'network'): scores(3.9), ('no map', 'map alone'): scores(25.0)}
    bad = good | {('standard', 'network'): scores(3.5)}
    report = drive_report({'one': good, 'two': bad}, 'network', HERE)
    verdict = {t.what: t.met for t in report.data['targets']}
    assert verdict['one, standard: heading median [deg]'] and not verdict['two, standard: heading median [deg]']
    assert verdict['one, standard: heading median minus that of map alone [deg]']
    assert not verdict['two, standard: heading median minus that of map alone [deg]']
    assert not verdict['one, doubled: heading median divided by that of map alone']  # 4 / 6 is more than half
    assert verdict['one, no map: heading median [deg]'] and verdict['one, standard: F1@15']
    standard = next(t for t in report.tables if 'standard' in t.title)
    assert [r[-1] for r in standard.rows] == ['', '-', '', 'heading median, heading p90']
    nothing = next(t for t in report.tables if 'no map' in t.title)
    assert [r[1] for r in nothing.rows] == ['network', 'network']  # 'map alone' has nothing to go by


def looks_drawn(path: Path) -> bool:
    picture = cv2.imread(str(path))
    return picture is not None and picture.shape[1] > 300 and float(picture.std()) > 5


def test_plots_are_drawn(tmp_path):
    rng = np.random.default_rng(0)
    errors = {'network': np.abs(rng.normal(0, 2, 300)), 'map alone': np.minimum(25, np.abs(rng.normal(0, 9, 300))),
              'straight ahead': np.full(300, 25.0), 'empty': np.array([np.nan])}
    assert looks_drawn(plots.error_distribution({f'p{k}': errors for k in range(4)}, tmp_path / 'a.png', 'network'))
    curve = [plots.Curve('network', (0, 4, 8), tuple(Estimate(v, v - 0.2, v + 0.2) for v in (1.0, 1.1, 1.4)))]
    assert looks_drawn(plots.map_error_curve(curve, curve, Estimate(1.3), tmp_path / 'b.png', 'network'))
    p = rng.uniform(0.4, 1, 500)
    assert looks_drawn(plots.reliability({'fused': (p, rng.uniform(size=500) < p)}, tmp_path / 'c.png'))
    ratios = {'stage1': {'roadside': rng.normal(2, 0.3, 50), 'vehicles': rng.normal(0.6, 0.2, 50)}}
    assert looks_drawn(plots.attention_ratio_boxes(ratios, tmp_path / 'd.png', {'roadside': ('>=', 2.0)}))


def test_command_on_a_drive_with_an_untrained_network(tmp_path, capsys):
    write_drive(tmp_path / 'data/straight', sweeps=1)
    status = evaluate.main(['--drives', str(tmp_path / 'data'), '--checkpoint', 'untrained', '--out',
                            str(tmp_path / 'out'), '--workers', '1', '--device', 'cpu'])
    out = capsys.readouterr().out
    assert status == 0 and 'random weights: its figures mean nothing' in out
    assert '| straight | straight ahead |' in out
    data = json.loads((tmp_path / 'out/drives.json').read_text())
    assert data['straight']['no map / straight ahead']['found']['value'] == pytest.approx(0.2)
    assert set(data['straight']) == {f'{c} / {m}' for c in ('standard', 'doubled', 'no map') for m in
                                     ('network', 'straight ahead', 'map alone', 'LiDAR alone, free space')}
    assert data['straight']['standard / map alone']['found']['value'] > 0.9
    assert '### Real drives: targets' in (tmp_path / 'out/drives.md').read_text()
    assert looks_drawn(tmp_path / 'out/drives_heading_error.png')


def test_workers_give_the_same_scores(tmp_path):
    from attention_fusion_ros.evaluation.drives import run as run_drives
    write_drive(tmp_path / 'data/a', sweeps=1)
    write_drive(tmp_path / 'data/b', sweeps=2, heading=-0.5)
    setup = run_drives.DriveSetup((), conditions=(benchmark.Condition('standard', drives.STANDARD, (0,)),))
    turns = benchmark.TURNS_RAD[1:3]
    alone, several = (run_drives.evaluate_drives(tmp_path / 'data', setup, workers, turns) for workers in (1, 2))
    assert alone.keys() == several.keys() == {'a', 'b'}
    for drive in alone:
        for key, given in alone[drive].items():
            assert np.array_equal(given.heading_error, several[drive][key].heading_error, equal_nan=True)


@pytest.mark.parametrize('options, message', [
    ([], 'nothing to evaluate'),
    (['--drives', '/nowhere'], 'does not exist|no drive in'),
    (['--drives', '/nowhere', '--checkpoint', '/no.safetensors'], "checkpoint '/no.safetensors' does not exist"),
    (['--drives', '/nowhere', '--compare', 'x'], 'is not NAME=VALUE'),
    (['--drives', '/nowhere', '--compare', 'network=y'], 'is taken'),
    (['--drives', '/nowhere', '--baselines-only', '--checkpoint', 'x'], 'leaves no place'),
    (['--drives', '/nowhere', '--every', '0'], 'at least 1')])
def test_mistakes_end_in_one_line(options, message, capsys, tmp_path):
    if 'baselines' not in ' '.join(options) and '--checkpoint' not in options:
        options = [*options, '--checkpoint', 'untrained']
    assert evaluate.main([*options, '--out', str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error) and error.startswith('error: ') and error.count('\n') == 1


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit):
        evaluate.main(['--help'])
    assert 'evaluate --sim 200 --out out/evaluation' in capsys.readouterr().out
