# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`draw_map`: a recording with a fix and a file of roads -> the same recording with map images, ready for replay."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import CompressionMode
from support import fix_drive, storage_kit
from support import synthetic_bag as bag
from support.fix_drive import draw, images, pixels, read, stamp_ns
from support.full_disk import no_room
from support.map_kit import FRAME

from attention_fusion_ros.commands import draw_map, replay
from attention_fusion_ros.config import MapConfig, NodeConfig
from attention_fusion_ros.decode import decode_map_image
from attention_fusion_ros.maps.config import MapSourceConfig
from attention_fusion_ros.maps.frames import LocalFrame
from attention_fusion_ros.maps.painter import MapPainter
from attention_fusion_ros.maps.settings import layout_of
from attention_fusion_ros.maps.smoothed import LoggedSource
from attention_fusion_ros.maps.source import MapSource
from attention_fusion_ros.ros.map_source.recorded import plan_images, position_topics
from attention_fusion_ros.stream.recording import Recording

pytest.importorskip('pyproj', reason='needs pyproj')

ROOT = Path(__file__).parents[2]
S = 1_000_000_000


@pytest.fixture(scope='module')
def place(tmp_path_factory) -> Path:
    """A folder with roads and a drive."""
    folder = tmp_path_factory.mktemp('drive')
    fix_drive.roads_file(folder)
    fix_drive.write(folder / 'drive')
    return folder


@pytest.fixture(scope='module', autouse=True)
def no_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('XDG_CACHE_HOME', str(tmp_path_factory.mktemp('cache')))
        yield


def test_every_image_is_what_the_painter_draws_where_the_vehicle_was(place, tmp_path):
    assert draw(place / 'drive', tmp_path / 'out', '--route', 'none') == 0
    found = images(tmp_path / 'out')
    config = MapSourceConfig(file=str(place / 'roads.geojson'))
    source = MapSource.from_file(config)
    with Recording(place / 'drive') as recording:
        plan = plan_images(recording, position_topics(recording, config, {'imu': 'none'}), source)
    layout = layout_of(config.map)
    painter = MapPainter(source.roads, layout.__class__(0.5, (200, 200)))
    assert len(found) == len(plan.images) > 250 and set(plan.missed) <= {'no_position', 'no_heading'}
    truth = fix_drive.along()
    here, there = LocalFrame(*FRAME), source.frame
    for message, image in list(zip(found, plan.images))[::7]:
        assert np.array_equal(pixels(message), painter.draw(image.estimate.pose))
        assert stamp_ns(message) == image.estimate.stamp_ns and message.header.frame_id == 'base_link'
        x, y, yaw = truth[round((image.estimate.stamp_ns - bag.T0) / 1e8)]
        expected = there.to_metres(*here.to_degrees(np.array([x, y])))
        assert math.hypot(*(expected - image.estimate.pose[:2])) < 1.5
        assert abs(math.remainder(image.estimate.pose.yaw - yaw, math.tau)) < math.radians(8.0)


def errors(recording: Path, config: MapSourceConfig, smooth: bool) -> tuple[np.ndarray, np.ndarray]:
    """(N,) m by which each image is off, and the deviations stated."""
    source = (LoggedSource if smooth else MapSource).from_file(config)
    with Recording(recording) as opened:
        plan = plan_images(opened, position_topics(opened, config, {'imu': 'none'}), source)
    truth, here = fix_drive.along(), LocalFrame(*FRAME)
    found = []
    for image in plan.images:
        x, y, _ = truth[round((image.estimate.stamp_ns - bag.T0) / 1e8)]
        expected = image.roads.frame.to_metres(*here.to_degrees(np.array([x, y])))
        found.append(math.hypot(*(expected - image.estimate.pose[:2])))
    return np.array(found), np.array([image.estimate.position_std for image in plan.images])


