# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which networks are compared: every attention mechanism in its place, one change at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from attention_fusion_ros.config import unknown_name
from attention_fusion_ros.network.config import mechanism
from attention_fusion_ros.studies.ablation.table import Hypothesis

NONE = mechanism('none')
CAM = mechanism('cbam_channel', reduction=16)
SAM = mechanism('cbam_spatial', kernel=7, bias=True)
TIME_STEPS = 4


def _cbam(order: str) -> dict[str, Any]:
    return mechanism('cbam', order=order, spatial={'kernel': 7, 'bias': True})


@dataclass(frozen=True)
class Row:
    """One network of the comparison."""

    key: str  # on the command line and in file names
    title: str
    where: str  # which slots of NetworkConfig differ from plain concatenation
    network: dict[str, Any] = field(default_factory=dict)  # entries of NetworkConfig
    against: str | None = None  # the row from which this one differs by one change


def _row(key: str, title: str, where: str, against: str | None, fusion: dict[str, Any] = NONE,
         stage: dict[str, Any] = NONE, **more: Any) -> Row:
    return Row(key, title, where, {'fusion': fusion, 'stage_attention': stage, **more}, against)


ROWS = {row.key: row for row in (
    _row('none', 'concatenation', '-', None),
    _row('se', 'SE', 'fusion', 'none', mechanism('se', reduction=16)),
    _row('eca', 'ECA', 'fusion', 'none', mechanism('eca')),
    _row('cam_avg', 'CAM, avg only', 'fusion', 'none', mechanism('cbam_channel', reduction=16, pools=['avg'])),
    _row('cam', 'CAM, avg + max', 'fusion', 'cam_avg', CAM),
    _row('sam3', 'CAM + SAM 3x3', 'fusion, stages', 'cam', CAM, mechanism('cbam_spatial', kernel=3, bias=True)),
    _row('sam7', 'CAM + SAM 7x7', 'fusion, stages', 'cam', CAM, SAM),
    _row('channel_first', 'CBAM, channel first', 'CAM at fusion, CBAM in stages', 'sam7', CAM, _cbam('channel_first')),
    _row('spatial_first', 'CBAM, spatial first', 'CAM at fusion, CBAM in stages', 'channel_first', CAM,
         _cbam('spatial_first')),
    _row('parallel', 'CBAM, parallel', 'CAM at fusion, CBAM in stages', 'channel_first', CAM, _cbam('parallel')),
    _row('bam', 'BAM', 'CAM at fusion, BAM in stages', 'cam', CAM, mechanism('bam', reduction=16, dilation=4)),
    _row('sk', 'SK', 'as CAM + SAM 7x7, SK in the LiDAR encoder', 'sam7', CAM, SAM, encoder_attention=mechanism('sk')),
    _row('coordinate', 'coordinate', 'CAM at fusion, coordinate in stages', 'cam', CAM, mechanism('coordinate')),
    _row('sca', 'SCA', 'CAM at fusion, SCA in stages', 'cam', CAM, mechanism('sca')),
    _row('stn', 'STN on', 'as CAM + SAM 7x7, STN on the map', 'sam7', CAM, SAM, map_registration=mechanism('stn')),
    _row('place', 'place attention', 'as CAM + SAM 7x7, all that the head is told', 'sam7', CAM, SAM,
         reading=mechanism('place_attention', heads=24)),
    _row('time4', 'time steps 4', 'as CAM + SAM 7x7, temporal after the encoder', 'sam7', CAM, SAM,
         temporal=mechanism('temporal'), time_steps=TIME_STEPS),
)}


def chosen(keys: list[str]) -> list[Row]:
    """These rows in the order of ROWS, all when there are none. Raises ConfigurationError for an unknown key."""
    for key in keys:
        if key not in ROWS:
            raise unknown_name(key, ROWS)
    return [row for key, row in ROWS.items() if not keys or key in keys]

HYPOTHESES = (
    Hypothesis('weighing channels helps', 'SE', 'se', 'none'),
    Hypothesis('a convolution over channels does better than the layers of SE', 'ECA', 'eca', 'se'),
    Hypothesis('maxima beside means help', 'CBAM, table 1', 'cam', 'cam_avg'),
    Hypothesis('means and maxima do better than SE', 'CBAM, table 1', 'cam', 'se'),
    Hypothesis('spatial attention after channel attention helps', 'CBAM, table 2', 'sam7', 'cam'),
    Hypothesis('7x7 does better than 3x3', 'CBAM, table 2', 'sam7', 'sam3'),
    Hypothesis('channel first does better than spatial first', 'CBAM, table 3', 'channel_first', 'spatial_first'),
    Hypothesis('channel first does better than parallel', 'CBAM, table 3', 'channel_first', 'parallel'),
    Hypothesis('attention between stages helps', 'BAM', 'bam', 'cam'),
    Hypothesis('CBAM does better than BAM', '-', 'channel_first', 'bam'),
    Hypothesis('a choice of receptive fields helps', 'SKNet', 'sk', 'sam7'),
    Hypothesis('coordinate attention does better than CBAM', 'coordinate attention', 'coordinate', 'channel_first'),
    Hypothesis('attention that another input asks for helps', 'SCA-CNN', 'sca', 'cam'),
    Hypothesis('registration by a transformer helps', 'STN', 'stn', 'sam7'),
    Hypothesis('past time steps help', '-', 'time4', 'sam7'),
    Hypothesis('spatial attention leaves vehicles alone', '-', 'sam7', 'cam', 'vehicle_invariance'),
)
