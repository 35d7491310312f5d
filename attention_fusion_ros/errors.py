# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The two ways in which something outside this package is wrong: an input, or a setting."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


class InputError(ValueError):
    """An input that cannot be used: it is dropped and named, never guessed at.

    reason: short snake_case name, used as the key in /diagnostics (for example `truncated_data`).
    cause: what is wrong.
    remedy: what the sender can do about it.
    """

    def __init__(self, reason: str, message: str, remedy: str):
        super().__init__(f'{message} Remedy: {remedy}')
        self.reason = reason
        self.cause = message
        self.remedy = remedy


class ConfigurationError(ValueError):
    """Parameters or a checkpoint that cannot be used; the message names cause and remedy."""


def require(module: str, needed_for: str, package: str = '') -> ModuleType:
    """Import a module that not every installation has, for example `scipy.stats`.

    Raises ConfigurationError with the line that installs `package` (default: the first part of `module`) when it, or
    something it needs itself, is missing.
    """
    package = package or module.partition('.')[0]
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigurationError(f'{needed_for} needs {package} ({error}). Remedy: python -m pip install '
                                 f'{package}') from error
