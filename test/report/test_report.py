# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Records, summaries, plots and pages of a run."""

from __future__ import annotations

import csv
import dataclasses
import math

import cv2
import numpy as np
import pytest
from matplotlib.collections import QuadMesh

from attention_fusion_ros.contracts import Branch
from attention_fusion_ros.report import style
from attention_fusion_ros.report.contact_sheet import contact_sheet, spread, stack
from attention_fusion_ros.report.page import Page
from attention_fusion_ros.report.records import (
    BRANCH_COLUMNS,
    DIRECTION_COLUMNS,
    SweepRecord,
    summarise,
    write_branches,
    write_directions,
)
from attention_fusion_ros.report.run_report import Picture, describe, write_report
from attention_fusion_ros.report.timeline import timeline
from attention_fusion_ros.utils.tables import Table

AHEAD, BEHIND = Branch(0.1, 0.2, 0.9, 0.05, 0.06), Branch(3.0, -3.1, 0.6, 0.05, 0.06)


def good(i: int, **changes) -> SweepRecord:
    record = SweepRecord(i * 10**8, '', 'fused', '', AHEAD, '', (AHEAD, BEHIND), np.full(36, 1 / 36, np.float32), 0.4,
                         10.0 + i, {'bev': 4.0, 'network': 5.0})
    return dataclasses.replace(record, **changes)


RUN = [good(0), good(1, mode='lidar_only', mode_reason='map_too_old'), SweepRecord(2 * 10**8, 'truncated_data'),
       good(3, direction=None, direction_reason='ambiguous')]


def rows(path):
    with open(path, newline='') as file:
        return list(csv.DictReader(file))


def test_csv_has_a_row_a_sweep_and_empty_fields_where_nothing_was_estimated(tmp_path):
    write_directions(tmp_path / 'directions.csv', RUN)
    found = rows(tmp_path / 'directions.csv')
    assert tuple(found[0]) == DIRECTION_COLUMNS == ('stamp_ns', 'mode', 'bearing_rad', 'heading_rad', 'bearing_std_rad',
                                                    'probability', 'latency_ms')
    assert [int(r['stamp_ns']) for r in found] == [0, 10**8, 2 * 10**8, 3 * 10**8]
    assert [r['mode'] for r in found] == ['fused', 'lidar_only', '', 'fused']
    assert float(found[0]['bearing_rad']) == pytest.approx(0.1) and float(found[0]['heading_rad']) == pytest.approx(0.2)
    assert float(found[0]['bearing_std_rad']) == pytest.approx(0.05)
    assert set(found[2].values()) == {'200000000', ''}
    assert found[3]['bearing_rad'] == found[3]['probability'] == '' and float(found[3]['latency_ms']) == 13.0


def test_branches_csv(tmp_path):
    write_branches(tmp_path / 'branches.csv', RUN)
    found = rows(tmp_path / 'branches.csv')
    assert tuple(found[0]) == BRANCH_COLUMNS == ('stamp_ns', 'bearing_rad', 'heading_rad', 'probability')
    assert [(int(r['stamp_ns']), float(r['probability'])) for r in found] == [
        (s, p) for s in (0, 10**8, 3 * 10**8) for p in (0.9, 0.6)]


def test_summary_counts_and_takes_percentiles():
    summary = summarise(RUN)
    assert (summary.sweeps, summary.results, summary.directions) == (4, 3, 2)
    assert summary.modes == {'fused': 2, 'lidar_only': 1}
    assert (summary.mode_reasons, summary.drops, summary.no_direction) == (
        {'map_too_old': 1}, {'truncated_data': 1}, {'ambiguous': 1})
    assert summary.latency_ms == {'median': 11.0, 'p95': pytest.approx(12.8)}
    assert summary.stage_ms == {'bev': 4.0, 'network': 5.0}
    text = '\n'.join(summary.lines())
    assert 'truncated_data 1' in text and 'median 11.0 ms' in text
    assert summarise([RUN[2]]).latency_ms == {} and 'none measured' in '\n'.join(summarise([RUN[2]]).lines())


def series(axes, label):
    return next(a for a in (*axes.collections, *axes.lines) if a.get_label() == label)


