# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which files a recording consists of, and opening them: by their contents, whatever names and metadata say."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from attention_fusion_ros.errors import InputError
from attention_fusion_ros.stream.storage import compression, mcap, metadata, ros1, sqlite
from attention_fusion_ros.stream.storage.channel import MAKE_ROOM, StorageError, StorageFile
from attention_fusion_ros.stream.storage.metadata import Metadata

SUFFIXES = ('.mcap', '.db3', '.bag')
ACTIVE = '.active'  # what ROS 1 adds while it records
PACKED_SUFFIXES = ('.zstd', '.zst', '.lz4')
FORMATS: dict[bytes, Callable[[Path], StorageFile]] = {
    mcap.MAGIC: mcap.McapFile, sqlite.MAGIC: sqlite.SqliteFile, ros1.MAGIC: ros1.open_bag}
LFS_POINTER = b'version https://git-lfs'
WHAT_TO_GIVE = "give the folder written by 'ros2 bag record', or its .mcap or .db3 file, or a ROS 1 .bag file."


class OpenFiles:
    """The files of a recording.

    notes: what was left out, mended or understood differently. losses: what cannot be read.
    Raises InputError: `recording_missing`, `recording_unreadable`.
    """

    def __init__(self, path: Path):
        self.path = path.parent if path.name == metadata.NAME else path
        self.notes: list[str] = []
        self.losses: list[str] = []
        self.files: list[StorageFile] = []
        self.metadata = read = _metadata_of(self.path)
        self._stack = ExitStack()
        try:
            if read.problem:
                self.notes.append(f'metadata.yaml is not used: {read.problem}.')
            problems = self._open_all(_candidates(self.path, read), read)
        except BaseException:
            self.close()
            raise
        if not self.files:
            self.close()
            raise problems[0]
        self.losses += [f'{problem.message} The other files are used.' for problem in problems]

    def close(self) -> None:
        """Free the files. May be repeated."""
        self._stack.close()

    def _open_all(self, candidates: Sequence[Path], read: Metadata) -> list[_Unreadable]:
        problems = []
        listed = [file for file in candidates if file.name in read.files]
        for file in [*listed, *(file for file in candidates if file not in listed)]:
            try:
                opened = self._open(file)
            except _Unreadable as problem:
                problems.append(problem)
                continue
            twin = None if file in listed else next((f for f in self.files if _same_again(f, opened)), None)
            if twin is None:
                self.files.append(opened)
                self._stack.callback(opened.close)
            else:
                opened.close()
                self.notes.append(f'{file.name} is left out: it holds the time and topics of {twin.path.name} again.')
        missing = [name for name in read.files if not any(file.name == name for file in candidates)]
        unlisted = [f.path.name for f in self.files if read.files and f.path.name not in read.files]
        if missing and len(unlisted) >= len(missing):
            self.notes.append(f'metadata.yaml lists {", ".join(missing)}; read instead: {", ".join(unlisted)}.')
        elif missing and self.files:
            self.losses.append(f'{", ".join(missing)} of the recording {"is" if len(missing) == 1 else "are"} missing; '
                               'the other files are used.')
        elif not read.files and len({_without_number(f.path.name) for f in self.files}) > 1:
            self.notes.append('no metadata.yaml says that they belong together; read as one recording: '
                              f'{", ".join(f.path.name for f in self.files)}.')
        elif unlisted:
            self.notes.append(f'{", ".join(unlisted)}: read, though metadata.yaml does not list it.')
        return problems

    def _open(self, file: Path) -> StorageFile:
        """Open a file by what it begins with. Raises _Unreadable."""
        try:
            with open(file, 'rb') as begin:
                beginning = begin.read(64)
        except OSError as error:
            raise _Unreadable(file, error.strerror or str(error), 'check the path and its permissions.') from error
        name = compression.name_of(beginning)
        if name:
            return self._open_packed(file, name)
        for magic, kind in FORMATS.items():
            if beginning.startswith(magic):
                try:
                    return kind(file)
                except StorageError as error:
                    raise _Unreadable(file, str(error), error.remedy) from error
                except Exception as error:  # the beginning is right, and what follows can be anything
                    raise _Unreadable(file, f'it is damaged ({error})') from error
        if not beginning:
            raise _Unreadable(file, 'it is empty: the recorder was stopped before it wrote anything')
        if beginning.startswith(LFS_POINTER):
            raise _Unreadable(file, 'it is a pointer of Git LFS, not the file itself', "run 'git lfs pull'.")
        if not beginning.strip(b'\0'):
            raise _Unreadable(file, 'it holds zeros only: it was never written to disk')
        raise _Unreadable(file, 'it is neither mcap, nor sqlite3, nor a ROS 1 bag', WHAT_TO_GIVE)

    def _open_packed(self, file: Path, name: str) -> StorageFile:
        """A file that is compressed as a whole is unpacked to a temporary folder."""
        folder = self._stack.enter_context(TemporaryDirectory(prefix='attention_fusion_'))
        unpacked = Path(folder) / (file.stem if file.suffix in PACKED_SUFFIXES else file.name)
        try:
            whole = compression.unpack(file, name, unpacked)
        except OSError as error:
            raise _Unreadable(file, f'it cannot be unpacked to {folder}: {error.strerror}', MAKE_ROOM) from error
        try:
            opened = self._open(unpacked)
        except _Unreadable as problem:
            raise _Unreadable(file, f'unpacked, {problem.cause}', problem.remedy) from problem
        opened.path = file
        if not whole:
            opened.losses.append(f'{file.name}: its compression ({name}) breaks off; what came before is used.')
        return opened


