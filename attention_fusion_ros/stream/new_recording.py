# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A recording that is written whole or not at all: only what is complete gets the name asked for."""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from attention_fusion_ros.errors import ConfigurationError

if TYPE_CHECKING:
    from rosbags.rosbag2 import Writer

METADATA_VERSION: Literal[8, 9] = 8  # the newest that every distribution since Humble reads with its QoS profiles
LOCK = '.lock'  # held by who writes: what nobody holds was left behind


class NewRecording:
    """The folder of a recording while it is written. Use as a context manager.

    folder: of the recording; must not exist. storage: mcap (compressed by zstd) or sqlite3.
    writer: of rosbags, within the context. work: the folder as long as it is not complete; other files may be put
    there.

    Raises ConfigurationError when the folder exists, or there is no room for it.
    """

    def __init__(self, folder: Path, storage: str = 'mcap'):
        if folder.exists():
            raise ConfigurationError(f"'{folder}' exists already. Remedy: give a new folder, or remove that one.")
        self.folder, self.storage = folder, storage
        self.writer: Writer
        self.work: Path

    def __enter__(self) -> NewRecording:
        from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
        parent = self.folder.absolute().parent
        parent.mkdir(parents=True, exist_ok=True)
        _remove_left_behind(parent, self.folder.name)
        # Beside the place it goes to, so that it can be moved there in one step.
        self._outer = Path(tempfile.mkdtemp(prefix=f'.{self.folder.name}.', suffix='.partial', dir=parent))
        self._lock = open(self._outer / LOCK, 'wb')
        with suppress(OSError):  # of file systems without locks
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.work = self._outer / self.folder.name
        self.writer = Writer(self.work, version=METADATA_VERSION, storage_plugin=StoragePlugin[self.storage.upper()])
        if self.storage == 'mcap':
            self.writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        try:
            self.writer.open()
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self.writer.close()
                os.rename(self.work, self.folder)
            else:
                self.writer.abort()
        except Exception as failure:
            if error is None and not is_full(failure):
                raise
            error = error or failure
        finally:
            shutil.rmtree(self._outer, ignore_errors=True)
            self._lock.close()
        if error is not None and is_full(error):
            cause = getattr(error, 'strerror', None) or error
            raise ConfigurationError(f"'{self.folder}' cannot be written: {cause}. Remedy: make room there, or give "
                                     'another folder.') from error


def is_full(error: BaseException) -> bool:
    """Whether there was no room; SQLite says so in its own words."""
    return (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            or type(error).__module__ == 'sqlite3' and 'disk' in str(error))  # 'disk is full', 'disk I/O error'


def _remove_left_behind(parent: Path, name: str) -> None:
    """Remove what a process that was killed has left of the same recording."""
    for folder in parent.glob(f'.{glob.escape(name)}.*.partial'):
        try:
            with open(folder / LOCK, 'rb') as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # it is being written, or was not made here
            continue
