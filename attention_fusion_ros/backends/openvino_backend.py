# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The exported network in OpenVINO, on the CPU."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
import openvino

from attention_fusion_ros.backends.base import Device
from attention_fusion_ros.backends.device import default_threads
from attention_fusion_ros.backends.exported import INPUTS, NEEDED, output_name, read_description, run_arrays
from attention_fusion_ros.backends.onnx_file import onnx_model
from attention_fusion_ros.backends.twin import TorchTwin
from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.network.history import History
from attention_fusion_ros.network.output import NetworkOutput

# Where its reader of .onnx files puts their metadata.
DESCRIPTION = 'framework'


class OpenVinoBackend:
    """Runs an .onnx file on the CPU. Raises ConfigurationError when the file or the device cannot be used."""

    name = 'openvino'

    def __init__(self, config: NodeConfig):
        if config.device not in ('auto', 'cpu'):
            raise ConfigurationError(f"backend openvino runs on the CPU, not on device '{config.device}': set device "
                                     'to cpu, or use another backend.')
        self.device = Device()
        self.device_note = 'backend openvino runs on the CPU' if config.device == 'auto' else ''
        self.device_fell_back = False
        self.threads = config.threads or default_threads()
        self.twin = TorchTwin(config)
        path = onnx_model(config)
        core = _core()
        try:
            read = core.read_model(str(path))
        except RuntimeError as error:
            raise ConfigurationError(f"checkpoint '{path}' cannot be read by openvino: {error}") from error
        described = {name: read.get_rt_info([DESCRIPTION, name]).value for name in NEEDED
                     if read.has_rt_info([DESCRIPTION, name])}
        self._inputs = [_input_name(given.names) for given in read.inputs]
        self.model = read_description(path, described, self._inputs)
        # Full precision, so that results do not depend on what the processor can do faster.
        self._compiled: openvino.CompiledModel | None = core.compile_model(
            read, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32', 'INFERENCE_NUM_THREADS': self.threads,
                          'PERFORMANCE_HINT': 'LATENCY'})
        # What an output is made by, and the output itself, may be one tensor with two names.
        self._outputs = [output_name(output.names) for output in self._compiled.outputs]

    def infer(self, lidar: Any, map_image: Any, history: History | None = None, prior: Any = None) -> NetworkOutput:
        """See `Backend.infer`; of earlier sweeps only the prior is looked at."""
        compiled = self._compiled
        if compiled is None:
            raise RuntimeError('this backend has been closed')

        def run(feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            arrays = compiled(feed)
            return {name: arrays[k].copy() for k, name in enumerate(self._outputs)}
        return run_arrays(run, self._inputs, self.model.network, lidar, map_image, prior)

    def close(self) -> None:
        """Give the memory back."""
        self._compiled = None
        self.twin.close()


def _input_name(names: Iterable[str]) -> str:
    """Of the names that the runtime has for one input, that of the file."""
    return next(name for name in names if name in INPUTS)


@cache
def _core() -> openvino.Core:
    """One for the life of the process.

    Its CPU plugin gives the thread that loads it an alternate signal stack, and frees that in whichever thread unloads
    it: a signal would then kill the process that asked Python to handle it (findings/openvino_signal_stack.sh).
    """
    return openvino.Core()
