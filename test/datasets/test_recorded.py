# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`train --bags`: a recording of a bend, labelled by the driven path, trained on by itself."""

from __future__ import annotations

import math
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from support import several_lidars as lidars
from support import synthetic_bag
from support.synthetic_bag import T0
from support.training_kit import CELLS, settings_file

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.lidar import CHANNELS
from attention_fusion_ros.commands import cli, train
from attention_fusion_ros.config import from_flat
from attention_fusion_ros.contracts import MapImage, Motion
from attention_fusion_ros.datasets import recorded as recordings
from attention_fusion_ros.datasets import recorded_shards
from attention_fusion_ros.datasets.driven_path import DrivenTruth
from attention_fusion_ros.datasets.recorded import (
    LabelOptions,
    RecordedDataset,
    find_recordings,
    label_recordings,
)
from attention_fusion_ros.datasets.recorded_shards import RecordedScene, RecordedStore, write_shard
from attention_fusion_ros.datasets.scenes import quantise
from attention_fusion_ros.errors import ConfigurationError, InputError
from attention_fusion_ros.geometry import quaternion_from_yaw, se3_from_quaternion, wrap
from attention_fusion_ros.network import checkpoint as checkpoints
from attention_fusion_ros.pipeline.fusion import FusionPipeline
from attention_fusion_ros.stream.recorded_sweeps import synced_sweeps
from attention_fusion_ros.stream.recording import Recording
from attention_fusion_ros.training import record
from attention_fusion_ros.training.recordings import read_recordings

RADIUS, SPEED = 30.0, 10.0  # m, m/s: to the left
ODOMETRY, SWEEP = 100_000_000, 700_000_000  # ns between messages; sweeps fall between odometry samples
# On a circle of radius R the ring of radius r is met asin(r / 2R) beside the tangent, heading twice that.
HALF = math.asin(20.0 / (2 * RADIUS))
GRID = Grid(cells=CELLS)
OPTIONS = LabelOptions(GRID, 20.0)
DENSITY = CHANNELS.index('density')


def bend(seconds: float = 14.0, odometry: bool = True, speed: float = SPEED, child: str = 'base_link',
         T_base_child: np.ndarray | None = None) -> list:
    """A drive on a circle, with a map image and sweeps of a made-up street; odometry is of the frame `child`."""
    events = [(T0, '/tf_static', synthetic_bag.static_transform(T0))]
    for after in range(0, int(seconds * 1e9), ODOMETRY):
        angle = speed * after / 1e9 / RADIUS
        base = se3_from_quaternion((RADIUS * math.sin(angle), RADIUS * (1 - math.cos(angle)), 0.0),
                                   quaternion_from_yaw(angle))
        if odometry:
            T_odom_child = base if T_base_child is None else base @ T_base_child
            events.append((T0 + after, '/odom', synthetic_bag.odometry_of(T0 + after, T_odom_child, child)))
    for number, after in enumerate(range(30_000_000, int(seconds * 1e9), SWEEP)):
        events += [(T0 + after, '/map_image', synthetic_bag.map_image(T0 + after)),
                   (T0 + after, '/lidar/points', synthetic_bag.cloud(T0 + after, synthetic_bag.street(number, 1500)))]
    return sorted(events, key=lambda event: event[0])


def labelled(bags, cache, options: LabelOptions = OPTIONS, **parameters) -> RecordedStore:
    return label_recordings(find_recordings(bags), cache, from_flat(parameters), options)[0]


@pytest.fixture(scope='module')
def bags(tmp_path_factory):
    folder = tmp_path_factory.mktemp('bags')
    synthetic_bag.write(folder / 'bend', bend())
    return folder


@pytest.fixture(scope='module')
def recorded(bags, tmp_path_factory):
    return labelled(bags, tmp_path_factory.mktemp('cache'))


def check_labels(scenes, expected_ahead: int, expected_behind: int) -> None:
    known = {'ahead': 0, 'behind': 0}
    for scene in scenes:
        for name, true in (('ahead', (HALF, 2 * HALF)), ('behind', (math.pi - HALF, wrap(math.pi - 2 * HALF)))):
            label = getattr(scene.truth, name)
            if label is not None:
                known[name] += 1
                error = [abs(math.degrees(wrap(a - b))) for a, b in zip(label, true)]
                assert error[0] < 0.3 and error[1] < 0.6, (name, error)
    assert known == {'ahead': expected_ahead, 'behind': expected_behind}


