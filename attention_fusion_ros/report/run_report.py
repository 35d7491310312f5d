# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The report of a run over many sweeps: report.html (self-contained) and report.png (the same at a glance)."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attention_fusion_ros.contracts import Branch
from attention_fusion_ros.report import style
from attention_fusion_ros.report.contact_sheet import contact_sheet, stack
from attention_fusion_ros.report.glossary import glossary
from attention_fusion_ros.report.page import Page
from attention_fusion_ros.report.records import SweepRecord, counted, summarise
from attention_fusion_ros.report.timeline import set_title, timeline
from attention_fusion_ros.utils import atomic
from attention_fusion_ros.utils.tables import Table

PICTURES_IN_PNG = 6
TIMELINE_CAPTION = ('Bearings are measured from straight ahead, left positive; 180 degrees is behind. The axis runs '
                    'from -135 to 225 degrees, so that roads behind the vehicle stay in one piece. Select a picture to '
                    'open it larger.')


@dataclass(frozen=True)
class Picture:
    """One sweep as a picture."""

    image: np.ndarray  # (H, W, 3) uint8, BGR
    caption: str
    alts: tuple[str, ...] = ()  # what each of its panels, of equal width, shows; (): one panel, which the caption tells


@dataclass(frozen=True)
class PictureSection:
    """Further pictures under a heading of their own."""

    title: str
    legend: str
    pictures: Sequence[Picture]


def write_report(folder: Path, title: str, lead: str, records: Sequence[SweepRecord], pictures: Sequence[Picture],
                 tables: Sequence[Table] = (), warnings: Sequence[str] = (), legend: str = '',
                 summary: Sequence[str] = (), sections: Sequence[PictureSection] = (),
                 spatial: Collection[str] | None = None) -> list[Path]:
    """Write both files into the folder (made if needed) and return their paths.

    legend: what the colours of the pictures mean. summary: lines instead of those of `Summary`. sections: in the page
    only, below the pictures. spatial: names in `Attention.spatial` of the network, None where that is not known.
    Raises ValueError when there are no records.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figure = timeline(records, title)
    page = Page(title, lead)
    for text in warnings:
        page.warning(text)
    page.preformatted('\n'.join(summary or summarise(records).lines()))
    set_title(figure, '')  # the page has it above
    page.plot(style.png(figure, dpi=style.PORTRAIT_DPI), TIMELINE_CAPTION, _timeline_alt(records))
    set_title(figure, title)
    for section in ([PictureSection('Pictures', legend, pictures)] if pictures else []) + list(sections):
        page.heading(section.title)
        page.paragraph(section.legend)
        for picture in section.pictures:
            page.picture(picture.image, picture.caption, picture.alts)
    for table in tables:
        page.heading(table.title)
        page.table(table)
    page.heading('What the words mean')
    page.terms(glossary(spatial))
    html_path, png_path = folder / 'report.html', folder / 'report.png'
    atomic.write_text(html_path, page.render())
    images = [style.pixels(figure, dpi=style.PORTRAIT_DPI)]
    if pictures:
        shown = pictures[::-(-len(pictures) // PICTURES_IN_PNG)]
        images.append(contact_sheet([p.image for p in shown], [p.caption for p in shown]))
    atomic.save_picture(png_path, stack(images))
    return [html_path, png_path]


def _timeline_alt(records: Sequence[SweepRecord]) -> str:
    """What the figure shows, in words."""
    summary = summarise(records)
    return (f'Plots over {summary.sweeps} sweeps: bearing of the branches and of the direction, probability and map '
            f'share, mode ({counted(summary.modes)}), latency by stage; bearing against heading of '
            f'{summary.directions} directions, a histogram of the latency, and the reasons of dropped sweeps. The '
            'numbers are in the summary above.')


def panel_alts(record: SweepRecord, first_stamp_ns: int) -> tuple[str, str, str]:
    """What the three panels of a sweep's picture show, in words."""
    bearings = ', '.join(f'{math.degrees(b.bearing):+.0f}' for b in record.branches) or 'none'
    used = 'as it was fused' if record.mode == 'fused' else f'not used: {record.mode_reason}'
    share = '' if record.map_share is None else f'; share of the map {record.map_share:.0%}'
    at = f'{_seconds(record, first_stamp_ns)} s: '
    return (f'{at}LiDAR from above with branches at bearings in degrees: {bearings}', f'{at}map image, {used}',
            f'{at}spatial attention on a logarithmic scale from 0.001 to 1{share}')


def describe(record: SweepRecord, first_stamp_ns: int) -> str:
    """A caption: time, mode, direction and how many branches."""
    text = f't = {_seconds(record, first_stamp_ns)} s, {record.mode}'
    if record.mode_reason:
        text += f' ({record.mode_reason})'
    return f'{text}, {_direction(record.direction, record.direction_reason)}, {len(record.branches)} branches'


def _seconds(record: SweepRecord, first_stamp_ns: int) -> str:
    return f'{(record.stamp_ns - first_stamp_ns) / 1e9:.1f}'


def _direction(direction: Branch | None, reason: str) -> str:
    if direction is None:
        return f"no direction ({reason.partition(':')[0]})"  # the rest explains
    return (f'direction {math.degrees(direction.bearing):+.1f} deg, heading '
            f'{math.degrees(direction.heading):+.1f} deg, p {direction.probability:.2f}')
