# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A recording that is written whole or not at all: only what is complete gets the name asked for."""

from __future__ import annotations

import errno
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.stream.storage import metadata
from attention_fusion_ros.utils.new_folder import NewFolder

if TYPE_CHECKING:
    from rosbags.rosbag2 import Writer

METADATA_VERSION: Literal[8, 9] = 8  # the newest that every distribution since Humble reads with its QoS profiles
MADE_BY, STATUS = 'attention_fusion_ros.made_by', 'attention_fusion_ros.status'  # in `custom_data` of metadata.yaml


class NewRecording:
    """The folder of a recording while it is written. Use as a context manager.

    folder: of the recording; must not exist. storage: mcap (compressed by zstd) or sqlite3.
    writer: of rosbags, within the context. work: the folder as long as it is not complete; other files may be put
    there.

    made_by: what the recording depends on, see `cli.made_by`; '' when nobody will ask `status_of`.

    Raises ConfigurationError when the folder exists, or there is no room for it.
    """

    def __init__(self, folder: Path, storage: str = 'mcap', made_by: str = ''):
        if folder.exists():
            raise ConfigurationError(f"'{folder}' exists already. Remedy: give a new folder, or remove that one.")
        self.folder, self.storage, self._made_by = folder, storage, made_by
        self.writer: Writer
        self.work: Path
        self._place = NewFolder(folder)
        self._finished = False

    def __enter__(self) -> NewRecording:
        from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
        self.work = self._place.__enter__().work
        self.writer = Writer(self.work, version=METADATA_VERSION, storage_plugin=StoragePlugin[self.storage.upper()])
        if self.storage == 'mcap':
            self.writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        try:
            self.writer.open()
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def finish(self, status: int = 0) -> None:
        """Write the last message to the disk; what is done until the context ends is done before it gets its name.

        status: with which the command will exit, for `status_of`. Raises ConfigurationError when there is no room.
        """
        if not self._finished:
            for key, value in done_notes(self._made_by, status).items():
                self.writer.set_custom_data(key, value)
            try:
                self.writer.close()
            except Exception as error:
                self._explain(error)
                raise
            self._finished = True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        failure = error
        if kind is None:
            try:
                self.finish()
            except BaseException as problem:
                failure = problem
        elif not self._finished:
            with suppress(Exception):  # what it has met before is what the user hears of
                self.writer.abort()
        try:
            self._place.__exit__(None if failure is None else type(failure), failure, trace)
        except OSError as problem:  # where the disk is full, the last bytes may be refused only now
            self._explain(problem)
            raise
        if failure is None:
            return
        if not self._finished:
            self._explain(failure)
        if failure is not error:
            raise failure

    def _explain(self, error: BaseException) -> None:
        """Raises ConfigurationError when there was no room."""
        if is_full(error):
            cause = getattr(error, 'strerror', None) or error
            raise ConfigurationError(f"'{self.folder}' cannot be written: {cause}. Remedy: make room there, or give "
                                     'another folder.') from error


def done_notes(made_by: str, status: int = 0) -> dict[str, str]:
    """What `status_of` looks for, for `custom_data` of metadata.yaml."""
    return {MADE_BY: made_by, STATUS: str(status)} if made_by else {}


def status_of(folder: Path, made_by: str) -> int | None:
    """The exit status of the command that has made the recording in `folder`; None unless it was made by `made_by`.

    Whoever is killed after a recording got its name, and is started again, finds out in this way that all is done.
    """
    known = metadata.read_metadata(folder) if folder.is_dir() else None
    if known is None or not made_by or known.custom.get(MADE_BY) != made_by:
        return None
    status = known.custom.get(STATUS, '')
    return int(status) if status.isdecimal() else None


def is_full(error: BaseException) -> bool:
    """Whether there was no room; SQLite says so in its own words."""
    return (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            or type(error).__module__ == 'sqlite3' and 'disk' in str(error))  # 'disk is full', 'disk I/O error'
