# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""How well a network's own attention agrees with Grad-CAM, sweep by sweep."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from attention_fusion_ros.bev.lidar import CHANNELS
from attention_fusion_ros.contracts import READING, SELECTION, FusionResult
from attention_fusion_ros.metrics.agreement import Agreement, agreement
from attention_fusion_ros.utils import atomic
from attention_fusion_ros.visualization.panels import finest

DENSITY = CHANNELS.index('density')


@dataclass(frozen=True)
class Explanation:
    """What one sweep's answer rests on, in numbers."""

    stamp_ns: int
    mode: str
    explained: str  # 'direction' or 'most probable branch'; '' when there was no branch
    lidar_share: float
    map_share: float
    channels: dict[str, float]  # label -> weight
    agreement: dict[str, Agreement]  # name in `Attention.spatial` -> it against `beside`, over visible cells

    @staticmethod
    def of(result: FusionResult, maps: dict[str, np.ndarray]) -> Explanation:
        """maps: the Grad-CAM of every stage, `FusionPipeline.explain`."""
        attention = result.attention
        explained = ('direction' if result.direction is not None else 'most probable branch') if maps else ''
        return Explanation(
            result.stamp_ns, result.mode.value, explained, float(attention.lidar_share), float(attention.map_share),
            {label: float(weight) for label, weight in zip(attention.channel_labels, attention.channel)},
            agreements(result, maps))


def agreements(result: FusionResult, maps: dict[str, np.ndarray]) -> dict[str, Agreement]:
    """Name -> agreement of spatial attention and its Grad-CAM, see `beside`, over the cells that the LiDAR has seen."""
    found = {}
    for name, cam in beside(result, maps).items():
        weights = result.attention.spatial.get(name)
        if weights is not None:
            seen = visible(result, cam.shape)
            if seen.any():
                found[name] = agreement(weights[seen], cam[seen])
    return found


def over_places(result: FusionResult) -> str:
    """Which spatial attention is published although it is no stage's: READING or SELECTION; '' where there is none."""
    return next((name for name in (READING, SELECTION) if name in result.attention.spatial), '')


def beside(result: FusionResult, maps: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Name in `Attention.spatial` -> the Grad-CAM (h, w) to compare it with, on the same cells.

    maps: the Grad-CAM of every stage, which are returned as they are. For attention over places, which is no stage's,
    it is that of the finest stage, resampled to its cells.
    """
    name, cam = over_places(result), finest(maps)
    if not name or cam is None:
        return maps
    shape = result.attention.spatial[name].shape
    return {name: np.asarray(cv2.resize(cam.astype(np.float32), shape[::-1], interpolation=cv2.INTER_LINEAR)), **maps}


def visible(result: FusionResult, shape: tuple[int, int]) -> np.ndarray:
    """`shape` bool: the cells of a stage in which there is any LiDAR return."""
    density = result.lidar_bev[DENSITY]
    (H, W), (h, w) = density.shape, shape
    return np.asarray((density > 0).reshape(h, H // h, w, W // w).any(axis=(1, 3)))


HEADER = ('sweep [s]', 'mode', 'explained', 'LiDAR share', 'map share', 'stage', 'Pearson', 'Spearman',
          'IoU of top 10 %')


def rows(explanations: Sequence[Explanation], first_stamp_ns: int) -> list[tuple[str, ...]]:
    """A row a sweep and stage, then the means of every stage; cells as in HEADER."""
    table = []
    for e in explanations:
        head = (f'{(e.stamp_ns - first_stamp_ns) / 1e9:.1f}', e.mode, e.explained or 'nothing', f'{e.lidar_share:.3f}',
                f'{e.map_share:.3f}')
        table += [(*head, stage, *_cells(a)) for stage, a in e.agreement.items()] or [(*head, '-', '-', '-', '-')]
    for stage, mean in means(explanations).items():
        lidar, of_map = (np.mean([getattr(e, name) for e in explanations]) for name in ('lidar_share', 'map_share'))
        table.append(('mean', '', '', f'{lidar:.3f}', f'{of_map:.3f}', stage, *_cells(mean)))
    return table


def means(explanations: Sequence[Explanation]) -> dict[str, Agreement]:
    """Stage -> mean agreement over the sweeps in which it is defined; NaN where it never is."""
    stages = dict.fromkeys(stage for e in explanations for stage in e.agreement)
    return {stage: Agreement(*(_mean([getattr(e.agreement[stage], name) for e in explanations if stage in e.agreement])
                               for name in ('pearson', 'spearman', 'top_iou'))) for stage in stages}


def write(path: Path, explanations: Sequence[Explanation]) -> None:
    """attention.json: every sweep with shares, channel weights and agreement, and the means. NaN becomes null."""
    content = {'sweeps': [_plain(asdict(e)) for e in explanations],
               'mean_agreement': {stage: _plain(asdict(a)) for stage, a in means(explanations).items()}}
    atomic.write_text(path, json.dumps(content, indent=1, allow_nan=False) + '\n')


def _mean(values: Sequence[float]) -> float:
    known = [v for v in values if math.isfinite(v)]
    return float(np.mean(known)) if known else math.nan


def _cells(a: Agreement) -> tuple[str, ...]:
    return tuple('-' if math.isnan(v) else f'{v:.2f}' for v in (a.pearson, a.spearman, a.top_iou))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
