# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A folder that is written whole or not at all: only what is complete gets the name asked for."""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from attention_fusion_ros.utils.atomic import sync_below, sync_folder

LOCK = '.lock'  # held by who writes: what nobody holds was left behind


class NewFolder:
    """A folder while it is written. Use as a context manager; after an error nothing is left of it.

    folder: the name it gets in the end. work: where it is made; within the context, the caller makes this folder.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.work: Path

    def __enter__(self) -> NewFolder:
        parent = self.folder.absolute().parent
        parent.mkdir(parents=True, exist_ok=True)
        remove_left_behind(self.folder)
        while True:
            # Beside the place it goes to, so that it can be moved there in one step.
            self._outer = Path(tempfile.mkdtemp(prefix=f'.{self.folder.name}.', suffix='.partial', dir=parent))
            try:
                self._lock = open(self._outer / LOCK, 'wb')
            except FileNotFoundError:  # it was removed before it was locked
                continue
            with suppress(OSError):  # of file systems without locks
                fcntl.flock(self._lock, fcntl.LOCK_EX)
            if os.fstat(self._lock.fileno()).st_nlink:
                break
            self._lock.close()
        self.work = self._outer / self.folder.name
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        try:
            if kind is None:
                sync_below(self.work)  # else the name may reach the disk before the content
                os.rename(self.work, self.folder)
                sync_folder(self.folder.absolute().parent)
        finally:
            shutil.rmtree(self._outer, ignore_errors=True)
            self._lock.close()


def remove_left_behind(folder: Path) -> None:
    """Remove what a process that was killed has left of the same folder."""
    for place in folder.absolute().parent.glob(f'.{glob.escape(folder.name)}.*.partial'):
        try:
            with open(place / LOCK, 'rb') as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(place, ignore_errors=True)
        except FileNotFoundError:
            with suppress(OSError):  # of what is not empty, and was not made here
                place.rmdir()
        except OSError:  # it is being written
            continue
