# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""evaluate --ablation: alike for all, resumable, repeatable; its verdicts and tables on numbers that are known."""

import json
import math

import numpy as np
import pytest
import torch

from attention_fusion_ros.bev.lidar import CHANNELS
from attention_fusion_ros.commands.evaluate import main
from attention_fusion_ros.datasets.pool import Pool
from attention_fusion_ros.datasets.simulated import collate
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.evaluation.interventions.replacement import replaced
from attention_fusion_ros.network import checkpoint as checkpoints
from attention_fusion_ros.network.build import build_network
from attention_fusion_ros.network.config import mechanism
from attention_fusion_ros.studies.ablation import run as ablation
from attention_fusion_ros.studies.ablation import score as ablation_score
from attention_fusion_ros.studies.ablation import table as ablation_table
from attention_fusion_ros.studies.ablation.cost import Cost, network_costs
from attention_fusion_ros.studies.ablation.plot import dots
from attention_fusion_ros.studies.ablation.rows import HYPOTHESES, ROWS, chosen
from attention_fusion_ros.studies.ablation.table import INCONCLUSIVE, Compared, Hypothesis, verdict

TINY = ('scenes=6', 'held_out=6', 'variants=2', 'batch=4', 'cells=64', 'lidar_width=16', 'map_width=16',
        'widths=16,16,16', 'polar_widths=8,8,8', 'head_width=16')


def settings(*more):
    return dict(text.split('=') for text in (*TINY, *more))


TRAINED = ('stn', 'time4')  # those that need most: the map's true error, earlier sweeps


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """(arguments of the command, folder with its results, folders of the pools)."""
    folder = tmp_path_factory.mktemp('ablation')
    arguments = ['--ablation', '--ablation-rows', *TRAINED, '--ablation-seeds', '2', '--ablation-steps', '3',
                 '--ablation-set', *TINY, '--out', str(folder / 'out'), '--cache', str(folder / 'cache')]
    assert main(arguments) == 0
    pools = tuple(next((folder / 'cache').glob(f'*/pool-{name}-*')) for name in ('train', 'held_out'))
    return arguments, folder / 'out', pools


def _measured(figures):
    return {name: value for name, value in figures.items() if value is not None}


@pytest.mark.slow
def test_every_row_and_seed_is_in_the_table_and_the_json(finished):
    _, out, _ = finished
    data = json.loads((out / 'ablation.json').read_text())
    text = (out / 'ablation.md').read_text()
    assert set(data['results']) == set(TRAINED) and data['schedule']['steps'] == 3
    for key in TRAINED:
        assert [r['seed'] for r in data['results'][key]] == [1, 2]
        assert f'| {ROWS[key].title} | {ROWS[key].where} |' in text
        assert data['costs'][key]['parameters'] > 500_000  # those of a network of the default size
    for figures in (r['figures'] for r in data['results']['stn']):
        assert 0 <= figures['map/f1_10'] <= 1 and 0 < figures['map_shift/before'] < 12
        assert figures['map_shift/after'] != figures['map_shift/before'] and -1 <= figures['attention/by_mean'] <= 1
    assert 'Command: `python -m attention_fusion_ros evaluate --ablation' in text
    assert (out / 'ablation.png').read_bytes().startswith(b'\x89PNG')


@pytest.mark.slow
def test_every_trained_network_is_kept_as_a_checkpoint(finished):
    _, out, _ = finished
    for key in TRAINED:
        loaded = checkpoints.load(out / 'checkpoints' / f'{key}-2.safetensors')
        assert loaded.trained and loaded.network.config.map_registration == ROWS[key].network.get(
            'map_registration', mechanism('none'))


@pytest.mark.slow
def test_a_finished_run_is_not_trained_again(finished):
    arguments, out, _ = finished
    before = {file: file.stat().st_mtime_ns for file in (out / 'results').iterdir()}
    assert len(before) == 2 * len(TRAINED)
    (out / 'results' / 'stn-2.json').unlink()
    assert main(arguments) == 0
    after = {file: file.stat().st_mtime_ns for file in (out / 'results').iterdir()}
    assert [file.name for file in before if before[file] != after[file]] == ['stn-2.json']


