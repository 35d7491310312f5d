# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The pipeline over many sweeps that do not follow each other: its three parts, with the network over batches."""

from __future__ import annotations

from collections.abc import Sequence

from attention_fusion_ros.backends.threads import torch_threads
from attention_fusion_ros.contracts import FusionResult
from attention_fusion_ros.kernels import chosen
from attention_fusion_ros.pipeline.contribution import contribution_heat
from attention_fusion_ros.pipeline.fusion import FusionPipeline
from attention_fusion_ros.pipeline.gradcam import ExplanationContext
from attention_fusion_ros.pipeline.postprocess import fusion_result
from attention_fusion_ros.pipeline.preprocess import Features
from attention_fusion_ros.utils.tensors import stacked
from attention_fusion_ros.utils.torch_later import without_gradients


class BatchedPipeline(FusionPipeline):
    """Features first, with `preprocess`, then `results` of many of them.

    Equal to `run` on every single sweep without odometry (nothing is accumulated).
    """

    @without_gradients
    def results(self, features: Sequence[Features], batch: int = 16) -> list[FusionResult]:
        """The result of every sweep, in order. batch: sweeps that the network is given at once."""
        found = []
        with chosen(self.config.kernels), torch_threads(self.backend.threads):
            for start in range(0, len(features), batch):
                part = features[start:start + batch]
                output = self.backend.infer(stacked([f.lidar for f in part]),
                                            stacked([f.map.grid for f in part]))
                for k, f in enumerate(part):
                    context = ExplanationContext(f.lidar, f.map.grid)
                    found.append(fusion_result(f, output.only(k), self.backend.model, self.config, context=context,
                                               heat=contribution_heat(self.backend, context)))
        return found
