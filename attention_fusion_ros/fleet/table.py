# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""One table of many recordings, and of their worst sweeps: CSV files that are the same wherever the work was done, the
times beside them, and a page.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attention_fusion_ros.fleet.run import Many
from attention_fusion_ros.fleet.work import FAILED, INCOMPLETE, NOT_DONE, OK, Outcome, Task, failed_log
from attention_fusion_ros.report.page import Page
from attention_fusion_ros.utils import atomic
from attention_fusion_ros.utils.tables import Link, Table

if TYPE_CHECKING:
    from attention_fusion_ros.utils.provenance import Provenance

RECORDINGS, SWEEPS, TIMES, PAGE = 'recordings.csv', 'worst_sweeps.csv', 'times.csv', 'report.html'
SHOWN = 500  # recordings in the page; all of them are in the CSV file
REPORT = 'report.html'  # of one recording, where its work writes one


def worst_first(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Those that failed, then the worst ones; by name where they are alike."""
    return sorted(outcomes, key=lambda o: (o.status != NOT_DONE, -o.badness, o.name, o.recording))


def write_many(out: Path, task: Task, many: Many, provenance: Provenance) -> list[Path]:
    """Write the tables and the page; returns their paths. Raises OSError."""
    ordered = worst_first(many.outcomes)
    _write(out / RECORDINGS, ('recording', 'status', 'reason', 'message', *task.columns, 'folder'),
           ((o.recording, o.status, o.reason, o.message, *(o.row.get(name, '') for name in task.columns), o.folder)
            for o in ordered))
    _write(out / SWEEPS, ('recording', 'stamp_ns', 'badness', 'what', 'folder'),
           ((o.recording, s.stamp_ns, f'{s.badness:.6f}', s.text, o.folder) for o, s in many.worst))
    _write(out / TIMES, ('recording', 'seconds', 'host', 'kept'),
           ((o.recording, f'{o.seconds:.3f}', o.host, int(o.kept)) for o in ordered))
    atomic.write_text(out / PAGE, _page(out, task, many, ordered, provenance))
    return [out / name for name in (RECORDINGS, SWEEPS, TIMES, PAGE)]


def summary(many: Many) -> list[str]:
    """The run in a few lines, for a terminal."""
    kept = sum(outcome.kept for outcome in many.outcomes)
    made = len(many.outcomes) - kept - many.count(NOT_DONE)
    seconds = sum(outcome.seconds for outcome in many.outcomes if not outcome.kept)
    lines = [f'recordings  {len(many.outcomes)} ({made} made, {kept} kept from before, {many.count(NOT_DONE)} failed)',
             f'work        {seconds:.1f} s in all']
    if many.count(INCOMPLETE):
        lines.append(f'incomplete  {many.count(INCOMPLETE)}: something in them could not be read, or nothing came out')
    if many.again:
        lines.append(f'lost        {many.again} attempts, with the processes that they were made in')
    return lines


def status_of(many: Many) -> int:
    """The exit status: 0 where every recording was done whole."""
    return 0 if many.count(OK) == len(many.outcomes) else 1


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(header)
    table.writerows(rows)
    atomic.write_text(path, text.getvalue())


def _page(out: Path, task: Task, many: Many, ordered: Sequence[Outcome], provenance: Provenance) -> str:
    page = Page(f'{task.name} of {len(many.outcomes)} recordings', f'{task.bad_recording}; the worst first')
    failed = [outcome for outcome in ordered if outcome.status == NOT_DONE]
    if failed:
        page.warning(f'{len(failed)} recordings failed; the same command tries them again and leaves the others.')
    page.preformatted('\n'.join(summary(many)))
    tables = []
    if failed:
        tables.append(Table('What failed', ('recording', 'reason', 'message'), [
            (Link(o.recording, f'{FAILED}/{failed_log(o)}'), o.reason, o.message) for o in failed]))
    if many.worst:
        tables.append(Table('The worst sweeps', ('recording', 'stamp [ns]', task.bad_sweep, 'what'), [
            (_link(out, o), s.stamp_ns, f'{s.badness:.2f}', s.text) for o, s in many.worst]))
    done = [outcome for outcome in ordered if outcome.status != NOT_DONE]
    tables.append(Table('Recordings', ('recording', 'status', *task.columns), [
        (_link(out, o), o.status, *(o.row.get(name, '') for name in task.columns)) for o in done[:SHOWN]]))
    for table in tables:
        page.heading(table.title)
        page.table(table)
    if len(done) > SHOWN:
        page.paragraph(f'{len(done) - SHOWN} more are in {RECORDINGS}.')
    page.heading('How it was made')
    page.preformatted('\n'.join(provenance.lines()))
    return page.render()


def _link(out: Path, outcome: Outcome) -> Link:
    page = f'{outcome.folder}/{REPORT}'
    return Link(outcome.name, page if (out / page).exists() else f'{outcome.folder}/')
