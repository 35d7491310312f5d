# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""In which order things happen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


def recorded_calls(monkeypatch: pytest.MonkeyPatch, *methods: tuple[type, str]) -> list[str]:
    """The names of these methods, (class, name), in the order in which they are called from now on."""
    calls: list[str] = []
    for owner, name in methods:
        monkeypatch.setattr(owner, name, _recorded(name, getattr(owner, name), calls))
    return calls


def _recorded(name: str, method: Callable[..., Any], calls: list[str]) -> Callable[..., Any]:
    def called(*args: Any, **options: Any) -> Any:
        calls.append(name)
        return method(*args, **options)
    return called
