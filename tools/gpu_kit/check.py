# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What all parts of a check share: the time that is left, what was found, what failed, and how calls are timed."""

from __future__ import annotations

import statistics
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

WARM_UPS = 5
CALLS = 20  # of a CUDA graph
FOLDER = Path(__file__).parents[2]


@dataclass
class Check:
    """What is measured with, and what was found. failed: name -> one line; traces: name -> traceback."""

    device: torch.device
    dry: bool
    seconds: float
    out: Path
    began: float = field(default_factory=time.monotonic)
    found: dict[str, Any] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    traces: dict[str, str] = field(default_factory=dict)
    took_s: dict[str, float] = field(default_factory=dict)
    save: Callable[[], None] = lambda: None

    @property
    def left_s(self) -> float:
        """Seconds that are left."""
        return self.seconds - (time.monotonic() - self.began)

    @property
    def cuda(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.type == 'cuda'

    def run(self, name: str, part: Callable[[Check], Any], needs_s: float) -> None:
        """One part; left out when its time would not suffice. What it found so far is kept when it fails."""
        if self.left_s < needs_s:
            self.failed[name] = f'left out: {self.left_s:.0f} s were left, it needs {needs_s:.0f} s'
            say(f'-- {name}: {self.failed[name]}')
            return
        say(f'== {name}')
        started = time.monotonic()
        try:
            found = part(self)
            if found is not None:
                self.found[name] = found
        except Exception as error:  # the other parts still count
            self.note(name, error)
        self.took_s[name] = time.monotonic() - started
        say(f'-- {name}: {self.took_s[name]:.1f} s', self.failed.get(name, ''))
        self.save()

    @property
    def is_dead(self) -> bool:
        """Whether a kernel has left the device unusable to this process, by writing where it must not for example."""
        if not self.cuda:
            return False
        try:
            torch.cuda.synchronize()
        except Exception as error:
            say(f'the device is lost to this process: {error}')
            return True
        return False

    def note(self, name: str, error: BaseException) -> None:
        """Something failed."""
        said = (str(error).strip().splitlines() or [''])[0]
        self.failed[name] = f'{type(error).__name__}: {said[:300]}'
        self.traces[name] = traceback.format_exc()
        say(f'FAILED {name}\n{self.traces[name]}')

    def attempt(self, name: str, call: Callable[[], Any]) -> Any:
        """The call's result; None when it fails, which is noted."""
        try:
            return call()
        except Exception as error:
            self.note(name, error)
            return None

    def milliseconds(self, call: Callable[[], Any], runs: int = 50) -> list[float]:
        """[20 %, median, 80 %] of the time of a single call, between CUDA events: starting kernels counts."""
        runs = 2 if self.dry else runs
        for _ in range(1 if self.dry else WARM_UPS):
            call()
        return _spread([self._between(call) for _ in range(runs)])

    def in_graph(self, call: Callable[[], Any], runs: int = 20) -> list[float]:
        """[20 %, median, 80 %] of the time of a call among CALLS in one CUDA graph: kernels without the host.

        Raises RuntimeError where the call cannot be captured. On the CPU as `milliseconds`.
        """
        if not self.cuda:
            return self.milliseconds(call, runs)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                call()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(CALLS):
                call()
        for _ in range(2):
            graph.replay()
        return _spread([self._between(graph.replay) / CALLS for _ in range(runs)])

    def _between(self, call: Callable[[], Any]) -> float:
        if self.cuda:
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            call()
            end.record()
            end.synchronize()
            return start.elapsed_time(end)
        began = time.perf_counter()
        call()
        return 1e3 * (time.perf_counter() - began)


def _spread(times: Sequence[float]) -> list[float]:
    ordered = sorted(times)
    return [ordered[len(ordered) // 5], statistics.median(ordered), ordered[(4 * len(ordered)) // 5]]


def say(*words: Any) -> None:
    """A line of the log, at once."""
    print(*words, flush=True)


def medians(row: dict[str, Any]) -> dict[str, Any]:
    """A row with the median alone of what is [20 %, median, 80 %], to four digits."""
    short = {k: v[1] if isinstance(v, list) and len(v) == 3 else v for k, v in row.items()}
    return {k: float(f'{v:.4g}') if isinstance(v, float) else v for k, v in short.items()}
