# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which recordings are meant: paths, folders of recordings, globs, lists of them (`@FILE`), and URLs of fsspec."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from types import ModuleType

from attention_fusion_ros.errors import ConfigurationError, InputError, require
from attention_fusion_ros.stream.content import local_state
from attention_fusion_ros.stream.find import recordings_among, recordings_below
from attention_fusion_ros.stream.storage.files import WHAT_TO_GIVE, is_storage
from attention_fusion_ros.stream.storage.metadata import NAME as METADATA
from attention_fusion_ros.utils.digest import digest

LIST = '@'
MAGIC = '*?['
# What file systems call that which changes when a file does (fsspec leaves the names to them).
VERSIONS = ('ETag', 'etag', 'md5Hash', 'crc32c', 'content_md5', 'generation', 'mtime', 'LastModified', 'last_modified',
            'updated', 'modified')


@dataclass(frozen=True)
class Source:
    """A recording of this machine's file systems. location: its path."""

    location: str

    @property
    def name(self) -> str:
        """Short, for folders and tables: that of its folder, or of its file without what follows the dot."""
        path = Path(self.location)
        return path.name if path.is_dir() else _stem(path.name)

    def state(self) -> str | None:
        """What changes when the recording does, without reading it; None where nothing tells."""
        try:
            return local_state(Path(self.location))
        except OSError:
            return None

    @contextmanager
    def local(self) -> Iterator[Path]:
        """The path to read it at."""
        yield Path(self.location)


@dataclass(frozen=True)
class RemoteSource(Source):
    """A recording that fsspec reaches. location: its URL. files: the URLs of its files."""

    files: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Short, as of those on this machine."""
        last = PurePosixPath(self.location.rstrip('/')).name
        return _stem(last) if self.files == (self.location,) else last

    def state(self) -> str | None:
        """From the sizes and versions that the file system tells."""
        found = []
        for url in self.files:
            system, path = _fsspec().core.url_to_fs(url)
            about = system.info(path)
            versions = [str(about[name]) for name in VERSIONS if about.get(name) is not None]
            if not versions:
                return None
            found.append((url, about.get('size'), versions))
        return digest((), found, length=32)

    @contextmanager
    def local(self) -> Iterator[Path]:
        """A copy, for as long as it is needed."""
        with TemporaryDirectory(prefix='attention_fusion_') as folder:
            single = self.files == (self.location,)
            target = Path(folder) if single else Path(folder) / self.name
            target.mkdir(exist_ok=True)
            for url in self.files:
                system, path = _fsspec().core.url_to_fs(url)
                system.get_file(path, str(target / PurePosixPath(path).name))
            yield target / PurePosixPath(self.location).name if single else target


def is_many(arguments: Sequence[str]) -> bool:
    """Whether these mean work over many recordings, rather than one that is named by its path."""
    if len(arguments) != 1:
        return True
    text, = arguments
    return text.startswith(LIST) or is_url(text) or (_has_magic(text) and not Path(text).exists())


def is_url(text: str) -> bool:
    """Whether it is for fsspec."""
    return '://' in text


def find_sources(arguments: Iterable[str]) -> list[Source]:
    """The recordings that arguments name, each once, in their order; those of a folder or glob sorted.

    Only names are looked at. Raises InputError where an argument names none, ConfigurationError where fsspec or what
    it needs for a URL is missing, OSError for a list that cannot be read.
    """
    found: dict[str, Source] = {}
    for argument in arguments:
        for source in _sources(argument):
            found.setdefault(source.location, source)
    return list(found.values())


def _sources(text: str) -> list[Source]:
    if text.startswith(LIST):
        return find_sources(_listed(Path(text[len(LIST):]).expanduser()))
    if is_url(text):
        return _remote(text)
    path = Path(text).expanduser()
    if path.exists():
        # A folder of nothing that has the name of a recording may be one: what its files hold counts.
        return [Source(str(bag)) for bag in recordings_below(path) or [path]]
    if not _has_magic(text):
        raise InputError('recording_missing', f'There is no recording at {text}.', WHAT_TO_GIVE)
    matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
    bags = [bag for match in matches if match.is_dir() for bag in recordings_below(match)]
    inside = set(bags)
    files = [match for match in matches if match.is_file() and (is_storage(match) or match.name == METADATA)]
    bags += [bag for bag in recordings_among(files) if bag not in inside and bag.parent not in inside]
    if not bags:
        raise InputError('recording_missing', f'No recording matches {text}.', 'check the pattern, and put it into '
                         'quotation marks.')
    return [Source(str(bag)) for bag in sorted(set(bags))]


def _listed(file: Path) -> list[str]:
    """The lines of a list, without empty ones and those that begin with #."""
    try:
        lines = [line.strip() for line in file.read_text(encoding='utf-8').splitlines()]
    except UnicodeDecodeError as error:
        raise InputError('recording_missing', f'{file} is no list of recordings: it is no text.', 'give a file with a '
                         'path or URL a line.') from error
    found = [line for line in lines if line and not line.startswith('#')]
    if not found:
        raise InputError('recording_missing', f'The list {file} is empty.', 'give a file with a path or URL a line.')
    if any(line.startswith(LIST) for line in found):
        raise InputError('recording_missing', f'The list {file} names another list.', 'name recordings in it.')
    return found


def _remote(url: str) -> list[Source]:
    """The recordings of a URL: of a file, of a folder and below it, of a glob."""
    try:
        system, path = _fsspec().core.url_to_fs(url)
        matches = system.glob(path) if _has_magic(path) else [path] if system.exists(path) else []
        files = sorted({PurePosixPath(file) for match in matches
                        for file in ([match] if system.isfile(match) else system.find(match))})
    except (ImportError, ValueError) as error:
        raise ConfigurationError(f"'{url}' cannot be opened: {error}. Remedy: install what fsspec needs for it "
                                 '(s3fs for s3://, gcsfs for gs://, adlfs for abfs://)') from error
    bags = recordings_among(file for file in files if not any(p.startswith('.') for p in file.parts[:-1]))
    if not bags:
        raise InputError('recording_missing', f'There is no recording at {url}.', 'check the URL, and the rights that '
                         'this machine has there.')
    by_folder: dict[PurePosixPath, list[PurePosixPath]] = {}
    for file in files:
        by_folder.setdefault(file.parent, []).append(file)
    return [RemoteSource(system.unstrip_protocol(str(bag)), tuple(
        system.unstrip_protocol(str(file)) for file in ([bag] if bag in files else by_folder[bag]))) for bag in bags]


def _fsspec() -> ModuleType:
    return require('fsspec', 'a URL in the place of a recording')


def _has_magic(text: str) -> bool:
    return any(sign in text for sign in MAGIC)


def _stem(name: str) -> str:
    return name.partition('.')[0] or name