def test_timeline_shows_every_direction_and_branch_in_degrees():
    figure = timeline([dataclasses.replace(r, true_branches=((0.0, 0.0),)) for r in RUN], 'title')
    bearings = figure.axes[0]
    chosen = series(bearings, 'direction to take').get_offsets()
    np.testing.assert_allclose(chosen, [[0.0, math.degrees(0.1)], [0.1, math.degrees(0.1)]], atol=1e-9)
    assert len(series(bearings, 'branch (size: probability)').get_offsets()) == 6
    assert len(series(bearings, 'true branch').get_offsets()) == 4
    assert bearings.get_ylim() == (-135, 225)
    assert [t.get_text().split()[0] for t in bearings.get_yticklabels()][1::2] == ['right', 'ahead', 'left', 'behind']
    shown = [t.get_text() for axes in figure.axes for t in axes.texts]
    assert any('dropped: truncated_data' in t for t in shown) and any('not fused: map_too_old' in t for t in shown)


def test_circles_of_sure_and_doubtful_branches_differ_visibly():
    pair = (Branch(0.0, 0.0, 1.0, 0.03, 0.05), Branch(1.5, 1.5, 0.47, 0.03, 0.05))
    bearings = timeline([good(0, branches=pair), good(1, branches=pair)], 'title').axes[0]
    sure, doubtful = series(bearings, 'branch (size: probability)').get_sizes()[:2]
    assert math.sqrt(sure / doubtful) > 1.7  # in diameter


def test_the_true_direction_stands_out_among_the_true_branches():
    known = [dataclasses.replace(r, true_branches=((0.5, 0.5), (3.0, 3.0)), true_direction=(0.5, 0.5)) for r in RUN]
    bearings = timeline([dataclasses.replace(known[0], true_direction=None), *known[1:]], 'title').axes[0]
    np.testing.assert_allclose(series(bearings, 'true direction').get_offsets()[:, 1], [math.degrees(0.5)] * 3)


def test_without_drops_there_is_no_frame_for_them_and_one_sweep_has_one_time():
    titles = [axes.get_title(loc='left') for axes in timeline([good(i) for i in range(3)], 'title').axes]
    assert 'Drops and reasons' not in titles
    alone = timeline([good(0)], 'title')
    by_title = {axes.get_title(loc='left'): axes for axes in alone.axes}
    assert by_title['Latency of a sweep, by stage'].get_xticks().tolist() == [0.0]
    assert not any(axes.get_xlabel() == 'time [s]' for axes in alone.axes)  # a scale of colours for one time


def test_the_page_says_its_title_once(tmp_path, monkeypatch):
    heads = []
    drawn = style.png
    monkeypatch.setattr(style, 'png', lambda figure, dpi: heads.append(figure.get_suptitle()) or drawn(figure, dpi))
    html, _ = write_report(tmp_path, 'A drive', 'lead', RUN, [])
    assert heads == [''] and html.read_text().count('<h1>A drive</h1>') == 1


def test_roads_behind_stay_in_one_piece():
    """Bearings that waver about 180 degrees lie beside each other, and the distribution is turned with them."""
    peaks = []
    for k, bearing in enumerate((3.1, -3.1, 3.1, -3.1)):
        distribution = np.full(36, 1e-3, np.float32)
        distribution[int((bearing + math.pi) / (2 * math.pi) * 36)] = 1.0
        behind = Branch(bearing, bearing, 0.9, 0.05, 0.06)
        peaks.append(good(k, branches=(behind,), direction=behind, distribution=distribution))
    figure = timeline(peaks, 'behind')
    drawn = series(figure.axes[0], 'branch (size: probability)').get_offsets()[:, 1]
    assert np.ptp(drawn) < 6.0 and drawn.min() > 170
    shade = next(c for c in figure.axes[0].collections if isinstance(c, QuadMesh))
    edges = shade.get_coordinates()[:, 0, 1]
    assert (edges[0], edges[-1]) == (-135, 225) and (np.diff(edges) > 0).all()
    rows = shade.get_array().reshape(len(edges) - 1, -1).argmax(axis=0)
    assert all(edges[r] <= b <= edges[r + 1] for r, b in zip(rows, drawn))
    headings = next(a for a in figure.axes if a.get_title(loc='left') == 'Bearing and heading')
    assert np.ptp(headings.collections[0].get_offsets(), axis=0).max() < 6.0


