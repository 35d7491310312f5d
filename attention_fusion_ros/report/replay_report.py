# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What `replay` writes: tables, the report, and attention beside Grad-CAM for the sweeps it pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from attention_fusion_ros.config import NodeConfig, parameters
from attention_fusion_ros.contracts import FusionResult
from attention_fusion_ros.report import attention_figure, explanation
from attention_fusion_ros.report.contact_sheet import contact_sheet
from attention_fusion_ros.report.explanation import Explanation
from attention_fusion_ros.report.records import SweepRecord, write_branches, write_directions
from attention_fusion_ros.report.run_report import Picture, Section, write_report
from attention_fusion_ros.stream.inputs import SWEEPS
from attention_fusion_ros.stream.recording import InputTopics
from attention_fusion_ros.utils.tables import Table
from attention_fusion_ros.visualization.panels import compose_picture

LEGEND = ('Left: LiDAR height. Middle: the map image as it was warped onto the sweep, walls on top. Right: spatial '
          'attention. The circle is the lookahead ring; green arrows are estimated branches (thick: the direction to '
          'take, brighter: more probable). Up is straight ahead.')
FIGURES_IN_PNG = 6


@dataclass(frozen=True)
class ExplainedSweep:
    """A sweep that the report looks at closely."""

    picture: Picture
    figure: Picture  # attention and Grad-CAM
    explanation: Explanation

    @staticmethod
    def of(result: FusionResult, gradcams: dict[str, Any], caption: str) -> ExplainedSweep:
        """Draw a sweep and its attention.

        gradcams: stage name -> (h, w) Grad-CAM of that stage.
        """
        details = Explanation.of(result, gradcams)
        return ExplainedSweep(Picture(compose_picture(result, 420), caption),
                              Picture(attention_figure.attention_figure(result, gradcams, details), caption), details)


def write_replay(folder: Path, name: str, config: NodeConfig, topics: InputTopics, records: Sequence[SweepRecord],
                 shown: Sequence[ExplainedSweep], remedies: Mapping[str, str], warnings: Sequence[str]) -> None:
    """Write directions.csv, branches.csv, report.html, report.png and, with explained sweeps, attention.{png,json}.

    name: of the recording.
    remedies: drop reason -> message of the first drop.

    Raises OSError when a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_directions(folder / 'directions.csv', records)
    write_branches(folder / 'branches.csv', records)
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
        explanations = [s.explanation for s in shown]
        sections.append(Section('Attention and Grad-CAM', attention_figure.LEGEND, [s.figure for s in shown]))
        tables.insert(0, Table('How attention and Grad-CAM agree', explanation.HEADER,
                               explanation.rows(explanations, records[0].stamp_ns)))
        explanation.write(folder / 'attention.json', explanations)
        figures = [s.figure for s in shown[::-(-len(shown) // FIGURES_IN_PNG)]]
        sheet = contact_sheet([f.image for f in figures], [f.caption for f in figures], 2, 1000)
        if not cv2.imwrite(str(folder / 'attention.png'), sheet):
            raise OSError(f"cannot write {folder / 'attention.png'}")
    write_report(folder, f'Replay of {name}', f'{len(records)} sweeps of {topics[SWEEPS]}', records,
                 [s.picture for s in shown], tables, warnings, LEGEND, sections=sections)


def _value(config: NodeConfig, dotted: str) -> Any:
    value: Any = config
    for part in dotted.split('.'):
        value = getattr(value, part)
    return value
