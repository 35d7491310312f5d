#!/usr/bin/env python3
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Write the generated parts of README.md and docs/: tables of inputs, outputs, parameters and commands, and results.

    python tools/update_docs.py                      write the tables of README.md
    python tools/update_docs.py --check              fail when README.md is not what the source says
    python tools/update_docs.py --ablation FOLDER    put what `evaluate --ablation --out FOLDER` wrote into
                                                     docs/attention.md
    python tools/update_docs.py --map-share FOLDER   the same for `evaluate --map-share N --gradcam N --out FOLDER`
"""
from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from attention_fusion_ros.__main__ import COMMANDS  # noqa: E402
from attention_fusion_ros.config import IDENTITY_4X4, ParameterInfo, parameters  # noqa: E402
from attention_fusion_ros.stream.inputs import INPUTS  # noqa: E402
from attention_fusion_ros.utils.tables import Table  # noqa: E402

try:
    from attention_fusion_ros.ros.outputs import DIAGNOSTICS, OUTPUTS, STAGES
except ImportError:
    OUTPUTS = ()

README = ROOT / 'README.md'
ATTENTION, IMAGES = ROOT / 'docs' / 'attention.md', ROOT / 'docs' / 'images'
BEGIN, END = '<!-- {}: made by tools/update_docs.py{} -->', '<!-- end of {} -->'


def markdown(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    return Table('', header, rows).markdown_grid()


def inputs() -> str:
    """The table of inputs."""
    rows = [(', '.join(f'`{t.topic}`' for t in spec.transports), ', '.join(t.replace('/msg/', '/') for t in spec.types),
             'yes' if spec.required else 'no', spec.note) for spec in INPUTS]
    return markdown(('topic', 'type', 'required', 'notes'), rows)


def outputs() -> str:
    """The table of outputs; the durations of the stages share a row."""
    rows = [(f'`{spec.name}`', spec.type, spec.description, spec.units) for spec in OUTPUTS if not spec.stage]
    first = next(spec for spec in OUTPUTS if spec.stage)
    stages = '; '.join(f'{stage}: {meaning}' for stage, meaning in STAGES.items())
    rows.append((f"`{first.name.replace(first.stage, '<stage>')}`", first.type, f'Durations. {stages}.', first.units))
    rows.append((f'`{DIAGNOSTICS.name}`', DIAGNOSTICS.type, DIAGNOSTICS.description, DIAGNOSTICS.units))
    return markdown(('topic', 'type', 'content', 'unit'), rows)


def parameter_row(info: ParameterInfo) -> tuple[str, ...]:
    """One line of the table of parameters."""
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


def parameter_table() -> str:
    """The table of parameters."""
    head = ('name', 'default', 'unit', 'bounds', 'read-only', 'description')
    return markdown(head, [parameter_row(info) for info in parameters()])


def commands() -> str:
    """The table of commands."""
    return markdown(('command', 'what it does'), [(f'`{name}`', summary) for name, summary in COMMANDS.items()])


SECTIONS: dict[str, Callable[[], str]] = {
    'inputs': inputs, 'outputs': outputs, 'parameters': parameter_table, 'commands': commands}


def between(text: str, name: str, content: str, option: str = '') -> str:
    """The text with `content` between the markers of a section.

    option: of this tool, named in the marker.

    Raises ValueError when the markers are not there once.
    """
    begin, end = BEGIN.format(name, option), END.format(name)
    before, rest = text.split(begin)
    _, after = rest.split(end)
    return f'{before}{begin}\n{content}\n{end}{after}'


def updated(text: str) -> str:
    """README text with every table put between its markers."""
    for name, make in SECTIONS.items():
        if name == 'outputs' and not OUTPUTS:
            continue
        text = between(text, name, make())
    return text


def write_ablation(folder: Path) -> None:
    """Tables and picture of an ablation into the docs."""
    shutil.copyfile(folder / 'ablation.png', IMAGES / 'ablation.png')
    tables = (folder / 'ablation.md').read_text().strip()
    content = f'![Every network of the comparison](images/ablation.png)\n\n{tables}'
    ATTENTION.write_text(between(ATTENTION.read_text(), 'ablation', content, ' --ablation'))


def write_map_share(folder: Path) -> None:
    """The tables of spoiled maps and of Grad-CAM into the docs."""
    shutil.copyfile(folder / 'gradcam.png', IMAGES / 'gradcam.png')
    text = ATTENTION.read_text()
    for file, name in (('map_share', 'map share'), ('gradcam', 'gradcam')):
        text = between(text, name, (folder / f'{file}.md').read_text().strip(), ' --map-share')
    ATTENTION.write_text(text)


def main(argv: list[str] | None = None) -> int:
    """Write or check; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--check', action='store_true', help='write nothing, fail when README.md is out of date')
    parser.add_argument('--ablation', type=Path, metavar='FOLDER', help='results of evaluate --ablation')
    parser.add_argument('--map-share', type=Path, metavar='FOLDER', help='results of evaluate --map-share --gradcam')
    options = parser.parse_args(argv)
    text = README.read_text()
    new = updated(text)
    if options.check:
        if new != text:
            print('README.md is out of date: run python tools/update_docs.py', file=sys.stderr)
            return 1
        return 0
    if options.ablation is not None:
        write_ablation(options.ablation)
    if options.map_share is not None:
        write_map_share(options.map_share)
    README.write_text(new)
    return 0


if __name__ == '__main__':
    sys.exit(main())
