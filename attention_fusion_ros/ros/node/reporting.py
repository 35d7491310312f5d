# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What goes wrong, into the log (throttled) and into the monitor (counted)."""

from __future__ import annotations

import math
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from attention_fusion_ros.errors import InputError
from attention_fusion_ros.ros.node.monitor import NETWORK, OUTPUT, NodeMonitor
from attention_fusion_ros.stream.inputs import SWEEPS, InputSpec


class ThrottledLog:
    """Logs a message of the same key at most once in `period_s()` seconds. Thread-safe.

    clock: seconds that never run backwards.
    """

    def __init__(self, logger: Any, period_s: Callable[[], float], clock: Callable[[], float] = time.monotonic):
        self._logger, self._period_s, self._clock = logger, period_s, clock
        self._lock = threading.Lock()
        self._logged_s: dict[str, float] = {}

    def warn(self, key: str, text: str | Callable[[], str], period_s: float = 0.0) -> None:
        """Log a warning.

        text: or a function that makes it, called only when it is logged. period_s: the shortest time between two
        warnings, where that is longer.
        """
        if self._due(key, period_s):
            self._logger.warning(text if isinstance(text, str) else text())

    def error(self, key: str, text: str) -> None:
        """Log an error."""
        if self._due(key, 0.0):
            self._logger.error(text)

    def _due(self, key: str, period_s: float) -> bool:
        with self._lock:
            now = self._clock()
            if now - self._logged_s.get(key, -math.inf) < max(period_s, self._period_s()):
                return False
            self._logged_s[key] = now
            return True


class ProblemReporter:
    """Counts and logs dropped messages and outputs that failed."""

    def __init__(self, monitor: NodeMonitor, log: ThrottledLog):
        self._monitor, self._log = monitor, log

    def sweep_dropped(self, error: InputError) -> None:
        """A sweep gave no result. The traceback of what caused an internal error is logged with it."""
        self._monitor.sweep_dropped(error)
        text = f'sweep dropped, {error.reason}: {error}'
        self._log_with_cause(error.reason, text, error)

    def input_dropped(self, spec: InputSpec, error: InputError) -> None:
        """A message of an input cannot be used, or was lost on the way."""
        if spec.name == SWEEPS:
            self.sweep_dropped(error)
            return
        self._monitor.dropped(spec.component, error)
        self._log.warn(f'{spec.component} {error.reason}', f'{spec.label} dropped, {error.reason}: {error}')

    def explanation_failed(self, error: InputError) -> None:
        """There is no Grad-CAM of a result."""
        self._monitor.dropped(NETWORK, error)
        self._log_with_cause(f'gradcam {error.reason}', f'heatmap/gradcam is not published, {error.reason}: {error}',
                             error)

    def _log_with_cause(self, key: str, text: str, error: InputError) -> None:
        if error.reason == 'internal_error' and error.__cause__ is not None:
            self._log.error(key, f'{text}\n{format_traceback(error.__cause__)}')
        else:
            self._log.warn(key, text)

    def output_failed(self, topic: str, error: Exception) -> None:
        """A message could not be made or published; the other outputs of the sweep are not affected."""
        failure = InputError('publish_failed', f'no message on {topic}: {type(error).__name__}: {error}.',
                             'please report it, with the traceback in the log.')
        self._monitor.dropped(OUTPUT, failure)
        self._log.error(f'{topic} {type(error).__name__}', f'{failure}\n{format_traceback(error)}')


def internal_error(error: Exception) -> InputError:
    """An InputError for what should never happen; its cause is `error`."""
    wrapped = InputError('internal_error', f'unexpected {type(error).__name__}: {error}.',
                         'please report it, with the traceback in the log.')
    wrapped.__cause__ = error
    return wrapped


def format_traceback(error: BaseException) -> str:
    """The traceback of an exception, as Python prints it."""
    return ''.join(traceback.format_exception(type(error), error, error.__traceback__))
