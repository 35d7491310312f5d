# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Recordings as they are found on disks: what the files hold is read, whatever is said about them."""

from __future__ import annotations

import shutil
import sys

import lz4.frame
import pytest
from rosbags.rosbag2 import CompressionMode
from support.full_disk import no_room
from support.storage_kit import COUNTS, DRIVE, LATCHED, SWEEPS, edit, read, storage_file, write

from attention_fusion_ros.errors import InputError
from attention_fusion_ros.stream.recording import Recording

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


# -- metadata.yaml against the files -----------------------------------------------------------------------------------

EDITS = {
    'durability of one topic': lambda info, topics: topics['/map_image']['topic_metadata']['offered_qos_profiles'][0]
    .update(durability='transient_local'),
    'QoS lost': lambda info, topics: [t['topic_metadata'].update(offered_qos_profiles='') for t in topics.values()],
    'QoS is no YAML': lambda info, topics: [t['topic_metadata'].update(offered_qos_profiles='- {a: [') for t in
                                            topics.values()],
    'QoS of another distribution': lambda info, topics: [
        t['topic_metadata'].update(offered_qos_profiles='- history: 3\n  durability: new_kind\n') for t in
        topics.values()],
    'no storage identifier': lambda info, topics: info.update(storage_identifier=''),
    'other storage identifier': lambda info, topics: info.update(storage_identifier='sqlite3'),
    'no list of files': lambda info, topics: info.pop('relative_file_paths'),
    'version of the future': lambda info, topics: info.update(version=42),
    'compression that is none': lambda info, topics: info.update(compression_mode='MESSAGE', compression_format='lz4'),
    'durations and times of another drive': lambda info, topics: info.update(
        starting_time={'nanoseconds_since_epoch': 0}, duration={'nanoseconds': 1}, message_count=0),
    'serialisation of another kind': lambda info, topics: [
        t['topic_metadata'].update(serialization_format='cbor') for t in topics.values()],
    'type hash of another distribution': lambda info, topics: [
        t['topic_metadata'].update(type_description_hash='RIHS01_00') for t in topics.values()],
    'no topics': lambda info, topics: info.update(topics_with_message_count=[]),
    'topics are no list': lambda info, topics: info.update(topics_with_message_count='many'),
}


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
@pytest.mark.parametrize('name', EDITS)
def test_edited_metadata_costs_no_message(tmp_path, storage, name):
    counts, _, losses = read(edit(write(tmp_path / 'drive', storage=storage), EDITS[name]))
    assert counts == COUNTS and losses == []


def test_metadata_that_is_damaged_is_named_and_not_needed(tmp_path):
    folder = write(tmp_path / 'drive')
    for content in ('rosbag2_bagfile_information: [', 'hello', ''):
        (folder / 'metadata.yaml').write_text(content)
        counts, notes, losses = read(folder)
        assert counts == COUNTS and losses == [] and 'metadata.yaml is not used' in notes[0]


def test_counts_that_differ_are_named_and_those_of_the_files_hold(tmp_path):
    folder = edit(write(tmp_path / 'drive'), lambda info, topics: topics['/odom'].update(message_count=99))
    counts, notes, losses = read(folder)
    assert counts == COUNTS and losses == []
    assert '/odom 6 of 99' in notes[0] and '/map_image' not in notes[0]
    with Recording(folder) as recording:
        assert recording.topics['/odom'].count == SWEEPS


def test_latching_is_what_metadata_says_else_what_the_file_says(tmp_path):
    def latched(folder):
        with Recording(folder) as recording:
            return recording.is_latched('/map_image'), recording.is_latched('/odom')

    assert latched(write(tmp_path / 'plain')) == (False, False)
    assert latched(edit(write(tmp_path / 'edited'), EDITS['durability of one topic'])) == (True, False)
    assert latched(edit(write(tmp_path / 'lost', qos=LATCHED), EDITS['QoS lost'])) == (True, True)
    assert latched(write(tmp_path / 'numbers', qos=LATCHED, version=8)) == (True, True)


def test_renamed_files_are_found(tmp_path):
    folder = write(tmp_path / 'drive')
    storage_file(folder).rename(folder / 'other.mcap')
    counts, notes, losses = read(folder)
    assert counts == COUNTS and losses == [] and 'read instead: other.mcap' in notes[0]


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
@pytest.mark.parametrize('name', ['drive', 'drive.bin', 'drive.mcap.bak'])
@pytest.mark.parametrize('metadata', [True, False])
def test_a_file_with_any_name_is_found_by_what_it_holds(tmp_path, storage, name, metadata):
    folder = write(tmp_path / 'drive', storage=storage)
    file = storage_file(folder)
    file.rename(folder / name)
    (folder / 'notes.txt').write_text('rainy')
    if not metadata:
        (folder / 'metadata.yaml').unlink()
    counts, notes, losses = read(folder)
    assert counts == COUNTS and not losses
    assert notes == ([f'metadata.yaml lists {file.name}; read instead: {name}.'] if metadata else [])


def test_files_that_nothing_says_belong_together_are_named(tmp_path):
    folder = write(tmp_path / 'drive')
    (folder / 'metadata.yaml').unlink()
    later = write(tmp_path / 'later', [(stamp + 10**12, topic, message) for stamp, topic, message in DRIVE], 'sqlite3')
    shutil.copy(storage_file(later), folder)
    counts, notes, losses = read(folder)
    assert counts == {topic: 2 * count for topic, count in COUNTS.items()} and not losses
    assert notes == ['no metadata.yaml says that they belong together; read as one recording: drive.mcap, later.db3.']


@pytest.mark.parametrize('given', ['folder', 'file', 'metadata.yaml'])
@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_folder_file_and_metadata_mean_the_same(tmp_path, storage, given):
    folder = write(tmp_path / 'drive', storage=storage)
    path = {'folder': folder, 'file': storage_file(folder), 'metadata.yaml': folder / 'metadata.yaml'}[given]
    assert read(path) == (COUNTS, [], [])


def test_no_room_for_a_copy_is_named_as_that(tmp_path):
    packed = write(tmp_path / 'packed', compression=CompressionMode.FILE)
    logged = write(tmp_path / 'logged', storage='sqlite3')
    storage_file(logged).with_suffix('.db3-wal').write_bytes(b'log')
    for folder, word in ((packed, 'unpacked to'), (logged, 'copied to')):
        with no_room(1000), pytest.raises(InputError, match=f'{word} .*TMPDIR'):
            Recording(folder)


# -- compression -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('metadata', [True, False])
@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
@pytest.mark.parametrize('mode', [CompressionMode.MESSAGE, CompressionMode.FILE, CompressionMode.STORAGE])
def test_compressed_recordings(tmp_path, mode, storage, metadata):
    if storage == 'sqlite3' and mode == CompressionMode.STORAGE:
        pytest.skip('sqlite3 has none')
    folder = write(tmp_path / 'drive', storage=storage, compression=mode)
    if not metadata:
        (folder / 'metadata.yaml').unlink()
    assert read(folder) == (COUNTS, [], [])
    assert read(storage_file(folder)) == (COUNTS, [], [])


@pytest.mark.parametrize('suffix', ['.lz4', '.zst', ''])
def test_compression_is_known_by_the_data_not_by_the_name(tmp_path, suffix):
    plain = storage_file(write(tmp_path / 'drive')).read_bytes()
    file = tmp_path / f'drive.mcap{suffix}'
    file.write_bytes(lz4.frame.compress(plain) if suffix != '.zst' else zstd.compress(plain))
    assert read(file) == (COUNTS, [], [])