@pytest.mark.slow
def test_smooth_knows_the_position_from_the_start_and_over_a_gap(tmp_path):
    fix_drive.roads_file(tmp_path)
    fix_drive.write(tmp_path / 'drive', fix_drive.events(fix_drive.along(), std=3.0, without_fix=(8.0, 22.0)))
    config = MapSourceConfig(file=str(tmp_path / 'roads.geojson'))
    away, std = errors(tmp_path / 'drive', config, smooth=False)
    smooth, smooth_std = errors(tmp_path / 'drive', config, smooth=True)
    assert len(smooth) > len(away), 'from the first message on'
    assert smooth_std.max() < std.max() and np.median(smooth_std) < np.median(std)
    assert np.median(smooth) < np.median(away) + 0.5 and (smooth < 3.0 * smooth_std).mean() > 0.95
    assert draw(tmp_path / 'drive', tmp_path / 'out', '--smooth') == 0
    found = images(tmp_path / 'out')
    assert len(found) == len(smooth) and stamp_ns(found[0]) < bag.T0 + 3 * S // 10
    assert draw(tmp_path / 'drive', tmp_path / 'again', '--smooth') == 0
    assert read(tmp_path / 'again') == read(tmp_path / 'out')


def test_a_recording_that_goes_on_in_another_country(tmp_path):
    there = (52.0, 13.0)
    roads = json.loads(fix_drive.roads_file(tmp_path).read_text())
    roads['features'] += json.loads(fix_drive.roads_file(tmp_path, there).read_text())['features']
    (tmp_path / 'roads.geojson').write_text(json.dumps(roads))
    second = fix_drive.events(fix_drive.along(15.0), bag.T0 + 30 * S, there)
    fix_drive.write(tmp_path / 'drive', fix_drive.events(fix_drive.along(15.0)) + second)
    assert draw(tmp_path / 'drive', tmp_path / 'out') == 0
    found, border = images(tmp_path / 'out'), bag.T0 + 30 * S
    parts = [m for m in found if stamp_ns(m) < border], [m for m in found if stamp_ns(m) >= border]
    assert min(map(len, parts)) > 50
    for message in (parts[0][-20], parts[1][-20]):
        road = decode_map_image(message).road
        assert road[90:110, 98:102].min() == 1.0, 'on the road'


def test_what_lies_beside_the_recording_is_copied(tmp_path):
    fix_drive.roads_file(tmp_path)
    drive = fix_drive.write(tmp_path / 'drive', fix_drive.events(fix_drive.along(6.0)))
    (drive / 'truth.json').write_text('{}')
    (drive / 'replay.yaml').write_text('old')
    assert draw(drive, tmp_path / 'out') == 0
    names = sorted(f.name for f in (tmp_path / 'out').iterdir())
    assert names == ['metadata.yaml', 'out.mcap', 'replay.yaml', 'truth.json']
    assert 'old' not in (tmp_path / 'out' / 'replay.yaml').read_text()


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_everything_else_is_copied_as_it_is(tmp_path, storage):
    fix_drive.roads_file(tmp_path)
    events = fix_drive.events(fix_drive.along(8.0))
    mode = CompressionMode.MESSAGE if storage == 'sqlite3' else CompressionMode.FILE
    storage_kit.write(tmp_path / 'drive', events, storage, mode, storage_kit.LATCHED, version=8)
    assert draw(tmp_path / 'drive', tmp_path / 'out') == 0
    topics = ['/fix', '/lidar/points', '/odom', '/tf_static']
    assert read(tmp_path / 'out', *topics) == read(tmp_path / 'drive', *topics)
    with Recording(tmp_path / 'drive') as before, Recording(tmp_path / 'out') as after:
        assert after.storage == storage and not after.notes and not after.losses
        assert sorted(after.topics) == sorted([*topics, '/map_image'])
        for topic in topics:
            assert after.offered_qos(topic) == before.offered_qos(topic) == [storage_kit.LATCHED]
            assert after.channels(topic)[0].definition == before.channels(topic)[0].definition != ''
        assert after.is_latched('/map_image')
    assert draw(tmp_path / 'drive', tmp_path / 'again') == 0
    assert read(tmp_path / 'again') == read(tmp_path / 'out'), 'the same again'


def test_split_recordings_and_other_topics_of_any_type(tmp_path):
    fix_drive.roads_file(tmp_path)
    events = fix_drive.events(fix_drive.along(8.0))
    parts = [fix_drive.write(tmp_path / f'part{i}', part) for i, part in enumerate((events[:70], events[70:]))]
    folder = tmp_path / 'drive'
    folder.mkdir()
    for i, part in enumerate(parts):
        shutil.copy(storage_kit.storage_file(part), folder / f'drive_{i}.mcap')
    assert draw(folder, tmp_path / 'out') == 0
    topics = ['/fix', '/lidar/points', '/odom', '/tf_static']
    assert read(tmp_path / 'out', *topics) == read(folder, *topics)


