# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What is done with one of many recordings, on whatever machine: its results appear whole, under a name made of it.

The folder of a recording's results is `NAME-KEY`; the key is a digest of what the recording holds, the settings, the
files that they name (checkpoint, roads) and the code. Results that are there under it are the results.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from attention_fusion_ros.engines.ray_engine import code_digest
from attention_fusion_ros.errors import ConfigurationError, InputError
from attention_fusion_ros.fleet.sources import Source
from attention_fusion_ros.stream.content import NOT_CONTENT, ContentIndex, content_digest
from attention_fusion_ros.utils.digest import digest
from attention_fusion_ros.utils.stored_json import read_checked_json, write_checked_json
from attention_fusion_ros.utils.typed_json import from_plain, to_plain

RECORD, LOG = NOT_CONTENT  # in the folder of a recording's results
WORK, SEEN, FAILED = '.work', '.seen', 'failed'  # beside these folders: what is not complete, digests, logs
FORMAT = 1
OK, INCOMPLETE, NOT_DONE = 'ok', 'incomplete', 'failed'


@dataclass(frozen=True)
class BadSweep:
    """One sweep, and how bad it is: the larger the worse."""

    stamp_ns: int
    badness: float
    text: str  # what is bad about it


@dataclass(frozen=True)
class Findings:
    """What came of one recording."""

    row: dict[str, str]  # cells by heading, as they are printed
    badness: float  # of the recording: the larger the worse
    sweeps: tuple[BadSweep, ...]  # the worst ones first
    complete: bool = True  # whether everything could be read and something came out


@dataclass(frozen=True)
class Task:
    """What is to be done with each of many recordings.

    work(recording, folder, settings) writes into the folder, which it may have to make; one that can be imported.
    depends, files: what results depend on besides recording and code; values are compared by their repr.
    """

    name: str  # of the command
    work: Callable[[Path, Path, Any], Findings]
    settings: Any
    depends: tuple[object, ...]
    files: tuple[Path, ...]
    columns: tuple[str, ...]  # the headings of the rows, in order
    bad_sweep: str  # what the badness of sweeps is
    bad_recording: str  # what that of recordings is

    def base(self) -> str:
        """A name for all that results depend on but the recording. Raises OSError for a file that cannot be read."""
        return digest(self.files, [self.name, self.depends, code_digest()], length=32)


@dataclass(frozen=True)
class Job:
    """One recording for a worker."""

    source: Source
    task: Task
    base: str  # see Task.base
    out: Path
    run: str  # name of this run's folder of what is not complete
    worst: int  # so many sweeps are kept


@dataclass(frozen=True)
class Outcome:
    """What is known of a recording when it is done."""

    recording: str  # where it lies
    name: str
    folder: str = ''  # of its results, in that of all; '' where there are none
    status: str = OK
    reason: str = ''
    message: str = ''
    badness: float = 0.0
    row: dict[str, str] = field(default_factory=dict)
    sweeps: tuple[BadSweep, ...] = ()
    seconds: float = 0.0  # that it took, copying and reading included
    host: str = ''
    kept: bool = False  # it was there from an earlier run


def folder_name(source: Source, base: str, content: str) -> str:
    """Of the results of a recording with this content."""
    return f'{source.name}-{digest((), [source.name, base, content])}'


def read_record(folder: Path, source: Source) -> Outcome | None:
    """What is known of complete results; None where there are none that can be read."""
    try:
        content = read_checked_json(folder / RECORD)
        if content['format'] != FORMAT:
            return None
        outcome: Outcome = from_plain(Outcome, content['outcome'])
        return replace(outcome, recording=source.location, kept=True)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def do_recording(job: Job) -> Outcome:
    """Do it, unless it has been done; what is wrong with a recording is told, and never raised.

    Raises ConfigurationError where the folder of results is not seen.
    """
    begun = time.monotonic()
    run = job.out / WORK / job.run
    if not run.is_dir():
        raise ConfigurationError(f"{socket.gethostname()} does not see the folder '{job.out}' of the machine that "
                                 'asks. Remedy: give --out a folder that all nodes share')
    work = run / f'{job.source.name}-{secrets.token_hex(4)}'
    log = Path(f'{work}.log')
    with open(log, 'w', buffering=1, encoding='utf-8') as told, redirect_stdout(told), redirect_stderr(told):
        try:
            with job.source.local() as path:
                outcome = _done(job, path, work, log, begun)
        except Exception as error:
            traceback.print_exc()
            outcome = _failed(job, error, begun)
    kept_log = job.out / FAILED / failed_log(outcome)
    if outcome.status == NOT_DONE:
        shutil.rmtree(work, ignore_errors=True)
        kept_log.parent.mkdir(exist_ok=True)
        os.replace(log, kept_log)
    else:
        kept_log.unlink(missing_ok=True)
        log.unlink()  # those that are left belong to attempts that never came here
    return outcome


def failed_log(outcome: Outcome) -> str:
    """Name of the log of a recording that failed."""
    return f'{outcome.name}-{digest((), [outcome.recording])}.log'


def _done(job: Job, path: Path, work: Path, log: Path, begun: float) -> Outcome:
    index, state = ContentIndex(job.out / SEEN), job.source.state()
    content = index.known(state)
    if content is None:
        content = content_digest(path)
        index.remember(state, content)
    name = folder_name(job.source, job.base, content)
    kept = read_record(job.out / name, job.source)
    if kept is not None:
        return kept
    findings = job.task.work(path, work, job.task.settings)
    work.mkdir(parents=True, exist_ok=True)
    outcome = Outcome(job.source.location, job.source.name, name, OK if findings.complete else INCOMPLETE,
                      badness=findings.badness, row=findings.row, sweeps=tuple(findings.sweeps[:job.worst]),
                      seconds=time.monotonic() - begun, host=socket.gethostname())
    _write_log(work / LOG, log, {str(work): str(job.out / name), str(path): job.source.location})
    write_checked_json(work / RECORD, {'format': FORMAT, 'outcome': to_plain(outcome)})
    _publish(work, job.out / name, job.source)
    return outcome


def _write_log(file: Path, log: Path, places: dict[str, str]) -> None:
    """What the work has printed, with the names that things have when it is done."""
    sys.stdout.flush()  # which is the log, and has its last line still
    text = log.read_text(encoding='utf-8')
    for work, final in places.items():
        text = text.replace(work, final)
    file.write_text(text, encoding='utf-8')


def _publish(work: Path, final: Path, source: Source) -> None:
    """Give complete results their name."""
    try:
        os.rename(work, final)
    except OSError:
        if read_record(final, source) is None:  # half of one that somebody has tampered with
            shutil.rmtree(final)
            os.rename(work, final)
        else:  # the same recording was given twice, under two paths
            shutil.rmtree(work)


def _failed(job: Job, error: Exception, begun: float) -> Outcome:
    if isinstance(error, InputError):
        reason = error.reason
    elif isinstance(error, ConfigurationError):
        reason = 'configuration'
    else:
        reason = 'system' if isinstance(error, OSError) else 'unexpected'
    message = str(error) if isinstance(error, (ValueError, OSError)) and str(error) else repr(error)
    return Outcome(job.source.location, job.source.name, status=NOT_DONE, reason=reason,
                   message=' '.join(message.split()), seconds=time.monotonic() - begun, host=socket.gethostname())
