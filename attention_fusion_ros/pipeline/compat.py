# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`attention_fusion_ros.pipeline.FusionPipeline` for programs written for 0.1.0; new ones take that of the package."""

from __future__ import annotations

from attention_fusion_ros.contracts import FusionResult, MapImage, Motion, PointCloud, SyncedSweep
from attention_fusion_ros.pipeline import fusion


class FusionPipeline(fusion.FusionPipeline):
    """Takes a sweep in one piece, or in those of 0.1.0."""

    def run(self, sweep: SyncedSweep | PointCloud, map_image: MapImage | None = None, motion: Motion | None = None,
            map_reason: str = '') -> FusionResult:
        """See `fusion.FusionPipeline.run`. With a cloud as the first argument its motion must be given."""
        if isinstance(sweep, SyncedSweep):
            return super().run(sweep)
        if motion is None:
            raise TypeError('a cloud needs its motion')
        return super().run(SyncedSweep(sweep, motion, map_image, '' if map_image else map_reason or 'no_map'))
