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
from attention_fusion_ros.metrics.branches import Prediction


class Method(Protocol):
    """A method with a name."""

    name: str

    def reset(self) -> None:
        """Forget earlier sweeps: called before a new sequence."""

    def __call__(self, inputs: PlacedSweep) -> Prediction:
        """What the method publishes for this sweep."""


class Pipeline(Protocol):
    """The part of `pipeline.FusionPipeline` that evaluation needs."""

    def run(self, sweep: SyncedSweep) -> FusionResult:
        """The result of one sweep; raises InputError."""

    def reset(self) -> None:
        """Forget earlier sweeps."""

    def update(self, config: NodeConfig) -> None:
        """Take another configuration."""


class PipelineMethod:
    """The node's own pipeline, one sweep at a time. A sweep it refuses (InputError) counts as no branch found."""

    def __init__(self, pipeline: Pipeline, config: NodeConfig, name: str = 'network', use_map: bool = True):
        self.name = name
        self.refused: dict[str, int] = {}  # reason -> sweeps
        self._pipeline, self._config, self._use_map = pipeline, config, use_map

    def reset(self) -> None:
        """Forget earlier sweeps."""
        self._pipeline.reset()

    def result(self, inputs: PlacedSweep) -> FusionResult:
        """The full result, attention included. Raises InputError as `FusionPipeline.run` does."""
        if inputs.layout != self._config.map:
            self._config = replace(self._config, map=inputs.layout)
            self._pipeline.update(self._config)
        return self._pipeline.run(inputs if self._use_map else SyncedSweep(inputs.cloud, inputs.motion))

    def __call__(self, inputs: PlacedSweep) -> Prediction:
        """The branches and the direction of `result`."""
        try:
            result = self.result(inputs)
        except InputError as error:
            self.refused[error.reason] = self.refused.get(error.reason, 0) + 1
            return Prediction((), reason=error.reason)
        return Prediction.of(result)


class FunctionMethod:
    """A stateless baseline."""

    def __init__(self, name: str, function: Callable[[PlacedSweep], Prediction]):
        self.name, self._function = name, function

    def reset(self) -> None:
        """Do nothing: no sweep influences the next."""

    def __call__(self, inputs: PlacedSweep) -> Prediction:
        """What the function returns."""
        return self._function(inputs)


def unique_names(methods: Sequence[Method]) -> None:
    """Raises ValueError when two methods share a name: their rows would be mixed up."""
    names = [method.name for method in methods]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two methods are called '{name}'")