def test_legends_cover_no_data_and_nothing_is_cut_off():
    figure = timeline([good(i, latency_ms=10.0 + 200 * (i == 5)) for i in range(40)], 'A title that is much longer '
                      'than the figure is wide and has to be broken into lines')
    figure.canvas.draw()
    page = figure.bbox
    for axes in figure.axes:
        legend, box = axes.get_legend(), axes.get_window_extent()
        if legend is not None:
            assert legend.get_window_extent().y0 >= box.y1 - 4
            assert legend.get_window_extent().x1 <= page.x1
        tight = axes.get_tightbbox()
        assert tight.x0 >= -1 and tight.x1 <= page.x1 + 1 and tight.y0 >= -1 and tight.y1 <= page.y1 + 1
    assert all(text.get_window_extent().x1 <= page.x1 for text in figure.texts)
    assert any('up to 210 ms' in text.get_text() for axes in figure.axes if axes.get_legend()
               for text in axes.get_legend().get_texts())


def test_timeline_copes_with_loops_with_one_sweep_and_with_no_result_at_all():
    looped = timeline([good(0), good(1), good(0), good(1)], 'loop')
    times = series(looped.axes[0], 'direction to take').get_offsets()[:, 0]
    assert (np.diff(times) > 0).all()
    for records in ([good(0)], [RUN[2]], [RUN[2], RUN[2]]):
        assert style.png(timeline(records, 'one'), dpi=30).startswith(b'\x89PNG')
    with pytest.raises(ValueError, match='no sweeps'):
        timeline([], 'none')


def test_contact_sheet_places_every_picture():
    pictures = [np.full((40, 80, 3), value, np.uint8) for value in (50, 100, 150)]
    sheet = contact_sheet(pictures, ['a', 'b', 'c'], columns=2, picture_width=160)
    counts = [int((sheet == value).all(axis=2).sum()) for value in (50, 100, 150)]
    assert counts == [160 * 80] * 3
    long = contact_sheet(pictures[:1], ['a caption that does not fit into one line ' * 3], picture_width=160)
    assert (long.shape[1], long.shape[0]) > (sheet.shape[1] // 2, 100) and not (long[:, :4] != 255).any()
    assert stack([sheet, pictures[0]]).shape[1] == sheet.shape[1]
    with pytest.raises(ValueError, match='captions'):
        contact_sheet(pictures, ['a'])


def test_spread_takes_first_last_and_evenly_between():
    assert spread(9, 3) == {0, 4, 8}
    assert spread(2, 12) == {0, 1}
    assert spread(0, 12) == set() and spread(5, 0) == set()


def test_page_is_self_contained_and_escapes():
    page = Page('<title>', 'a & b')
    page.table(Table('', ('name', 'value'), [('<b>', 3.5), ('x', '-2')]))
    page.picture(np.zeros((4, 4, 3), np.uint8), '"quoted"')
    page.warning('careful')
    text = page.render()
    assert '&lt;title&gt;' in text and '<b>' not in text and '&quot;quoted&quot;' in text
    assert '<td class="number">3.5</td>' in text and '<td class="number">-2</td>' in text
    assert 'data:image/jpeg;base64,' in text and 'http' not in text


def test_report_holds_summary_pictures_tables_and_warnings(tmp_path):
    picture = Picture(np.full((40, 120, 3), 90, np.uint8), describe(RUN[0], 0))
    html, png = write_report(tmp_path / 'new', 'Run', 'lead', RUN, [picture], [Table('T', ('h',), [('cell',)])],
                             ['beware'], 'legend')
    text = html.read_text()
    assert all(word in text for word in ('beware', 'legend', 'cell', 'truncated_data 1', 'direction +5.7 deg'))
    assert cv2.imread(str(png)).shape[0] > 500
    bare = write_report(tmp_path / 'bare', 'Run', '', [RUN[2]], [])
    assert all(path.stat().st_size > 1000 for path in bare)
