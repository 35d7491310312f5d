# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Functions for other processes, which can import this module but not a test."""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch

_given: list[str] = []
marks: list[str] = []  # what a process has written here, only its forks see


class Counter:
    """Something that a process makes once and keeps."""

    def __init__(self, start: int):
        self.total = start

    def add(self, number: int) -> tuple[int, int]:
        """The total so far, and the process."""
        self.total += number
        return self.total, os.getpid()


def threads(_: int) -> tuple[int, float, int]:
    """Threads of torch, what a product comes to, and the process."""
    return torch.get_num_threads(), float(torch.ones(200, 200).matmul(torch.ones(200, 200)).sum()), os.getpid()


def remember(value: str) -> None:
    """An initializer that takes two threads."""
    _given.append(value)
    torch.set_num_threads(2)


def environment(name: str) -> tuple[str | None, list[str], int]:
    """The variable, what `remember` was given, threads of torch."""
    return os.environ.get(name), list(_given), torch.get_num_threads()


def touch(path: Path) -> None:
    """Make the file and take a while."""
    path.touch()
    time.sleep(0.2)


def seen_marks() -> list[str]:
    """The marks of this process."""
    return list(marks)