def test_a_ros_1_bag_becomes_a_recording_of_ros_2(tmp_path, capsys):
    fix_drive.roads_file(tmp_path)
    events = fix_drive.events(fix_drive.along(8.0))
    storage_kit.ros1_bag(tmp_path / 'drive.bag', events)
    fix_drive.write(tmp_path / 'drive', events)
    assert draw(tmp_path / 'drive.bag', tmp_path / 'out') == 0
    assert 'ROS 1' in capsys.readouterr().out
    assert draw(tmp_path / 'drive', tmp_path / 'same') == 0
    assert read(tmp_path / 'out') == read(tmp_path / 'same')


def test_replay_finds_the_images_and_how_they_lie_by_itself(place, tmp_path, capsys):
    events = fix_drive.events(fix_drive.along(6.0))
    events += [(stamp, '/overview', bag.map_image(stamp)) for stamp, topic, _ in events if topic == '/lidar/points']
    types = {**fix_drive.TYPES, '/overview': 'sensor_msgs/msg/Image'}
    bag.write(tmp_path / 'drive', sorted(events, key=lambda event: event[0]), types=types)
    assert draw(tmp_path / 'drive', tmp_path / 'out', '-p', 'map.anchor:=[0.5, 0.75]', '--every', '2.5',
                roads=place / 'roads.geojson') == 0
    with Recording(tmp_path / 'out') as recording:
        topics = recording.input_topics()
        assert (topics['map_image'], topics['odometry']) == ('/map_image', '/odom')
        assert recording.parameters(topics) == {'map.resolution': 0.5, 'map.anchor': [0.5, 0.75],
                                                'map.orientation': 'heading_up', 'map.max_age': 5.0}
        assert recording.parameters(recording.input_topics(map_image='/overview')) == {}
        assert recording.input_topics(map_image='none')['map_image'] is None
        # For training, whose configuration is that of many recordings.
        assert recording.configured(NodeConfig(), topics).map.anchor == [0.5, 0.75]
        chosen = NodeConfig(map=MapConfig(anchor=[0.1, 0.2]))
        assert recording.configured(chosen, topics).map.anchor == [0.1, 0.2]
        assert recording.configured(chosen, topics).map.resolution == 0.5
        assert recording.configured(chosen, recording.input_topics(map_image='/overview')) == chosen
    options = bag.lively_options(tmp_path)
    assert replay.main([str(tmp_path / 'out'), '--out', str(tmp_path / 'results'), *options]) == 0
    said = capsys.readouterr().out
    assert 'map image   /map_image' in said and 'map.anchor [0.5, 0.75]' in said
    assert 'fused 4' in said or 'fused 5' in said, said
    (tmp_path / 'out' / 'replay.yaml').write_text('attention_fusion: {ros__parameters: {map.size: 3}}')
    with Recording(tmp_path / 'out') as recording:
        assert any('replay.yaml is not used' in note and 'map.size' in note for note in recording.notes)


def test_the_image_lies_as_the_parameters_say(place, tmp_path):
    """Read as the node reads it, the road that was driven runs through the vehicle."""
    assert draw(place / 'drive', tmp_path / 'out', '-p', 'map.anchor:=[0.4, 0.7]') == 0
    for message in images(tmp_path / 'out')[20::40]:
        decoded = decode_map_image(message)
        assert not decoded.warnings
        assert decoded.road[138:142, 78:82].max() == 1.0, 'row 0.7 * 200, column 0.4 * 200'
        assert decoded.route is not None and decoded.route[100:139, 60:100].max() > 0.9, 'ahead of the vehicle'
        assert decoded.route[160:].max() == 0.0, 'not behind it'


