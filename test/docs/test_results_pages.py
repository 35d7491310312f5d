# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The pages made from measurements: nothing in them that the measurements do not say."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from support.predictions import fake_predictions

from attention_fusion_ros.evaluation.drives.report import drive_report
from attention_fusion_ros.evaluation.simulation import report as sim_report
from attention_fusion_ros.evaluation.tables import Report
from attention_fusion_ros.metrics.bootstrap import Estimate
from attention_fusion_ros.network import checkpoint as checkpoints
from attention_fusion_ros.network.config import NetworkConfig
from attention_fusion_ros.utils import provenance
from attention_fusion_ros.utils.digest import file_digest
from attention_fusion_ros.utils.tables import Table

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tools'))

import model_card  # noqa: E402 - of tools/
import write_results  # noqa: E402

HERE = provenance.Provenance('python -m attention_fusion_ros evaluate', 'abc', 'a machine', ('network: x, sha256 1',))
PAGE = '\n'.join(f'{write_results.BEGIN.format(name)}\nold\n{write_results.END.format(name)}\nprose of {name}'
                 for kind in write_results.KINDS for name in (f'{kind}, in short', kind))


@pytest.fixture(scope='module')
def simulation(tmp_path_factory) -> Path:
    """What `evaluate --sim` writes, from made-up answers."""
    folder = tmp_path_factory.mktemp('simulation')
    sim_report.SimulationReport(fake_predictions(80), 'network', HERE).build().write(folder, 'simulation')
    (folder / 'simulation_reliability.png').write_bytes(b'picture')
    return folder


@pytest.fixture
def docs(tmp_path) -> Path:
    (tmp_path / 'results.md').write_text(PAGE)
    return tmp_path


def test_the_page_says_what_the_measurement_says(simulation, docs, capsys):
    assert write_results.main(['--simulation', str(simulation), '--docs', str(docs)]) == 0
    assert 'not of the shipped weights' in capsys.readouterr().err
    text, data = (docs / 'results.md').read_text(), json.loads((simulation / 'simulation.json').read_text())
    met = [t['met'] for t in data['targets']]
    assert f'{met.count(True)} of {len(met)} targets met' in text and met.count(False) > 0
    for target in data['targets']:
        assert (f'missed: {target["what"]}:' in text) == (target['met'] is False)
    assert '80 held-out scenes' in text and '### Held-out simulation: targets' in text
    assert text.count('prose of') == 4
    assert '![Reliability of the probabilities](images/simulation_reliability.png)' in text
    assert 'map_error.png' not in text  # there is no such plot
    groups = (docs / 'results_groups.md').read_text()
    assert '### Held-out simulation: by scene class' in groups and 'by scene class (' not in groups
    assert (docs / 'images/simulation_reliability.png').read_bytes() == b'picture'
    assert text.split('prose of drives, in short')[0].count('old') == 1  # what was not measured is left alone


def test_the_check_fails_when_page_and_measurement_differ(simulation, docs, capsys):
    write_results.main(['--simulation', str(simulation), '--docs', str(docs)])
    check = ['--check', '--docs', str(docs)]
    assert write_results.main(check) == 0
    page = docs / 'results.md'
    page.write_text(page.read_text().replace('80 held-out scenes', '8000 held-out scenes'))
    assert write_results.main(check) == 1 and 'out of date' in capsys.readouterr().err
    assert write_results.main(['--docs', str(docs)]) == 0 == write_results.main(check)


def test_a_drive_that_misses_a_target_is_named_with_the_reason(docs, tmp_path):
    import numpy as np

    from attention_fusion_ros.evaluation.drives.benchmark import DriveScores

    def scores(error: float) -> DriveScores:
        return DriveScores(np.arange(6), np.ones((6, 2)), np.full((6, 2), error), np.ones((6, 2), bool),
                           np.tile([2, 0, 0], (6, 1)), True)
    found = {drive: {(condition, method): scores(error if method == 'network' else 9.0)
                     for condition in ('standard', 'doubled', 'no map') for method in ('network', 'map alone')}
             for drive, error in (('karlsruhe_street', 1.0), ('singapore_left_turn', 8.0))}
    drive_report(found, 'network', HERE).write(tmp_path, 'drives')
    write_results.main(['--drives', str(tmp_path), '--docs', str(docs)])
    text = (docs / 'results.md').read_text()
    assert 'standard: heading median [deg]: 8.00 [8.00, 8.00], goal <= 2' in text
    assert write_results.WHY['singapore_left_turn'] in text and write_results.WHY['karlsruhe_street'] not in text
    assert '**`karlsruhe_street`**: median heading error 1.00 [1.00, 1.00] deg at the standard map error' in text


def test_the_attention_page_says_which_attention_decides(docs, tmp_path):
    change = {'f1_10': Estimate(-0.08, -0.1, -0.06)}
    found = {'scenes': 9, 'stage1, mean map': {'change': change, 'decides': 'yes'},
             'stage1, no preference': {'change': change, 'decides': '-'}}
    report = Report(HERE, [Table('Deletion of cells', ('heat',), [('published',)])], {'replaced': {'wide': found}})
    report.write(tmp_path, 'interventions')
    marks = [mark.format('interventions') for mark in (write_results.BEGIN, write_results.END)]
    (docs / 'attention.md').write_text(f'prose\n{marks[0]}\nold\n{marks[1]}\nmore prose')
    assert write_results.main(['--interventions', str(tmp_path), '--docs', str(docs)]) == 0
    text = (docs / 'attention.md').read_text()
    assert '**stage1**, maps up to 8 m and 15 deg off: F1@10 changes by -0.080 [-0.100, -0.060]' in text
    assert text.count('Does it decide? Yes.') == 1 and '### Deletion of cells' in text and 'old' not in text
    assert text.startswith('prose') and text.endswith('more prose')


