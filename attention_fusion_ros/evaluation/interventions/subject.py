# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Answers of one network to grids that are made up for it: what it says, and the numbers behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attention_fusion_ros.backends.threads import torch_threads
from attention_fusion_ros.backends.torch_backend import TorchBackend
from attention_fusion_ros.bev.lidar import CHANNELS as LIDAR_LAYERS
from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.contracts import FusionResult, Mode
from attention_fusion_ros.datasets.held_out import HeldOutScene
from attention_fusion_ros.errors import ConfigurationError, InputError
from attention_fusion_ros.metrics.branches import Prediction, TrueRoads
from attention_fusion_ros.network.head import head_channel
from attention_fusion_ros.network.output import NetworkOutput
from attention_fusion_ros.pipeline.batch import BatchedPipeline
from attention_fusion_ros.pipeline.postprocess import fusion_result
from attention_fusion_ros.pipeline.preprocess import Features, MapFeatures

LAYERS = len(LIDAR_LAYERS)


@dataclass(frozen=True)
class Answer:
    """What a network says of one sweep."""

    result: FusionResult
    probability: np.ndarray  # (K,) calibrated, that a branch lies in the bin
    covariance: np.ndarray | None = None  # (3, 3) of the map's correction

    @property
    def prediction(self) -> Prediction:
        """Branches and direction."""
        return Prediction(self.result.branches, self.result.direction)


class Subject:
    """The network in question. Raises ConfigurationError when it cannot be looked into."""

    def __init__(self, config: NodeConfig):
        config = config.in_torch()
        self.pipeline = BatchedPipeline(config)
        backend = self.pipeline.backend
        if not isinstance(backend, TorchBackend):
            raise ConfigurationError(f'--interventions needs gradients, which backend {backend.name} does not have. '
                                     'Remedy: give the .safetensors checkpoint.')
        self.network: Any = backend.network
        self.registers = backend.model.registers_map
        self._backend, self._config = backend, config
        # The guard against strange sweeps would answer for the network where cells are deleted.
        self._model = replace(backend.model, calibration=replace(backend.model.calibration, familiarity=None))

    def lidar(self, scene: HeldOutScene, without_vehicles: bool = False) -> Tensor | None:
        """(C, H, W) of the scene; None where the sweep has no point in range. The way driven is a layer where the
        network asks for it.
        """
        inputs = scene.inputs_without_vehicles() if without_vehicles else scene.inputs()
        if inputs is None:
            return None
        try:
            grids: Tensor = self.pipeline.preprocess.lidar(inputs)
        except InputError:
            return None
        return grids

    def ask(self, lidar: Sequence[Tensor], maps: Sequence[MapFeatures]) -> list[Answer]:
        """The answers to n sweeps at once."""
        with torch_threads(self._backend.threads), torch.inference_mode():
            output = self._backend.infer(torch.stack(list(lidar)), torch.stack([m.grid for m in maps]))
            return [self._answer(output, k, Features(0, lidar[k], maps[k])) for k in range(len(lidar))]

    def _answer(self, output: NetworkOutput, k: int, features: Features) -> Answer:
        one, model = output.only(k), self._model
        result = fusion_result(features, one, model, self._config)
        logits = head_channel(one.head[0], 'presence').float().cpu().numpy()
        stated = next((w['covariance'] for w in one.weights.values() if 'covariance' in w), None)
        covariance = None if stated is None else stated[0].double().cpu().numpy()
        if covariance is None and result.alignment is not None:
            covariance = np.diag(np.square(result.alignment.std))
        return Answer(result, model.calibration.probability(logits, features.map.mode is Mode.FUSED), covariance)

    def close(self) -> None:
        """Free the network."""
        self.pipeline.close()


def presence_at(probability: np.ndarray, truth: TrueRoads) -> float:
    """Mean over the true branches of the probability (K,) in the bin that each lies in; nan without a branch."""
    if not truth.branches:
        return float('nan')
    bins = len(probability)
    bearings = np.array([bearing for bearing, _ in truth.branches])
    return float(probability[((bearings + np.pi) / (2 * np.pi) * bins).astype(int) % bins].mean())
