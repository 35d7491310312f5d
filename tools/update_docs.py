#!/usr/bin/env python3
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Write the generated parts of README.md and docs/: tables of inputs, outputs, parameters and commands, and results.

    python tools/update_docs.py                      write the tables of README.md, docs/inputs.md, docs/maps.md and
                                                     docs/reliability.md, and those and the plot of
                                                     docs/performance.md, which are made of
                                                     docs/results/performance.csv (`benchmark --ledger`)
    python tools/update_docs.py --check              fail when one of them is not what the source says
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

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import generated  # noqa: E402
from cloud_layouts import LAYOUTS, Layout  # noqa: E402
from performance_page import devices, draw, performance  # noqa: E402
from reasons import reasons  # noqa: E402
from reliability_tables import sections as reliability_sections  # noqa: E402

from attention_fusion_ros.__main__ import COMMANDS  # noqa: E402
from attention_fusion_ros.benchmarking import ledger  # noqa: E402
from attention_fusion_ros.config import IDENTITY_4X4, NodeConfig, ParameterInfo, parameters  # noqa: E402
from attention_fusion_ros.maps.config import MapSourceConfig  # noqa: E402
from attention_fusion_ros.maps.reasons import REASONS  # noqa: E402
from attention_fusion_ros.ros.map_source.inputs import MAP_INPUTS  # noqa: E402
from attention_fusion_ros.ros.map_source.outputs import MAP_OUTPUTS  # noqa: E402
from attention_fusion_ros.ros.outputs import DIAGNOSTICS, OUTPUTS, STAGES  # noqa: E402
from attention_fusion_ros.stream.inputs import INPUTS, InputSpec  # noqa: E402
from attention_fusion_ros.utils.tables import Table  # noqa: E402

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


def parameter_table(config_type: type = NodeConfig) -> str:
    """The table of parameters."""
    head = ('name', 'default', 'unit', 'bounds', 'read-only', 'description')
    return markdown(head, [parameter_row(info) for info in parameters(config_type)])


def map_inputs() -> str:
    """The table of inputs of map_source."""
    def row(spec: InputSpec) -> tuple[str, ...]:
        return (', '.join(f'`{t.topic}`' for t in spec.transports),
                ', '.join(t.replace('/msg/', '/') for t in spec.types), spec.note)
    return markdown(('topic', 'type', 'notes'), [row(spec) for spec in MAP_INPUTS])


def map_outputs() -> str:
    """The table of outputs of map_source."""
    rows = [(f'`{spec.name}`', spec.type, spec.description, spec.units) for spec in MAP_OUTPUTS]
    return markdown(('topic', 'type', 'content', 'unit'), rows)


def map_reasons() -> str:
    """The table of reasons of map_source."""
    return markdown(('reason', 'what it means'), [(f'`{name}`', text) for name, text in REASONS.items()])


def commands() -> str:
    """The table of commands."""
    return markdown(('command', 'what it does'), [(f'`{name}`', summary) for name, summary in COMMANDS.items()])


UNITS = {1.0: 's', 1e-6: 'us', 1e-9: 'ns'}


def layout_row(layout: Layout) -> tuple[str, ...]:
    """One line of the table of layouts."""
    fields = ', '.join(f'{name} {code}@{offset}' for name, code, offset in layout.fields)
    time = 'none'
    if layout.time is not None:
        name, unit, origin = layout.time
        time = f'`{name}`, {UNITS[unit]} {origin}'
    odd = [text for text, holds in ((f'row_step {layout.row_step}', layout.row_step != 'right'),
                                    ('count 0', layout.zero_counts), ('big-endian', layout.big_endian),
                                    ('organised', layout.rows), (layout.format, layout.format)) if holds]
    return (layout.driver, layout.version, layout.source, layout.type, f'`{fields}`, {layout.point_step} bytes',
            f'`{layout.intensity}`' if layout.intensity else 'none', time, layout.no_return, ', '.join(odd))


def layouts() -> str:
    """The table of the layouts of drivers."""
    head = ('driver', 'version', 'source', 'message', 'point', 'intensity', 'time of a point', 'no return', 'besides')
    return markdown(head, [layout_row(layout) for layout in LAYOUTS])


