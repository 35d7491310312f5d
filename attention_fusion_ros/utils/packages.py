# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which packages are installed."""

from __future__ import annotations

import importlib.util


def is_installed(name: str) -> bool:
    """Whether a package can be found; it is not imported for that."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # what is hidden from the import system is not there
        return False
