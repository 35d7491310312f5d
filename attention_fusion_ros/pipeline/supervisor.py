# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The pipeline, kept alive: when the device fails, it is built anew, on the CPU where `device` is auto."""

from __future__ import annotations

import dataclasses
import time
import traceback
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.contracts import FusionResult, SyncedSweep
from attention_fusion_ros.errors import ConfigurationError, InputError
from attention_fusion_ros.pipeline.fusion import FusionPipeline

Answer = TypeVar('Answer')
RETRY_AFTER = 1.0  # s between two attempts to build the pipeline anew
CPU_REMEDY = 'free its memory or check its driver; device cpu works without it.'


class Engine:
    """A `FusionPipeline` with the same `run` and `reset`, whose failures cost sweeps and never the node.

    Not thread-safe, but for the attributes that describe it. Raises ConfigurationError like FusionPipeline.
    """

    def __init__(self, config: NodeConfig, create: Callable[[NodeConfig], FusionPipeline] = FusionPipeline):
        self._config, self._create = config, create
        self._retry_at = 0.0
        self._failure = ''  # why the device was given up, '' while it was not
        self.restarts = 0
        self.last_traceback = ''  # of an error that nobody foresaw
        self._pipeline: FusionPipeline | None = None
        try:
            self._build(config)
        except RuntimeError as error:  # torch sees a CUDA device, but nothing runs there
            if config.device != 'auto':
                raise
            self._failure = f'cuda failed: {_first_line(error)}'
            self._config = dataclasses.replace(config, device='cpu')
            self._build(self._config)

    @property
    def device_note(self) -> str:
        """Why the network does not run on a CUDA device although `device` is auto, '' where it does."""
        return self._failure or self._note

    @property
    def fell_back(self) -> bool:
        """Whether there is a CUDA device that would be used if it worked."""
        return bool(self._failure) or self._fell_back

    def _build(self, config: NodeConfig) -> None:
        pipeline = self._create(config)
        try:
            pipeline.warm_up()
        except Exception:
            pipeline.close()
            raise
        self._pipeline = pipeline
        self.device, self._note = pipeline.device, pipeline.device_note
        self._fell_back = pipeline.device_fell_back
        self.checkpoint_name, self.trained = pipeline.checkpoint_name, pipeline.trained
        self.registers_map = pipeline.registers_map

    def update(self, config: NodeConfig) -> None:
        """Take over parameters that may change while running."""
        self._config = dataclasses.replace(config, device=self._config.device)
        if self._pipeline is not None:
            self._pipeline.update(self._config)

    def reset(self) -> None:
        """Forget earlier sweeps."""
        if self._pipeline is not None:
            self._pipeline.reset()

    def close(self) -> None:
        """Free memory and device. May be repeated."""
        if self._pipeline is not None:
            pipeline, self._pipeline = self._pipeline, None
            pipeline.close()

    def run(self, sweep: SyncedSweep) -> FusionResult:
        """As `FusionPipeline.run`.

        Raises InputError besides: `device_error` (the sweep is lost, the next one finds a new pipeline), and
        `internal_error` for anything nobody foresaw.
        """
        return self._kept_alive(lambda pipeline: pipeline.run(sweep))

    def explain(self, result: FusionResult) -> dict[str, np.ndarray]:
        """As `FusionPipeline.explain`. Raises InputError as `run` does for `device_error` and `internal_error`."""
        return self._kept_alive(lambda pipeline: pipeline.explain(result))

    def _kept_alive(self, call: Callable[[FusionPipeline], Answer]) -> Answer:
        if self._pipeline is None:
            self._rebuild()
        try:
            return call(self._pipeline)
        except InputError:
            raise
        except RuntimeError as error:  # CUDA errors and memory exhaustion, torch's own as well
            self._give_up(error)
            raise self._device_error(error) from error
        except Exception as error:
            self.last_traceback = traceback.format_exc()
            self.reset()
            raise InputError('internal_error', f'the sweep could not be processed: {type(error).__name__}: {error}.',
                             'report it, with the traceback in the log.') from error

    def _give_up(self, error: BaseException) -> None:
        """Let go of the pipeline; the next sweep gets a new one."""
        self.last_traceback = traceback.format_exc()
        try:
            self.close()
        except RuntimeError:
            self._pipeline = None  # a broken CUDA context fails at everything, at being freed as well
        if self._config.device == 'auto' and self.device != 'cpu':
            self._failure = f'{self.device} failed: {_first_line(error)}'
            self._config = dataclasses.replace(self._config, device='cpu')
        self._retry_at = 0.0

    def _rebuild(self) -> None:
        if time.monotonic() < self._retry_at:
            raise InputError('device_error', f"device '{self._config.device}' failed and is tried again every "
                             f'{RETRY_AFTER:g} s.', CPU_REMEDY)
        try:
            self._build(self._config)
        except (RuntimeError, ConfigurationError) as error:
            self._retry_at = time.monotonic() + RETRY_AFTER
            raise self._device_error(error) from error
        self.restarts += 1

    def _device_error(self, error: BaseException) -> InputError:
        return InputError('device_error', f'{self.device}: {_first_line(error)}.', CPU_REMEDY)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip('.')
