# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Recordings as they are found on disks: what the files hold is read, whatever is said about them, and what is not
there is told.
"""

from __future__ import annotations

import binascii
import shutil
import sqlite3
import sys
from pathlib import Path

import lz4.frame
import pytest
import yaml
from rosbags import rosbag1
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from support import mcap_bytes as mcap
from support import synthetic_bag as bag
from support.full_disk import no_room

from attention_fusion_ros.errors import InputError
from attention_fusion_ros.stream.recording import Recording

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SWEEPS = 6
DRIVE = bag.drive(SWEEPS)
COUNTS = {'/lidar/points': SWEEPS, '/map_image': SWEEPS, '/odom': SWEEPS, '/tf_static': 1}
ZERO = QosTime(0, 0)
LATCHED, VOLATILE = (Qos(QosHistory.KEEP_LAST, 10, QosReliability.RELIABLE, durability, ZERO, ZERO,
                         QosLiveliness.AUTOMATIC, ZERO, False)
                     for durability in (QosDurability.TRANSIENT_LOCAL, QosDurability.VOLATILE))
CLOUD = 'sensor_msgs/msg/PointCloud2'


def write(path: Path, events=DRIVE, storage: str = 'mcap', compression=None, qos=VOLATILE, version: int = 9) -> Path:
    writer = Writer(path, version=version, storage_plugin=StoragePlugin[storage.upper()])
    if compression is not None:
        writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        links = {}
        for stamp, topic, message in events:
            if topic not in links:
                links[topic] = writer.add_connection(topic, message.__msgtype__, typestore=bag.STORE,
                                                     offered_qos_profiles=[qos])
            writer.write(links[topic], stamp, bag.STORE.serialize_cdr(message, message.__msgtype__))
    return path


def storage_file(folder: Path) -> Path:
    return next(f for f in sorted(folder.iterdir()) if f.name != 'metadata.yaml')


def edit(folder: Path, change) -> Path:
    """Change metadata.yaml by a function of its content and of {topic: its metadata}."""
    file = folder / 'metadata.yaml'
    content = yaml.safe_load(file.read_text())
    info = content['rosbag2_bagfile_information']
    change(info, {t['topic_metadata']['name']: t for t in info['topics_with_message_count']})
    file.write_text(yaml.safe_dump(content))
    return folder


def read(path: Path):
    """(counts of what was read and decoded by topic, notes, losses)"""
    with Recording(path) as recording:
        found: dict[str, int] = {}
        stamps = []
        for raw in recording.raw_messages(list(recording.topics)):
            recording.decode(raw)
            found[raw.topic] = found.get(raw.topic, 0) + 1
            stamps.append(raw.stamp_ns)
        assert stamps == sorted(stamps)
        return found, recording.notes, recording.losses


def refusal(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        Recording(path)
    text = str(caught.value)
    assert 'Remedy: ' in text and 'reindex' not in text and 'record again' not in text.lower()
    return caught.value


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


# -- other encodings and formats ---------------------------------------------------------------------------------------

def odometry_bytes(stamp: int) -> bytes:
    return bytes(bag.STORE.serialize_cdr(bag.odometry(stamp, 1.0), bag.TOPICS['/odom']))


def definition(name: str) -> str:
    return bag.STORE.generate_msgdef(name, ros_version=2)[0]


@pytest.mark.parametrize('profile', ['', 'ros2', 'x-own'])
@pytest.mark.parametrize('compression', ['loose', '', 'zstd', 'lz4'])
def test_mcap_of_any_profile_with_channels_that_are_not_of_ros(tmp_path, profile, compression):
    records = b''.join([
        mcap.schema(1, 'nav_msgs/msg/Odometry', 'ros2msg', definition('nav_msgs/msg/Odometry')),
        mcap.schema(2, 'foxglove.Log', 'protobuf', '\x0a\x00'), mcap.schema(3, 'Status', 'jsonschema', '{}'),
        mcap.channel(1, 1, '/odom', 'cdr'), mcap.channel(2, 2, '/log', 'protobuf'),
        mcap.channel(3, 3, '/status', 'json'), mcap.channel(4, 0, '/plain', 'json'),
        mcap.message(1, 20, odometry_bytes(20)), mcap.message(2, 5, b'\x08\x01'), mcap.message(3, 6, b'{}'),
        mcap.message(1, 10, odometry_bytes(10)), mcap.message(4, 7, b'{}')])
    pack = {'': bytes, 'zstd': zstd.compress, 'lz4': lz4.frame.compress}.get(compression)
    file = tmp_path / 'mixed.mcap'
    file.write_bytes(mcap.whole([records if pack is None else mcap.chunk(records, compression, pack(records))],
                                profile))
    counts, notes, losses = read(file)
    assert counts == {'/odom': 2} and losses == []
    assert notes == ['mixed.mcap: left out, for they are not of ROS: /log (protobuf), /plain (json), /status (json).']


def test_types_of_other_packages_are_decoded_by_their_recorded_definition(tmp_path):
    text = 'std_msgs/Header header\nuint32 point_num\nOwn[] points\n' + '=' * 80 + '\nMSG: my_msgs/Own\nfloat32 x\n' + (
        '=' * 80 + '\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n') + (
        '=' * 80 + '\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n')
    data = b'\0\1\0\0' + b'\1\0\0\0\2\0\0\0' + b'\2\0\0\0a\0\0\0' + b'\1\0\0\0' + b'\1\0\0\0' + b'\0\0\x80\x3f'
    file = tmp_path / 'own.mcap'
    file.write_bytes(mcap.whole([mcap.schema(1, 'my_msgs/msg/Cloud', 'ros2msg', text),
                                 mcap.channel(1, 1, '/own', 'cdr'), mcap.message(1, 10, data)]))
    with Recording(file) as recording:
        message = recording.decode(next(recording.raw_messages(['/own'])))
    assert message.header.stamp.nanosec == 2 and message.header.frame_id == 'a'
    assert [point.x for point in message.points] == [1.0]


def test_a_type_without_definition_is_refused_by_name_when_it_is_decoded(tmp_path):
    file = tmp_path / 'own.mcap'
    file.write_bytes(mcap.whole([mcap.schema(1, 'my_msgs/msg/Cloud', '', ''), mcap.channel(1, 1, '/own', 'cdr'),
                                 mcap.message(1, 10, b'\0\1\0\0')]))
    with Recording(file) as recording, pytest.raises(InputError) as caught:
        recording.decode(next(recording.raw_messages(['/own'])))
    assert caught.value.reason == 'undecodable_message' and 'my_msgs/msg/Cloud' in str(caught.value)


def ros1_bag(path: Path, events=DRIVE, compression=None) -> Path:
    store, ros2 = get_typestore(Stores.ROS1_NOETIC), bag.STORE
    store.register(get_types_from_msg('geometry_msgs/TransformStamped[] transforms', 'tf2_msgs/msg/TFMessage'))
    writer = rosbag1.Writer(path)
    if compression is not None:
        writer.set_compression(compression)
    with writer:
        links = {}
        for stamp, topic, message in events:
            kind = message.__msgtype__
            if topic not in links:
                links[topic] = writer.add_connection(topic, kind, typestore=store, latching=int(topic == '/map_image'))
            writer.write(links[topic], stamp, ros2.cdr_to_ros1(ros2.serialize_cdr(message, kind), kind))
    return path


@pytest.mark.parametrize('compression', [None, *rosbag1.Writer.CompressionFormat])
def test_ros1_bags_give_what_the_same_messages_of_ros2_give(tmp_path, compression):
    file = ros1_bag(tmp_path / 'drive.bag', compression=compression)
    assert read(file) == (COUNTS, [], [])
    with Recording(file) as old, Recording(write(tmp_path / 'drive')) as new:
        assert old.topics == new.topics
        assert old.is_latched('/map_image') and not old.is_latched('/odom')
        topics = list(new.topics)
        # The header of ROS 1 has a sequence number more, and each topic is as ROS 2 sends it all the same.
        assert [raw.data for raw in old.raw_messages(topics)] == [raw.data for raw in new.raw_messages(topics)]
        assert all(map(old.is_ros2_type, topics))


@pytest.mark.parametrize('compression', [None, *rosbag1.Writer.CompressionFormat])
def test_ros1_bags_that_break_off(tmp_path, compression):
    whole = ros1_bag(tmp_path / 'drive.bag', bag.drive(60), compression)
    file = tmp_path / 'drive.bag.active'
    file.write_bytes(whole.read_bytes()[:int(whole.stat().st_size * 0.7)])
    counts, _, losses = read(file)
    assert 10 <= counts['/lidar/points'] < 60 and 'interrupted' in losses[0]
    with Recording(file) as broken, Recording(whole) as recording:
        topics = list(recording.topics)
        of_whole = list(recording.raw_messages(topics))
        assert [(m.stamp_ns, m.topic, m.data) for m in broken.raw_messages(topics)] == [
            (m.stamp_ns, m.topic, m.data) for m in of_whole[:sum(counts.values())]]
        assert broken.is_latched('/map_image')
    file.write_bytes(whole.read_bytes()[:200])
    assert 'index' in str(refusal(file))


# -- names -------------------------------------------------------------------------------------------------------------

def test_transforms_in_a_namespace(tmp_path):
    def named(event, robot):
        stamp, topic, message = event
        return stamp, f'/{robot}{topic}', message

    moving = (bag.T0, '/tf', bag.transform_message(bag.T0, 'odom', 'base_link', bag.SENSOR))
    one = [named(e, 'robot1') for e in [*DRIVE, moving]]
    both = one + [named(e, 'robot2') for e in [*DRIVE, moving] if e[1].startswith('/tf')]
    for name, events in (('one', one), ('both', both)):
        with Recording(write(tmp_path / name, sorted(events, key=lambda e: e[0]))) as recording:
            topics = recording.input_topics()
            transforms = [n for n in topics.names() if topics.topic(n).spec.name == 'transforms']
            assert transforms == ['/robot1/tf', '/robot1/tf_static']
            assert [topics.topic(n).transport.topic for n in transforms] == ['/tf', '/tf_static']


def test_topics_without_messages_are_named_as_that(tmp_path):
    folder = write(tmp_path / 'drive', [e for e in DRIVE if e[1] != '/lidar/points'])
    with Reader(folder):
        pass
    file = tmp_path / 'silent.mcap'
    file.write_bytes(mcap.whole([mcap.schema(1, CLOUD, 'ros2msg', definition(CLOUD)),
                                 mcap.channel(1, 1, '/lidar/points', 'cdr')]))
    with Recording(file) as recording, pytest.raises(InputError) as caught:
        recording.input_topics()
    assert caught.value.reason == 'topic_missing' and '/lidar/points (0 messages)' in str(caught.value)
