# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The tables of `evaluate --interventions`, on made-up answers, and the command on a network with random weights."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from support.network_kit import lively_config

from attention_fusion_ros.commands import evaluate
from attention_fusion_ros.contracts import Branch
from attention_fusion_ros.datasets.held_out import FIRST_SEED, HeldOutInfo
from attention_fusion_ros.evaluation.interventions import evaluate as interventions
from attention_fusion_ros.evaluation.interventions.attention_tables import (
    NO,
    YES,
    decides,
    deletion_tables,
    place_table,
    replaced_tables,
)
from attention_fusion_ros.evaluation.interventions.map_tables import (
    lateral_table,
    map_tables,
    quantile_estimate,
    registration_table,
    vehicles_table,
)
from attention_fusion_ros.evaluation.interventions.record import (
    AS_IT_IS,
    DELETED,
    EXACT,
    KEPT,
    LIDAR,
    MOVED,
    NO_MAP,
    NO_VEHICLES,
    REGISTERED,
    REPLACED,
    TURNED,
    WIDE_MAP,
    SceneRecord,
    number,
)
from attention_fusion_ros.metrics.bootstrap import Estimate
from attention_fusion_ros.metrics.branches import Prediction, TrueRoads
from attention_fusion_ros.network.config import NetworkConfig

TRUE = (0.1, 2.0, -2.5)
COUNT = 30


def answer(off_deg: float = 0.0, only: int = 3) -> Prediction:
    """The true branches, all off by so much; the first `only` of them."""
    found = tuple(Branch(b + math.radians(off_deg), b, 1.0, 0.1, 0.1) for b in TRUE[:only])
    return Prediction(found, found[0] if found else None)


def records() -> list[SceneRecord]:
    """The 'fusion' decides which branches exist, 'stage1' nothing; deleting by 'good' heat loses them all, by 'bad'
    none; the answer follows half of a map turned by 4 deg; a registration leaves 0.25 m.
    """
    truth = TrueRoads(tuple((b, b) for b in TRUE), (TRUE[0], TRUE[0]))
    found = []
    for k in range(COUNT):
        kind = ('x', 'straight', 'curve')[k % 3]
        info = HeldOutInfo(FIRST_SEED + k, kind, 'hdl_64e', 64, True, False, (1.0, 0.0), 0.0)
        record = SceneRecord(info, truth, truth)
        given = {AS_IT_IS: answer(), WIDE_MAP: answer(1.0), NO_MAP: answer(2.0), TURNED: answer(), EXACT: answer(),
                 (REPLACED, *AS_IT_IS, 'fusion', 'mean map'): answer(only=1 if k % 2 else 3),
                 (REPLACED, *AS_IT_IS, 'fusion', "another scene's"): answer(),
                 (REPLACED, *AS_IT_IS, 'stage1', 'mean map'): answer(0.5),
                 (REPLACED, *WIDE_MAP, 'fusion', 'mean map'): answer(1.0),
                 (DELETED, LIDAR, 'good', '0.1'): answer(only=0), (DELETED, LIDAR, 'bad', '0.1'): answer(),
                 (KEPT, LIDAR, 'good', '0.2'): answer(0.05),
                 (MOVED, 'yaw', '4'): answer(2.0)}
        if k % 2:
            given[NO_VEHICLES] = answer(3.0 if k % 4 == 1 else 0.0) if k > 1 else Prediction(())
        record.answers.update(given)
        for key in given:
            record.numbers.update({(*key, 'presence'): 0.1 if 'good' in key and key[0] == DELETED else 0.9,
                                   (*key, 'change'): 0.01, (*key, 'map share'): 0.3, (*key, 'points'): 0.2})
        record.numbers[number(TURNED, 'map share')] = 0.1 if k % 2 else 0.2
        record.numbers.update({(MOVED, 'yaw', '4', 'x'): 0.0, (MOVED, 'yaw', '4', 'y'): 0.0,
                               (MOVED, 'yaw', '4', 'yaw'): math.radians(4.0)})
        for name in ('standard', '8 m, 15 deg'):
            record.numbers.update({(REGISTERED, name, f'{what} before'): 2.0
                                   for what in ('lateral', 'longitudinal', 'yaw')})
            record.numbers.update({(REGISTERED, name, what): 0.25 for what in ('lateral', 'longitudinal', 'yaw left')})
            record.numbers[REGISTERED, name, 'holds'] = float(k % 10 != 0)
        for heat, empty in (('published', 0.8), ('area', 0.5)):
            record.numbers.update({('heat', heat, 'empty'): empty, ('heat', heat, 'border'): 0.2,
                                   ('heat', heat, 'roadside', 'heat'): 0.6, ('heat', heat, 'roadside', 'area'): 0.2,
                                   ('heat', heat, 'vehicles', 'heat'): 0.01, ('heat', heat, 'vehicles', 'area'): 0.02})
        found.append(record)
    return found


