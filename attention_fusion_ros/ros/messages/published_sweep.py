# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What encoders are given: a result and the sweep it was made from; shared parts are computed once, on demand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from attention_fusion_ros.contracts import FusionResult, SyncedSweep
from attention_fusion_ros.visualization.panels import gradcam_heatmap, spatial_heatmap


@dataclass(frozen=True)
class PublishedSweep:
    """A result with its sweep.

    explain: Grad-CAM (h, w) by stage of the result; costs a run with gradients. {} when there is nothing to explain.
    """

    result: FusionResult
    sweep: SyncedSweep
    explain: Callable[[FusionResult], dict[str, np.ndarray]]

    @cached_property
    def heatmap(self) -> np.ndarray:
        """(H, W) float32 in 0..1, spatial attention on the BEV grid. Several topics show it."""
        return spatial_heatmap(self.result)

    @cached_property
    def gradcam(self) -> np.ndarray | None:
        """(H, W) float32 in 0..1 on the grid of `heatmap`, None when there is nothing to explain."""
        maps = self.explain(self.result)
        return gradcam_heatmap(self.result, maps) if maps else None
