# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What must hold of every answer: a value, or an error of a documented reason; within bounds of memory and time."""

from __future__ import annotations

import resource
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attention_fusion_ros.errors import ConfigurationError, InputError

MIB = 2**20
HANG_S = 60.0  # of processor time; only a detector: nothing that is read may take anywhere near so long
STATUS = Path('/proc/self/status')


class Fault(AssertionError):
    """Something that must not come out of a decoder."""


@dataclass
class Outcomes:
    """What came out so far."""

    count: Counter[str] = field(default_factory=Counter)  # 'good', or the reason
    held_bytes: int = field(default_factory=lambda: resident())  # of the process before
    peak_bytes: int = 0  # of one input, beyond those
    slowest_s: float = 0.0

    @property
    def total(self) -> int:
        """Inputs."""
        return sum(self.count.values())


@contextmanager
def strict() -> Iterator[None]:
    """A warning of Python or numpy is an error: it would end on the standard error of a node."""
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        yield


def judged(run: Callable[[Any], None], case: Any, reasons: frozenset[str], memory_mib: float,
           outcomes: Outcomes) -> None:
    """Run one input, within `strict`. run: decodes it and checks the value, if one comes out.

    Raises Fault for another error than a documented one, for more memory than `memory_mib`, and for a hang.
    """
    forget_peak()
    before, start = most_resident(), time.process_time()
    try:
        run(case)
        name = 'good'
    except InputError as error:
        name = error.reason
        if name not in reasons or not error.cause.strip() or not error.remedy.strip():
            raise Fault(f'undocumented: {error!r} ({name})') from error
    except ConfigurationError as error:
        name = 'ConfigurationError'
        if not str(error).strip():
            raise Fault('a ConfigurationError without words') from error
    except Fault:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        last = ''.join(traceback.format_exception(error)[-3:]).strip()
        raise Fault(f'{type(error).__name__}: {error}\n{last}') from error
    seconds, peak = time.process_time() - start, most_resident()
    outcomes.slowest_s = max(outcomes.slowest_s, seconds)
    if peak > before:
        grown = peak - outcomes.held_bytes
        outcomes.peak_bytes = max(outcomes.peak_bytes, grown)
        if grown > memory_mib * MIB:
            raise Fault(f'{grown / MIB:.0f} MiB for one input, more than {memory_mib:.0f}')
    if seconds > HANG_S:
        raise Fault(f'{seconds:.0f} s for one input')
    outcomes.count[name] += 1


def forget_peak() -> None:
    """Count the most memory from here on, where Linux lets us: a process that was large once would hide all others."""
    try:
        Path('/proc/self/clear_refs').write_text('5')  # proc(5)
    except OSError:  # in many containers
        pass


def most_resident() -> int:
    """Bytes of memory that this process held at most: since `forget_peak`, or ever where that is not to be had."""
    return _status('VmHWM:') or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def resident() -> int:
    """Bytes of memory that this process holds; 0 where that cannot be known."""
    return _status('VmRSS:')


def _status(name: str) -> int:
    """A line of /proc/self/status in bytes; 0 where there is none."""
    try:
        text = STATUS.read_text()
    except OSError:
        return 0
    if name not in text:
        return 0
    start = text.index(name) + len(name)
    return int(text[start : text.index('kB', start)]) * 1024