def test_attention_decides_where_its_mean_costs():
    (given, wide), data = replaced_tables(records())
    found = data['replaced']
    verdicts = {row[:2]: row[-1] for row in given.rows}
    assert verdicts['fusion', 'mean map'] == YES and verdicts['stage1', 'mean map'] == NO
    assert verdicts['fusion', "another scene's"] == '-' and given.rows[0][0] == 'as it is'
    change = found['as it is']['fusion, mean map']['change']['f1_10']
    after = 2 * 2 * COUNT / (2 * 2 * COUNT + COUNT)  # one scene in two lost two of three branches
    assert change.value == pytest.approx(after - 1) and change.high < 0
    assert found['as it is']['stage1, mean map']['change']['bearing_median'].value == pytest.approx(0.5)
    assert found['wide']['scenes'] == COUNT and wide.rows[1][-1] == NO
    assert decides(Estimate(-0.1, -0.2, 0.01)) == NO and decides(Estimate(-0.1)) == YES


def test_deletion_and_insertion():
    (deletion, insertion), data = deletion_tables(records())
    good, bad = data[DELETED]['LiDAR, good, 0.1'], data[DELETED]['LiDAR, bad, 0.1']
    assert good['presence drop'].value == pytest.approx(0.8) and good['f1_10'].value == 0
    assert bad['presence drop'].value == pytest.approx(0.0) and bad['f1_10'].value == 1
    kept = data[KEPT]['LiDAR, good, 0.2']
    assert kept['bearing_median'].value == pytest.approx(0.05) and kept['points'] == pytest.approx(0.2)
    assert [row[:4] for row in deletion.rows] == [('LiDAR', 'good', '10%', '0.20'), ('LiDAR', 'bad', '10%', '0.20')]
    assert data[DELETED]['scenes'] == COUNT and insertion.title == 'Insertion of cells'


def test_places_of_the_heat():
    (table,), data = place_table(records())
    assert [row[0] for row in table.rows] == ['published', 'area']
    assert data['heat']['published']['empty'].value == pytest.approx(0.8)
    assert data['heat']['published']['roadside'].value == pytest.approx(3.0)
    assert data['heat']['published']['vehicles'].value == pytest.approx(0.5)
    assert place_table([]) == ([], {})


def test_the_map_is_followed_half_and_its_share_falls():
    tables, data = map_tables(records(), 20.0)
    assert [t.title for t in tables] == ['Does the answer follow the map?', 'What the map is worth',
                                         "The map's share when the map is turned by 90 deg"]
    moved = data['map']['yaw, 4']
    assert moved['share followed'].value == pytest.approx(0.5, abs=1e-6)
    assert moved['answer moves'].value == pytest.approx(2.0) and moved['map moves'].value == pytest.approx(4.0)
    turned = data['map']['turned']
    assert turned['falls'].value == 1 and turned['falls to less than half'].value == 0.5
    assert data['map']['none']['bearing_median'].value == pytest.approx(2.0)


