# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What reads files. An input is {name: content} of a folder, and the name of what is opened."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from attention_fusion_ros.datasets import drives
from attention_fusion_ros.decode import decode_sweep
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.maps.load import load_roads
from attention_fusion_ros.network import checkpoint as checkpoints
from attention_fusion_ros.stream.recording import Recording
from attention_fusion_ros.stream.recording_hints import read_hints
from fuzz import files
from fuzz.judge import Fault
from fuzz.mutate import spoiled, spoiled_bytes
from fuzz.target import Target

Folder = tuple[dict[str, bytes], str]
JSON_WORDS = (b'[', b'{', b'"', b',', b'null', b'NaN', b'1e999', b'-Infinity', b'1' * 400, b'[' * 2000, b'true',
              b'"\\ud800"', b'{"a":' * 1500)


def _in_folder(read: Callable[[Path], Any]) -> Callable[[Folder], None]:
    """Write the files and open the one that is named."""
    def run(folder: Folder) -> None:
        contents, name = folder
        with TemporaryDirectory(prefix='attention_fusion_fuzz_') as place:
            for file, content in contents.items():
                path = Path(place) / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            read(Path(place) / name)
    return run


# ---------------------------------------------------------------------------------------------------------------- roads


def _osm(choices: random.Random) -> Folder:
    name, content = files.osm(choices)
    kind = choices.randrange(4)
    if kind == 0:
        return {name: spoiled_bytes(content, choices, files.OSM_WORDS)}, name
    if name.endswith('.pbf'):
        blocks = files.pbf_blocks(content)
        at = choices.randrange(len(blocks))
        blocks[at] = blocks[at][0], spoiled_bytes(blocks[at][1], choices)
        return {name: files.pbf_file(blocks)}, name
    text = spoiled_bytes(files.osm_xml(), choices, files.OSM_WORDS)
    return {name: gzip.compress(text) if name.endswith('.gz') else text}, name


def _json(value: Any, choices: random.Random) -> bytes:
    """As text, with something wrong in the value or in the text; text that JSON cannot hold becomes null."""
    if choices.randrange(3):
        value = spoiled(value, choices, odd_types=bool(choices.randrange(2)))
    text = json.dumps(value, default=lambda _: None).encode()
    return text if choices.randrange(2) else spoiled_bytes(text, choices, JSON_WORDS)


def _geojson(choices: random.Random) -> Folder:
    return {'roads.geojson': _json(files.geojson(choices), choices)}, 'roads.geojson'


def _load_roads(path: Path) -> None:
    graph = load_roads(path, datum=(49.44, 7.76), cache=None)
    if not (len(graph) and np.isfinite(graph.latitudes).all() and np.isfinite(graph.longitudes).all()
            and np.isfinite(graph.lengths).all() and (graph.widths > 0).all() and (graph.speeds > 0).all()
            and np.abs(graph.latitudes).max() <= 90):
        raise Fault('a road that is nowhere')


# ----------------------------------------------------------------------------------------------------------- recordings


def _recording(choices: random.Random) -> Folder:
    found = files.recordings()
    at = choices.randrange(len(found))
    name, content = found[at]
    folder = {name: spoiled_bytes(content, choices, (b'/points', b'sensor_msgs/msg/PointCloud2', b'cdr', b'zstd'))}
    if choices.randrange(2):
        folder = {'metadata.yaml': files.recordings()[1][1], **folder}
    if not choices.randrange(8):
        folder['replay.yaml'] = spoiled_bytes(files.REPLAY, choices, files.YAML_WORDS)
    return folder, '.' if choices.randrange(2) else name


def _read_recording(path: Path) -> None:
    refused: list[InputError] = []
    with Recording(path) as recording:
        try:
            topics = list(recording.topics)
            recording.input_topics()
        except InputError as error:
            refused.append(error)
        for raw in recording.raw_messages(topics):
            try:
                decode_sweep(recording.decode(raw))
            except InputError as error:
                refused.append(error)
        if not all(isinstance(text, str) and text for text in (*recording.notes, *recording.losses)):
            raise Fault('a note without words')
    if refused:
        raise refused[-1]


def _metadata(choices: random.Random) -> Folder:
    metadata = spoiled_bytes(files.recordings()[1][1], choices, files.YAML_WORDS)
    replay = spoiled_bytes(files.REPLAY, choices, files.YAML_WORDS)
    name, content = files.recordings()[0]
    return {'metadata.yaml': metadata, 'replay.yaml': replay, name: content}, '.'


def _read_metadata(path: Path) -> None:
    read_hints(path)
    _read_recording(path)


# -------------------------------------------------------------------------------------------- drives and checkpoints


def _drive(choices: random.Random) -> Folder:
    folder = files.drive_files()
    name = choices.choice(list(folder))
    if name.endswith('.json'):
        folder[name] = _json(json.loads(folder[name]), choices)
    else:
        folder[name] = spoiled_bytes(folder[name], choices, (b'nan', b'1e999', b',', b'\n', b"'shape': (3, 99999999)"))
    return folder, '.'


def _read_drive(path: Path) -> None:
    found, = drives.find_drives(path)
    drive = drives.load_drive(found)
    for index, sweep in enumerate(drive.sweeps):
        cloud = decode_sweep(drives.cloud_message(sweep))
        drives.ring_truth(drive, index, 0.1)
        drives.map_picture(drive, cloud.stamp_ns, 0.1, drives.MapOffset())


def _checkpoint(choices: random.Random) -> Folder:
    meta, tensors = files.checkpoint()
    meta, tensors = dict(meta), dict(tensors)
    kind = choices.randrange(4)
    if kind == 0:
        content = spoiled_bytes(files.safetensors_file(meta, tensors), choices, JSON_WORDS)
    else:
        for _ in range(1 + choices.randrange(2)):
            name = choices.choice(list(meta))
            first = files.checkpoint()[0][name]
            meta[name] = _json(json.loads(first) if first[:1] == '{' else first, choices).decode(errors='replace')
        if kind == 1:
            name = choices.choice(list(tensors))
            tensors[name] = np.atleast_1d(choices.choice((
                tensors[name].ravel(), tensors[name] * np.float32(np.nan), tensors[name].astype(np.float64),
                np.zeros(0, np.float32))))
        content = files.safetensors_file(meta, tensors)
    return {'a.safetensors': content}, 'a.safetensors'


def _read_checkpoint(path: Path) -> None:
    if not checkpoints.load(path).trained:
        raise Fault('a file of untrained weights')


FILE_TARGETS: tuple[Target, ...] = (
    Target('OpenStreetMap (xml, gz, bz2, pbf)', _osm, _in_folder(_load_roads), share=0.5),
    Target('GeoJSON', _geojson, _in_folder(_load_roads), share=0.5),
    Target('recordings (mcap, sqlite3, ROS 1)', _recording, _in_folder(_read_recording), share=0.5),
    Target('metadata.yaml and replay.yaml', _metadata, _in_folder(_read_metadata), share=0.2),
    Target('drive folders', _drive, _in_folder(_read_drive), share=0.3),
    Target('checkpoints', _checkpoint, _in_folder(_read_checkpoint), memory_mib=64.0, share=0.2),
)
