# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`replay --live`: a viewer connects, and decodes what comes, without ROS on either side."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support import synthetic_bag as bag
from support.live_viewer import Viewer

from attention_fusion_ros.commands import replay
from attention_fusion_ros.ros.outputs import OUTPUTS
from attention_fusion_ros.stream.recording import Recording

ROOT = Path(__file__).resolve().parents[2]
SWEEPS = 5
ROS = ('rclpy', 'builtin_interfaces', 'geometry_msgs', 'nav_msgs', 'sensor_msgs', 'std_msgs', 'visualization_msgs',
       'diagnostic_msgs', 'rosgraph_msgs')
RUN = ('import sys; sys.modules.update(dict.fromkeys({blocked!r}))\n'
       'from attention_fusion_ros.commands import replay; sys.exit(replay.main(sys.argv[1:]))')
OUTPUT_TYPES = {f'/attention_fusion/{spec.name}': spec.type.replace('/', '/msg/') for spec in OUTPUTS}


@pytest.fixture(scope='module')
def drive(tmp_path_factory):
    return bag.write(tmp_path_factory.mktemp('bags') / 'drive', bag.drive(SWEEPS))


@pytest.fixture(scope='module')
def options(tmp_path_factory):
    return bag.lively_options(tmp_path_factory.mktemp('weights'))


def started(drive, options, out, *more):
    """The process, and the port on which it serves."""
    process = subprocess.Popen([sys.executable, '-c', RUN.format(blocked=ROS), drive, '--out', out, '--live', '--port',
                                '0', '--wait', '60', *more, *options], cwd=ROOT, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    for line in process.stdout:
        if found := re.search(r'ws://127\.0\.0\.1:(\d+)', line):
            return process, int(found.group(1))
    raise AssertionError(process.stderr.read())


def ended(process):
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return output, errors


@pytest.mark.slow
def test_a_viewer_decodes_what_the_recording_of_the_outputs_holds(drive, options, tmp_path):
    pytest.importorskip('foxglove', reason='foxglove-sdk is not installed')
    process, port = started(drive, options, tmp_path / 'out', '--bag', tmp_path / 'results', '--rate', '0')
    with Recording(drive) as inputs:
        types = {**OUTPUT_TYPES, **{name: info.type for name, info in inputs.topics.items()}}
    with Viewer(port) as viewer:
        viewer.wait_for(*types)
        assert {name: channel['schemaName'] for name, channel in viewer.channels.items()} == types
        viewer.subscribe(*sorted(types))
        received = viewer.messages(lambda found: all(sum(m.topic.endswith(name) for m in found) >= SWEEPS
                                                     for name in ('/odom', 'age_ms', '/heatmap/gradcam')))
        assert viewer.info['name'] == 'attention_fusion' and 'time' in viewer.info['capabilities']
        assert viewer.clock_ns and set(viewer.clock_ns) <= {m.stamp_ns for m in received}
    ended(process)
    with Recording(tmp_path / 'results') as recorded, Recording(drive) as inputs:
        for source, names in ((recorded, OUTPUT_TYPES), (inputs, inputs.topics)):
            for raw in source.raw_messages([name for name in names if not name.endswith('_ms')]):
                twins = [m for m in received if m.topic == raw.topic and m.stamp_ns == raw.stamp_ns]
                assert any(same(source.decode(raw), m.message) for m in twins), (raw.topic, raw.stamp_ns, len(twins))


def same(one, other):
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if hasattr(one, '__dataclass_fields__'):
        return all(same(getattr(one, name), getattr(other, name)) for name in one.__dataclass_fields__
                   if not name.startswith('__'))
    return one == other


@pytest.mark.slow
def test_only_what_a_viewer_shows_is_made_and_the_sensor_is_placed(options, tmp_path):
    """Without transforms in the recording a viewer could not draw the cloud."""
    pytest.importorskip('foxglove', reason='foxglove-sdk is not installed')
    messages = [m for m in bag.drive(SWEEPS) if m[1] != '/tf_static']
    drive = bag.write(tmp_path / 'without_tf', messages)
    T = ', '.join(str(v) for v in bag.SENSOR.ravel())
    process, port = started(drive, options, tmp_path / 'out', '--rate', '0.1', '-p', 'use_tf:=false', '-p',
                            f'T_base_sensor:=[{T}]')
    wanted = '/attention_fusion/branches', '/attention_fusion/sensor_pose'
    with Viewer(port) as viewer:
        viewer.subscribe(*wanted)
        received = viewer.messages(lambda found: {m.topic for m in found} == set(wanted))
        (pose,) = next(m.message for m in received if m.topic == wanted[1]).transforms
        assert (pose.header.frame_id, pose.child_frame_id) == ('base_link', 'lidar')
        assert pose.transform.translation.z == pytest.approx(1.8)
        assert pose.transform.rotation.z == pytest.approx(0.5**0.5)
        viewer.subscribe('/attention_fusion/heatmap/spatial')  # late
        late = viewer.messages(lambda found: any(m.topic.endswith('spatial') for m in found))
        assert max(late[-1].message.data) > 0 and {m.topic for m in late} <= {*wanted, late[-1].topic}
        with Viewer(port) as another:  # later still: what is latched comes at once
            another.subscribe(late[-1].topic, '/attention_fusion/sensor_pose')
            another.messages(lambda found: len({m.topic for m in found}) == 2)
    ended(process)


def test_the_missing_package_is_named(drive, options, tmp_path):
    done = subprocess.run([sys.executable, '-c', RUN.format(blocked=('foxglove',)), drive, '--out', tmp_path / 'out',
                           '--live', *options], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and 'Traceback' not in done.stderr
    assert 'foxglove-sdk' in done.stderr and 'pip install' in done.stderr


def test_an_address_that_cannot_be_used_is_named(drive, options, tmp_path, capsys):
    pytest.importorskip('foxglove', reason='foxglove-sdk is not installed')
    from attention_fusion_ros.ros.live_server import LiveServer
    with LiveServer(port=0) as taken:
        arguments = [str(drive), '--out', str(tmp_path / 'out'), *options, '--live']
        assert replay.main([*arguments, '--port', str(taken.port)]) == 2
        assert f'port {taken.port}' in capsys.readouterr().err
        assert replay.main([*arguments, '--host', 'no.such.host.invalid', '--port', '0']) == 2
        assert 'no.such.host.invalid' in capsys.readouterr().err
    for wrong in (['--rate', '-1'], ['--port', '70000'], ['--wait', '-1']):
        with pytest.raises(SystemExit):
            replay.main([*arguments, *wrong])