def test_registration_by_scene_class():
    (table,), data = registration_table(records())
    assert [row[:3] for row in table.rows[:4]] == [('standard', 'all', '30'), ('standard', 'junctions', '10'),
                                                   ('standard', 'straight roads', '10'), ('standard', 'others', '10')]
    found = data['registration']['8 m, 15 deg, all']
    assert found['lateral before']['median'].value == 2.0 and found['lateral left']['p90'].value == 0.25
    assert found['95 % ellipsoid holds'].value == pytest.approx(0.9)


def test_vehicles_change_the_direction_or_make_it_vanish():
    _, data = vehicles_table(records())
    found = data['vehicles']
    assert found['scenes'] == COUNT // 2 and found['appears or vanishes'].value == pytest.approx(1 / 15)
    assert found['mean'].value == pytest.approx(3.0 * 7 / 14) and found['switches'].value == 0
    assert vehicles_table([]) == ([], {})


def test_lateral_error():
    _, data = lateral_table(records(), 20.0)
    assert data['lateral error']['no map']['median'].value == pytest.approx(20 * math.sin(math.radians(2)), rel=1e-3)
    assert data['lateral error']['standard error']['median'].value == pytest.approx(0.0, abs=1e-9)


def test_quantiles_count_scenes_for_the_interval():
    one = quantile_estimate([[1.0, 2.0, 3.0], [math.nan]], 0.5)
    assert one.value == 2.0
    assert math.isnan(quantile_estimate([[], []], 0.5).value)


@pytest.mark.slow
def test_the_command_prints_all_tables_for_a_network_that_registers(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(interventions, 'DRIVES', 1)
    monkeypatch.setattr(interventions, 'SWEEPS', 2)
    settings = NetworkConfig(map_registration={'name': 'stn'})
    checkpoint = lively_config(tmp_path, settings).checkpoint
    arguments = ['--interventions', '--scenes', '3', '--checkpoint', checkpoint, '--cache', str(tmp_path / 'cache'),
                 '--out', str(tmp_path / 'out'), '--device', 'cpu', '--workers', '1']
    assert evaluate.main(arguments) == 0
    printed = capsys.readouterr().out
    data = json.loads((tmp_path / 'out' / 'interventions.json').read_text())
    titles = [table['title'] for table in data['tables']]
    for title in ('Attention replaced: the maps of the scenes', 'Deletion of cells', 'Insertion of cells',
                  'Where the heat lies', 'Does the answer follow the map?', 'Registration of the map',
                  "Lateral error of the road's centre at 20 m", 'Registration over a drive'):
        assert title in titles and f'### {title}' in printed
    targets = {row[0] for row in data['tables'][0]['rows']}
    assert {'fusion', 'map', 'stage1', 'stage2', 'stage3', 'all spatial', 'everything'} <= targets
    assert data['registration']['standard, all']['lateral left']['median']['value'] > 0
    assert '--interventions --scenes 3' in data['provenance']['command']
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path / 'cache').rglob('*.json')}
    assert kept and evaluate.main(arguments) == 0
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / 'cache').rglob('*.json')} == kept  # and nothing was made anew
    again = json.loads((tmp_path / 'out' / 'interventions.json').read_text())
    assert again['replaced'] == data['replaced'] and np.isfinite(again['scenes']['number'])


@pytest.mark.parametrize('options, message', [
    (['--first-seed', '5'], 'is not held out'), (['--scenes', '0'], '--scenes must be at least 1'),
    (['--baselines-only'], 'needs a network'), (['--osm', 'nowhere.osm'], 'does not exist')])
def test_mistakes_end_in_one_line(options, message, capsys, tmp_path):
    assert evaluate.main(['--interventions', '--cache', str(tmp_path), *options]) == 2
    assert message in capsys.readouterr().err
