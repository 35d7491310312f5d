# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The table of reasons names what the decoders raise."""

from __future__ import annotations

import ast
from pathlib import Path

from attention_fusion_ros import decode


def raised() -> dict[str, str]:
    """The first argument of every InputError that is made in `decode`: {reason: file}."""
    found = {}
    for path in sorted(Path(decode.__file__).parent.glob('*.py')):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'InputError':
                assert isinstance(node.args[0], ast.Constant), f'{path.name}:{node.lineno}: not a literal'
                found[node.args[0].value] = path.name
    return found


def test_every_reason_that_is_raised_is_in_the_table_and_no_other():
    assert set(raised()) == set(decode.REASONS), 'REASONS is in decode/__init__.py'
