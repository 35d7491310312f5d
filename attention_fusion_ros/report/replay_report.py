# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What `replay` writes: tables, the report, and attention beside Grad-CAM for the sweeps it pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attention_fusion_ros.config import NodeConfig, parameters
from attention_fusion_ros.report import attention_figure, explanation
from attention_fusion_ros.report.explained_sweep import LEGEND, ExplainedSweep, draw_figures, write_figure_sheet
from attention_fusion_ros.report.records import SweepRecord, write_branches, write_directions, write_reasons
from attention_fusion_ros.report.run_report import PictureSection, write_report
from attention_fusion_ros.stream.inputs import SWEEPS
from attention_fusion_ros.stream.recording import InputTopics
from attention_fusion_ros.utils.tables import Table


def write_replay(folder: Path, name: str, config: NodeConfig, topics: InputTopics, records: Sequence[SweepRecord],
                 shown: Sequence[ExplainedSweep], remedies: Mapping[str, str], warnings: Sequence[str]) -> None:
    """Write directions.csv, branches.csv, reasons.csv, report.html, report.png and, with explained sweeps,
    attention.{png,json}.

    name: of the recording.
    remedies: drop reason -> message of the first drop.

    Raises OSError when a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_directions(folder / 'directions.csv', records)
    write_branches(folder / 'branches.csv', records)
    write_reasons(folder / 'reasons.csv', records)
    tables = [Table('Inputs', ('input', 'topic'), [(spec.label, name or 'none') for spec, name in topics.selected()])]
    if remedies:
        tables.insert(0, Table('What was dropped, and what to do', ('reason', 'first message'),
                               list(remedies.items())))
    changed = [(p.name, _value(config, p.name), p.default) for p in parameters()
               if _value(config, p.name) != p.default]
    if changed:
        tables.append(Table('Parameters that differ from their default', ('parameter', 'value', 'default'), changed))
    sections = []
    if shown:
        explanations, figures = [s.explanation for s in shown], draw_figures(shown)
        sections.append(PictureSection('Attention and Grad-CAM', attention_figure.LEGEND, figures))
        tables.insert(0, Table('How attention and Grad-CAM agree', explanation.HEADER,
                               explanation.rows(explanations, records[0].stamp_ns)))
        explanation.write(folder / 'attention.json', explanations)
        write_figure_sheet(folder / 'attention.png', figures)
    write_report(folder, f'Replay of {name}', f'{len(records)} sweeps of {topics[SWEEPS]}', records,
                 [s.picture() for s in shown], tables, warnings, LEGEND, sections=sections,
                 spatial=shown[0].result.attention.spatial if shown else None)


def _value(config: NodeConfig, dotted: str) -> Any:
    value: Any = config
    for part in dotted.split('.'):
        value = getattr(value, part)
    return value
