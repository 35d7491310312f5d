# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Held-out simulation: scenes on disk, the run over them, and the report."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from support.network_kit import lively_config
from support.predictions import fake_predictions

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.commands import evaluate
from attention_fusion_ros.contracts import NOT_SEEN, SyncedSweep
from attention_fusion_ros.datasets import held_out as sim_scenes
from attention_fusion_ros.datasets.blind import PLACES, WIDTHS_DEG, blinded
from attention_fusion_ros.datasets.held_out import CURVE_SHIFT_M, CURVE_YAW_DEG
from attention_fusion_ros.evaluation.methods.baselines import LIDAR, MAP, STRAIGHT, map_alone
from attention_fusion_ros.evaluation.simulation import blanked
from attention_fusion_ros.evaluation.simulation import report as sim_report
from attention_fusion_ros.evaluation.simulation import run as sim_run
from attention_fusion_ros.evaluation.simulation.run import NO_LIDAR, NO_MAP, NO_VEHICLES, NO_VEHICLES_NO_MAP
from attention_fusion_ros.metrics.branches import Prediction, score
from attention_fusion_ros.metrics.summary import estimates
from attention_fusion_ros.pipeline.fusion import FusionPipeline
from attention_fusion_ros.utils import provenance

FIRST = sim_scenes.FIRST_SEED


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp('cache')


@pytest.fixture(scope='module')
def scenes(cache):
    found = [sim_scenes.obtain(seed, cache) for seed in range(FIRST, FIRST + 11)]
    return [s for s in found if s is not None]


def test_a_scene_is_the_same_from_its_seed_and_from_disk(scenes):
    stored = scenes[0]
    made = sim_scenes.make_scene(stored.info.seed)
    assert stored.info == made.info and stored.truth_routed == made.truth_routed
    assert stored.truth_unrouted == made.truth_unrouted
    assert np.abs(stored.cloud.xyz - made.cloud.xyz).max() <= sim_scenes.POINT_UNIT_M / 2 + 1e-5
    assert stored.cloud.intensity == pytest.approx(made.cloud.intensity, rel=1e-3, abs=1e-3)
    assert stored.T_base_sensor == pytest.approx(made.T_base_sensor)
    assert (stored.picture is None) == (made.picture is None)
    if made.picture is not None:
        assert np.array_equal(stored.picture.image, made.picture.image)
        assert replace(stored.picture, image=None) == replace(made.picture, image=None)
    assert stored.curve.keys() == made.curve.keys()
    assert all(np.array_equal(stored.cells[k], made.cells[k]) for k in sim_scenes.MASKS)


def test_scenes_differ_and_have_the_stated_parts(scenes):
    assert len({len(s.cloud.xyz) for s in scenes}) > len(scenes) // 2
    for scene in scenes:
        assert scene.truth_unrouted.branches
        assert (scene.picture is not None) == scene.info.has_map
        assert (scene.curve != {}) == (scene.info.seed % sim_scenes.CURVE_EVERY == 0)
        if scene.cloud_without_vehicles is not None:
            assert scene.info.seed % sim_scenes.NO_VEHICLES_EVERY == 0
        inputs = scene.inputs()
        assert (inputs.map_image is not None) == scene.info.has_map
        if scene.info.has_map:
            assert (inputs.map_image.route is not None) <= scene.info.route_drawn
    curved = next(s for s in scenes if s.curve)
    assert set(curved.curve) == {('shift', s) for s in CURVE_SHIFT_M} | {('yaw', y) for y in CURVE_YAW_DEG}


def test_exact_maps_show_the_true_roads_and_spoiled_ones_are_off_by_the_stated_amount(scenes):
    """Map, truth and BEV share one frame: read off an exact map, the branches are the true ones."""
    curved = [s for s in scenes if s.curve]
    truths = [s.truth_unrouted for s in curved]
    exact = score([map_alone(s.curve_inputs()['shift', 0.0]) for s in curved], truths)
    found = estimates(exact)
    assert found['f1_10'].value > 0.85 and found['bearing_median'].value < 1.5
    turned = score([map_alone(s.curve_inputs()['yaw', 6.0]) for s in curved], truths)
    assert estimates(turned)['nearest_median'].value == pytest.approx(6, abs=1)


