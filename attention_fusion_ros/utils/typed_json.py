# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Dataclasses to JSON and back by their annotations: reading a file runs no code, whoever wrote it."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any

import numpy as np


def to_plain(value: Any) -> Any:
    """Dataclasses, tuples, lists, dicts and numbers -> what JSON holds; a dict with other keys than text as pairs."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value):
            return {key: to_plain(item) for key, item in value.items()}
        return [[to_plain(key), to_plain(item)] for key, item in value.items()]
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def from_plain(kind: Any, value: Any) -> Any:
    """What `to_plain` made of a value of the annotated type `kind` -> that value.

    Knows dataclasses, `tuple[X, ...]`, `tuple[X, Y]`, `list[X]`, `dict[K, V]`, `X | None`, and plain values. Raises
    ValueError, KeyError or TypeError when the value does not fit.
    """
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        names = [field.name for field in dataclasses.fields(kind)]
        if set(value) != set(names):
            raise ValueError(f'{kind.__name__} has the fields {names}, not {sorted(value)}')
        return kind(**{name: from_plain(hints[name], value[name]) for name in names})
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        chosen, = (argument for argument in arguments if argument is not type(None))
        return from_plain(chosen, value)
    if origin is tuple and arguments[-1:] != (Ellipsis,):
        return tuple(from_plain(argument, item) for argument, item in zip(arguments, value, strict=True))
    if origin in (tuple, list):
        return origin(from_plain(arguments[0], item) for item in value)
    if origin is dict:
        pairs = value.items() if isinstance(value, dict) else value
        return {from_plain(arguments[0], key): from_plain(arguments[1], item) for key, item in pairs}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind):
        raise ValueError(f'{value!r} is not of type {kind.__name__}')
    return value
