# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Recordings that are damaged, in parts, or not whole: what can be read is read, and what is not there is told."""

from __future__ import annotations

import binascii
import shutil
import sqlite3
import sys
from pathlib import Path

import pytest
from rosbags.rosbag2 import CompressionMode
from support import mcap_bytes as mcap
from support import synthetic_bag as bag
from support.storage_kit import (
    COUNTS,
    DRIVE,
    SWEEPS,
    definition,
    edit,
    odometry_bytes,
    read,
    refusal,
    storage_file,
    write,
)

from attention_fusion_ros.stream.recording import Recording

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


# -- files that are not whole ------------------------------------------------------------------------------------------

@pytest.mark.parametrize('compression', [None, CompressionMode.STORAGE, CompressionMode.MESSAGE, CompressionMode.FILE])
def test_of_an_mcap_that_breaks_off_everything_before_that_is_read(tmp_path, compression):
    folder = write(tmp_path / 'drive', bag.drive(30), compression=compression)
    file = storage_file(folder)
    file.write_bytes(file.read_bytes()[:file.stat().st_size // 2])
    counts, _, losses = read(folder)
    assert 5 <= counts['/lidar/points'] < 20 and counts['/tf_static'] == 1
    assert 'breaks off' in losses[0]
    assert f"/lidar/points {counts['/lidar/points']} of 30" in losses[-1]


def test_an_mcap_without_end_is_read_to_its_last_message(tmp_path):
    folder = write(tmp_path / 'drive')
    file, content = storage_file(folder), storage_file(folder).read_bytes()
    chunk_end = content.index(b'\x89MCAP0\r\n') + 8
    while content[chunk_end] != 15:  # up to the end of the data
        chunk_end += 9 + int.from_bytes(content[chunk_end + 1:chunk_end + 9], 'little')
    file.write_bytes(content[:chunk_end])
    counts, notes, losses = read(folder)
    assert counts == COUNTS and losses == [] and 'no end' in notes[0]


def test_a_damaged_chunk_costs_its_messages_only(tmp_path):
    start = mcap.schema(1, 'nav_msgs/msg/Odometry', 'ros2msg', definition('nav_msgs/msg/Odometry')) + mcap.channel(
        1, 1, '/odom', 'cdr')
    chunks = []
    for stamp in range(10, 50, 10):
        records = start + mcap.message(1, stamp, odometry_bytes(stamp))
        chunks.append(mcap.chunk(records, '', records, binascii.crc32(records)))
    chunks[1] = chunks[1][:-30] + bytes([chunks[1][-30] ^ 1]) + chunks[1][-29:]
    packed = zstd.compress(records)
    chunks.append(mcap.chunk(records, 'zstd', packed[:20] + bytes(len(packed) - 20)))
    file = tmp_path / 'damaged.mcap'
    file.write_bytes(mcap.whole(chunks))
    counts, _, losses = read(file)
    assert counts == {'/odom': 3} and len(losses) == 2
    assert 'checksum' in losses[0] and 'cannot be unpacked' in losses[1]


def test_counts_of_an_index_that_are_wrong_are_told_after_reading(tmp_path):
    folder = write(tmp_path / 'drive')
    file = storage_file(folder)
    content = bytearray(file.read_bytes())
    start = int.from_bytes(content[-28:-20], 'little')
    while content[start] != 11:  # statistics
        start += 9 + int.from_bytes(content[start + 1:start + 9], 'little')
    total = start + 9
    first_count = start + 9 + 8 + 2 + 4 * 4 + 16 + 4 + 2
    for at in (total, first_count):
        content[at:at + 8] = (int.from_bytes(content[at:at + 8], 'little') + 5).to_bytes(8, 'little')
    file.write_bytes(content)
    (folder / 'metadata.yaml').unlink()
    counts, _, losses = read(folder)
    assert counts == COUNTS and '/tf_static 1 instead of 6' in losses[0]


def test_an_index_that_says_a_topic_is_empty_is_not_believed(tmp_path):
    folder = write(tmp_path / 'drive')
    file = storage_file(folder)
    content = bytearray(file.read_bytes())
    start = int.from_bytes(content[-28:-20], 'little')
    while content[start] != 11:  # statistics
        start += 9 + int.from_bytes(content[start + 1:start + 9], 'little')
    counts = start + 9 + 8 + 2 + 4 * 4 + 16 + 4
    numbers = [counts + 2 + i * 10 for i in range(len(COUNTS))]
    total = sum(int.from_bytes(content[at:at + 8], 'little') for at in numbers)
    for at in numbers:
        content[at:at + 8] = (total if at == numbers[0] else 0).to_bytes(8, 'little')
    file.write_bytes(content)
    (folder / 'metadata.yaml').unlink()
    assert read(folder) == (COUNTS, [], [])


def test_of_an_sqlite3_file_that_breaks_off_what_can_be_reached_is_read(tmp_path):
    folder = write(tmp_path / 'drive', bag.drive(30), storage='sqlite3')
    file = storage_file(folder)
    file.write_bytes(file.read_bytes()[:int(file.stat().st_size * 0.6)])
    counts, _, losses = read(folder)
    assert 5 <= counts['/lidar/points'] < 30
    assert 'breaks off' in losses[0] and 'of 30' in losses[-1]


@pytest.mark.parametrize('part', [0.3, 0.5, 0.7])
def test_a_hole_in_an_sqlite3_file_costs_what_it_hits_and_nothing_comes_twice(tmp_path, part):
    folder = write(tmp_path / 'drive', storage='sqlite3')
    content = bytearray(storage_file(folder).read_bytes())
    start = int(len(content) // 4096 * part) * 4096
    content[start:start + 2 * 4096] = bytes(2 * 4096)
    storage_file(folder).write_bytes(content)
    with Recording(folder) as recording:
        found = [(raw.topic, raw.stamp_ns) for raw in recording.raw_messages(list(recording.topics))]
        assert recording.losses
    sent = sorted((topic, stamp) for stamp, topic, _ in DRIVE)
    assert len(found) == len(set(found)) and set(found) < set(sent)
    stamps = [stamp for _, stamp in found]
    assert min(stamps) == min(stamp for stamp, _, _ in DRIVE)  # before the hole
    assert max(stamps) >= sorted(stamp for stamp, _, _ in DRIVE)[-3]  # and after it


def test_messages_on_both_sides_of_a_damaged_page_of_the_table_are_read(tmp_path):
    folder = write(tmp_path / 'drive', bag.drive(20), storage='sqlite3')
    content = bytearray(storage_file(folder).read_bytes())
    with sqlite3.connect(storage_file(folder)) as database:
        root, = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'messages'").fetchone()
    page = (root - 1) * 4096  # an interior page: its cells begin with the numbers of the pages below
    assert content[page] == 5
    cells = int.from_bytes(content[page + 3:page + 5], 'big')
    cell = page + int.from_bytes(content[page + 12 + cells // 2 * 2:page + 14 + cells // 2 * 2], 'big')
    leaf = (int.from_bytes(content[cell:cell + 4], 'big') - 1) * 4096
    content[leaf:leaf + 4096] = bytes(4096)
    storage_file(folder).write_bytes(content)
    sent = [(topic, stamp) for stamp, topic, _ in bag.drive(20)]
    with Recording(folder) as recording:
        found = [(raw.topic, raw.stamp_ns) for raw in recording.raw_messages(list(recording.topics))]
        assert recording.losses
    assert len(found) == len(set(found)) and set(found) < set(sent)
    assert len(found) > 0.6 * len(sent) and max(stamp for _, stamp in found) == max(stamp for _, stamp in sent)


def test_messages_in_the_write_ahead_log_are_read_and_the_file_is_left_as_it_is(tmp_path):
    file = storage_file(write(tmp_path / 'drive', storage='sqlite3'))
    database = sqlite3.connect(file)
    database.execute('PRAGMA journal_mode=WAL')
    database.execute('PRAGMA wal_autocheckpoint=0')
    topic = database.execute("SELECT id FROM topics WHERE name = '/odom'").fetchone()[0]
    late = bag.STORE.serialize_cdr(bag.odometry(DRIVE[-1][0], 1.0), bag.TOPICS['/odom'])
    database.execute('INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)',
                     (topic, DRIVE[-1][0] + 5, bytes(late)))
    database.commit()
    copy = tmp_path / 'killed'  # as the recorder leaves it when it is killed: closing would move the log to the file
    copy.mkdir()
    for name in (file.name, f'{file.name}-wal'):
        shutil.copy(file.with_name(name), copy / name)
    database.close()
    before = {f.name: f.read_bytes() for f in copy.iterdir()}
    counts, notes, losses = read(copy)
    assert counts == {**COUNTS, '/odom': SWEEPS + 1} and losses == [] and '-wal' in notes[0]
    assert {f.name: f.read_bytes() for f in copy.iterdir()} == before


REFUSED = {'empty': b'', 'zeros': bytes(5000), 'Git LFS': b'version https://git-lfs.github.com/spec/v1\noid sha256:0',
           'neither': b'hello'}


@pytest.mark.parametrize('cause', REFUSED)
@pytest.mark.parametrize('suffix', ['.mcap', '.db3', '.bag'])
def test_a_file_of_which_nothing_can_be_read_is_refused_by_its_cause(tmp_path, cause, suffix):
    file = tmp_path / f'file{suffix}'
    file.write_bytes(REFUSED[cause])
    error = refusal(file)
    assert error.reason == 'recording_unreadable' and cause in str(error)


# -- several files -----------------------------------------------------------------------------------------------------

def split(folder: Path) -> Path:
    """A recording in two files."""
    parts = [write(folder.with_name(f'part{i}'), events) for i, events in
             enumerate((DRIVE[:10], DRIVE[10:]))]
    folder.mkdir()
    names = []
    for i, part in enumerate(parts):
        names.append(f'drive_{i}.mcap')
        storage_file(part).rename(folder / names[-1])
    shutil.copy(parts[0] / 'metadata.yaml', folder)
    return edit(folder, lambda info, topics: (info.update(relative_file_paths=names), [
        t.update(message_count=COUNTS[name]) for name, t in topics.items()]))


def test_split_recordings_with_and_without_metadata(tmp_path):
    folder = split(tmp_path / 'drive')
    assert read(folder) == (COUNTS, [], [])
    (folder / 'metadata.yaml').unlink()
    assert read(folder) == (COUNTS, [], [])


def test_a_part_that_is_missing_or_damaged_is_a_loss_and_the_rest_is_read(tmp_path):
    folder = split(tmp_path / 'drive')
    (folder / 'drive_1.mcap').write_bytes(b'')
    damaged = read(folder)
    (folder / 'drive_1.mcap').unlink()
    missing = read(folder)
    for counts, _, losses in (damaged, missing):
        assert counts['/lidar/points'] == 3
        assert 'drive_1.mcap' in losses[0] and '/lidar/points 3 of 6' in losses[-1]
    (folder / 'drive_0.mcap').unlink()
    assert 'drive_0.mcap' in str(refusal(folder))


def test_files_that_metadata_does_not_list(tmp_path):
    folder = split(tmp_path / 'drive')
    edit(folder, lambda info, topics: info.update(relative_file_paths=['drive_0.mcap']))
    counts, notes, _ = read(folder)
    assert counts == COUNTS and 'drive_1.mcap: read' in notes[0]  # it goes on where the listed one ends
    shutil.copy(folder / 'drive_1.mcap', folder / 'repaired.mcap')
    counts, notes, _ = read(folder)
    assert counts == COUNTS and any('repaired.mcap is left out' in note for note in notes)


def test_a_folder_of_recordings_is_told_from_a_recording(tmp_path):
    write(tmp_path / 'one'), write(tmp_path / 'two')
    error = refusal(tmp_path)
    assert 'folder of 2 recordings' in str(error) and str(tmp_path / 'one') in error.remedy