def test_labels_are_where_the_bend_meets_the_ring(recorded):
    # 20.4 m of arc lead to the ring, which the first and the last two seconds of the drive do not have.
    check_labels(recorded, 17, 17)
    assert len(recorded) == 20


@pytest.mark.parametrize('moving', [False, True], ids=['static', 'moving'])
def test_labels_are_those_of_the_base_frame_whatever_frame_odometry_is_of(moving, tmp_path):
    """An IMU yawed by 90 degrees says nothing about where the road is; nor does one on a turntable."""
    T_base_imu = se3_from_quaternion((1.0, 0.5, 0.2), quaternion_from_yaw(math.pi / 2))
    events = bend(child='imu_link', T_base_child=T_base_imu)
    if moving:
        events += [(T0 + after, '/tf', synthetic_bag.transform_message(T0 + after, 'base_link', 'imu_link', T_base_imu))
                   for after in range(0, 14 * 10**9, ODOMETRY)]
        events.sort(key=lambda event: (event[0], event[1] != '/tf'))
    else:
        events.insert(0, (T0, '/tf_static', synthetic_bag.transform_message(T0, 'base_link', 'imu_link', T_base_imu)))
    synthetic_bag.write(tmp_path / 'bags/imu', events, types={'/tf': 'tf2_msgs/msg/TFMessage'})
    scenes = labelled(tmp_path / 'bags', tmp_path / 'cache')
    assert len(scenes) == 20
    check_labels(scenes, 17, 17)


def test_what_is_recorded_late_counts_as_in_the_node(tmp_path):
    """Map images that come 80 ms after their sweeps, and static transforms at the very end."""
    events = bend()
    late = [(stamp + 80_000_000 * (topic == '/map_image'), topic, message) for stamp, topic, message in events[1:]]
    late.append((max(late, key=lambda event: event[0])[0] + 1, *events[0][1:]))
    synthetic_bag.write(tmp_path / 'bags/late', sorted(late, key=lambda event: event[0]))
    scenes = labelled(tmp_path / 'bags', tmp_path / 'cache')
    assert len(scenes) == 20
    for scene in scenes:
        assert scene.map_image is not None
        assert np.allclose(scene.motion.T_odom_base, scene.motion.T_odom_base_map)  # the map image of its own sweep


def test_a_damaged_message_costs_itself_only(bags, tmp_path):
    events = bend()
    for topic, number in (('/map_image', 7), ('/odom', 80), ('/lidar/points', 7)):
        at = [i for i, event in enumerate(events) if event[1] == topic][number]
        events[at] = (events[at][0], topic, b'\x00\x01\x00\x00\x07')
    synthetic_bag.write(tmp_path / 'bags/damaged', events)
    found = find_recordings(tmp_path / 'bags')
    scenes, (summary,) = label_recordings(found, tmp_path / 'cache', from_flat({}), OPTIONS)
    assert len(scenes) == summary.labelled == 19 and summary.sweeps == 20
    assert summary.drops == {'undecodable_message': 1, '/map_image: undecodable_message': 1,
                             '/odom: undecodable_message': 1}
    assert 'undecodable_message' in str(summary)


def test_sweeps_are_accumulated_as_the_node_does(bags, recorded, tmp_path):
    alone = labelled(bags, tmp_path / 'alone', **{'cloud.accumulate': 1})
    aged = labelled(bags, tmp_path / 'aged', **{'cloud.accumulate_age': 3.0})
    cells = [[np.count_nonzero(scene.features[DENSITY]) for scene in scenes] for scenes in (alone, recorded, aged)]
    # Sweeps are 0.7 s apart: 1.2 s hold one earlier sweep, 3 s four of them.
    assert all(one < two for one, two, _ in list(zip(*cells))[1:]), cells
    assert all(two < five for _, two, five in list(zip(*cells))[2:]), cells
    thinned = labelled(bags, tmp_path / 'thinned', LabelOptions(GRID, 20.0, every=3))
    for one, same in zip(list(recorded)[::3], thinned):
        assert np.array_equal(one.features, same.features)  # sweeps that are left out are accumulated all the same


