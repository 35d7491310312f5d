# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Memory that is free again, back to the system."""

from __future__ import annotations

import ctypes
import gc
import sys


def give_back() -> None:
    """Free what is only held by cycles, and let the C library return what it keeps for later (malloc_trim(3), glibc).

    For moments when much has been freed at once. Each network of a node that is configured anew again and again would
    otherwise lie beside the holes that the one before has left.
    """
    gc.collect()
    if sys.platform == 'linux':
        trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)  # other C libraries have none
        if trim is not None:
            trim(0)
