# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C (SIGINT) and SIGTERM at a moment that suits the work."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to stop.

    signal_number: which one. message: for the user, one line.
    """

    def __init__(self, signal_number: int, message: str = ''):
        super().__init__(message or 'interrupted')
        self.signal_number, self.message = signal_number, message

    @property
    def exit_status(self) -> int:
        """128 + the signal, as shells report it: 130 for SIGINT, 143 for SIGTERM."""
        return 128 + self.signal_number


@contextmanager
def explaining(message: str) -> Iterator[None]:
    """Give an `Interrupted` that leaves the block this message, unless it has one of its own."""
    try:
        yield
    except Interrupted as stop:
        raise Interrupted(stop.signal_number, stop.message or message) from None


class SignalGuard:
    """While it is entered, the first SIGINT or SIGTERM raises `Interrupted`, within `hold` not before it is checked.

    Later signals are ignored, so that what is done because of the first (state is written) comes to its end. Guards may
    be nested: the innermost one counts. Outside the main thread, which alone gets signals, it does nothing.

    final: the process ends with this block, so that signals stay ignored after it when one has come.
    """

    def __init__(self, final: bool = False) -> None:
        self.received: int | None = None  # number of the first signal
        self._final = final
        self._held = 0
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> SignalGuard:
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, signal.SIG_IGN if self._final and self.received is not None else handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received = number
            if not self._held:
                raise Interrupted(number)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Let a block run to its end; what follows must call `check`."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1

    def check(self) -> None:
        """Raise `Interrupted` if a signal came meanwhile."""
        if self.received is not None:
            raise Interrupted(self.received)
