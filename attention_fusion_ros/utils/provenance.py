# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which command, commit, checkpoint and machine made a figure: printed under every table, stored in every JSON."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from attention_fusion_ros.utils.packages import is_installed
from attention_fusion_ros.utils.torch_later import torch

# On which speed depends.
PACKAGES = ('numpy', 'torch', 'numba', 'triton', 'onnxruntime', 'onnxruntime-gpu', 'openvino', 'tensorrt', 'timm',
            'opencv-python-headless')


@dataclass(frozen=True)
class Provenance:
    """Where a table comes from."""

    command: str
    commit: str
    machine: str
    checkpoints: tuple[str, ...] = ()  # `name: file, sha256`

    def lines(self) -> list[str]:
        """One line each, for the foot of a table."""
        return [f'Command: `{self.command}`', f'Commit: {self.commit}', f'Machine: {self.machine}',
                *(f'Checkpoint {c}' for c in self.checkpoints)]


def collect(arguments: Sequence[str], checkpoints: dict[str, Path] | None = None) -> Provenance:
    """The provenance of this process. arguments: those of the command, without the program's name."""
    named = tuple(f'{name}: {path.name}, sha256 {fingerprint(path)}' for name, path in (checkpoints or {}).items())
    return Provenance(shlex.join(['python', '-m', 'attention_fusion_ros', *arguments]), commit(), machine(), named)


def commit() -> str:
    """Commit of the source tree, with a remark when it has been changed since; 'unknown' outside a git checkout."""
    root = Path(__file__).parents[2]

    def git(*words: str) -> str:
        done = subprocess.run(['git', '-C', str(root), *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()
    try:
        if Path(git('rev-parse', '--show-toplevel')) != root.resolve():
            return 'unknown (installed)'
        changed = git('status', '--porcelain', '--untracked-files=no', '--', 'attention_fusion_ros')
        return git('rev-parse', '--short=10', 'HEAD') + (' with uncommitted changes' if changed else '')
    except (OSError, subprocess.CalledProcessError):
        return 'unknown'


def machine() -> str:
    """Processor, cores, GPU where there is one, and the torch version."""
    name = platform.processor() or platform.machine()
    try:
        for line in Path('/proc/cpuinfo').read_text().splitlines():
            if line.startswith('model name'):
                name = line.split(':', 1)[1].strip()
                break
    except OSError:
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    if not is_installed('torch'):
        return f'{name}, {cores} cores'
    gpu = f', {torch.cuda.get_device_name(0)}' if torch.cuda.is_available() else ''
    return f'{name}, {cores} cores{gpu}, torch {torch.__version__}'


def versions() -> dict[str, str]:
    """Python, and the installed ones of PACKAGES."""
    found = {'python': platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def fingerprint(path: Path) -> str:
    """First 12 digits of the file's SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
