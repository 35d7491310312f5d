# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which device the network runs on, and how many CPU threads it takes."""

from __future__ import annotations

import glob
import os
from contextlib import suppress
from typing import NamedTuple

from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.utils.torch_later import is_loaded, torch

CUDA_DEVICE_FILES = ('/dev/nvidia[0-9]*', '/dev/nvhost-gpu')  # PCI cards and Jetsons
MAX_THREADS = 4  # the network is small: more wait for each other longer than they work


def default_threads() -> int:
    """CPU threads where the parameter `threads` is 0: one core is left to receiving, encoding and everybody else.

    The environment variable OMP_NUM_THREADS wins, where it is set.
    """
    if text := os.environ.get('OMP_NUM_THREADS'):
        if is_loaded():
            return torch.get_num_threads()
        with suppress(ValueError):  # a list is one number for each level of nested loops
            return max(1, int(text.split(',')[0]))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    return max(1, min(MAX_THREADS, cores - 1))


class ChosenDevice(NamedTuple):
    """What became of the parameter `device`."""

    device: torch.device
    note: str = ''  # why 'auto' means the CPU
    fell_back: bool = False  # there is a CUDA device, but torch cannot use it


def has_cuda_hardware() -> bool:
    """Whether this machine has a CUDA device, as its drivers tell (Linux; False elsewhere)."""
    return any(glob.glob(pattern) for pattern in CUDA_DEVICE_FILES)


def choose_device(name: str) -> ChosenDevice:
    """The parameter `device` -> the torch device and, when 'auto' has to settle for the CPU, why.

    Raises ConfigurationError for an unknown name and for a CUDA device that is not there.
    """
    if name == 'auto':
        if torch.cuda.is_available():
            return ChosenDevice(torch.device('cuda:0'))
        if has_cuda_hardware():
            why = 'its driver does not work with it' if torch.version.cuda else 'it is a build without CUDA'
            note = f'torch {torch.__version__} cannot use the CUDA device: {why}'
            return ChosenDevice(torch.device('cpu'), note, fell_back=True)
        return ChosenDevice(torch.device('cpu'), 'no CUDA device is there')
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ('cpu', 'cuda'):
        raise ConfigurationError(f"device must be auto, cpu, cuda or cuda:N, got '{name}'")
    if device.type == 'cuda':
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise ConfigurationError(f"device '{name}' is not there: torch sees {count} CUDA device(s). Use auto or "
                                     'cpu, or install a CUDA build of torch and its driver.')
        device = torch.device('cuda', device.index or 0)
    return ChosenDevice(device)
