# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""JSON and YAML that others wrote: bounded before they are read, and never another error than ValueError.

The parsers of both raise whatever comes: RecursionError for deep nesting, OverflowError and TypeError for odd values.
And a few lines of YAML hold billions of values once their aliases are followed, so that aliases are refused, as ROS
refuses them in parameter files (rcl_yaml_param_parser).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

MAX_YAML_BYTES = 64 * 2**20  # metadata.yaml of a recording in ten thousand files has 2
MAX_JSON_BYTES = 512 * 2**20  # the roads of a large city as GeoJSON have 100


def read_text(path: str | Path, limit: int, encoding: str = 'utf-8', errors: str = 'strict') -> str:
    """The text of a file of at most `limit` bytes. Raises OSError, and ValueError when it is larger or no text."""
    with open(path, 'rb') as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f'it has more than {limit // 2**20} MiB')
    return content.decode(encoding, errors)


def parse_json(text: str | bytes) -> Any:
    """The value. Raises ValueError."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError('it is nested too deeply') from None


def read_json(path: str | Path, limit: int = MAX_JSON_BYTES, encoding: str = 'utf-8') -> Any:
    """The value in a file. Raises OSError and ValueError."""
    return parse_json(read_text(path, limit, encoding))


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # yaml has no types
    """Plain values without aliases."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, 'aliases (*name) are not read', self.peek_event().start_mark)
        return super().compose_node(parent, index)


# A number for YAML 1.2 and for ROS, but text for PyYAML, which wants both a point and a sign.
_Loader.add_implicit_resolver('tag:yaml.org,2002:float', re.compile(
    r'^[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$'), list('-+.0123456789'))


def parse_yaml(text: str) -> Any:
    """The value, of plain types. Raises ValueError."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except RecursionError:
        raise ValueError('it is nested too deeply') from None
    except (yaml.YAMLError, TypeError, OverflowError, AttributeError, KeyError, IndexError) as error:  # odd values
        raise ValueError(' '.join(str(error).split()) or type(error).__name__) from error


def read_yaml(path: str | Path, errors: str = 'strict') -> Any:
    """The value in a file. Raises OSError and ValueError."""
    return parse_yaml(read_text(path, MAX_YAML_BYTES, errors=errors))