@pytest.mark.slow
def test_the_route_goes_where_the_goal_is_or_where_the_vehicle_drove(place, tmp_path, capsys):
    def turns(out: Path) -> str:
        """At the last image before the junction, 40 m ahead."""
        at = bag.T0 + 26 * S
        message = next(m for m in images(out) if stamp_ns(m) >= at)
        route = decode_map_image(message).route
        left, ahead, right = route[:30, :90], route[:15, 90:110], route[:30, 110:]
        return max(('left', left.max()), ('ahead', ahead.max()), ('right', right.max()), key=lambda item: item[1])[0]
    frame = LocalFrame(*FRAME)
    goal = '{:.7f}, {:.7f}'.format(*(float(v) for v in frame.to_degrees(np.array([650.0, 0.0]))))
    assert draw(place / 'drive', tmp_path / 'goal', '--goal', goal) == 0
    assert draw(place / 'drive', tmp_path / 'driven') == 0
    assert '100 % of it along roads' in capsys.readouterr().out
    assert draw(place / 'drive', tmp_path / 'none', '--route', 'none') == 0
    assert turns(tmp_path / 'goal') == 'ahead'
    assert all(decode_map_image(m).route is None for m in images(tmp_path / 'none'))
    assert turns(tmp_path / 'driven') == 'left'


def test_a_goal_that_cannot_be_reached_costs_the_route_only(place, tmp_path, capsys):
    assert draw(place / 'drive', tmp_path / 'out', '--goal', '42.35, -71.05') == 0
    said = capsys.readouterr().out
    assert 'goal_off_network' in said and 'in 0 images' in said and 'Remedy' in said


def test_a_recording_that_starts_again(tmp_path):
    fix_drive.roads_file(tmp_path)
    first = fix_drive.events(fix_drive.along(10.0))
    again = fix_drive.events(fix_drive.along(10.0), recorded=bag.T0 + 20 * S)
    fix_drive.write(tmp_path / 'once', first)
    fix_drive.write(tmp_path / 'twice', first + again)
    assert draw(tmp_path / 'once', tmp_path / 'a') == draw(tmp_path / 'twice', tmp_path / 'b') == 0
    once, twice = images(tmp_path / 'a'), images(tmp_path / 'b')
    assert [stamp_ns(m) for m in twice[:len(once)]] == [stamp_ns(m) for m in once]
    later = {stamp_ns(m): pixels(m) for m in twice[len(once):]}
    assert len(later) > len(once) - 15
    same = [np.mean(later[stamp_ns(m)] == pixels(m)) for m in once if stamp_ns(m) in later]
    assert np.median(same) > 0.97, 'the second time like the first, but for the datum'


def test_without_fix_for_a_while_odometry_goes_on(tmp_path, capsys):
    fix_drive.roads_file(tmp_path)
    fix_drive.write(tmp_path / 'drive', fix_drive.events(fix_drive.along(), without_fix=(8.0, 25.0)))
    assert draw(tmp_path / 'drive', tmp_path / 'out') == 0
    stamps = np.diff([stamp_ns(m) for m in images(tmp_path / 'out')]) / S
    assert stamps.max() <= 1.01
    assert 'deviation' in capsys.readouterr().out


@pytest.mark.parametrize(('what', 'reason'), [
    ('far', 'datum_far_from_map'), ('away', 'no_roads_near'), ('no_fix', 'no_fix'), ('standing', 'no_heading')])
def test_where_nothing_can_be_drawn_the_cause_is_named_and_nothing_is_written(tmp_path, what, reason, capsys):
    roads = fix_drive.roads_file(tmp_path, (1.30, 103.80) if what == 'far' else FRAME)
    poses = fix_drive.along(8.0)
    poses = poses + (0.0, 2500.0, 0.0) if what == 'away' else poses
    poses = np.repeat(poses[:1], 80, axis=0) if what == 'standing' else poses
    events = fix_drive.events(poses)
    if what == 'no_fix':
        events = [(s, t, fix_drive.fix(s, (0.0, 0.0), LocalFrame(*FRAME), status=-1) if t == '/fix' else m)
                  for s, t, m in events]
    fix_drive.write(tmp_path / 'drive', events)
    assert draw(tmp_path / 'drive', tmp_path / 'out', roads=roads) == 2
    said = capsys.readouterr().err
    assert reason in said and 'Remedy: ' in said
    assert sorted(f.name for f in tmp_path.iterdir()) == ['drive', 'roads.geojson']


