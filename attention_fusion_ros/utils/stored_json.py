# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""JSON files that this package keeps carry a checksum: one digit that has changed is JSON as before."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from attention_fusion_ros.utils import atomic, outside
from attention_fusion_ros.utils.damaged import Damaged

CHECKSUM = 'sha256'


def write_checked_json(path: Path, content: dict[str, Any], indent: int | None = 1) -> None:
    """Write a mapping with its checksum beside its entries. Raises OSError."""
    atomic.write_json(path, {**content, CHECKSUM: _checksum(content)}, indent)


def read_checked_json(path: Path, limit: int = outside.MAX_JSON_BYTES) -> dict[str, Any]:
    """What `write_checked_json` wrote, without the checksum; files of before there were any have none.

    Raises OSError, and Damaged.
    """
    try:
        content = outside.read_json(path, limit)
    except ValueError as error:
        raise Damaged(f'it is no JSON that can be read ({_short(error)})') from error
    if not isinstance(content, dict):
        raise Damaged('it is no mapping')
    checksum = content.pop(CHECKSUM, None)
    if checksum is None and any(_is_checksum(content, name) for name in content):
        raise Damaged('the name of its checksum has changed')
    if checksum is not None and checksum != _checksum(content):
        raise Damaged('its checksum is wrong')
    return content


def _is_checksum(content: dict[str, Any], name: str) -> bool:
    value = content[name]
    return isinstance(value, str) and len(value) == 64 and value == _checksum(
        {other: value for other, value in content.items() if other != name})


def _checksum(content: dict[str, Any]) -> str:
    plain = json.loads(json.dumps(content))  # tuples are lists, and keys texts, when they come back
    return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(',', ':')).encode()).hexdigest()


def _short(error: Exception) -> str:
    text = ' '.join(str(error).split())
    return text if len(text) <= 200 else text[:200] + ' ...'
