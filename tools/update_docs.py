#!/usr/bin/env python3
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Write the parameter table of README.md from the one source of the parameters, and measured tables into the docs.

    python tools/update_docs.py                      write the parameter table
    python tools/update_docs.py --check              fail when README.md is not what the source says
    python tools/update_docs.py --ablation FOLDER    put what `evaluate --ablation --out FOLDER` wrote into
                                                     docs/attention.md
    python tools/update_docs.py --map-share FOLDER   the same for `evaluate --map-share N --gradcam N --out FOLDER`
"""
from __future__ import annotations

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from attention_fusion_ros.config import IDENTITY_4X4, ParameterInfo, parameters  # noqa: E402
from attention_fusion_ros.utils.tables import Table  # noqa: E402

README = ROOT / 'README.md'
BEGIN, END = '<!-- parameters: made by tools/update_docs.py -->', '<!-- end of parameters -->'
ATTENTION, IMAGES = ROOT / 'docs' / 'attention.md', ROOT / 'docs' / 'images'
ABLATION_BEGIN, ABLATION_END = '<!-- ablation: made by tools/update_docs.py --ablation -->', '<!-- end of ablation -->'

GRADCAM_BEGIN, GRADCAM_END = '<!-- gradcam: made by tools/update_docs.py --map-share -->', '<!-- end of gradcam -->'
SHARE_BEGIN, SHARE_END = '<!-- map share: made by tools/update_docs.py --map-share -->', '<!-- end of map share -->'


def row(info: ParameterInfo) -> tuple[str, ...]:
    """The cells of one parameter."""
    if info.default == IDENTITY_4X4:
        default = 'identity'
    elif isinstance(info.default, float):
        default = f'{info.default:.4g}'
    else:
        default = str(info.default).lower() if isinstance(info.default, bool) else str(info.default)
    if info.choices:
        bounds = ', '.join(info.choices)
    elif info.low is not None:
        bounds = f'{info.low:g} .. {info.high:g}'
    else:
        bounds = ''
    fixed = 'yes' if info.read_only else ''
    return f'`{info.name}`', f'`{default}`' if default else '(empty)', info.unit, bounds, fixed, info.description


def table() -> str:
    """The whole table."""
    header = ('name', 'default', 'unit', 'bounds', 'read-only', 'what it does')
    return Table('', header, [row(info) for info in parameters()]).markdown_grid()


def between(text: str, begin: str, end: str, content: str) -> str:
    """The text with `content` put between its markers."""
    before, rest = text.split(begin)
    _, after = rest.split(end)
    return f'{before}{begin}\n{content}\n{end}{after}'


def updated(text: str) -> str:
    """README text with the table put between its markers."""
    return between(text, BEGIN, END, table())


def write_ablation(folder: Path) -> None:
    """Tables and picture of an ablation into the docs."""
    shutil.copyfile(folder / 'ablation.png', IMAGES / 'ablation.png')
    tables = (folder / 'ablation.md').read_text().strip()
    content = f'![Every network of the comparison](images/ablation.png)\n\n{tables}'
    ATTENTION.write_text(between(ATTENTION.read_text(), ABLATION_BEGIN, ABLATION_END, content))


def write_map_share(folder: Path) -> None:
    """The tables of spoiled maps and of Grad-CAM into the docs."""
    shutil.copyfile(folder / 'gradcam.png', IMAGES / 'gradcam.png')
    text = ATTENTION.read_text()
    for name, begin, end in (('map_share', SHARE_BEGIN, SHARE_END), ('gradcam', GRADCAM_BEGIN, GRADCAM_END)):
        text = between(text, begin, end, (folder / f'{name}.md').read_text().strip())
    ATTENTION.write_text(text)


def main() -> int:
    text = README.read_text()
    if '--check' in sys.argv[1:]:
        if updated(text) != text:
            print('README.md: the parameter table is out of date; run python tools/update_docs.py', file=sys.stderr)
            return 1
        return 0
    if '--ablation' in sys.argv[1:]:
        write_ablation(Path(sys.argv[sys.argv.index('--ablation') + 1]))
    if '--map-share' in sys.argv[1:]:
        write_map_share(Path(sys.argv[sys.argv.index('--map-share') + 1]))
    README.write_text(updated(text))
    return 0


if __name__ == '__main__':
    sys.exit(main())
