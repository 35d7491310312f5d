# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The package in a process that cannot import torch and scipy, as after `pip install -r requirements-light.txt`.

    python test/support/without_torch.py COMMAND ARGUMENTS
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path

HIDDEN = ('torch', 'safetensors', 'onnx', 'onnxscript', 'triton', 'scipy')


class Hide(MetaPathFinder):
    """Says of some packages that they are not installed."""

    def find_spec(self, fullname, path=None, target=None):
        """Raises ModuleNotFoundError for the hidden ones, leaves the others to the next finder."""
        name = fullname.partition('.')[0]
        if name in HIDDEN:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)


def run(*arguments: str | Path, more: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command of the package without torch."""
    return subprocess.run(command(arguments), capture_output=True, text=True, env={**os.environ, **(more or {})},
                          timeout=600)


def command(arguments: Sequence[str | Path]) -> list[str]:
    """The command line that runs a command of the package without torch."""
    return [sys.executable, __file__, *map(str, arguments)]


if __name__ == '__main__':
    sys.path[0] = str(Path(__file__).parents[2])  # in the place of this folder
    sys.meta_path.insert(0, Hide())
    runpy.run_module('attention_fusion_ros', run_name='__main__', alter_sys=True)
