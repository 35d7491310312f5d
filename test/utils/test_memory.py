# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What is free goes back to the system."""

from __future__ import annotations

import ctypes
import sys
import weakref
from pathlib import Path

import pytest

from attention_fusion_ros.utils.memory import give_back

MIB = 2**20


class Thing:
    pass


def test_what_only_cycles_hold_is_freed():
    one, other = Thing(), Thing()
    one.other, other.one = other, one
    seen = weakref.ref(one)
    del one, other
    give_back()
    assert seen() is None


@pytest.mark.skipif(sys.platform != 'linux' or not hasattr(ctypes.CDLL(None), 'malloc_trim'), reason='needs glibc')
def test_holes_go_back_to_the_system():
    def resident() -> float:
        return int(Path('/proc/self/statm').read_text().split()[1]) * 4096 / MIB
    blocks = [bytes(4000) + bytes([i % 256]) for i in range(50_000)]  # 200 MB, each from malloc
    kept = blocks[::100]  # so that the C library cannot return them by itself
    before = resident()
    del blocks
    give_back()
    assert resident() < before - 100 and len(kept) == 500