def reason_tables() -> str:
    """The tables of named reasons, one a part."""
    by_part: dict[str, list[tuple[str, ...]]] = {}
    for name, told in reasons().items():
        texts = ('<br>'.join(text.replace('|', '/').replace('<', '&lt;') for text in found)
                 for found in (told.causes, told.remedies))
        by_part.setdefault(told.part, []).append((f'`{name}`', *texts))
    return '\n\n'.join(f'### {part}\n\n{markdown(("reason", "what is wrong", "what to do"), rows)}'
                       for part, rows in by_part.items())


SECTIONS: dict[str, Callable[[], str]] = {
    'inputs': inputs, 'outputs': outputs, 'parameters': parameter_table, 'commands': commands}
MAP_SECTIONS: dict[str, Callable[[], str]] = {
    'map inputs': map_inputs, 'map outputs': map_outputs,
    'map parameters': lambda: parameter_table(MapSourceConfig), 'map reasons': map_reasons}
INPUT_SECTIONS: dict[str, Callable[[], str]] = {'layouts': layouts, 'reasons': reason_tables}


def section(page: str, name: str, content: str, option: str = '') -> str:
    """The page with `content` between the markers of a section.

    option: of this tool, named in the marker.

    Raises ValueError when the markers are not there once.
    """
    return generated.block(page, BEGIN.format(name, option), END.format(name), content)


def with_tables(page: str, sections: dict[str, Callable[[], str]] | None = None) -> str:
    """A page with every table put between its markers; default: those of README.md."""
    for name, make in (SECTIONS if sections is None else sections).items():
        page = section(page, name, make())
    return page


def with_ablation(page: str, folder: Path) -> str:
    """The page with the tables of an ablation."""
    tables = (folder / 'ablation.md').read_text().strip()
    content = f'![Every network of the comparison](images/ablation.png)\n\n{tables}'
    return section(page, 'ablation', content, ' --ablation')


def with_map_share(page: str, folder: Path) -> str:
    """The page with the tables of spoiled maps and of Grad-CAM."""
    for file, name in (('map_share', 'map share'), ('gradcam', 'gradcam')):
        page = section(page, name, (folder / f'{file}.md').read_text().strip(), ' --map-share')
    return page


def main(argv: list[str] | None = None) -> int:
    """Write or check; returns the exit status."""
    parser = generated.parser(__doc__)
    parser.add_argument('--ablation', type=Path, metavar='FOLDER', help='results of evaluate --ablation')
    parser.add_argument('--map-share', type=Path, metavar='FOLDER', help='results of evaluate --map-share --gradcam')
    parser.add_argument('--root', type=Path, default=generated.ROOT, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    readme, attention = options.root / 'README.md', options.root / 'docs' / 'attention.md'
    inputs_page, maps_page = options.root / 'docs' / 'inputs.md', options.root / 'docs' / 'maps.md'
    files = {readme: with_tables(readme.read_text()), inputs_page: with_tables(inputs_page.read_text(), INPUT_SECTIONS),
             maps_page: with_tables(maps_page.read_text(), MAP_SECTIONS)}
    reliability = options.root / 'docs' / 'reliability.md'
    files[reliability] = with_tables(reliability.read_text(), reliability_sections(options.root / 'docs/reliability'))
    page = attention.read_text()
    pictures = {}
    if options.ablation is not None:
        page = with_ablation(page, options.ablation)
        pictures['ablation.png'] = options.ablation
    if options.map_share is not None:
        page = with_map_share(page, options.map_share)
        pictures['gradcam.png'] = options.map_share
    files[attention] = page
    speed = options.root / 'docs' / 'performance.md'
    rows = ledger.read(options.root / 'docs' / 'results' / 'performance.csv')
    files[speed] = section(speed.read_text(), 'measurements', performance(rows))
    if not options.check:
        if devices(rows) and files[speed] != speed.read_text():
            (options.root / 'docs' / 'images' / 'performance.png').write_bytes(draw(rows))
        for name, folder in pictures.items():
            shutil.copyfile(folder / name, options.root / 'docs' / 'images' / name)
    return generated.write_or_check(files, options.check, 'python tools/update_docs.py')


if __name__ == '__main__':
    sys.exit(main())
