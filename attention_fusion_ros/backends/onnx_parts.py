# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""An .onnx file without the outputs that nobody reads, and without what is computed for these alone.

ONNX Runtime computes everything that a file declares, whatever is asked for. The package `onnx`, which could take parts
out, is not needed to run files; of the format (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3, in Protocol
Buffers' wire format) little has to be understood for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

GRAPH = 7  # fields of ModelProto
NODE, INITIALIZER, OUTPUT = 1, 5, 12  # of GraphProto
NODE_INPUT, NODE_OUTPUT, NODE_ATTRIBUTE = 1, 2, 5  # of NodeProto
ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS = 6, 11  # of AttributeProto
VALUE_NAME, TENSOR_NAME, DATA_LOCATION = 1, 8, 14  # of ValueInfoProto, of TensorProto
VARINT, BYTES_8, MESSAGE, BYTES_4 = 0, 1, 2, 5  # wire types
MAX_VARINT = 10  # bytes


class _Field(NamedTuple):
    number: int
    kind: int  # wire type
    whole: memoryview  # with its tag
    value: memoryview  # without tag and length


def without_outputs(file: bytes, unread: Collection[str]) -> bytes:
    """The file without the outputs of these names; the file itself where it has none of them, or is not understood:
    graphs within nodes, weights in other files, and what is no .onnx file.
    """
    try:
        return _without_outputs(file, unread)
    except (ValueError, IndexError):  # whoever reads it next says what is wrong
        return file


def _without_outputs(file: bytes, unread: Collection[str]) -> bytes:
    parts = list(_fields(memoryview(file)))
    graphs = [field for field in parts if field.number == GRAPH]
    if len(graphs) != 1:
        return file
    fields = list(_fields(graphs[0].value))
    outputs = {_text(field.value, VALUE_NAME) for field in fields if field.number == OUTPUT}
    if not outputs & set(unread) or outputs <= set(unread):
        return file
    needed, kept = outputs - set(unread), set()
    for k in range(len(fields) - 1, -1, -1):  # nodes come after what they need
        if fields[k].number != NODE:
            continue
        node = list(_fields(fields[k].value))
        if any(_has_graph(field) for field in node):
            return file
        if needed.isdisjoint(_texts(node, NODE_OUTPUT)):
            continue
        kept.add(k)
        needed.update(_texts(node, NODE_INPUT))
    graph = bytearray()
    for k, field in enumerate(fields):
        if field.number == INITIALIZER and _elsewhere(field.value):
            return file
        if (field.number == NODE and k not in kept
                or field.number == OUTPUT and _text(field.value, VALUE_NAME) in unread
                or field.number == INITIALIZER and _text(field.value, TENSOR_NAME) not in needed):
            continue
        graph += field.whole
    smaller = bytearray()
    for field in parts:
        smaller += field.whole if field.number != GRAPH else b''.join(
            (_varint(GRAPH << 3 | MESSAGE), _varint(len(graph)), graph))
    return bytes(smaller)


def _has_graph(field: _Field) -> bool:
    return field.number == NODE_ATTRIBUTE and any(inner.number in (ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS)
                                                  for inner in _fields(field.value))


def _elsewhere(tensor: memoryview) -> bool:
    """Whether the numbers of a tensor lie in another file, which is found by the path of this one."""
    return any(field.number == DATA_LOCATION and field.value[0] for field in _fields(tensor))


def _text(message: memoryview, number: int) -> str:
    return next(iter(_texts(_fields(message), number)), '')


def _texts(fields: Iterator[_Field] | list[_Field], number: int) -> list[str]:
    return [str(field.value, 'utf-8') for field in fields if field.number == number and field.kind == MESSAGE]


def _fields(message: memoryview) -> Iterator[_Field]:
    """The fields of a message. Raises ValueError or IndexError where it is none."""
    at = 0
    while at < len(message):
        start = at
        tag, at = _read_varint(message, at)
        kind = tag & 7
        if kind == MESSAGE:
            size, at = _read_varint(message, at)
        elif kind == VARINT:
            size = _read_varint(message, at)[1] - at
        elif kind in (BYTES_8, BYTES_4):
            size = 8 if kind == BYTES_8 else 4
        else:
            raise ValueError(f'wire type {kind}')
        if at + size > len(message):
            raise ValueError('a field goes beyond its message')
        yield _Field(tag >> 3, kind, message[start:at + size], message[at:at + size])
        at += size


def _read_varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number, and where it ends."""
    value = 0
    for k in range(MAX_VARINT):
        byte = message[at + k]
        value |= (byte & 0x7f) << 7 * k
        if not byte & 0x80:
            return value, at + k + 1
    raise ValueError('a number without an end')


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7f:
        found.append(value & 0x7f | 0x80)
        value >>= 7
    return bytes([*found, value])
