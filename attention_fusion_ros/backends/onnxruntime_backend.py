# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The exported network in ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime

from attention_fusion_ros.backends.base import Device
from attention_fusion_ros.backends.device import choose_device, default_threads, has_cuda_hardware
from attention_fusion_ros.backends.exported import read_description, run_arrays
from attention_fusion_ros.backends.onnx_file import onnx_model
from attention_fusion_ros.backends.onnx_parts import without_outputs
from attention_fusion_ros.backends.twin import TorchTwin
from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.network.history import History
from attention_fusion_ros.network.output import NetworkOutput
from attention_fusion_ros.utils.torch_later import torch

UNREAD = ('road',)  # of the outputs: an auxiliary task of the training
CUDA_PROVIDER, CPU_PROVIDER = 'CUDAExecutionProvider', 'CPUExecutionProvider'


class OnnxRuntimeBackend:
    """Runs an .onnx file on the CPU, or on a CUDA device that was asked for by name.

    Raises ConfigurationError when file or device cannot be used.
    """

    name = 'onnxruntime'

    def __init__(self, config: NodeConfig):
        on_cuda = config.device.startswith('cuda')
        if on_cuda and CUDA_PROVIDER not in onnxruntime.get_available_providers():
            raise ConfigurationError(f"device '{config.device}' with backend onnxruntime needs its CUDA build: pip "
                                     'install onnxruntime-gpu in the place of onnxruntime, or use device cpu.')
        self.device: torch.device | Device = choose_device(config.device).device if on_cuda else Device()
        self.device_note = ('backend onnxruntime uses a CUDA device only when it is named'
                            if config.device == 'auto' and has_cuda_hardware() else '')
        self.device_fell_back = False
        self.threads = config.threads or default_threads()
        self.twin = TorchTwin(config)
        path = onnx_model(config)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        # Its threads wait busily for the next piece of a sweep, but not for the next sweep: most of a core each.
        options.add_session_config_entry('session.force_spinning_stop', '1')
        options.log_severity_level = 3  # errors: its warnings are about its own optimisations
        providers = [(CUDA_PROVIDER, {'device_id': self.device.index or 0})] if on_cuda else []
        try:
            whole = path.read_bytes()
            smaller = without_outputs(whole, UNREAD)
            self._session: onnxruntime.InferenceSession | None = onnxruntime.InferenceSession(
                str(path) if smaller is whole else smaller, options, providers=[*providers, CPU_PROVIDER])
        except Exception as error:  # its exceptions have no common base of their own
            raise ConfigurationError(f"checkpoint '{path}' cannot be read by onnxruntime: {error}") from error
        self._inputs = [given.name for given in self._session.get_inputs()]
        self.model = read_description(path, self._session.get_modelmeta().custom_metadata_map, self._inputs)
        self._outputs = [output.name for output in self._session.get_outputs()]

    def infer(self, lidar: Any, map_image: Any, history: History | None = None, prior: Any = None) -> NetworkOutput:
        """See `Backend.infer`; of earlier sweeps only the prior is looked at."""
        session = self._session
        if session is None:
            raise RuntimeError('this backend has been closed')

        def run(feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            return dict(zip(self._outputs, session.run(self._outputs, feed)))
        return run_arrays(run, self._inputs, self.model.network, lidar, map_image, prior)

    def close(self) -> None:
        """Give memory and device back."""
        self._session = None
        self.twin.close()
