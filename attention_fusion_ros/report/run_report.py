# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The report of a run over many sweeps: report.html (self-contained) and report.png (the same at a glance)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from attention_fusion_ros.contracts import Branch
from attention_fusion_ros.report import style
from attention_fusion_ros.report.contact_sheet import contact_sheet, stack
from attention_fusion_ros.report.page import Page
from attention_fusion_ros.report.records import SweepRecord, summarise
from attention_fusion_ros.report.timeline import timeline
from attention_fusion_ros.utils.tables import Table

PICTURES_IN_PNG = 6


@dataclass(frozen=True)
class Picture:
    """One sweep as a picture."""

    image: np.ndarray  # (H, W, 3) uint8 bgr
    caption: str


@dataclass(frozen=True)
class Section:
    """Further pictures under a heading of their own."""

    title: str
    legend: str
    pictures: Sequence[Picture]


def write_report(folder: Path, title: str, lead: str, records: Sequence[SweepRecord], pictures: Sequence[Picture],
                 tables: Sequence[Table] = (), warnings: Sequence[str] = (), legend: str = '',
                 summary: Sequence[str] = (), sections: Sequence[Section] = ()) -> list[Path]:
    """Write both files into the folder (made if needed) and return their paths.

    legend: what the colours of the pictures mean. summary: lines instead of those of `Summary`. sections: in the page
    only, below the pictures.
    Raises ValueError when there are no records.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figure = timeline(records, title)
    page = Page(title, lead)
    for text in warnings:
        page.warning(text)
    page.preformatted('\n'.join(summary or summarise(records).lines()))
    page.plot(style.png(figure, dpi=100), 'Bearings are measured from straight ahead, left positive; 180 is behind.')
    for section in ([Section('Pictures', legend, pictures)] if pictures else []) + list(sections):
        page.heading(section.title)
        page.paragraph(section.legend)
        for picture in section.pictures:
            page.picture(picture.image, picture.caption)
    for table in tables:
        page.heading(table.title)
        page.table(table)
    html_path, png_path = folder / 'report.html', folder / 'report.png'
    html_path.write_text(page.render(), encoding='utf-8')
    images = [style.pixels(figure, dpi=140)]
    if pictures:
        shown = pictures[::-(-len(pictures) // PICTURES_IN_PNG)]
        images.append(contact_sheet([p.image for p in shown], [p.caption for p in shown]))
    if not cv2.imwrite(str(png_path), stack(images)):
        raise OSError(f'cannot write {png_path}')
    return [html_path, png_path]


def describe(record: SweepRecord, first_stamp_ns: int) -> str:
    """A caption: time, mode, direction and how many branches."""
    text = f't = {(record.stamp_ns - first_stamp_ns) / 1e9:.1f} s, {record.mode}'
    if record.mode_reason:
        text += f' ({record.mode_reason})'
    return f'{text}, {_direction(record.direction, record.direction_reason)}, {len(record.branches)} branches'


def _direction(direction: Branch | None, reason: str) -> str:
    if direction is None:
        return f"no direction ({reason.partition(':')[0]})"  # the rest explains
    return (f'direction {math.degrees(direction.bearing):+.1f} deg, heading '
            f'{math.degrees(direction.heading):+.1f} deg, p {direction.probability:.2f}')
