# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What files hold, without what differs from run to run by nature: times of day, durations, and pictures of them."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from attention_fusion_ros.ros.messages.standins import STORE
from attention_fusion_ros.ros.result_sink import NODE
from attention_fusion_ros.stream.recording import RawMessage, Recording
from attention_fusion_ros.stream.storage import metadata
from attention_fusion_ros.training.state import PAIRS
from attention_fusion_ros.utils.sealed_tensors import read_sealed

DURATIONS = ('debug/processing_time/', '/data_age')  # topics of `replay --bag`
# Keys and columns; a checksum is one over them as well.
BY_NATURE = {'started', 'finished', 'commands', 'minutes', 'spent', 'latency_ms', 'sha256'}
SHOWS_DURATIONS = ('report.html', 'report.png')


@dataclass(frozen=True)
class Half:
    """A file that is not whole."""

    path: str
    why: str


def content(place: Path) -> dict[str, object]:
    """Path below `place` -> what it holds, comparable, of each file under its final name. Raises ValueError."""
    return {name: read(path) for name, path in _files(place)}


def half_written(place: Path, expected: Mapping[str, object], grows: Sequence[str]) -> tuple[int, list[Half]]:
    """How many files there are, and those that are not whole: not to be read, or other than they will be in the end."""
    count, found = 0, []
    for name, path in _files(place):
        count += 1
        try:
            value = read(path)
        except Exception as error:
            found.append(Half(name, f'{type(error).__name__}: {error}'))
            continue
        final = expected.get(name)
        if final is not None and value != final and not any(Path(name).match(pattern) for pattern in grows):
            found.append(Half(name, 'is not what it is in the end'))
    return count, found


def differences(found: Mapping[str, object], expected: Mapping[str, object]) -> list[str]:
    """What is missing, superfluous or other than it should be."""
    told = [f'missing: {name}' for name in sorted(expected.keys() - found.keys())]
    told += [f'superfluous: {name}' for name in sorted(found.keys() - expected.keys())]
    return told + [f'other: {name}' for name in sorted(found.keys() & expected.keys()) if found[name] != expected[name]]


def leftovers(place: Path) -> list[str]:
    """Temporary files and folders."""
    return sorted(path.relative_to(place).as_posix() for path in place.rglob('*.partial'))


def _files(place: Path) -> list[tuple[str, Path]]:
    """Files under their final names; a recording is one, its folder."""
    found = []
    for path in sorted(place.rglob('*')):
        name = path.relative_to(place)
        if any(part.startswith('.') and part.endswith('.partial') for part in name.parts):
            continue
        # TensorBoard's logs are appended to, and read up to where they break off; their names tell the time.
        if path.is_file() and path.suffix not in ('.mcap', '.db3') and 'tfevents' not in path.name:
            found.append((name.as_posix(), path))
        elif path.suffix in ('.mcap', '.db3'):
            found.append((name.parent.as_posix() + '/', path.parent))
    return found


def read(path: Path) -> object:
    """What a file holds. Raises an error for one that is not whole."""
    if path.is_dir():
        return _recording(path)
    return READERS.get(path.suffix, Path.read_bytes)(path)


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _recording(folder: Path) -> object:
    known = metadata.read_metadata(folder)
    if known is None or known.problem:
        raise ValueError('it has no metadata.yaml that can be read')
    with Recording(folder) as recording:
        messages = [(m, _data(recording, m)) for m in recording.raw_messages(list(recording.topics))]
        if recording.losses:
            raise ValueError(' '.join(recording.losses))
    if len(messages) != sum(known.counts.values()):
        raise ValueError(f'{len(messages)} messages of {sum(known.counts.values())}')
    return [(m.stamp_ns, m.topic, m.type, len(data) if any(d in m.topic for d in DURATIONS) else _sha(data))
            for m, data in messages]


def _data(recording: Recording, message: RawMessage) -> bytes:
    """A message; of one that ROS has serialised, with zeros between the fields, where it leaves what was in memory."""
    if not message.topic.startswith(NODE):
        return message.data
    return bytes(STORE.serialize_cdr(recording.decode(message), message.type))


def _json(path: Path) -> object:
    return _without(json.loads(path.read_text()))


def _without(value: Any) -> Any:
    if isinstance(value, dict) and value.keys() == {PAIRS}:  # a dictionary in the state of a training run
        return [[_without(key), _without(inner)] for key, inner in value[PAIRS] if key not in BY_NATURE]
    if isinstance(value, dict):
        return {key: _without(inner) for key, inner in value.items() if key not in BY_NATURE}
    return [_without(inner) for inner in value] if isinstance(value, list) else value


def _csv(path: Path) -> object:
    text = path.read_bytes().decode()
    if not text.endswith('\n'):
        raise ValueError('its last line is cut off')
    header, *rows = csv.reader(io.StringIO(text, newline=''))
    if any(len(row) != len(header) for row in rows):
        raise ValueError('a row is cut off')
    kept = [k for k, name in enumerate(header) if name not in BY_NATURE]
    return [[row[k] for k in kept] for row in (header, *rows)]


def _zip(path: Path) -> object:
    with zipfile.ZipFile(path) as archive:
        if (bad := archive.testzip()) is not None:
            raise ValueError(f'{bad} in it is damaged')
        # The first folder in archives of torch is the name of the file that was written, which is a temporary one.
        return {name.partition('/')[2] if path.suffix in ('.pt', '.pt2') else name: _sha(archive.read(name))
                for name in archive.namelist()}


def _npy(path: Path) -> object:
    array = np.load(path, allow_pickle=False)
    return array.shape, str(array.dtype), _sha(array.tobytes())


def _safetensors(path: Path) -> object:
    tensors, texts = read_sealed(path)
    about = {key: _without(json.loads(text)) if text[:1] in '[{' else text
             for key, text in texts.items() if key not in BY_NATURE}
    return about, {name: (str(tensor.dtype), tuple(tensor.shape), _sha(_bytes(tensor)))
                   for name, tensor in tensors.items()}


def _bytes(tensor: torch.Tensor) -> bytes:
    return tensor.reshape(-1).view(torch.uint8).numpy().tobytes()


def _picture(path: Path) -> object:
    data = path.read_bytes()
    if not data.endswith(b'IEND\xaeB`\x82') or cv2.imdecode(np.frombuffer(data, np.uint8), 1) is None:
        raise ValueError('it breaks off')
    return '' if path.name in SHOWS_DURATIONS else _sha(data)


def _page(path: Path) -> object:
    text = path.read_text()
    if not text.rstrip().endswith('</html>'):
        raise ValueError('it breaks off')
    return '' if path.name in SHOWS_DURATIONS else text


READERS: dict[str, Callable[[Path], object]] = {
    '.json': _json, '.csv': _csv, '.npz': _zip, '.npy': _npy, '.pt2': _zip,
    '.safetensors': _safetensors, '.png': _picture, '.html': _page}