def test_where_the_fix_is_missing_because_the_file_breaks_off_that_is_said(place, tmp_path, capsys):
    cut = tmp_path / 'cut.mcap'
    whole = next((place / 'drive').glob('*.mcap')).read_bytes()
    cut.write_bytes(whole[:whole.index(b'/fix')])
    assert draw(cut, tmp_path / 'out', roads=place / 'roads.geojson') == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert 'has no fix' in error and 'cut.mcap breaks off' in error and not (tmp_path / 'out').exists()


def test_options_that_cannot_be(place, tmp_path, capsys):
    drive, out = str(place / 'drive'), str(tmp_path / 'out')
    for arguments, text in (
            ([drive, '--out', out], '--osm'), ([drive, '--out', out, '--osm', 'none.osm'], 'none.osm'),
            ([drive, '--out', str(place / 'drive'), '--osm', 'x'], 'exists already'),
            ([str(tmp_path / 'no'), '--out', out, '--osm', str(place / 'roads.geojson')], 'no recording'),
            ([drive, '--out', out, '--osm', str(place / 'roads.geojson'), '--odometry', '/no'], '--odometry'),
            ([drive, '--out', out, '--osm', str(place / 'roads.geojson'), '--map-image', '/odom'], '--map-image'),
            ([drive, '--out', out, '--osm', str(place / 'roads.geojson'), '-p', 'map.size:=3'], 'map.size')):
        assert draw_map.main(arguments) == 2
        assert text in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_a_full_disk_is_named_with_the_folder_and_nothing_is_left(place, tmp_path, storage, capsys):
    with no_room(100_000):
        assert draw(place / 'drive', tmp_path / 'out', '--storage', storage) == 2
    assert f"'{tmp_path / 'out'}' cannot be written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_killed_and_interrupted_runs_leave_nothing_under_the_name(tmp_path):
    fix_drive.roads_file(tmp_path)
    fix_drive.write(tmp_path / 'drive', fix_drive.events(fix_drive.along(20.0), sweeps_every=2))
    arguments = [sys.executable, '-m', 'attention_fusion_ros', 'draw_map', str(tmp_path / 'drive'), '--osm',
                 str(tmp_path / 'roads.geojson'), '--out', str(tmp_path / 'out')]
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    for number, status in ((signal.SIGKILL, -9), (signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)):
        before = set(tmp_path.glob('.out.*'))
        process = subprocess.Popen(arguments, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        while not [f for f in tmp_path.glob('.out.*/out/*.mcap')
                   if f.parents[1] not in before and f.stat().st_size > 100_000]:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.02)
        process.send_signal(number)
        process.communicate(timeout=60)
        assert process.returncode == status
        left = {f.name for f in tmp_path.iterdir()} - {'drive', 'roads.geojson'}
        assert len(left) <= 1 and all(name.startswith('.out.') for name in left), 'of the last one that was killed'
        assert number == signal.SIGKILL or not left
    assert subprocess.run(arguments, env=environment, capture_output=True).returncode == 0
    assert {f.name for f in tmp_path.iterdir()} == {'drive', 'roads.geojson', 'out'}
    assert draw_map.main([*arguments[4:7], '--out', str(tmp_path / 'same')]) == 0
    assert read(tmp_path / 'out') == read(tmp_path / 'same')


def test_yaw_is_measured_against_true_north(place, tmp_path):
    """North up: the first street, which runs east, is level in every image."""
    assert draw(place / 'drive', tmp_path / 'out', '--orientation', 'north_up', '--route', 'none') == 0
    for message in images(tmp_path / 'out')[50:200:50]:
        road = decode_map_image(message).road
        rows = np.flatnonzero(road[:, 100] > 0.5)
        assert rows[0] <= 100 <= rows[-1] and road[rows].mean() > 0.9


@pytest.mark.parametrize('option', ['--goal', '--datum'])
def test_places_in_the_south_are_no_options(option, tmp_path, capsys):
    """Read as places: what is missing is the recording."""
    words = [str(tmp_path / 'none'), '--osm', str(tmp_path / 'none.osm'), '--out', str(tmp_path / 'out')]
    assert draw_map.main([*words, option, '-33.86,151.2']) == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ') and 'expected one argument' not in error
