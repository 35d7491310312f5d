# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The report as a page: structure and contrast (WCAG 2.2 AA), also as a browser lays it out."""

from __future__ import annotations

import dataclasses
from html.parser import HTMLParser

import numpy as np
import pytest
from support import browser

from attention_fusion_ros.contracts import Branch
from attention_fusion_ros.report import page as page_module
from attention_fusion_ros.report import style
from attention_fusion_ros.report.glossary import CHANNEL, CHOICE, PLACES, STAGE, attention, glossary
from attention_fusion_ros.report.page import Page
from attention_fusion_ros.report.records import SweepRecord
from attention_fusion_ros.report.run_report import Picture, PictureSection, describe, panel_alts, write_report
from attention_fusion_ros.utils.tables import Table

AHEAD, BEHIND = Branch(0.1, 0.2, 0.9, 0.05, 0.06), Branch(3.0, -3.1, 0.6, 0.05, 0.06)
FUSED = SweepRecord(0, '', 'fused', '', AHEAD, '', (AHEAD, BEHIND), np.full(36, 1 / 36, np.float32), 0.4, 10.0,
                    {'bev': 4.0})
RUN = [FUSED, dataclasses.replace(FUSED, stamp_ns=10**8, mode='lidar_only', mode_reason='map_too_old')]
VOID = {'meta', 'img', 'link', 'br'}


class Outline(HTMLParser):
    """The elements of a page: (tag, attributes, tags around it), and the text in each kind of element."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], tuple[str, ...]]] = []
        self._open: list[str] = []
        self.balanced = True
        self.feed(text)
        self.balanced &= not self._open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), tuple(self._open)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        self.balanced &= bool(self._open) and self._open.pop() == tag

    def all(self, tag):
        return [(attributes, around) for name, attributes, around in self.elements if name == tag]


@pytest.fixture(scope='module')
def report(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp('report')
    panels = np.random.default_rng(0).integers(0, 255, (120, 300, 3), dtype=np.uint8)
    pictures = [Picture(panels, describe(r, 0), panel_alts(r, 0)) for r in RUN]
    tables = [Table('Inputs', ('input', 'topic'), [('pointcloud', f'/a_{"very_" * 30}long_topic'), ('odometry', '-')])]
    path, _ = write_report(folder, 'Run of a_recording_with_a_long_name', 'lead', RUN, pictures, tables, ['beware'],
                           'legend', sections=[PictureSection('Close', 'closer',
                                                              [Picture(panels[:, :100], 'one', ('alt',))])])
    return path.read_text()


def test_structure_is_what_screen_readers_need(report):
    page = Outline(report)
    assert page.balanced
    assert page.all('html')[0][0]['lang'] == 'en' and len(page.all('main')) == len(page.all('h1')) == 1
    assert [t for t, _, _ in page.elements if t in ('h1', 'h2', 'h3')][0] == 'h1' and not page.all('h3')
    assert all('thead' in around or 'tbody' in around for _, around in page.all('tr'))
    assert {a['scope'] for a, around in page.all('th') if 'thead' in around} == {'col'}
    assert {a['scope'] for a, around in page.all('th') if 'tbody' in around} == {'row'}
    regions = [a for a, _ in page.all('div') if a.get('class') == 'scroll']
    assert regions and all(a['tabindex'] == '0' and a['role'] == 'region' and a['aria-label'] for a in regions)


def test_every_picture_has_a_text_of_its_own_and_opens_larger(report):
    page = Outline(report)
    images = page.all('img')
    assert len(images) == 1 + 2 * 3 + 1
    alts = [a['alt'] for a, _ in images]
    assert all(alts) and len(set(alts)) == len(alts)
    assert 'map_too_old' in ' '.join(alts) and '+172' in ' '.join(alts)
    ids = {a['id'] for _, a, _ in page.elements if 'id' in a}
    links = [a['href'] for a, _ in page.all('a')]
    assert all(link[0] == '#' and link[1:] in ids for link in links)
    assert {a['id'] for a, _ in page.all('figure')} <= {link[1:] for link in links}
    assert all(int(a['width']) > 0 and int(a['height']) > 0 for a, _ in images)
    assert not page.all('script') and 'http' not in report


def test_words_are_explained(report):
    words = glossary()
    assert {'bearing', 'heading', 'Grad-CAM', 'lookahead ring', 'fused, lidar_only'} <= set(words)
    assert all(f'<dt>{term}</dt>' in report for term in words) and all(words.values())


@pytest.mark.parametrize('spatial, told', [
    (['stage1', 'stage2'], {CHANNEL, STAGE}), (['reading', 'stage1'], {CHANNEL, STAGE, PLACES}),
    (['selection', 'reading'], {CHANNEL, PLACES, CHOICE}), ([], {CHANNEL}), (None, {CHANNEL, STAGE, PLACES, CHOICE})])
def test_attention_is_explained_as_the_network_at_hand_has_it(spatial, told):
    text = attention(spatial)
    assert {part for part in (CHANNEL, STAGE, PLACES, CHOICE) if part in text} == told
    assert ('depends on the network' in text) == (spatial is None)


def test_colours_are_told_apart_from_their_ground():
    assert style.contrast('#000000') == pytest.approx(21.0)
    assert style.contrast('#777777') == pytest.approx(4.48, abs=0.01)
    assert all(style.contrast(colour) >= 4.5 for colour in style.TEXT)
    assert all(style.contrast(colour) >= 3.0 for colour in style.GRAPHIC)
    for ground in (page_module.WARNING_PAPER, page_module.CODE_PAPER):
        assert style.contrast(style.INK, ground) >= 4.5
    assert style.contrast(page_module.LINK) >= 4.5


def test_a_plot_must_be_a_png():
    with pytest.raises(ValueError, match='PNG'):
        Page('t').plot(b'not a picture', 'caption')


@pytest.mark.slow
@pytest.mark.parametrize('width', [400, 1280])
def test_a_browser_shows_all_of_it(report, width, tmp_path):
    program = browser.find_browser()
    if program is None:
        pytest.skip(f'no headless browser found; looked for {", ".join(browser.BROWSERS)}')
    seen = browser.measure(program, report, width, tmp_path)
    assert seen['scrollWidth'] <= seen['width'] == width  # nothing sticks out to the right
    assert all(image['natural'] > 0 and image['alt'] for image in seen['images'])
    boxes = [image['box'] for image in seen['images']]
    assert all(left >= 0 and left + wide <= width for left, _, wide, _ in boxes)
    panels = boxes[1:4]
    if width == 400:  # below each other, as wide as the page
        assert len({top for _, top, _, _ in panels}) == 3 and min(wide for _, _, wide, _ in boxes) > 300
    else:
        assert len({top for _, top, _, _ in panels}) == 1
    assert min(ratio for _, ratio in seen['contrast']) >= 4.5
    assert seen['position'] == 'fixed' and seen['larger'][2] > panels[0][2]
    assert seen['after'] == 'static'
