# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The network in torch beside an exported one: for what needs gradients, and only once somebody asks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.network.shipped import path_of
from attention_fusion_ros.utils.digest import file_digest
from attention_fusion_ros.utils.packages import is_installed

if TYPE_CHECKING:
    from attention_fusion_ros.backends.torch_backend import TorchBackend


class TorchTwin:
    """The checkpoint that an exported file was made of, in torch on the CPU. It is loaded at the first use."""

    def __init__(self, config: NodeConfig):
        """config: that of the backend beside it."""
        self._config = replace(config, backend='torch', device='cpu')
        self._digest = self._digest_now() if self.is_there else ''
        self._loaded: TorchBackend | None = None

    @property
    def is_there(self) -> bool:
        """Whether it can be loaded: with torch, and from a checkpoint, not from an exported file."""
        return not self._config.checkpoint.endswith('.onnx') and is_installed('torch')

    def load(self) -> TorchBackend:
        """The same one every time.

        Raises ConfigurationError when the checkpoint cannot be used, or is not the one that it was at first: another
        network would explain nothing.
        """
        if self._loaded is None:
            if self._digest_now() != self._digest:
                raise ConfigurationError(f"checkpoint '{path_of(self._config.checkpoint)}' was removed or replaced "
                                         'since the network beside it was loaded.')
            from attention_fusion_ros.backends.torch_backend import TorchBackend  # not at the top: it needs torch
            self._loaded = TorchBackend(self._config)
        return self._loaded

    def close(self) -> None:
        """Give the memory back."""
        if self._loaded is not None:
            self._loaded.close()
        self._loaded = None

    def _digest_now(self) -> str:
        """Of the checkpoint; '' where there is no file that can be read."""
        try:
            return file_digest(path_of(self._config.checkpoint))
        except OSError:
            return ''
