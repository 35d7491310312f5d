# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The parameter `backend` -> a backend. A new one is a module with a class, an entry here and a name in `config`."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace

from attention_fusion_ros.backends.base import Backend
from attention_fusion_ros.backends.device import has_cuda_hardware
from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.kernels.compiled import is_installed as loops_are_installed
from attention_fusion_ros.network.shipped import exported_beside
from attention_fusion_ros.utils.packages import is_installed


@dataclass(frozen=True)
class BackendEntry:
    """Where a backend is, and what it needs."""

    module: str  # in this package
    cls: str
    package: str  # that must be importable; '' where the backend finds out by itself
    pip: str  # what `pip install` installs it with


BACKENDS = {
    'torch': BackendEntry('torch_backend', 'TorchBackend', 'torch', 'torch'),
    'onnxruntime': BackendEntry('onnxruntime_backend', 'OnnxRuntimeBackend', 'onnxruntime', 'onnxruntime'),
    'openvino': BackendEntry('openvino_backend', 'OpenVinoBackend', 'openvino', 'openvino'),
    'tensorrt': BackendEntry('tensorrt_backend', 'TensorRtBackend', '', 'tensorrt'),  # falls back by itself
}
AUTO = 'auto'
EXPORTED = ('onnxruntime', 'openvino')  # on the CPU about equally fast; the first is the smaller one


def _automatic(config: NodeConfig) -> str:
    """What the name `auto` means here.

    On the CPU an exported file takes 0.6 of torch's time, and without torch the node starts faster and is smaller. So
    torch is for CUDA devices, for checkpoints that have no exported file yet, and where no other library is installed.
    """
    if not is_installed('torch'):
        return next((name for name in EXPORTED if is_installed(BACKENDS[name].package)), 'torch')
    on_cpu = config.device == 'cpu' or config.device == 'auto' and not has_cuda_hardware()
    exported = config.checkpoint.endswith('.onnx') or exported_beside(config.checkpoint) is not None
    # Without compiled loops everything else is torch's work.
    compiled = config.kernels == 'auto' and loops_are_installed()
    quick = is_installed(BACKENDS[EXPORTED[0]].package) and on_cpu and compiled
    return EXPORTED[0] if exported and quick else 'torch'


def create_backend(config: NodeConfig) -> Backend:
    """The backend that the parameters ask for, with its network loaded.

    Raises ConfigurationError when it is not installed, and when checkpoint or device cannot be used.
    """
    if config.backend == AUTO:
        config = replace(config, backend=_automatic(config))
    entry = BACKENDS[config.backend]
    if entry.package and not is_installed(entry.package):
        raise ConfigurationError(f"backend '{config.backend}' needs the package {entry.package}, which is not "
                                 f'installed: pip install {entry.pip}')
    module = importlib.import_module(f'{__package__}.{entry.module}')
    backend: Backend = getattr(module, entry.cls)(config)
    return backend