class _Unreadable(InputError):
    """One file of which nothing can be read."""

    def __init__(self, file: Path, cause: str, remedy: str = ''):
        self.cause = cause.rstrip('.')
        self.message = f'{file} cannot be read: {self.cause}.'
        super().__init__('recording_unreadable', self.message, remedy or 'get the file again from where it was '
                         'recorded, or use another one.')


def _metadata_of(path: Path) -> Metadata:
    """That of a folder, or of the folder of a file that belongs to it."""
    if path.is_dir():
        return metadata.read_metadata(path) or Metadata()
    return Metadata()


def _candidates(path: Path, read: Metadata) -> list[Path]:
    """The files to open. Raises InputError where there are none."""
    if not path.exists():
        raise InputError('recording_missing', f'There is no recording at {path}.', WHAT_TO_GIVE)
    if path.is_file():
        return [path]
    found = sorted(f for f in path.iterdir() if f.is_file() and (is_storage(f) or f.name in read.files))
    # A file beside its compressed version (of 'ros2 bag convert', or unpacked by hand) is the same file.
    found = [f for f in found if not (f.suffix in PACKED_SUFFIXES and f.with_suffix('') in found)]
    # What was renamed ('drive.db3.bak', 'drive') is known by what it holds.
    found = found or sorted(f for f in path.iterdir() if f.is_file() and _begins_as_storage(f))
    if found:
        return found
    inside = sorted({f.parent for f in path.glob('*/*') if is_storage(f)})
    if inside:
        raise InputError('recording_unreadable', f'{path} is a folder of {len(inside)} recordings.',
                         f'give one of them: {", ".join(str(f) for f in inside[:5])}{" ..." if inside[5:] else ""}.')
    if read.files:
        raise InputError('recording_unreadable', f'{path} holds metadata.yaml, but not the files that it lists: '
                         f'{", ".join(read.files)}.', 'copy them to the folder as well.')
    raise InputError('recording_unreadable', f'{path} holds no .mcap, .db3 or .bag files.', WHAT_TO_GIVE)


def is_storage(file: Path) -> bool:
    """Whether a file has the name of one that recordings consist of."""
    return (Path(file.stem) if file.suffix in (*PACKED_SUFFIXES, ACTIVE) else file).suffix in SUFFIXES


def _begins_as_storage(file: Path) -> bool:
    try:
        with open(file, 'rb') as begin:
            return begin.read(64).startswith(tuple(FORMATS))
    except OSError:
        return False


def _without_number(name: str) -> str:
    """What the names of the parts of one recording have in common (`drive_0.mcap`, `drive_1.mcap`)."""
    return re.sub(r'_\d+(?=(\.\w+)+$)', '', name)


def _same_again(one: StorageFile, other: StorageFile) -> bool:
    """Whether two files hold the same topics at the same time, as a repaired copy beside its original does."""
    shorter = min(one.end_ns - one.start_ns, other.end_ns - other.start_ns)
    shared = min(one.end_ns, other.end_ns) - max(one.start_ns, other.start_ns)
    topics = [{c.topic for c in file.channels if c.count} for file in (one, other)]
    return bool(topics[0] & topics[1]) and shared >= 0 and 2 * shared >= shorter