@pytest.mark.slow
def test_the_same_seed_gives_the_same_figures_and_another_seed_others(finished, tmp_path):
    _, out, pools = finished
    schedule = ablation.schedule_with(settings('steps=3'))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        again = ablation.train_one(ROWS['time4'], 1, schedule, pools, tmp_path)
    finally:
        torch.set_num_threads(threads)
    first, other = (json.loads((out / 'results' / f'time4-{seed}.json').read_text())['figures'] for seed in (1, 2))
    assert _measured(again['figures']) == pytest.approx(_measured(first), rel=1e-6)
    assert any(first[name] != other[name] for name in first)


@pytest.mark.slow
def test_another_schedule_is_no_continuation(finished):
    _, out, pools = finished
    with pytest.raises(ConfigurationError, match='another schedule'):
        ablation.train_rows([ROWS['stn']], 1, ablation.schedule_with(settings('steps=4')), pools, out, 1)


@pytest.mark.slow
def test_a_pool_repeats_its_samples_and_gives_a_bare_scene_the_same_map(finished):
    _, _, (train, held_out) = finished
    pool = Pool(train)
    first = [pool[i]['lidar'] for i in range(len(pool))]
    pool.epoch = 1
    assert any((pool[i]['lidar'] != first[i]).any() for i in range(len(pool)))  # another variant
    pool.epoch = 2
    assert all((pool[i]['lidar'] == first[i]).all() for i in range(len(pool)))  # of two
    assert pool[0]['past'].shape == (3, len(CHANNELS), 64, 64) and 'past' not in Pool(train, ['past', 'moves'])[0]
    test = Pool(held_out)
    bare = np.flatnonzero(~test.with_vehicles)
    assert len(bare)
    for i in bare:
        full, = np.flatnonzero(test.with_vehicles & (test.seed == test.seed[i]))
        assert (test[i]['map_image'] == test[full]['map_image']).all()
        assert (test[i]['lidar'] != test[full]['lidar']).any()


@pytest.mark.parametrize('text', ['step=3', 'steps=many', 'widths=a,b'])
def test_settings_that_make_no_sense(text):
    with pytest.raises(ConfigurationError, match=text.split('=')[0]):
        ablation.schedule_with(dict([text.split('=')]))


def test_the_command_refuses_an_unknown_row(capsys):
    assert main(['--ablation', '--ablation-rows', 'sam9']) == 2
    assert 'sam' in capsys.readouterr().err


def test_all_rows_of_the_comparison_can_be_built_and_differ_by_one_change():
    assert [row.key for row in chosen([])] == list(ROWS)
    for row in ROWS.values():
        config = ablation.AblationConfig().network(row)
        assert config.cells == ablation.AblationConfig().cells
        if row.against:
            other = ROWS[row.against].network
            assert sum(row.network.get(k) != other.get(k) for k in {*row.network, *other} - {'time_steps'}) == 1
    assert {key for h in HYPOTHESES for key in (h.better, h.worse)} <= set(ROWS)


def test_costs_are_those_of_the_mechanism():
    rows = ('none', 'se', 'eca', 'time4')
    costs = network_costs({key: ablation.AblationConfig(cells=64).network(ROWS[key]) for key in rows}, 2)
    fused, hidden = 36, 2  # 24 + 12 channels, r = 16
    assert costs['se'].parameters - costs['none'].parameters == 2 * fused * hidden + fused + hidden
    assert costs['eca'].parameters - costs['none'].parameters == 3
    assert costs['time4'].gmacs > costs['none'].gmacs and all(c.latency_ms > 0 for c in costs.values())