def test_vehicles_are_gone_from_the_cloud_without_them(scenes):
    """Points low above the ground, where vehicles stand: fewer without them."""
    counted = {'full': 0, 'bare': 0}
    for scene in scenes:
        if scene.cloud_without_vehicles is None:
            continue
        for name, cloud in (('full', scene.cloud), ('bare', scene.cloud_without_vehicles)):
            xyz = cloud.xyz @ scene.T_base_sensor[:3, :3].T + scene.T_base_sensor[:3, 3]
            row, column = (np.rint(v).astype(int) for v in Grid().metres_to_cells(xyz[:, 0], xyz[:, 1]))
            inside = (row >= 0) & (row < 256) & (column >= 0) & (column < 256)
            on = scene.cells['vehicles'][row[inside], column[inside]]
            counted[name] += int((on & (xyz[inside, 2] > 0.6)).sum())
    assert counted['full'] > 30 and counted['bare'] < 0.5 * counted['full']


@pytest.mark.slow
def test_every_state_is_asked_and_equals_the_pipeline(scenes, cache, tmp_path):
    config = lively_config(tmp_path)
    setup = sim_run.SimSetup((sim_run.Network('network', config), sim_run.Network('blind', config, 'map'),
                              sim_run.Network('deaf', config, 'lidar')), cache)
    pipelines = [sim_run.BatchedPipeline(config) for _ in setup.networks]
    chosen = [s for s in scenes if s.info.has_map and (s.curve or s.cloud_without_vehicles is not None)][:3]
    answers = sim_run.predict_scenes(chosen, setup, pipelines)
    for scene, given in zip(chosen, answers, strict=True):
        assert set(given.predictions) == {STRAIGHT, MAP, LIDAR, 'network', 'blind', 'deaf'}
        expected = {('network', NO_MAP), ('network', NO_LIDAR)}
        if scene.cloud_without_vehicles is not None:
            expected |= {(m, NO_VEHICLES) for m in ('network', 'blind', 'deaf', LIDAR)}
            expected.add(('network', NO_VEHICLES_NO_MAP))
        assert set(given.states) == expected
        assert {m for m, _, _ in given.curve} == ({'network', 'blind', 'deaf', MAP} if scene.curve else set())
        inputs = scene.inputs()
        pipeline = FusionPipeline(replace(config, map=inputs.layout))
        one = pipeline.run(inputs)
        assert bearings(given.predictions['network']) == pytest.approx(bearings(one), abs=1e-4)
        alone = pipeline.run(SyncedSweep(inputs.cloud, inputs.motion))
        assert bearings(given.states['network', NO_MAP]) == pytest.approx(bearings(alone), abs=1e-4)
        assert bearings(given.predictions['deaf']) == pytest.approx(bearings(alone), abs=1e-4)
        # Without LiDAR random weights see the same everywhere: many equal peaks, of which rounding may choose others.
        blind, withheld = ([b.probability for b in e.branches[:3]] for e in (given.predictions['blind'],
                                                                             given.states['network', NO_LIDAR]))
        assert blind == pytest.approx(withheld, abs=1e-4)
        assert blind != pytest.approx([b.probability for b in one.branches[:3]], abs=1e-4)
        _check_blanked(given, inputs, pipeline)
        assert sim_run.PUBLISHED in given.attention and 0 <= given.lidar_share['as given'] <= 1


def _check_blanked(given, inputs, pipeline):
    """Each is what the node would answer, withheld directions included."""
    removed = [width for width in WIDTHS_DEG if width]
    assert set(given.blanked) == {(p, w, m) for p in PLACES for w in removed for m in (False, True)}
    rest = blinded(inputs, 0.0, math.radians(180))
    for with_map, sweep in ((True, rest), (False, SyncedSweep(rest.cloud, rest.motion))):
        one, answer = pipeline.run(sweep), given.blanked['ahead', 180, with_map]
        assert bearings(answer) == pytest.approx(bearings(one), abs=1e-4)
        assert answer.reason == one.direction_reason.partition(':')[0]
        assert (answer.direction is None) == (one.direction is None)
    assert given.blanked['ahead', 180, False].reason == NOT_SEEN
    assert len({bearings(p)[0] for p in given.blanked.values() if p.branches}) > 3  # the places are not all alike


