# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Keeps the pipeline alive: when the device fails, it is built anew, on the CPU where `device` is auto."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import numpy as np

from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.contracts import FusionResult, SyncedSweep
from attention_fusion_ros.errors import ConfigurationError, InputError
from attention_fusion_ros.pipeline.fusion import FusionPipeline, PipelineInfo
from attention_fusion_ros.utils.torch_later import is_loaded, torch

Value = TypeVar('Value')
RETRY_PERIOD_S = 1.0  # between two attempts to build the pipeline anew
DEVICE_REMEDY = 'free its memory or check its driver; device cpu works without it.'
# Words by which a CUDA device fails, beside exceptions. Everything else is a mistake in the program, on any device.
DEVICE_WORDS = ('CUDA', 'cuDNN', 'CUBLAS')


def is_device_failure(error: BaseException, device: str) -> bool:
    """Whether an error means that the device failed: only a CUDA device can, and torch raises RuntimeError for all."""
    if not device.startswith('cuda'):
        return False
    return _is_of_device(error) or any(word in str(error) for word in DEVICE_WORDS)


def _is_of_device(error: BaseException) -> bool:
    """Whether the exception is one that torch has for a device that fails."""
    if not is_loaded():
        return False
    out_of_memory = torch.cuda.OutOfMemoryError
    return isinstance(error, (out_of_memory, getattr(torch, 'AcceleratorError', out_of_memory)))


class PipelineSupervisor:
    """A `FusionPipeline` with the same `run`, `explain` and `reset`, whose failures cost sweeps and never the node.

    Not thread-safe, except for `info` and `restarts`. Raises ConfigurationError like FusionPipeline.
    """

    def __init__(self, config: NodeConfig, create: Callable[[NodeConfig], FusionPipeline] = FusionPipeline):
        self._config, self._create = config, create
        self._retry_at_s = 0.0
        self._failure = ''  # why the device was given up, '' while it was not
        self.restarts = 0
        self._pipeline: FusionPipeline | None = None
        self._info: PipelineInfo
        try:
            self._pipeline = self._build(config)
        except Exception as error:  # torch sees a CUDA device, but nothing runs there
            if config.device != 'auto' or not is_device_failure(error, 'cuda'):
                raise
            self._failure = f'cuda failed: {_first_line(error)}'
            self._config = dataclasses.replace(config, device='cpu')
            self._pipeline = self._build(self._config)

    @property
    def info(self) -> PipelineInfo:
        """What is reported about the pipeline, or the latest one; that its device was given up, if it was."""
        if not self._failure:
            return self._info
        return dataclasses.replace(self._info, device_note=self._failure, device_fell_back=True)

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
        `internal_error` for anything unexpected.
        """
        # What is remembered may be half of something after an unexpected error.
        return self._guarded(lambda pipeline: pipeline.run(sweep), 'the sweep could not be processed', self.reset)

    def explain(self, result: FusionResult) -> dict[str, np.ndarray]:
        """As `FusionPipeline.explain`. Raises InputError as `run` does for `device_error` and `internal_error`."""
        return self._guarded(lambda pipeline: pipeline.explain(result), 'the result could not be explained')

    def _guarded(self, call: Callable[[FusionPipeline], Value], problem: str,
                 on_unexpected: Callable[[], None] = lambda: None) -> Value:
        pipeline = self._rebuilt() if self._pipeline is None else self._pipeline
        try:
            return call(pipeline)
        except InputError:
            raise
        except Exception as error:
            if is_device_failure(error, self._info.device):
                self._discard(error)
                raise self._device_error(error) from error
            on_unexpected()
            raise InputError('internal_error', f'{problem}: {type(error).__name__}: {error}.',
                             'report it, with the traceback in the log.') from error

    def _build(self, config: NodeConfig) -> FusionPipeline:
        pipeline = self._create(config)
        try:
            pipeline.warm_up()
        except Exception:
            pipeline.close()
            raise
        self._info = pipeline.info
        return pipeline

    def _discard(self, error: BaseException) -> None:
        """Let go of the pipeline; the next sweep gets a new one."""
        with suppress(RuntimeError):  # a broken CUDA context fails at everything, at being freed as well
            self.close()
        if self._config.device == 'auto':
            self._failure = f'{self._info.device} failed: {_first_line(error)}'
            self._config = dataclasses.replace(self._config, device='cpu')
        self._retry_at_s = 0.0

    def _rebuilt(self) -> FusionPipeline:
        """A new pipeline in the place of one whose device failed."""
        if time.monotonic() < self._retry_at_s:
            raise InputError('device_error', f"device '{self._config.device}' failed and is tried again every "
                             f'{RETRY_PERIOD_S:g} s.', DEVICE_REMEDY)
        try:
            self._pipeline = self._build(self._config)
        except Exception as error:  # every engine has errors of its own
            self._retry_at_s = time.monotonic() + RETRY_PERIOD_S
            if isinstance(error, ConfigurationError):  # it says itself what to do: the checkpoint is gone, for example
                raise InputError('device_error', str(error), f'the network is built again every {RETRY_PERIOD_S:g} s.'
                                 ) from error
            raise self._device_error(error) from error
        self.restarts += 1
        return self._pipeline

    def _device_error(self, error: BaseException) -> InputError:
        return InputError('device_error', f'{self._info.device}: {_first_line(error)}.', DEVICE_REMEDY)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip('.')
