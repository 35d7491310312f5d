# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`read_recordings` for programs written for 0.1.0; `datasets.recorded` keeps what it makes on disk."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.datasets.recorded import LabelOptions, find_recordings, label_recordings
from attention_fusion_ros.datasets.recorded_shards import RecordedScene


def read_recordings(folder: Path, config: NodeConfig, grid: Grid, lookahead: float, every: int = 1
                    ) -> list[RecordedScene]:
    """Every labelled sweep of every recording below a folder, in memory. Raises as `find_recordings` and
    `label_recordings` do.
    """
    with TemporaryDirectory(prefix='attention_fusion_') as cache:
        store, _ = label_recordings(find_recordings(folder), Path(cache), config, LabelOptions(grid, lookahead, every))
        return [store[index] for index in range(len(store))]
