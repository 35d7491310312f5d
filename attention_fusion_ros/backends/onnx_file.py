# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The parameter `checkpoint` -> the .onnx file that other runtimes than torch run."""

from __future__ import annotations

from pathlib import Path

from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.network.shipped import exported_beside
from attention_fusion_ros.utils.packages import is_installed


def onnx_model(config: NodeConfig) -> Path:
    """The .onnx file for the parameter `checkpoint`: that file itself, the one that ships beside the checkpoint, or one
    made of it.

    What is made is kept in the user's cache (XDG_CACHE_HOME, default ~/.cache), under a name that changes with the
    weights, the network's code and the version of torch. Raises ConfigurationError when the checkpoint cannot be used,
    or has to be exported first and the packages for it are missing or the cache cannot be written.
    """
    if config.checkpoint.endswith('.onnx'):
        path = Path(config.checkpoint)
        if not path.is_file():
            raise ConfigurationError(f"checkpoint '{path}' does not exist.")
        return path
    shipped = exported_beside(config.checkpoint)
    if shipped is not None:
        return shipped
    if not is_installed('torch'):
        name = config.checkpoint or 'default'
        raise ConfigurationError(
            f"backend {config.backend} runs .onnx files, and making one of checkpoint '{name}' needs torch, onnx and "
            "onnxscript: pip install torch onnx onnxscript, or run 'export --format onnx --out DIR' where they are "
            "installed and give the file in DIR as parameter 'checkpoint'.")
    from attention_fusion_ros.backends.export import exported_once
    return exported_once(config)
