# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the choices of a mutation come from: a seed, hypothesis, or the bytes of a coverage-guided fuzzer.

All three are `random.Random`, so there is one set of mutations: `random.Random(seed)`, `strategies.randoms()`, and
`ChoicesFromBytes`.
"""

from __future__ import annotations

import random


class ChoicesFromBytes(random.Random):
    """Every choice is the next bytes, so that a fuzzer which changes a byte changes a choice; zeros after the end."""

    def __init__(self, data: bytes):
        super().__init__(0)
        self._data, self._at = data, 0

    def getrandbits(self, k: int) -> int:
        """A whole number of k bits; what randrange, choice and randbytes are made from."""
        count = (k + 7) // 8
        taken = self._data[self._at : self._at + count]
        self._at += count
        return int.from_bytes(taken.ljust(count, b'\0'), 'little') & ((1 << k) - 1)

    def random(self) -> float:
        """A number in 0..1, 1 excluded."""
        return self.getrandbits(16) / 2**16

    def _randbelow(self, n: int) -> int:  # the one of `random` draws again and again: zeros at the end would do, but
        return self.getrandbits(8 * ((n.bit_length() + 15) // 8)) % n  # bytes of ones never would
