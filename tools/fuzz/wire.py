# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Messages as they are on the wire: what a publisher can send of a namespace, the rest filled in or bent into range."""

from __future__ import annotations

from typing import Any

import numpy as np
from rosbags.interfaces import Nodetype

from attention_fusion_ros.stream.typestore import typestore

WHOLE = {'int8': (1, True), 'uint8': (1, False), 'byte': (1, False), 'char': (1, False), 'octet': (1, False),
         'int16': (2, True), 'uint16': (2, False), 'int32': (4, True), 'uint32': (4, False), 'int64': (8, True),
         'uint64': (8, False)}
STORE = typestore()


def cdr(kind: str, value: Any) -> bytes:
    """The message `kind` of a namespace, whatever it holds, as CDR bytes."""
    return bytes(STORE.serialize_cdr(_message(kind, value), kind))


def _message(kind: str, value: Any) -> Any:
    _, fields = STORE.fielddefs[kind]
    return STORE.types[kind](**{name: _field(node, getattr(value, name, None)) for name, node in fields})


def _field(node: Any, value: Any) -> Any:
    sort, what = node
    if sort == Nodetype.BASE:
        return _base(what[0], value)
    if sort == Nodetype.NAME:
        return _message(what, value)
    (inner, name), length = what
    if inner == Nodetype.BASE and name[0] in WHOLE | {'float32': 0, 'float64': 0, 'bool': 0}:
        return _numbers(name[0], value, length if sort == Nodetype.ARRAY else None)
    values = value if isinstance(value, list) else []
    values = [*values, *[None] * length][:length] if sort == Nodetype.ARRAY else values
    return [_field((inner, name), item) for item in values]


def _numbers(name: str, value: Any, length: int | None) -> np.ndarray:
    dtype = np.dtype({'byte': 'uint8', 'char': 'uint8', 'octet': 'uint8'}.get(name, name))
    if isinstance(value, (bytes, bytearray)):
        found = np.frombuffer(bytes(value)[: len(value) // dtype.itemsize * dtype.itemsize], dtype)
    else:
        found = np.array([_base(name, item) for item in (value if isinstance(value, list) else [])], dtype)
    return found if length is None else np.resize(found, length) if len(found) else np.zeros(length, dtype)


def _base(name: str, value: Any) -> Any:
    if name == 'string':
        return value.encode(errors='replace').decode() if isinstance(value, str) else ''
    if name == 'bool':
        return bool(value) if isinstance(value, (bool, int)) else False
    if name in WHOLE:
        size, signed = WHOLE[name]
        number = int(value) if isinstance(value, int) else 0
        return (number + (signed << 8 * size - 1)) % (1 << 8 * size) - (signed << 8 * size - 1)
    with np.errstate(over='ignore'):
        number = float(value) if isinstance(value, float) or isinstance(value, int) and abs(value) < 1e300 else 0.0
        return float(np.float32(number)) if name == 'float32' else number
