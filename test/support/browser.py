# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A page as a headless browser lays it out."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

BROWSERS = ('chromium', 'chromium-browser', 'google-chrome')
QUIET = ('--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
         '--disable-background-networking', '--disable-component-update', '--disable-sync')

# Runs beside the page, which stands in a frame of the given width: a window cannot be made as narrow everywhere.
MEASURE = """
const ratio = (a, b) => { const [x, y] = [a, b].map(c => { const [r, g, b] = c.map(v => { v /= 255;
  return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; });
  return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05); };
const parts = css => css.match(/[\\d.]+/g).map(Number);
const paper = (view, e) => { for (; e; e = e.parentElement) { const c = parts(view.getComputedStyle(e).backgroundColor);
  if (c.length == 3 || c[3] > 0) return c.slice(0, 3); } return [255, 255, 255]; };
const box = e => { const r = e.getBoundingClientRect(); return [r.left, r.top, r.width, r.height]; };
window.addEventListener('load', () => setTimeout(() => {
  const frame = document.querySelector('iframe'), page = frame.contentDocument, view = frame.contentWindow;
  const found = {width: view.innerWidth, scrollWidth: page.documentElement.scrollWidth};
  const images = [...page.images];
  found.images = images.map(i => ({natural: i.naturalWidth, alt: i.alt, box: box(i)}));
  found.contrast = [...page.querySelectorAll('main *')].filter(e => [...e.childNodes].some(
    n => n.nodeType == 3 && n.textContent.trim())).map(e => [e.tagName, ratio(
    parts(view.getComputedStyle(e).color).slice(0, 3), paper(view, e))]);
  const first = page.querySelectorAll('figure a:not(.close)')[1] || page.querySelector('figure a:not(.close)');
  first.click();
  setTimeout(() => {
    found.larger = box(first.querySelector('img'));
    found.position = view.getComputedStyle(first.closest('figure')).position;
    first.closest('figure').querySelector('.close').click();
    setTimeout(() => {
      found.after = view.getComputedStyle(first.closest('figure')).position;
      const answer = document.body.appendChild(document.createElement('pre'));
      answer.id = 'measured';
      answer.textContent = JSON.stringify(found);
    }, 100); }, 100); }, 100));
"""


def find_browser() -> str | None:
    """Path of a browser that can run without a display, or None."""
    return next((path for path in map(shutil.which, BROWSERS) if path), None)


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """Address at which the files of the folder are to be had on this machine."""
    with ThreadingHTTPServer(('127.0.0.1', 0), partial(_Silent, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f'http://127.0.0.1:{server.server_port}'
        finally:
            server.shutdown()


def measure(browser: str, page: str, width: int, folder: Path) -> dict[str, Any]:
    """What the script above finds in a page (HTML) that is `width` pixels wide; folder: for temporary files.

    Raises RuntimeError when the browser gives no answer.
    """
    (folder / 'page.html').write_text(page, encoding='utf-8')
    (folder / 'wrapper.html').write_text(
        f'<!doctype html><html><body style="margin:0"><iframe style="border:0;width:{width}px;height:900px" '
        f'src="page.html"></iframe><script>{MEASURE}</script></body></html>')
    with _served(folder) as address:  # two files are two origins, unless a server gives them
        done = subprocess.run(
            [browser, *QUIET, f'--user-data-dir={folder / "profile"}', '--window-size=1500,1000',
             '--virtual-time-budget=5000', '--dump-dom', f'{address}/wrapper.html'],
            capture_output=True, text=True, timeout=120)
    answer = re.search(r'<pre id="measured">(.*?)</pre>', done.stdout, re.DOTALL)
    if answer is None:
        raise RuntimeError(f'{browser} gave no answer: {done.stderr[-500:]}')
    return json.loads(html.unescape(answer[1]))