def of_city(folder: Path, simulation: Path, city: str, checkpoint: str = 'network: x, sha256 1') -> Path:
    """What an evaluation of one city would have written."""
    data = json.loads((simulation / 'simulation.json').read_text())
    data['provenance'] |= {'command': f'evaluate --sim 80 --osm osm/{city}.osm.gz --out out/city_{city}',
                           'checkpoints': [checkpoint]}
    (folder / city).mkdir()
    (folder / city / 'simulation.json').write_text(json.dumps(data))
    return folder / city


def test_cities_stand_in_one_table_those_of_training_first(simulation, docs, tmp_path):
    marks = [mark.format('cities') for mark in (write_results.BEGIN, write_results.END)]
    (docs / 'results.md').write_text(f'{PAGE}\n{marks[0]}\nold\n{marks[1]}\n')
    (docs / 'results').mkdir()
    folders = [str(of_city(tmp_path, simulation, city)) for city in ('atlantis', 'mia')]
    assert write_results.main(['--cities', *folders, '--docs', str(docs)]) == 0
    text = (docs / 'results.md').read_text()
    rows = [line for line in text.splitlines() if line.startswith(('| mia | yes | 80 |', '| atlantis | no | 80 |'))]
    assert len(rows) == 2 and rows[0].startswith('| mia'), text
    figures = json.loads((simulation / 'simulation.json').read_text())['branches with a map']['network']['f1_10']
    assert write_results.estimate_cell(figures, 3) in rows[1]
    assert '--osm osm/CITY.osm.gz --out out/city_CITY`' in text
    with pytest.raises(ValueError, match='same checkpoint'):
        write_results.cities([tmp_path / 'mia', of_city(tmp_path, simulation, 'rungholt', 'another')])


def test_pages_of_this_repository_are_up_to_date(capsys):
    assert write_results.main(['--check']) == 0, capsys.readouterr().err


def test_tables_survive_json(simulation):
    data = json.loads((simulation / 'simulation.json').read_text())
    again = write_results.tables(data, groups=False) + '\n' + write_results.tables(data, groups=True)
    written = (simulation / 'simulation.md').read_text()
    assert sorted(again.splitlines()) == sorted(written.splitlines())


RUN = {'started': '2024-01-01 10:00 UTC', 'finished': '2024-01-01 11:00 UTC', 'steps': 1234, 'minutes': 59.7,
       'commands': ['python -m attention_fusion_ros train --scenes /big/disk/town --out runs/a'], 'commit': 'abc1234',
       'machine': 'a machine', 'started from': 'default.safetensors, sha256 123',
       'settings': {'batch': 32, 'minutes': 60, 'learning_rate': 1e-3},
       'data': {'simulated': {'sweeps': 12, 'seeds': 10, 'first seed': 5, 'last seed': 14,
                              'classes': {'osm': 3, 'x': 9}},
                'held back': {'sweeps': 0}},
       'validation': {'fused_f1': 0.9123, 'fused_bearing': 1.234, 'nomap_f1': 0.8},
       'history': [{'step': 0, 'fused_f1': 0.5}]}


@pytest.fixture
def ended(tmp_path):
    """(folder of a run that has ended, empty folder of weights)."""
    run, weights = tmp_path / 'run', tmp_path / 'weights'
    weights.mkdir()
    loaded = checkpoints.untrained(NetworkConfig(head_width=64))
    checkpoints.save(run / 'checkpoint.safetensors', loaded.network, loaded.calibration, {})
    (run / 'run.json').write_text(json.dumps(RUN))
    return run, weights


def test_the_model_card_tells_of_its_run(ended):
    pytest.importorskip('onnxscript')  # the exported file is made again
    run, weights = ended
    assert model_card.main([str(run), '--ship', '--weights', str(weights)]) == 0
    text = (weights / 'README.md').read_text()
    for told in ('1234 steps of 32 samples, 60 minutes', 'abc1234', 'train --scenes town --out runs/a', 'head_width=64',
                 '12 sweeps of 10 simulated scenes, seeds 5 to 14 (osm 3, x 9)', 'default.safetensors, sha256 123',
                 '| with map | 0.912 | 1.23 | - | - | - |', '| no map | 0.800 | - | - | - | - |',
                 '| with map | 0.500 | - | - | - | - |', 'no real sweep was used'):
        assert told in text, told
    assert '/big' not in text + (weights / 'default.json').read_text()
    assert (weights / 'default.safetensors').read_bytes() == (run / 'checkpoint.safetensors').read_bytes()
    assert [line.split()[1] for line in (weights / 'SHA256SUMS').read_text().splitlines()] == [
        'default.onnx', 'default.safetensors']
    digest = file_digest(weights / 'default.safetensors').encode()
    assert digest in (weights / 'default.onnx').read_bytes(), 'made of that very checkpoint'


def test_a_card_of_ones_own_leaves_the_shipped_one_alone(ended):
    run, weights = ended
    assert model_card.main([str(run), '--weights', str(weights)]) == 0
    text = (run / 'model_card.md').read_text()
    assert '# Model card: checkpoint.safetensors' in text and 'docs/results.md' not in text
    assert not list(weights.iterdir())


def test_a_run_that_has_not_ended_has_no_card(tmp_path, capsys):
    (tmp_path / 'run.json').write_text(json.dumps({k: v for k, v in RUN.items() if k != 'finished'}))
    assert model_card.main([str(tmp_path), '--weights', str(tmp_path)]) == 2
    assert 'that has ended' in capsys.readouterr().err and not (tmp_path / 'README.md').exists()
