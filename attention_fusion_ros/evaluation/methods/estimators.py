# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What is evaluated: anything that turns one sweep's inputs into branches, be it the pipeline or a baseline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.contracts import FusionResult, SyncedSweep
from attention_fusion_ros.datasets.placed_sweep import PlacedSweep
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.metrics.branches import Estimate


class Estimator(Protocol):
    """A method with a name. `reset` is called before a new sequence of sweeps."""

    name: str

    def reset(self) -> None: ...

    def __call__(self, inputs: PlacedSweep) -> Estimate: ...


class Pipeline(Protocol):
    """The part of `pipeline.FusionPipeline` that evaluation needs."""

    def run(self, sweep: SyncedSweep) -> FusionResult: ...

    def reset(self) -> None: ...

    def update(self, config: NodeConfig) -> None: ...


class PipelineEstimator:
    """The node's own pipeline, one sweep at a time. A sweep it refuses (InputError) counts as no branch found."""

    def __init__(self, pipeline: Pipeline, config: NodeConfig, name: str = 'network', use_map: bool = True):
        self.name = name
        self.refused: dict[str, int] = {}  # reason -> sweeps
        self._pipeline, self._config, self._use_map = pipeline, config, use_map

    def reset(self) -> None:
        self._pipeline.reset()

    def result(self, inputs: PlacedSweep) -> FusionResult:
        """The full result, attention included. Raises InputError as `FusionPipeline.run` does."""
        if inputs.layout != self._config.map:
            self._config = replace(self._config, map=inputs.layout)
            self._pipeline.update(self._config)
        return self._pipeline.run(inputs if self._use_map else SyncedSweep(inputs.cloud, inputs.motion))

    def __call__(self, inputs: PlacedSweep) -> Estimate:
        try:
            result = self.result(inputs)
        except InputError as error:
            self.refused[error.reason] = self.refused.get(error.reason, 0) + 1
            return Estimate(())
        return Estimate(result.branches, result.direction)


class FunctionEstimator:
    """A stateless baseline."""

    def __init__(self, name: str, function: Callable[[PlacedSweep], Estimate]):
        self.name, self._function = name, function

    def reset(self) -> None:
        """Nothing is kept from sweep to sweep."""

    def __call__(self, inputs: PlacedSweep) -> Estimate:
        return self._function(inputs)


def unique_names(estimators: Sequence[Estimator]) -> None:
    """Raises ValueError when two estimators share a name: their rows could not be told apart."""
    names = [e.name for e in estimators]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two methods are called '{name}'")
