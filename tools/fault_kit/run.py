# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""One fault from its beginning to the answers after it, and what is measured meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from attention_fusion_ros.ros.clients.node_process import NodeError, NodeProcess
from fault_kit.fault import Fault, Outcome
from fault_kit.stage import PARAMETERS, Stage

ROOT = Path(__file__).parents[2]
HELPER = Path(__file__).parent / 'helper.py'
PATIENCE = 4.0  # times the bound, until answers are given up
LEAST_PATIENCE_S = 30.0


class Run:
    """What a fault acts on, and what it notes. `stage` is there for faults of the graph only."""

    def __init__(self, fault: Fault, stage: Stage | None, folder: Path, patience: float = 1.0):
        self.fault, self.folder, self.patience = fault, folder, patience
        self._stage = stage
        self.injected_s = self.lifted_s = 0.0
        self.again_s: float | None = None  # how long it took, where it is not answers that tell
        self.said: list[str] = []
        self.wrong: list[str] = []
        self.lost: list[str] = []
        self._expected: list[str] = []
        self._heard: list[str] = []  # every status at WARN or ERROR
        self._before = self._drops() if stage else {}
        self._alerts = stage.diagnostics.alerts() if stage else Counter()
        self._first_node = stage.node if stage else None
        self._log_start = len(self._first_node.log_lines()) if self._first_node else 0
        self.tracebacks_expected = False
        self.most_are_superfluous = False  # more good sweeps were sent than anybody could answer
        self._after: list[Callable[[], object]] = []
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def stage(self) -> Stage:
        """The processes."""
        assert self._stage is not None
        return self._stage

    @property
    def node(self) -> NodeProcess:
        """The node under test."""
        assert self.stage.node is not None
        return self.stage.node

    # -- what faults do ------------------------------------------------------------------------------------------------

    def inject(self, seconds: float = 0.0) -> None:
        """It begins now; with `seconds`, wait that long."""
        self.injected_s = self.injected_s or time.monotonic()
        time.sleep(seconds)

    def lift(self) -> None:
        """It is over: answers to what is sent from now on count."""
        self.lifted_s = time.monotonic()

    def send(self, seconds: float, answers: bool = False, **wanted: Any) -> None:
        """Let the driver send something else for a while. answers: to that, too."""
        self.inject()
        self.stage.driver.want(**wanted)
        time.sleep(seconds)
        if answers:
            self.still_answers()
        self.lift()
        self.stage.driver.want()

    def expect(self, *words: str) -> None:
        """One of these must be said: a reason that is counted, or words of a status or a log."""
        self._expected.append('|'.join(words))

    def check(self, right: bool, otherwise: str) -> None:
        """Note what is wrong."""
        if not right:
            self.wrong.append(otherwise)

    def respawn(self, **options: Any) -> None:
        """Start the node again as a supervisor does, with the fault over as soon as it is told to."""
        self.note_end()
        self.lift()
        self.stage.start_node(**options)

    def note_end(self, timeout_s: float | None = None) -> None:
        """Say with which status the node ended, which may take 15 s on a quiet machine."""
        process, timeout_s = self.node, timeout_s or 15.0 * self.stage.patience
        if not self.stage.wait(lambda: process.status() is not None, timeout_s):
            self.wrong.append(f'the node has not ended within {timeout_s:g} s')
        else:
            self.said.append(f'node ended: {_status(process.status())}')

    def signal(self, number: signal.Signals) -> None:
        """Send the node a signal."""
        os.kill(self.node.pid, number)

    def stop_node(self) -> None:
        """End the node in the orderly way."""
        self.node.stop()

    def after(self, callback: Callable[[], object]) -> None:
        """Call this when everything has been measured, whatever happens."""
        self._after.append(callback)

    @contextmanager
    def stopped(self, pid: int) -> Iterator[None]:
        """SIGSTOP, and SIGCONT at the end."""
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    @contextmanager
    def helper(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """A process of helper.py, that has begun."""
        process = subprocess.Popen([sys.executable, str(HELPER), *arguments], stdin=subprocess.PIPE, text=True,
                                   stdout=subprocess.PIPE, env=self.stage.full_environment(), start_new_session=True)
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process
        finally:
            process.kill()
            process.wait()

    @contextmanager
    def second_node(self, namespace: str = '') -> Iterator[None]:
        """Another fusion node, active; in a namespace it takes the inputs of the first one."""
        parameters = [word for key, value in PARAMETERS.items() for word in ('-p', f'{key}:={value}')]
        remaps = [word for name in ('pointcloud', 'map_image', 'odometry') for word in (
            '-r', f'~/input/{name}:=/attention_fusion/input/{name}')] if namespace else []
        log = self.folder / 'second.log'
        with open(log, 'w') as file:
            arguments = ['--ros-args', *parameters, *remaps, '-r', f'__ns:={namespace or "/"}']
            process = subprocess.Popen([*self.stage.entry_point(), *arguments], stdout=file, stderr=subprocess.STDOUT,
                                       env=self.stage.full_environment(), start_new_session=True)
        try:
            self.check(self.stage.wait(lambda: ': active' in log.read_text(),
                                       60.0 * self.stage.patience), 'the second node did not start')
            yield
        finally:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(10.0)
            process.kill()
            process.wait()

    def fill(self, path: Path, leave: int) -> None:
        """Write a file that leaves so many bytes of its disk."""
        state = os.statvfs(path.parent)
        left = state.f_bavail * state.f_frsize - leave
        with open(path, 'wb') as file:
            os.posix_fallocate(file.fileno(), 0, left)

    def still_answers(self) -> None:
        """It is wrong if sweeps are not answered while the fault lasts."""
        def answered() -> bool:
            return any(self.stage.answered(s.stamp_ns) for s in self.stage.good if s.at_s >= self.injected_s)

        self.check(self.stage.wait(answered, max(self.fault.bound_s, 5.0)), 'no answer while it lasted')

    def note_log_errors(self) -> None:
        """Say the last line of the node's log that tells an error, and whether there is a traceback."""
        lines = self.node.log_lines()
        errors = [line for line in lines if 'error' in line.lower() or 'Remedy' in line]
        self.said.append(' '.join((errors or lines or ['nothing'])[-1].split())[:300])
        self.check(not any('Traceback' in line for line in lines), 'a traceback in the log')

    def note_alerts(self) -> None:
        """Say which statuses of /diagnostics came, before the node is another one."""
        alerts = [f'{alert.name.rpartition(": ")[2]}: {" ".join(alert.message.split())}'
                  for alert, _ in (self.stage.diagnostics.alerts() - self._alerts).most_common()]
        self._heard += alerts
        # Sweeps that came too fast for this machine, and are counted, say nothing about the fault.
        self.said += [text[:160] for text in alerts if ': overrun: ' not in text][:3]

    def command(self, *arguments: str, prefix: Sequence[str] = (), environment: Mapping[str, str] | None = None,
                timeout_s: float = 300.0) -> subprocess.CompletedProcess[str]:
        """Run a command of the package to its end."""
        return subprocess.run([*prefix, sys.executable, '-m', 'attention_fusion_ros', *arguments], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout_s * self.patience,
                              stdin=subprocess.DEVNULL, cwd=self.folder,
                              env={**os.environ, 'PYTHONPATH': str(ROOT), **(environment or {})})

    def tell(self, done: subprocess.CompletedProcess[str]) -> None:
        """Say how a command ended, with the line of its error; a traceback is wrong."""
        errors = [line for line in done.stdout.splitlines() if 'error: ' in line or 'WARNING: ' in line]
        self.said.append(f'{_status(done.returncode)}; {errors[-1].strip() if errors else "no error said"}')
        (self.folder / 'output.txt').write_text(done.stdout)
        self.check('Traceback' not in done.stdout, 'a traceback')

    # -- measuring -----------------------------------------------------------------------------------------------------

    def go(self) -> Outcome:
        """Bring it about, wait for answers as before, and tell."""
        outcome = Outcome(self.fault.group, self.fault.name, self.fault.what, bound_s=f'{self.fault.bound_s:g}')
        try:
            self.fault.act(self)
            if self._stage is not None:
                self._recover(outcome)
        except NodeError as error:
            self.wrong.append(' '.join(str(error).split())[:300])
        except subprocess.TimeoutExpired as error:
            self.wrong.append(f'a command took longer than {error.timeout:g} s')
        finally:
            for callback in self._after:
                with suppress(OSError):
                    callback()
        if self._stage is None and self.again_s is not None:
            outcome.again_s = f'{self.again_s:.1f}'
            self.check(self.again_s <= self.fault.bound_s, f'took longer than {self.fault.bound_s:g} s')
        told = ' '.join([*self.said, *self._heard])
        for words in self._expected:
            self.check(any(word in told for word in words.split('|')), f'did not say {words}')
        outcome.said = self._short('; '.join(self.said))
        outcome.lost = '; '.join([*filter(None, [outcome.lost]), *self.lost])
        outcome.ok = self._short(f"NO: {'; '.join(self.wrong)}") if self.wrong else 'yes'
        return outcome

    def _short(self, text: str) -> str:
        """Without the folders of this machine."""
        for folder in (self.folder, self.folder.parent, self.folder.parent.parent, ROOT):
            text = text.replace(f'{folder}/', '')
        return text

    def _recover(self, outcome: Outcome) -> None:
        stage = self.stage
        self.lifted_s = self.lifted_s or time.monotonic()
        self.injected_s = self.injected_s or self.lifted_s
        at_s = stage.answer(self.lifted_s, max(PATIENCE * self.fault.bound_s, LEAST_PATIENCE_S))
        if at_s is None:
            self.wrong.append('no answers as before')
        else:
            again_s = at_s - self.lifted_s
            outcome.again_s = f'{again_s:.1f}'
            self.check(again_s <= self.fault.bound_s, f'later than {self.fault.bound_s:g} s')
        time.sleep(0.6)  # answers in work, and the next /diagnostics
        sent = [s for s in stage.good if s.at_s >= self.injected_s]
        during = [s for s in sent if s.at_s < self.lifted_s]
        outcome.answered = f'{sum(stage.answered(s.stamp_ns) for s in during)} of {len(during)}'
        until = at_s or time.monotonic()
        lost = sum(not stage.answered(s.stamp_ns) for s in sent if s.at_s < until)
        outcome.lost = f'{lost} sweeps'
        self._listen()

    def _listen(self) -> None:
        """Add what the node has said meanwhile: reasons that it counts, statuses, tracebacks in its log."""
        counts: dict[str, int] = {}
        for key, count in sorted(self._drops().items()):
            new, reason = count - self._before.get(key, 0), key.partition('.dropped.')[2]
            counts[reason] = max(counts.get(reason, 0), new if new >= 0 else count)  # a component, and the output
        self.said += [f'`{reason}` {count}' for reason, count in counts.items() if count]
        self.note_alerts()
        log = self.stage.node.log_lines() if self.stage.node else []
        start = self._log_start if self.stage.node is self._first_node else 0
        self.check(self.tracebacks_expected or not any('Traceback' in line for line in log[start:]),
                   'a traceback in the log')

    def _drops(self) -> dict[str, int]:
        return {key: int(value) for key, value in self.stage.diagnostics.values().items() if '.dropped.' in key}


def _status(code: int | None) -> str:
    if code is None:
        return 'still running'
    return f'killed by {signal.Signals(-code).name}' if code < 0 else f'status {code}'
