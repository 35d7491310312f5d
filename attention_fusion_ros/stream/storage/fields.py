# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Reads the fields of a binary record one after the other: little endian, with lengths before texts and maps."""

from __future__ import annotations

from collections.abc import Iterator


class Fields:
    """A position in the bytes of a record. Everything raises IndexError where the record is too short."""

    def __init__(self, content: bytes | memoryview):
        self._content, self._position = content, 0

    def uint16(self) -> int:
        """A number of 2 bytes."""
        return int.from_bytes(self.take(2), 'little')

    def uint32(self) -> int:
        """A number of 4 bytes."""
        return int.from_bytes(self.take(4), 'little')

    def uint64(self) -> int:
        """A number of 8 bytes."""
        return int.from_bytes(self.take(8), 'little')

    def text(self) -> str:
        """A length of 4 bytes and so many bytes of UTF-8."""
        return bytes(self.take(self.uint32())).decode(errors='replace')

    def texts(self) -> dict[str, str]:
        """A map of texts."""
        inner = Fields(self.take(self.uint32()))
        return {inner.text(): inner.text() for _ in inner.until_end()}

    def offsets(self) -> dict[int, int]:
        """A map from 2 to 8 bytes."""
        inner = Fields(self.take(self.uint32()))
        return {inner.uint16(): inner.uint64() for _ in inner.until_end()}

    counts = offsets

    def skip(self, length: int) -> None:
        """Leave out so many bytes."""
        self.take(length)

    def rest(self) -> bytes:
        """Everything that is left."""
        return bytes(self.take(len(self._content) - self._position))

    def take(self, length: int) -> bytes | memoryview:
        """So many bytes."""
        start, self._position = self._position, self._position + length
        if self._position > len(self._content):
            raise IndexError(f'{length} bytes at {start} of {len(self._content)}')
        return self._content[start:self._position]

    def until_end(self) -> Iterator[None]:
        """As often as there is something left."""
        while self._position < len(self._content):
            yield