def bearings(answer) -> list[float]:
    return [b.bearing for b in answer.branches]


def test_report_judges_a_good_network_as_good():
    built = sim_report.SimulationReport(fake_predictions(), 'network', provenance.Provenance('c', 'd', 'e'))
    report = built.build()
    missed = [t.what for t in report.data['targets'] if t.met is not True]
    assert missed == ['number of scenes']
    table = next(t for t in report.tables if 'with a map' in t.title)
    assert [r[0] for r in table.rows] == ['network', STRAIGHT, MAP, LIDAR, 'concatenation', f'network, {NO_MAP}',
                                          f'network, {NO_LIDAR}']
    assert {r[1] for r in table.rows} == {'35'}
    assert [r[-1] for r in table.rows] == [''] + ['-'] * 6
    classes = next(t for t in report.tables if 'scene class' in t.title)
    assert [(r[0], r[2]) for r in classes.rows if r[1] == 'network'] == [('straight', '20'), ('x', '20')]
    assert [r[1] for r in classes.rows[:5]] == ['network', f'network, {NO_MAP}', MAP, LIDAR, STRAIGHT]
    assert classes.rows[0][-1] == '' and classes.rows[1][-1] == '-'  # nobody beats the network
    assert report.data['vehicles']['network']['mean change'].value == 0
    assert json.dumps(sim_report.Report(report.provenance, [], report.data).data and True) == 'true'
    shift, yaw, blind = built.curves('network')
    assert [c.method for c in shift] == ['network', MAP] and len(yaw[0].errors) == len(CURVE_YAW_DEG)
    assert blind.value > shift[0].errors[0].value


def blanked_as(prediction, count=40, with_map=False):
    """Made-up answers of which those at 90 degrees ahead are replaced by `prediction` of the one there was."""
    return [replace(a, blanked=a.blanked | {('ahead', 90, with_map): prediction(a.blanked['ahead', 90, with_map], k)})
            for k, a in enumerate(a for a in fake_predictions(count) if a.info.has_map)]


def test_the_report_has_a_row_for_every_sector_removed():
    report = sim_report.SimulationReport(fake_predictions(), 'network', provenance.Provenance('c', 'd', 'e')).build()
    table = next(t for t in report.tables if t.title == blanked.TITLE)
    expected = ['none', *(f'{width} deg {place}' for place in PLACES for width in WIDTHS_DEG if width)]
    assert [row[1] for row in table.rows] == 2 * expected
    assert [row[0] for row in table.rows] == len(expected) * ['no'] + len(expected) * ['yes']
    assert {row[2] for row in table.rows[:11]} == {'40'} and {row[2] for row in table.rows[11:]} == {'35'}
    assert len(report.data['sectors removed']) == len(table.rows)
    assert sum('sectors removed' in t.what for t in report.data['targets']) == 6


def test_directions_that_are_wrong_and_withheld_with_a_sector_removed_are_counted():
    def every_fifth_astray(prediction, k):
        branch = prediction.direction
        if k % 5 == 0:
            return replace(prediction, direction=replace(branch, bearing=branch.bearing + math.radians(40)))
        return Prediction(prediction.branches, None, NOT_SEEN) if k % 5 == 1 else prediction
    rows = blanked.blanked_rows(blanked_as(every_fifth_astray), 'network')
    row = next(r for r in rows if not r.with_map and (r.place, r.width_deg) == ('ahead', 90))
    value = {name: estimate.value for name, estimate in row.values.items()}
    assert row.sweeps == 35 and value['direction_withheld'] == pytest.approx(7 / 35)
    assert value['direction_wrong'] == pytest.approx(7 / 28) == value[blanked.THROUGH]
    assert value['direction_wrong_of_all'] == pytest.approx(7 / 35)
    missed = [goal.what for goal in blanked.blanked_goals(rows) if not goal.met]
    assert len(missed) == 2 and all('without a map' in what for what in missed)


