# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Attention beside Grad-CAM: the numbers, the figure, and what `replay` writes."""

from __future__ import annotations

import json
import math

import cv2
import numpy as np
import pytest
from support import synthetic_bag as bag

from attention_fusion_ros.bev.lidar import CHANNELS
from attention_fusion_ros.commands import replay
from attention_fusion_ros.contracts import Attention, Branch, FusionResult, Mode
from attention_fusion_ros.metrics.agreement import agreement
from attention_fusion_ros.report import explanation
from attention_fusion_ros.report.attention_figure import attention_figure, nearly_even
from attention_fusion_ros.report.explained_sweep import ExplainedSweep, draw_figures
from attention_fusion_ros.report.explanation import Explanation
from attention_fusion_ros.report.records import SweepRecord

AHEAD = Branch(0.0, 0.0, 0.9, 0.03, 0.05)
RNG = np.random.default_rng(0)
WEIGHTS = {name: RNG.random((n, n)).astype(np.float32) for name, n in (('stage1', 64), ('stage2', 32))}
LABELS = (*(f'lidar/{i:02d}' for i in range(4)), 'map/00', 'map/01')


def result(direction=AHEAD, seen=slice(None), spatial=None) -> FusionResult:
    lidar = np.zeros((len(CHANNELS), 256, 256), np.float32)
    lidar[3, seen, ::4] = 0.5  # every coarse cell of these rows holds a return
    attention = Attention(spatial=WEIGHTS if spatial is None else spatial, lidar_share=0.7, map_share=0.3,
                          channel=np.linspace(0, 1, 6, dtype=np.float32), channel_labels=LABELS)
    return FusionResult(stamp_ns=5 * 10**9, mode=Mode.FUSED, reason='', lookahead=20.0, branches=(AHEAD,),
                        direction=direction, direction_reason='', distribution=np.full(120, 1 / 120, np.float32),
                        attention=attention, lidar_bev=lidar, map_bev=np.zeros((3, 256, 256), np.float32), extent=40.0,
                        trained=True)


def test_agreement_is_that_of_the_cells_the_lidar_has_seen():
    upper = result(seen=slice(0, 128))
    cam = {'stage1': np.vstack([WEIGHTS['stage1'][:32], 1 - WEIGHTS['stage1'][32:]]), 'stage3': np.ones((16, 16))}
    told = Explanation.of(upper, cam)
    assert set(told.agreement) == {'stage1'}  # a stage without spatial attention has nothing to agree
    assert told.agreement['stage1'].spearman == pytest.approx(1.0) and told.agreement['stage1'].top_iou == 1.0
    assert agreement(WEIGHTS['stage1'], cam['stage1']).spearman < 0.5  # over all cells it is another number
    assert (told.explained, told.map_share, told.channels['map/01']) == ('direction', 0.3, 1.0)
    assert Explanation.of(result(direction=None), cam).explained == 'most probable branch'
    nothing = Explanation.of(result(seen=slice(0, 0)), cam)
    assert nothing.agreement == {} and Explanation.of(upper, {}).explained == ''


def test_table_and_file_hold_every_sweep_and_the_means(tmp_path):
    same, opposite = ({'stage1': WEIGHTS['stage1'], 'stage2': np.ones((32, 32))}, {'stage1': 1 - WEIGHTS['stage1']})
    told = [Explanation.of(result(), same), Explanation.of(result(), opposite), Explanation.of(result(), {})]
    rows = explanation.rows(told, 4 * 10**9)
    assert all(len(row) == len(explanation.HEADER) for row in rows)
    assert rows[0] == ('1.0', 'fused', 'direction', '0.700', '0.300', 'stage1', '1.00', '1.00', '1.00')
    assert rows[1][5:] == ('stage2', '-', '-', '-') and rows[2][6:8] == ('-1.00', '-1.00')
    assert rows[3][2] == 'nothing' and [r[0] for r in rows[4:]] == ['mean', 'mean']
    assert rows[4][5:8] == ('stage1', '0.00', '0.00') and rows[5][5:] == ('stage2', '-', '-', '-')
    assert math.isnan(explanation.means(told)['stage2'].pearson)
    explanation.write(tmp_path / 'attention.json', told)
    data = json.loads((tmp_path / 'attention.json').read_text())
    assert data['sweeps'][0]['agreement']['stage2']['pearson'] is None
    assert data['mean_agreement']['stage1']['top_iou'] == pytest.approx(0.5)
    assert data['sweeps'][0]['channels'] == pytest.approx(dict(zip(LABELS, np.linspace(0, 1, 6))))