def test_sweeps_from_before_a_jump_of_time_are_not_accumulated(tmp_path):
    first = bend(6.0)
    again = [(stamp + 10**10, topic, message) for stamp, topic, message in first[1:]]  # stamped as before
    synthetic_bag.write(tmp_path / 'bags/twice', first + again)
    kept = {'cloud.accumulate_age': 60.0}
    scenes = labelled(tmp_path / 'bags', tmp_path / 'cache', **kept)
    alone = labelled(tmp_path / 'bags', tmp_path / 'alone', **kept, **{'cloud.accumulate': 1})
    assert len(scenes) == len(alone) == 9 + 8  # one is lost at the jump
    same = [np.array_equal(one.features, other.features) for one, other in zip(scenes, alone)]
    assert same == [number in (0, 9) for number in range(17)]


def test_features_are_those_of_the_pipeline(bags, tmp_path):
    config = from_flat({'checkpoint': str(synthetic_bag.lively_checkpoint(tmp_path / 'lively.safetensors')),
                        'device': 'cpu', 'threads': 1})
    pipeline = FusionPipeline(config)
    scenes, _ = label_recordings(find_recordings(bags), tmp_path / 'cache', config, LabelOptions(pipeline.grid, 20.0))
    with Recording(bags / 'bend') as recording:
        sweeps = synced_sweeps(recording, recording.input_topics(), config, limit=4)
        for sweep, scene in zip(sweeps, scenes):
            assert np.array_equal(quantise(pipeline.run(sweep).lidar_bev), scene.features)
            assert np.array_equal(sweep.map_image.road, scene.map_image.road)


def test_what_was_made_is_used_again_and_an_interrupted_run_goes_on(bags, tmp_path, monkeypatch):
    options = LabelOptions(GRID, 20.0, shard_size=6)
    whole = labelled(bags, tmp_path / 'whole', options)
    assert [len(RecordedStore([folder])) for folder in whole.folders] == [6, 6, 6, 2]

    written = []
    write = recordings.write_shard

    def interrupted(folder, scenes, shape):
        if len(written) == 2:
            raise KeyboardInterrupt
        write(folder, scenes, shape)
        written.append(folder)

    monkeypatch.setattr(recordings, 'write_shard', interrupted)
    with pytest.raises(KeyboardInterrupt):
        labelled(bags, tmp_path / 'cut', options)
    times = [(folder / 'lidar.npy').stat().st_mtime_ns for folder in written]
    monkeypatch.setattr(recordings, 'write_shard', write)
    again = labelled(bags, tmp_path / 'cut', options)
    assert [(folder / 'lidar.npy').stat().st_mtime_ns for folder in written] == times
    assert len(again) == len(whole) == 20
    for one, same in zip(whole, again):
        assert np.array_equal(one.features, same.features) and one.truth == same.truth
        assert np.array_equal(one.map_image.road, same.map_image.road)
        assert np.array_equal(one.motion.T_odom_base, same.motion.T_odom_base)

    def never(*_):
        raise AssertionError('it is there already')

    monkeypatch.setattr(recordings, 'write_shard', never)
    assert len(labelled(bags, tmp_path / 'cut', options)) == 20


def test_a_map_image_is_stored_once_however_many_sweeps_it_belongs_to(tmp_path):
    events = [event for number, event in enumerate(bend()) if event[1] != '/map_image' or number < 5]
    synthetic_bag.write(tmp_path / 'bags/rare', events)
    scenes = labelled(tmp_path / 'bags', tmp_path / 'cache', **{'map.max_age': 60.0})
    assert sum(scene.map_image is not None for scene in scenes) == 20
    with np.load(scenes.folders[0] / 'maps.npz') as maps:
        assert [name for name in maps if name.endswith('.road')] == ['0.road']


@pytest.mark.parametrize('values', [5, 256, 5000])
def test_map_images_are_stored_without_loss(values, tmp_path):
    rng = np.random.default_rng(values)
    layers = [rng.random(values).astype(np.float32)[rng.integers(0, values, (90, 70))] for _ in range(2)]
    for route in (None, layers[1]):
        image = MapImage(T0, 'map', layers[0], route)
        scene = RecordedScene(np.zeros((1, 4, 4), np.int8), image, Motion(np.eye(4)), DrivenTruth((0.1, 0.2), None))
        folder = tmp_path / str(route is None)
        write_shard(folder, [scene], (1, 4, 4))
        (found,) = RecordedStore([folder])
        assert np.array_equal(found.map_image.road, image.road) and found.map_image.road.dtype == np.float32
        assert (found.map_image.route is None) == (route is None)
        assert route is None or np.array_equal(found.map_image.route, route)
        assert found.truth == scene.truth and found.motion.T_odom_base is None
        assert (found.map_image.stamp_ns, found.map_image.frame_id) == (T0, 'map')


