# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Spoils messages and files: fields, sizes, types and bytes, a few at a time."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

WHOLE = (0, 1, 2, 3, 7, 8, 15, 16, 64, 255, 256, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53 + 1,
         2**63 - 1, 2**63, 2**64 - 1, -1, -2, -128, -(2**31), -(2**63))
REAL = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-320, 1e-9, 1e9, 1e19, 1e38, 3.5e38, 1e154, 1e200, 1.7e308, math.pi, 90.0, 180.0,
        360.1, math.nan, math.inf, -math.inf)
TEXTS = ('', ' ', '/', '//', '/lidar', 'lidar', 'base_link', 'odom', 'map', 'optical', 'x', 'y', 'z', 'intensity', 't',
         'timestamp', 'mono8', 'mono16', '32FC1', 'rgba8', 'bgr8', '8UC3', 'a' * 300, 'ä', '\U0001f697', '\0', 'a\0b',
         '%s{}', '\n', 'nan', '-1', '1e999', '٣')
NONSENSE = (None, '', 'text', b'', b'bytes', 1.5, math.nan, -1, 2**70, 10**400, True, [], [[]], {}, (1, 2), object())
SPLICES = (b'', b'\0', b'\xff', b'\xff\xff\xff\xff', b'\x7f\xff\xff\xff', b'\0' * 64, struct.pack('<I', 2**31),
           struct.pack('<f', math.nan), struct.pack('<d', math.inf), struct.pack('<f', 1e38))
MAX_DEPTH = 12


def spoiled(message: Any, choices: random.Random, odd_types: bool = True) -> Any:
    """A copy of a message with one to four things wrong.

    odd_types: also with what a Python object can hold although no message can.
    """
    message = _copy(message)
    for _ in range(1 + choices.randrange(4)):
        places = list(_places(message))
        if not places:
            break
        holder, key = places[choices.randrange(len(places))]
        _spoil(holder, key, choices, odd_types)
    return message


