# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A self-contained HTML page: text, tables and pictures in one file that can be mailed."""

from __future__ import annotations

import base64
import html

import cv2
import numpy as np

from attention_fusion_ros.utils.tables import Table

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#212529;max-width:1240px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin:0 0 .2rem}h2{font-size:1.15rem;margin:2rem 0 .5rem}p.lead{color:#868e96;margin:0 0 1rem}
p.warning{background:#fff3bf;border-left:4px solid #f59f00;padding:.5rem .8rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}th,td{padding:.25rem .8rem;text-align:left;
border-bottom:1px solid #e9ecef}th{font-weight:600;border-bottom:2px solid #ced4da}td.number{text-align:right}
img{max-width:100%;height:auto;display:block;margin:.4rem 0}figure{margin:0 0 1.2rem}
figcaption{color:#495057;font-size:.9rem}pre{background:#f8f9fa;padding:.7rem;overflow-x:auto}
.scroll{overflow-x:auto}
"""


class Page:
    """Collects the parts of a page, in order."""

    def __init__(self, title: str, lead: str = ''):
        self._title = title
        self._parts = [f'<h1>{html.escape(title)}</h1>', f'<p class="lead">{html.escape(lead)}</p>' if lead else '']

    def heading(self, text: str) -> None:
        """A section heading."""
        self._parts.append(f'<h2>{html.escape(text)}</h2>')

    def paragraph(self, text: str) -> None:
        """A paragraph of plain text."""
        self._parts.append(f'<p>{html.escape(text)}</p>')

    def warning(self, text: str) -> None:
        """A paragraph that must not be missed."""
        self._parts.append(f'<p class="warning">{html.escape(text)}</p>')

    def preformatted(self, text: str) -> None:
        """Text as printed on a terminal."""
        self._parts.append(f'<pre>{html.escape(text)}</pre>')

    def table(self, table: Table) -> None:
        """A table without its title and notes."""
        self._parts.append(f'<div class="scroll">{table.html()}</div>')

    def picture(self, image: np.ndarray, caption: str = '', quality: int = 88) -> None:
        """(H, W, 3) uint8 bgr as JPEG: for photographs and heatmaps."""
        good, data = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if not good:
            raise ValueError(f'cannot encode an image of shape {image.shape}')
        self._figure('jpeg', data.tobytes(), caption)

    def plot(self, png: bytes, caption: str = '') -> None:
        """PNG bytes: for line drawings."""
        self._figure('png', png, caption)

    def _figure(self, kind: str, data: bytes, caption: str) -> None:
        text = html.escape(caption)
        source = f'data:image/{kind};base64,{base64.b64encode(data).decode()}'
        self._parts.append(f'<figure><img alt="{text}" src="{source}"><figcaption>{text}</figcaption></figure>')

    def render(self) -> str:
        """The whole document."""
        return ('<!doctype html><html lang="en"><head><meta charset="utf-8">'
                '<meta name="viewport" content="width=device-width,initial-scale=1">'
                f'<title>{html.escape(self._title)}</title><style>{STYLE}</style></head><body>'
                + '\n'.join(p for p in self._parts if p) + '</body></html>\n')
