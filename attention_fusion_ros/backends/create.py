# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The parameter `backend` -> a backend. A new one is a module with a class, an entry here and a name in `config`."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace

from attention_fusion_ros.backends.base import Backend
from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.errors import ConfigurationError
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
AUTOMATIC = ('torch', 'onnxruntime', 'openvino')


def _automatic() -> str:
    """What the name `auto` means here: torch, which explains its results, or else what is installed."""
    return next((name for name in AUTOMATIC if is_installed(BACKENDS[name].package)), AUTOMATIC[0])


def create_backend(config: NodeConfig) -> Backend:
    """The backend that the parameters ask for, with its network loaded.

    Raises ConfigurationError when it is not installed, and when checkpoint or device cannot be used.
    """
    if config.backend == AUTO:
        config = replace(config, backend=_automatic())
    entry = BACKENDS[config.backend]
    if entry.package and not is_installed(entry.package):
        raise ConfigurationError(f"backend '{config.backend}' needs the package {entry.package}, which is not "
                                 f'installed: pip install {entry.pip}')
    module = importlib.import_module(f'{__package__}.{entry.module}')
    backend: Backend = getattr(module, entry.cls)(config)
    return backend
