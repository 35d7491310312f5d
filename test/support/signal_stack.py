# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The alternate signal stack of a thread (sigaltstack(2)): where it is gone, the next signal ends the process."""

from __future__ import annotations

import ctypes
from pathlib import Path


class SignalStack(ctypes.Structure):
    """stack_t of <signal.h>."""

    _fields_ = [('address', ctypes.c_void_p), ('flags', ctypes.c_int), ('size', ctypes.c_size_t)]


def signal_stack_exists() -> bool:
    """Whether the alternate signal stack of this thread is memory of this process."""
    stack = SignalStack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack)) == 0
    for line in Path('/proc/self/maps').read_text().splitlines():
        first, last = (int(address, 16) for address in line.split()[0].split('-'))
        if first <= stack.address < last:
            return stack.address + stack.size <= last
    return False