def test_several_recordings_are_read_one_after_the_other(bags, tmp_path):
    synthetic_bag.write(tmp_path / 'bags/a', bend())
    synthetic_bag.write(tmp_path / 'bags/deep/b', bend(9.0), 'sqlite3')
    (tmp_path / 'bags/deep/b/metadata.yaml').unlink()
    found = find_recordings(tmp_path / 'bags')
    assert [path.name for path in found] == ['a', 'b.db3']
    _, summaries = label_recordings(found, tmp_path / 'cache', from_flat({}), OPTIONS)
    assert [summary.labelled for summary in summaries] == [20, 13]


def test_a_shard_that_cannot_be_read_is_named_and_made_again(bags, tmp_path):
    options = LabelOptions(GRID, 20.0, shard_size=6)
    store = labelled(bags, tmp_path / 'cache', options)
    before = [(scene.features.copy(), scene.truth) for scene in store]
    for name in ('lidar.npy', 'maps.npz', 'sweeps.npz'):
        (store.folders[1] / name).write_bytes(b'nonsense')
    with pytest.raises(ConfigurationError, match=f'{store.folders[1].name}.* cannot be read.*Remedy'):
        RecordedStore(store.folders)
    others = [(folder / 'lidar.npy').stat().st_mtime_ns for folder in store.folders]
    again = labelled(bags, tmp_path / 'cache', options)
    assert [new == old for new, old in zip(((folder / 'lidar.npy').stat().st_mtime_ns for folder in again.folders),
                                           others)] == [True, False, True, True]
    assert len(again) == len(before)
    assert all(np.array_equal(scene.features, features) and scene.truth == truth
               for scene, (features, truth) in zip(again, before))


def test_labels_turn_with_the_vehicle(recorded):
    data = RecordedDataset(recorded, from_flat({}), GRID, 24, seed=0)
    seen = set()
    for epoch in range(8):
        data.epoch = epoch
        item = data[10]  # in the middle of the drive: road ahead and road behind
        pairs = item['branches'][np.isfinite(item['branches'][:, 0])]
        assert len(pairs) == 2 and item['known'].sum() >= 4 and not item['known'].all()
        # However it is turned and mirrored, the two branches stay 180 deg less twice the bend apart.
        assert abs(wrap(pairs[0, 0] - pairs[1, 0])) == pytest.approx(math.pi - 2 * HALF, abs=0.02)
        seen.add(round(float(pairs[0, 0]), 1))
        assert item['lidar'].shape == (len(CHANNELS), CELLS, CELLS) and item['lidar'][DENSITY].any()
        if item['direction_known']:
            assert abs(item['direction'][0]) == pytest.approx(HALF, abs=0.02)
    assert len(seen) > 2


def test_the_command_trains_on_recordings_alone(bags, tmp_path):
    out = tmp_path / 'run'
    assert train.main(['--config', str(settings_file(tmp_path / 'settings.yaml', steps=4)), '--bags', str(bags),
                       '--every', '2', '--device', 'cpu', '--cache', str(tmp_path / 'cache'), '--out', str(out)]) == 0
    loaded = checkpoints.load(out / 'checkpoint.safetensors')
    assert loaded.training['step'] == 4 and loaded.training['samples'] == 10
    run = record.read(out)
    assert run['data']['recorded'] == {'sweeps': 10} and 'simulated' not in run['data']
    start = checkpoints.untrained(loaded.network.config).network.state_dict()
    assert any(not np.allclose(t, start[name]) for name, t in loaded.network.state_dict().items())


def test_a_vehicle_that_hardly_moves_labels_nothing(tmp_path):
    synthetic_bag.write(tmp_path / 'bag', bend(3.0, speed=1.0))
    with pytest.raises(ConfigurationError, match='must move more than 20 m'):
        labelled(tmp_path, tmp_path / 'cache')


def test_recordings_without_odometry_are_refused_before_anything_is_read(tmp_path):
    synthetic_bag.write(tmp_path / 'bag', bend(3.0, odometry=False))
    with pytest.raises(ConfigurationError, match='has no odometry'):
        find_recordings(tmp_path)


def test_a_folder_without_recordings_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match='no recording below'):
        find_recordings(tmp_path)


