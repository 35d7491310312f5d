# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The node's pipeline over many sweeps at once: same features, same network, same decoding, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attention_fusion_ros.config import MapConfig
from attention_fusion_ros.contracts import FusionResult, Mode, SyncedSweep
from attention_fusion_ros.network.model import NetworkOutput
from attention_fusion_ros.pipeline.fusion import FusionPipeline
from attention_fusion_ros.pipeline.postprocess import decode_head


@dataclass(frozen=True)
class MapFeatures:
    """A map on the grid, or none."""

    grid: Tensor  # (3, H, W)
    mode: Mode
    reason: str


@dataclass(frozen=True)
class Sample:
    """One sweep's features. Features may be shared between samples."""

    stamp_ns: int
    lidar: Tensor  # (5, H, W)
    map: MapFeatures


class BatchedPipeline(FusionPipeline):
    """`FusionPipeline` whose sweeps do not follow each other: features first, then the network over batches of them.

    Equal to `run` on every single sweep (sweeps are not accumulated).
    """

    @torch.inference_mode()
    def lidar_features(self, sweep: SyncedSweep) -> Tensor:
        """(5, H, W) as `run` makes them. Raises InputError as `run` does."""
        return self._lidar_bev(sweep.cloud, sweep.motion, remember=False)

    @torch.inference_mode()
    def map_features(self, sweep: SyncedSweep, layout: MapConfig | None = None) -> MapFeatures:
        """The map as `run` sees it. layout: how it lies, default as configured."""
        if layout is not None and layout != self.config.map:
            self.update(replace(self.config, map=layout))
        return MapFeatures(*self._map_bev(sweep.map_image, sweep.motion, sweep.map_reason))

    @torch.inference_mode()
    def answer(self, samples: Sequence[Sample], batch: int = 16) -> list[FusionResult]:
        """The result of every sample, in order."""
        results = []
        for start in range(0, len(samples), batch):
            part = samples[start:start + batch]
            lidar, maps = (torch.stack(grids).contiguous(memory_format=torch.channels_last)
                           for grids in ([s.lidar for s in part], [s.map.grid for s in part]))
            output = self._network(lidar, maps)
            results += [self._result(s, output.only(k)) for k, s in enumerate(part)]
        return results

    def _result(self, sample: Sample, output: NetworkOutput) -> FusionResult:
        answer = decode_head(output.head[0].float().cpu().numpy(), float(output.no_direction[0]),
                             sample.map.mode is Mode.FUSED, self._calibration, self.config.branches)
        return FusionResult(
            stamp_ns=sample.stamp_ns, mode=sample.map.mode, reason=sample.map.reason, lookahead=self.config.lookahead,
            branches=answer.branches, direction=answer.direction, direction_reason=answer.direction_reason,
            distribution=answer.distribution, attention=self._attention(output), lidar_bev=sample.lidar.cpu().numpy(),
            map_bev=sample.map.grid.cpu().numpy(), extent=self.grid.extent, trained=self.trained,
            alignment=self._alignment(output, sample.map.mode))
