# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""One thing that reads what others wrote."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Target:
    """make: an input from choices. run: reads it and checks the value that comes out. memory_mib: what one may take.

    share: how many inputs it gets, relative to the others.
    """

    name: str
    make: Callable[[random.Random], Any]
    run: Callable[[Any], None]
    memory_mib: float = 48.0
    share: float = 1.0