@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc/self/maps')
def test_few_of_many_shards_are_open_at_a_time(bags, tmp_path, monkeypatch):
    """Of two hours at 10 Hz there are more shards than a process may have open files, 1024 by default."""
    monkeypatch.setattr(recorded_shards, 'OPEN_SHARDS', 2)
    first, = labelled(bags, tmp_path / 'cache').folders
    copies = [shutil.copytree(first, tmp_path / f'many/{number}') for number in range(6)]
    store = RecordedStore(copies)
    scenes = list(store)  # kept: sweeps that were handed out hold no file open
    assert len({scene.features.tobytes() for scene in scenes}) == len(store) // 6
    maps = Path('/proc/self/maps').read_text()
    assert 1 <= maps.count(str(tmp_path / 'many')) <= 2


def test_topics_are_chosen_as_for_replay(tmp_path, bags):
    events = bend(8.0)
    second = [(stamp, '/odometry/filtered', message) for stamp, topic, message in events if topic == '/odom']
    path = synthetic_bag.write(tmp_path / 'bags/two', sorted([*events, *second], key=lambda e: e[0]),
                               types={'/odometry/filtered': 'nav_msgs/msg/Odometry'})
    with pytest.raises(InputError) as caught:
        find_recordings(tmp_path)
    option = caught.value.remedy.split('Choose with ')[1].split(':')[0]
    assert str(path) in str(caught.value) and option == '--odometry'
    assert 'none' not in caught.value.remedy  # there is no label without odometry
    parsed = train.options_parser().parse_args(['--out', 'x', option, '/odometry/filtered'])
    topics = tuple((name, topic) for name, topic in cli.topic_options(parsed).items() if topic)
    assert topics == (('odometry', '/odometry/filtered'),)
    chosen, by_type = LabelOptions(GRID, 20.0, topics=topics), LabelOptions(GRID, 20.0, topics=(('odometry', '/odom'),))
    found = find_recordings(tmp_path, topics)
    (one, _), (other, _) = (label_recordings(found, tmp_path / 'cache', from_flat({}), o) for o in (chosen, by_type))
    assert len(one) == len(other) > 0 and one.folders != other.folders  # kept apart
    old = read_recordings(bags, from_flat({}), GRID, 20.0, 3)  # as it was called up to 0.1.0
    assert len(old) == len(labelled(bags, tmp_path / 'cache', LabelOptions(GRID, 20.0, every=3)))


def test_the_parts_of_a_split_recording_are_one_recording_without_metadata_too(tmp_path):
    for number, name in enumerate(('drive_0', 'drive_1')):
        part = synthetic_bag.write(tmp_path / f'part{number}', bend(2.0))
        (tmp_path / 'bags/split').mkdir(parents=True, exist_ok=True)
        (part / f'part{number}.mcap').rename(tmp_path / f'bags/split/{name}.mcap')
    for name in ('monday', 'tuesday_2'):
        synthetic_bag.write(tmp_path / name, bend(2.0))
        (tmp_path / 'bags/files').mkdir(exist_ok=True)
        (tmp_path / name / f'{name}.mcap').rename(tmp_path / f'bags/files/{name}.mcap')
    whole = synthetic_bag.write(tmp_path / 'bags/whole', bend(2.0))
    assert find_recordings(tmp_path / 'bags') == [tmp_path / 'bags/files/monday.mcap',
                                                  tmp_path / 'bags/files/tuesday_2.mcap',
                                                  tmp_path / 'bags/split', whole]
    assert find_recordings(whole / 'metadata.yaml') == [whole]


def test_two_lidars_are_labelled_as_one(tmp_path):
    """Named as for replay; a sweep each, with the points of both."""
    sweeps = 50  # 5 s at 10 m/s
    events = [*lidars.plain(5.5), *lidars.two_halves(sweeps, '/rear/points')]
    synthetic_bag.write(tmp_path / 'two', sorted(events, key=lambda e: e[0]),
                        types={'/rear/points': 'sensor_msgs/msg/PointCloud2'})
    seen = {}
    for name, topics in (('one', (('pointcloud', '/lidar/points'),)),
                         ('both', (('pointcloud', '/lidar/points'), ('pointcloud_2', '/rear/points')))):
        options = LabelOptions(GRID, 20.0, every=5, topics=topics)
        store, (summary,) = label_recordings(find_recordings(tmp_path / 'two', topics), tmp_path / 'cache',
                                             from_flat({'cloud.accumulate': 1}), options)
        assert summary.sweeps == sweeps and len(store) > 3
        seen[name] = sum(int((store[i].features != 0).any(0).sum()) for i in range(len(store)))
    assert seen['both'] > 1.5 * seen['one']