def test_what_is_published_is_compared_with_the_grad_cam_of_the_finest_stage_on_its_cells():
    """Attention over places is no stage's: it has a row of its own, in the table, the file and the figure."""
    places = cv2.resize(WEIGHTS['stage1'], (128, 128), interpolation=cv2.INTER_LINEAR)
    found = result(spatial={**WEIGHTS, 'reading': places})
    maps = {'stage1': WEIGHTS['stage1'], 'stage2': np.ones((32, 32), np.float32)}
    assert set(explanation.beside(found, maps)) == {'reading', 'stage1', 'stage2'}
    told = Explanation.of(found, maps)
    assert list(told.agreement) == ['reading', 'stage1', 'stage2']
    assert told.agreement['reading'].spearman == pytest.approx(1.0)
    assert told.agreement['reading'].top_iou == pytest.approx(1.0)
    assert [row[5] for row in explanation.rows([told], 0)][:3] == ['reading', 'stage1', 'stage2']
    assert explanation.beside(result(), maps) is maps and explanation.beside(found, {}) == {}
    with_it, without = (attention_figure(r, maps, Explanation.of(r, maps), dpi=60) for r in (found, result()))
    assert with_it.shape[0] > without.shape[0] + 150


def test_a_panel_in_which_no_place_stands_out_has_no_colour():
    """Weights of 0.82 to 1 let everything pass: bright on the common scale, they would be read as looked at."""
    even, chosen = (np.linspace(low, 1, 64 * 64, dtype=np.float32).reshape(64, 64) for low in (0.82, 0.01))
    assert nearly_even(even) and not nearly_even(chosen) and nearly_even(np.zeros((4, 4)))
    corner = np.zeros((64, 64), np.float32)
    corner[0, 0] = 0.5
    assert not nearly_even(corner)  # one place does
    colourful = []
    for weights in (even, chosen):
        found = result(spatial={'stage1': weights})
        picture = attention_figure(found, {}, Explanation.of(found, {}), dpi=60).astype(int)
        panel = picture[int(0.45 * len(picture)):int(0.6 * len(picture)), :int(0.5 * picture.shape[1])]
        colourful.append(int((np.ptp(panel, axis=2) > 60).sum()))
    assert colourful[0] < 0.02 * colourful[1]


def brightest(picture):
    """(N, 2) rows and columns of the pixels in the upper end of the colour map."""
    bgr = picture.astype(int)
    return np.argwhere((bgr[..., 2] > 235) & (bgr[..., 1] > 235) & (bgr[..., 0] < 200))


def test_figure_shows_the_maps_it_is_given():
    """The Grad-CAM has a single hot corner: bright there and in the colour bars, and nowhere else."""
    hot = np.zeros((64, 64), np.float32)
    hot[:16, :16] = 1.0
    cam = {'stage1': hot, 'stage2': np.zeros((32, 32), np.float32)}
    bare = result(spatial={})
    picture = attention_figure(bare, cam, Explanation.of(bare, cam), dpi=100)
    height, width, _ = picture.shape
    bright = brightest(picture[:int(0.55 * height)])  # stage 1 and above it
    assert len(bright) > 1000 and bright[:, 1].min() > width / 2 - 10 and np.ptp(bright, axis=0).max() < 100
    full = attention_figure(result(), {}, Explanation.of(result(), {}), dpi=100)  # attention, but nothing to explain
    assert full.shape == picture.shape and (full != picture).any()


def test_equal_colours_mean_equal_values_in_the_figures_of_a_report():
    """A Grad-CAM ten times weaker than that of another sweep of the report is drawn darker, not stretched to it."""
    strong, weak = ({'stage1': np.full((64, 64), value, np.float32)} for value in (0.86, 0.09))
    sweeps = [ExplainedSweep(result(spatial={}), maps, SweepRecord(0, mode='fused'), 0) for maps in (strong, weak)]
    a, b = (picture.image.astype(int).sum(axis=2) for picture in draw_figures(sweeps))
    right = (slice(a.shape[0] // 2, a.shape[0] // 2 + 100), slice(int(0.6 * a.shape[1]), int(0.9 * a.shape[1])))
    assert a[right].mean() > b[right].mean() + 100


@pytest.mark.slow
def test_replay_writes_them(tmp_path):
    checkpoint = bag.lively_checkpoint(tmp_path / 'lively.safetensors')
    out = tmp_path / 'out'
    assert replay.main([str(bag.write(tmp_path / 'drive', bag.drive(3))), '--out', str(out), '--pictures', '2',
                        '--device', 'cpu', '-p', f'checkpoint:={checkpoint}', '-p', 'threads:=1',
                        '-p', 'branches.min_direction_probability:=0.0']) == 0
    data = json.loads((out / 'attention.json').read_text())
    assert [s['stamp_ns'] for s in data['sweeps']] == [bag.T0, bag.T0 + 2 * bag.PERIOD]
    assert all(s['explained'] == 'direction' and set(s['agreement']) == {'stage1', 'stage2', 'stage3'}
               and len(s['channels']) == 48 for s in data['sweeps'])
    assert all(-1 <= s['agreement']['stage1']['spearman'] <= 1 for s in data['sweeps'])
    text = (out / 'report.html').read_text()
    assert 'Attention and Grad-CAM' in text and 'How attention and Grad-CAM agree' in text
    assert text.count('<img') == 1 + 3 * 2 + 2
    assert min(cv2.imread(str(out / 'attention.png')).shape[:2]) > 500
