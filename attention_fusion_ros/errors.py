# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The two ways in which something outside this package is wrong: an input, or a setting."""


class InputError(ValueError):
    """An input that cannot be used: it is dropped and named, never guessed at.

    reason: short snake_case name, used as the key in /diagnostics (for example `truncated_data`).
    remedy: what the sender can do about it.
    """

    def __init__(self, reason: str, message: str, remedy: str):
        super().__init__(f'{message} Remedy: {remedy}')
        self.reason = reason
        self.remedy = remedy


class ConfigurationError(ValueError):
    """Parameters or a checkpoint that cannot be used; the message names cause and remedy."""
