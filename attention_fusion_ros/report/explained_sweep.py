# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The sweeps that a report looks at closely: their pictures, and attention beside Grad-CAM on common scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attention_fusion_ros.contracts import FusionResult
from attention_fusion_ros.report.attention_figure import attention_figure
from attention_fusion_ros.report.contact_sheet import contact_sheet
from attention_fusion_ros.report.explanation import Explanation
from attention_fusion_ros.report.records import SweepRecord
from attention_fusion_ros.report.run_report import Picture, describe, panel_alts
from attention_fusion_ros.utils import atomic
from attention_fusion_ros.visualization.colour import gradcam_scale
from attention_fusion_ros.visualization.panels import compose_picture

LEGEND = ('Left: LiDAR height. Middle: the map image as it was warped onto the sweep, LiDAR structure on top. Right: '
          'spatial attention on a logarithmic scale that is the same in every picture. The circle is the lookahead '
          'ring; green arrows are estimated branches (thick: the direction to take, brighter: more probable). Up is '
          'straight ahead.')
FIGURES_IN_PNG = 3


@dataclass(frozen=True)
class ExplainedSweep:
    """One sweep: its result, and the Grad-CAM (h, w) of its answer by stage (empty: no branch to explain)."""

    result: FusionResult
    maps: dict[str, np.ndarray]
    record: SweepRecord
    first_stamp_ns: int  # of the run, from which captions count

    @property
    def caption(self) -> str:
        """Time, mode, direction and how many branches."""
        return describe(self.record, self.first_stamp_ns)

    @property
    def explanation(self) -> Explanation:
        """What the answer rests on, in numbers."""
        return Explanation.of(self.result, self.maps)

    def picture(self) -> Picture:
        """LiDAR, map and attention."""
        return Picture(compose_picture(self.result), self.caption, panel_alts(self.record, self.first_stamp_ns))


def draw_figures(sweeps: Sequence[ExplainedSweep]) -> list[Picture]:
    """A figure a sweep with attention and Grad-CAM by stage; equal colours mean equal values in all of them."""
    scale = gradcam_scale(values for s in sweeps for values in s.maps.values())
    return [Picture(attention_figure(s.result, s.maps, s.explanation, scale=scale), s.caption, (_alt(s),))
            for s in sweeps]


def figure_sheet(pictures: Sequence[Picture]) -> np.ndarray:
    """Some of the figures, below each other -> (H, W, 3) uint8, BGR. Raises ValueError when there is none."""
    chosen = pictures[::-(-len(pictures) // FIGURES_IN_PNG)] if pictures else ()
    return contact_sheet([p.image for p in chosen], [p.caption for p in chosen], 1, chosen[0].image.shape[1]
                         if chosen else 1)


def write_figure_sheet(path: Path, pictures: Sequence[Picture]) -> None:
    """attention.png. Raises OSError when it cannot be written."""
    atomic.save_picture(path, figure_sheet(pictures))


def _alt(sweep: ExplainedSweep) -> str:
    explanation = sweep.explanation
    agreement = ', '.join(f'{stage} {a.spearman:+.2f}' for stage, a in explanation.agreement.items())
    compared = f'Rank correlation of attention and Grad-CAM: {agreement}.' if agreement else 'Nothing to compare.'
    return (f'{sweep.caption}: LiDAR, map, spatial attention and Grad-CAM of every stage, and the weight of every '
            f'fused channel. {compared}')
