# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""How many CPU threads torch takes, for a block of code instead of for the whole process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from attention_fusion_ros.utils.torch_later import is_loaded, torch


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Within this block torch, where it has been imported, takes `count` CPU threads; afterwards as many as before."""
    if not is_loaded():
        yield
        return
    before = torch.get_num_threads()
    if before != count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if before != count:
            torch.set_num_threads(before)