def _copy(value: Any) -> Any:
    if isinstance(value, SimpleNamespace):
        return SimpleNamespace(**{name: _copy(item) for name, item in vars(value).items()})
    if isinstance(value, dict):
        return {name: _copy(item) for name, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _places(value: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    """(what holds it, its name or index) of everything in a message; of long lists some."""
    if depth > MAX_DEPTH:
        return
    if isinstance(value, SimpleNamespace):
        names: list[Any] = list(vars(value))
    elif isinstance(value, dict):
        names = list(value)
    elif isinstance(value, list):
        names = list(range(min(len(value), 8)))
    else:
        return
    for name in names:
        yield value, name
        yield from _places(get(value, name), depth + 1)


def get(holder: Any, key: Any) -> Any:
    """An attribute or an item."""
    return getattr(holder, key) if isinstance(holder, SimpleNamespace) else holder[key]


def put(holder: Any, key: Any, value: Any) -> None:
    """Set an attribute or an item."""
    if isinstance(holder, SimpleNamespace):
        setattr(holder, key, value)
    else:
        holder[key] = value


def _spoil(holder: Any, key: Any, choices: random.Random, odd_types: bool) -> None:
    value = get(holder, key)
    if odd_types and not choices.randrange(12):
        if isinstance(holder, list) or choices.randrange(2):
            put(holder, key, choices.choice(NONSENSE))
        elif isinstance(holder, dict):
            del holder[key]
        else:
            delattr(holder, key)
    elif isinstance(value, (bytes, bytearray)):
        put(holder, key, spoiled_bytes(bytes(value), choices))
    elif isinstance(value, list):
        put(holder, key, _spoiled_list(value, choices))
    elif isinstance(value, (int, float, str)):
        put(holder, key, other_value(value, choices))
    elif odd_types and not choices.randrange(4):  # a whole part of the message
        put(holder, key, choices.choice(NONSENSE))


def other_value(value: int | float | str, choices: random.Random) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        near = (value + 1, value - 1, value * 2, value // 2, value ^ 1 << choices.randrange(33))
        return choices.choice(near) if choices.randrange(2) else choices.choice(WHOLE)
    if isinstance(value, float):
        return value * choices.choice((-1.0, 1e-3, 1e3, 1e6, 1.1)) if choices.randrange(2) else choices.choice(REAL)
    return choices.choice(TEXTS)


def _spoiled_list(values: list[Any], choices: random.Random) -> list[Any]:
    at = choices.randrange(len(values)) if values else 0
    kind = choices.randrange(5)
    if kind == 0:
        return []
    if kind == 1:
        return values[:at] + values[at + 1:]
    if kind == 2:
        return values[: at + 1] + values[at:]
    if kind == 3:
        return values[::-1]
    return values * (1 + choices.randrange(3))


def spoiled_bytes(data: bytes, choices: random.Random, words: tuple[bytes, ...] = ()) -> bytes:
    """Bytes with one to eight changes, mostly few: cut, longer, flipped, overwritten, doubled, moved.

    words: what is spliced in.
    """
    for _ in range(choices.choice((1, 1, 1, 2, 3, 8))):
        data = _CHANGES[choices.randrange(len(_CHANGES))](data, choices, words)
    return data


def _place(data: bytes, choices: random.Random) -> int:
    """Somewhere; at the beginning, where headers are, more often."""
    return choices.randrange(min(len(data), 64 if choices.randrange(2) else len(data)) or 1)


def _cut(data: bytes, choices: random.Random, words: tuple[bytes, ...]) -> bytes:
    return data[: choices.randrange(len(data) + 1)]


def _drop(data: bytes, choices: random.Random, words: tuple[bytes, ...]) -> bytes:
    at = _place(data, choices)
    return data[:at] + data[at + 1 + choices.randrange(16):]


def _flip(data: bytes, choices: random.Random, words: tuple[bytes, ...]) -> bytes:
    if not data:
        return b'\1'
    at = _place(data, choices)
    return data[:at] + bytes([data[at] ^ 1 << choices.randrange(8)]) + data[at + 1:]


def _overwrite(data: bytes, choices: random.Random, words: tuple[bytes, ...]) -> bytes:
    at, piece = _place(data, choices), _piece(choices, words)
    return data[:at] + piece + data[at + len(piece):]


def _insert(data: bytes, choices: random.Random, words: tuple[bytes, ...]) -> bytes:
    at = _place(data, choices)
    return data[:at] + _piece(choices, words) + data[at:]


def _repeat(data: bytes, choices: random.Random, words: tuple[bytes, ...]) -> bytes:
    at, count = _place(data, choices), 1 + choices.randrange(64)
    return data[:at] + data[at : at + count] * (1 + choices.randrange(4)) + data[at:]


def _move(data: bytes, choices: random.Random, words: tuple[bytes, ...]) -> bytes:
    start, count, to = _place(data, choices), 1 + choices.randrange(64), _place(data, choices)
    piece = data[start : start + count]
    rest = data[:start] + data[start + count:]
    return rest[:to] + piece + rest[to:]


def _number(data: bytes, choices: random.Random, words: tuple[bytes, ...]) -> bytes:
    """A little or big endian number somewhere, often one that counts what follows."""
    at, size = _place(data, choices), choices.choice((1, 2, 4, 8))
    order: Any = choices.choice(('little', 'big'))
    value = int.from_bytes(data[at : at + size], order) + choices.choice((1, -1, 256, -256))
    value = value if choices.randrange(2) else choices.choice(WHOLE)
    return data[:at] + (value % 256**size).to_bytes(size, order) + data[at + size:]


def _piece(choices: random.Random, words: tuple[bytes, ...]) -> bytes:
    kind = choices.randrange(3)
    if kind == 0 and words:
        return choices.choice(words)
    return choices.choice(SPLICES) if kind == 1 else choices.getrandbits(64).to_bytes(8, 'little')


_CHANGES: tuple[Callable[[bytes, random.Random, tuple[bytes, ...]], bytes], ...] = (
    _cut, _drop, _flip, _flip, _overwrite, _overwrite, _insert, _repeat, _move, _number, _number)
