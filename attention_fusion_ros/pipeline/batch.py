# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The pipeline over many sweeps that do not follow each other: its three parts, with the network over batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from attention_fusion_ros.backends.base import Backend
from attention_fusion_ros.backends.create import create_backend
from attention_fusion_ros.backends.threads import torch_threads
from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.contracts import FusionResult
from attention_fusion_ros.pipeline.fusion import check_lookahead
from attention_fusion_ros.pipeline.gradcam import ExplanationContext, explain
from attention_fusion_ros.pipeline.postprocess import fusion_result
from attention_fusion_ros.pipeline.preprocess import Features, Preprocessor


class BatchedPipeline:
    """Features first, with `preprocess`, then `results` of many of them.

    Equal to `FusionPipeline.run` on every single sweep without odometry (nothing is accumulated).
    """

    def __init__(self, config: NodeConfig, backend: Backend | None = None):
        """Raises ConfigurationError when the backend, the checkpoint or the device cannot be used."""
        self.config = config
        self.backend = backend or create_backend(config)
        check_lookahead(config, self.backend)
        network = self.backend.model.network
        self.grid = Grid(network.extent, network.cells)
        self.preprocess = Preprocessor(self.grid, self.backend.device, config)

    @torch.inference_mode()
    def results(self, features: Sequence[Features], batch: int = 16) -> list[FusionResult]:
        """The result of every sweep, in order. batch: sweeps that the network is given at once."""
        found = []
        with torch_threads(self.backend.threads):
            for start in range(0, len(features), batch):
                part = features[start:start + batch]
                output = self.backend.infer(torch.stack([f.lidar for f in part]),
                                            torch.stack([f.map.grid for f in part]))
                found += [fusion_result(f, output.only(k), self.backend.model, self.config,
                                        context=ExplanationContext(f.lidar, f.map.grid)) for k, f in enumerate(part)]
        return found

    def explain(self, result: FusionResult) -> dict[str, np.ndarray]:
        """Grad-CAM of a result, see `gradcam.explain`."""
        with torch_threads(self.backend.threads):
            return explain(self.backend, result)

    def close(self) -> None:
        """Give the memory back."""
        self.backend.close()