@pytest.mark.slow
@pytest.mark.parametrize('key', ['place', 'sam7', 'stn', 'time4'])
def test_of_one_scene_the_mean_attention_is_its_own(finished, key):
    network = build_network(ablation.schedule_with(settings()).network(ROWS[key])).eval()
    pool = Pool(finished[2][1], () if key == 'time4' else ('past', 'moves'))
    mean = ablation_score.mean_attention(network, pool, np.array([0]), 1)
    assert (key == 'place') == ('reading' in mean)
    for item in (0, 1) if key == 'place' else (0,):  # without training, other weights than these change little
        scene = collate([pool[item]])
        with torch.inference_mode():
            before = network(scene.lidar, scene.map_image, scene.past).head
            with replaced(network, mean):
                after = network(scene.lidar, scene.map_image, scene.past).head
        assert torch.allclose(before, after, atol=1e-4) == (item == 0)


@pytest.mark.parametrize('changes, expected', [
    ([math.nan] * 3, '-'), ([-0.30, -0.34, -0.31], 'yes'), ([-0.002, 0.004, 0.0], 'no'), ([0.30, 0.34, 0.31], 'no')])
def test_attention_decides_where_its_mean_costs_branches(changes, expected):
    assert ablation_table.decides(np.array(changes)) == expected


def _row(key, f1, against=None, gmacs=1.0, **figures):
    return Compared(key, key.upper(), '-', against, tuple({'map/f1_10': v, **figures} for v in f1),
                    Cost(1000, gmacs, 5.0))


@pytest.mark.parametrize('differences, expected', [
    ([0.02, 0.03, 0.025], 'better'), ([-0.02, -0.03, -0.025], 'worse'), ([0.02, 0.03, -0.01], INCONCLUSIVE),
    # 95 % of 3 seeds: 2.48 standard deviations
    ([0.0, 0.01, 0.02], INCONCLUSIVE), ([0.015, 0.025, 0.035], 'better'), ([0.014, 0.024, 0.034], INCONCLUSIVE),
    ([0.1], INCONCLUSIVE), ([math.nan, 0.1, 0.1], 'better')])
def test_a_verdict_needs_more_than_the_spread_of_the_seeds(differences, expected):
    assert verdict(np.array(differences)) == expected


@pytest.mark.parametrize('seeds, quantile', [(10, 2.262), (13, 2.179), (31, 2.042)])  # of tables of Student's t
def test_a_verdict_knows_the_number_of_seeds(seeds, quantile):
    spread = np.arange(seeds) - (seeds - 1) / 2
    error = spread.std(ddof=1) / math.sqrt(seeds)
    assert verdict(spread + (quantile + 0.002) * error) == 'better'
    assert verdict(spread + (quantile - 0.002) * error) == INCONCLUSIVE


def test_tables_pair_seeds_and_state_what_holds(tmp_path):
    rows = [_row('none', [0.60, 0.70, 0.80]), _row('se', [0.62, 0.72, 0.82 + 1e-6], 'none', vehicle_invariance=4.0),
            _row('eca', [0.50, 0.80, 0.70], 'se', gmacs=0.5)]
    main_rows = ablation_table.main_table(rows, ()).rows
    assert main_rows[0][:3] == ('NONE', '-', '0.700 ± 0.100') and main_rows[1][6] == '4.00 ± 0.00'
    assert main_rows[0][6] == main_rows[0][10] == '-'  # not measured
    change = ablation_table.change_table(rows).rows
    assert change[0][:3] == ('SE', 'NONE', '0.020 ± 0.000') and change[0][-1] == 'F1@10, map: better'
    assert change[1][-1] == INCONCLUSIVE
    hypotheses = [Hypothesis(text, 'p', better, worse) for text, better, worse in
                  (('a', 'se', 'none'), ('b', 'none', 'se'), ('c', 'eca', 'se'), ('d', 'bam', 'se'))]
    held = ablation_table.hypothesis_table(rows, hypotheses).rows
    assert [row[-1] for row in held] == ['holds', '**the opposite**', INCONCLUSIVE]
    assert [row[-2] for row in held] == ['3 of 3', '0 of 3', '1 of 3']
    best, cheapest, _ = ablation_table.summary_sentences(rows)
    assert best.startswith('Best F1@10, map: SE (0.720') and 'ECA' in cheapest
    assert dots(rows, tmp_path / 'plot.png').read_bytes().startswith(b'\x89PNG')