def test_a_direction_that_is_wrong_in_the_whole_sweep_too_is_not_wrong_through_the_gap():
    def astray(prediction):
        return replace(prediction, direction=replace(prediction.direction, bearing=2.0))
    scenes = [replace(a, states=a.states | {('network', NO_MAP): astray(a.states['network', NO_MAP])})
              for a in blanked_as(lambda prediction, k: astray(prediction))]
    row = next(r for r in blanked.blanked_rows(scenes, 'network') if (r.place, r.width_deg) == ('ahead', 90))
    assert row.values['direction_wrong'].value == 1 and row.values[blanked.THROUGH].value == 0


def test_report_marks_the_rows_where_the_network_loses():
    answers = [replace(a, predictions=a.predictions | {'network': a.predictions[MAP], MAP: a.predictions['network']})
               for a in fake_predictions() if a.info.has_map]
    report = sim_report.SimulationReport(answers, 'network', provenance.Provenance('c', 'd', 'e')).build()
    table = next(t for t in report.tables if 'with a map' in t.title)
    row = next(r for r in table.rows if r[0] == MAP)
    assert row[-1].startswith('F1@10 ~, bearing median, bearing p90')
    verdict = {t.what: t.met for t in report.data['targets']}
    assert not verdict[f'bearing median divided by that of {MAP}, matched']
    assert not verdict['bearing median minus that of concatenation, matched [deg]']


@pytest.mark.slow
def test_command_on_simulated_scenes(scenes, cache, tmp_path, capsys):
    options = ['--sim', '7', '--checkpoint', 'untrained', '--cache', str(cache), '--device', 'cpu', '--workers', '1',
               '--compare', 'deaf=untrained@lidar']
    before = {p: p.stat().st_mtime_ns for p in cache.rglob('*.npz')}
    assert evaluate.main([*options, '--out', str(tmp_path)]) == 0
    assert all(p.stat().st_mtime_ns == when for p, when in before.items())  # taken from the cache
    data = json.loads((tmp_path / 'simulation.json').read_text())
    assert data['scenes']['number'] == 7 and data['scenes']['seeds'][0] >= FIRST
    assert MAP in data['branches with a map'] and 'deaf' in data['branches with a map']
    assert '### Held-out simulation: targets' in capsys.readouterr().out
    for name in ('bearing_error', 'reliability', 'map_error', 'attention'):
        picture = cv2.imread(str(tmp_path / f'simulation_{name}.png'))
        assert picture is not None and picture.std() > 5


@pytest.mark.slow
def test_command_on_simulated_scenes_with_the_shipped_weights(scenes, cache, tmp_path):
    """By the backend that nodes take: its grids need not be tensors."""
    assert evaluate.main(['--sim', '3', '--cache', str(cache), '--device', 'cpu', '--workers', '1', '--out',
                          str(tmp_path)]) == 0
    data = json.loads((tmp_path / 'simulation.json').read_text())
    assert {'network', 'network, LiDAR withheld'} <= set(data['branches with a map'])


def test_an_evaluation_that_was_cut_off_goes_on_where_it_stopped(scenes, cache, monkeypatch):
    setup, asked, given = sim_run.SimSetup((), cache), [], sim_run.predict_scenes

    def counted(scenes, *others):
        asked.extend(s.info.seed for s in scenes)
        return given(scenes, *others)

    def cut_off(done):
        raise KeyboardInterrupt
    monkeypatch.setattr(sim_run, 'predict_scenes', counted)
    with pytest.raises(KeyboardInterrupt):
        sim_run.evaluate_scenes(FIRST, 9, setup, progress=cut_off)
    first = list(asked)
    answers = sim_run.evaluate_scenes(FIRST, 9, setup)
    assert first and len(set(asked)) == len(asked) > len(first)  # no scene was asked about twice
    assert [a.info.seed for a in answers] == asked and len(answers) == 9
    assert sim_run.evaluate_scenes(FIRST, 9, setup) == answers and len(asked) == 9


@pytest.mark.parametrize('options, message', [
    (['--first-seed', '5'], 'is not held out'), (['--compare', 'a=untrained@camera'], 'comes lidar or map')])
def test_mistakes_end_in_one_line(options, message, capsys, tmp_path):
    assert evaluate.main(['--sim', '3', '--checkpoint', 'untrained', '--cache', str(tmp_path), *options]) == 2
    assert message in capsys.readouterr().err
