# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A self-contained HTML page: text, tables and pictures in one file that can be mailed, readable from 400 pixels on.

No script: a picture opens larger by a link to itself (CSS `:target`). Made to conform to WCAG 2.2 AA.
"""

from __future__ import annotations

import base64
import html
import itertools
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from attention_fusion_ros.report.style import FAINT, INK, PAPER
from attention_fusion_ros.utils.tables import Table

LINK, WARNING_PAPER, CODE_PAPER = '#0b5394', '#fff3bf', '#f1f3f5'
STYLE = f"""
*{{box-sizing:border-box}}
body{{font:16px/1.5 system-ui,sans-serif;color:{INK};background:{PAPER};max-width:1240px;margin:2rem auto;
padding:0 1rem;overflow-wrap:break-word}}
h1{{font-size:1.6rem;line-height:1.25;margin:0 0 .2rem}}h2{{font-size:1.2rem;margin:2rem 0 .5rem}}
a{{color:{LINK}}}a:focus-visible,.scroll:focus-visible{{outline:3px solid {LINK};outline-offset:2px}}
p.lead{{color:{FAINT};margin:0 0 1rem}}
p.warning{{background:{WARNING_PAPER};border-left:4px solid #b35c00;padding:.5rem .8rem}}
table{{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.95rem}}
th,td{{padding:.25rem .8rem;text-align:left;border-bottom:1px solid #dee2e6;vertical-align:top}}
thead th{{font-weight:600;border-bottom:2px solid #868e96}}tbody th{{font-weight:400}}
td.number,th.number{{text-align:right;white-space:nowrap}}
figure{{margin:0 0 1.5rem}}figcaption{{color:{INK};font-size:.95rem;margin-top:.3rem}}
figure img{{display:block;width:100%;height:auto}}
figure.plot .panels{{max-width:992px}}
.panels{{display:flex;flex-wrap:wrap;gap:.5rem}}.panels a{{flex:1 1 300px;min-width:0;max-width:100%;cursor:zoom-in}}
figure .close{{display:none}}
figure:target{{position:fixed;inset:0;z-index:1;margin:0;padding:1rem;background:{PAPER};overflow:auto}}
figure:target .close{{display:inline-block;padding:.3rem 0 .6rem}}
figure.plot:target .panels{{max-width:none}}
figure:target .panels a{{cursor:auto;flex:1 1 560px;min-width:560px;max-width:none}}
pre{{background:{CODE_PAPER};padding:.7rem;white-space:pre-wrap;overflow-wrap:anywhere;font-size:.9rem}}
.scroll{{overflow-x:auto}}
dl{{max-width:50rem}}dt{{font-weight:600}}dd{{margin:0 0 .6rem 1.2rem}}
@media print{{figure .close{{display:none!important}}figure{{break-inside:avoid}}}}
"""


class Page:
    """Collects the parts of a page, in order."""

    def __init__(self, title: str, lead: str = ''):
        self._title = title
        self._parts = [f'<h1>{html.escape(title)}</h1>', f'<p class="lead">{html.escape(lead)}</p>' if lead else '']
        self._numbers = itertools.count(1)

    def heading(self, text: str) -> None:
        """A section heading."""
        self._parts.append(f'<h2>{html.escape(text)}</h2>')

    def paragraph(self, text: str) -> None:
        """A paragraph of plain text."""
        self._parts.append(f'<p>{html.escape(text)}</p>')

    def warning(self, text: str) -> None:
        """A paragraph that must not be missed."""
        self._parts.append(f'<p class="warning"><strong>Warning:</strong> {html.escape(text)}</p>')

    def preformatted(self, text: str) -> None:
        """Text as printed on a terminal."""
        self._parts.append(f'<pre>{html.escape(text)}</pre>')

    def terms(self, meanings: Mapping[str, str]) -> None:
        """Words and what they mean here."""
        items = ''.join(f'<dt>{html.escape(term)}</dt><dd>{html.escape(text)}</dd>' for term, text in meanings.items())
        self._parts.append(f'<dl>{items}</dl>')

    def table(self, table: Table) -> None:
        """A table without its title and notes; the title names it for a screen reader that steps between tables."""
        self._parts.append(f'<div class="scroll" role="region" tabindex="0" aria-label="{html.escape(table.title)}">'
                           f'{table.html()}</div>')

    def picture(self, image: np.ndarray, caption: str = '', alts: Sequence[str] = (), quality: int = 90) -> None:
        """(H, W, 3) uint8, BGR, as JPEG: for photographs and heatmaps.

        alts: what is to be seen, for those who do not see it; several mean as many panels of equal width, which stand
        side by side where there is room and below each other where there is not. Default: the caption.
        """
        panels = []
        alts = alts or (caption,)
        for part in np.array_split(image, len(alts), axis=1):
            good, data = cv2.imencode('.jpg', np.ascontiguousarray(part), [cv2.IMWRITE_JPEG_QUALITY, quality])
            if not good:
                raise ValueError(f'cannot encode an image of shape {image.shape}')
            panels.append(('jpeg', data.tobytes(), part.shape[1], part.shape[0]))
        self._figure(panels, caption, alts, '')

    def plot(self, png: bytes, caption: str = '', alt: str = '') -> None:
        """PNG bytes: for line drawings. alt: what it shows; default: the caption. Raises ValueError when it is none."""
        image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            raise ValueError('a plot must be a PNG image')
        self._figure([('png', png, image.shape[1], image.shape[0])], caption, (alt or caption,), 'plot')

    def _figure(self, panels: Sequence[tuple[str, bytes, int, int]], caption: str, alts: Sequence[str],
                kind: str) -> None:
        number = next(self._numbers)
        links = []
        for (image_type, data, width, height), alt in zip(panels, alts):
            source = f'data:image/{image_type};base64,{base64.b64encode(data).decode()}'
            size = f'width="{width}" height="{height}"'
            links.append(f'<a href="#figure-{number}" title="open larger"><img alt="{html.escape(alt)}" {size} '
                         f'src="{source}"></a>')
        css = f' class="{kind}"' if kind else ''
        self._parts.append(
            f'<div id="place-{number}"><figure id="figure-{number}"{css}>'
            f'<a class="close" href="#place-{number}">Back to the page</a><div class="panels">{"".join(links)}</div>'
            f'<figcaption>{html.escape(caption)}</figcaption></figure></div>')

    def render(self) -> str:
        """The whole document."""
        return ('<!doctype html><html lang="en"><head><meta charset="utf-8">'
                '<meta name="viewport" content="width=device-width,initial-scale=1">'
                f'<title>{html.escape(self._title)}</title><style>{STYLE}</style></head><body><main>'
                + '\n'.join(p for p in self._parts if p) + '</main></body></html>\n')

