# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Messages become synchronised sweeps: pushed by callbacks or pulled from a recording, by the same rules."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest
from support import synthetic_bag as bag
from support.sync_kit import at, header, image, odometry, transforms

from attention_fusion_ros.config import from_flat
from attention_fusion_ros.contracts import PointCloud, SyncedSweep
from attention_fusion_ros.errors import ConfigurationError, InputError
from attention_fusion_ros.geometry import se3_from_quaternion
from attention_fusion_ros.stream.inputs import INPUTS, SWEEPS, InputSpec, Transport, input_named
from attention_fusion_ros.stream.recorded_sweeps import DroppedSweep, base_poses, synced_sweeps
from attention_fusion_ros.stream.recording import Recording
from attention_fusion_ros.stream.sweeps import SweepStream
from attention_fusion_ros.sync.stamp_waiter import MAX_WAIT_S
from attention_fusion_ros.sync.stamped_buffer import StampedBuffer

PERIOD_S = bag.PERIOD / 1e9


def cloud(seconds: float, frame: str = 'lidar') -> PointCloud:
    return PointCloud(at(seconds), frame, np.zeros((1, 3), np.float32), None)


def as_it_is(message):
    """Stands for a decoder: the test's messages are decoded already."""
    return message


def plain_inputs() -> tuple[InputSpec, ...]:
    """The table, with map images and sweeps that need no decoding."""
    return tuple(dataclasses.replace(spec, transports=tuple(dataclasses.replace(t, decode=as_it_is)
                                                            for t in spec.transports))
                 if spec.name in (SWEEPS, 'map_image') else spec for spec in INPUTS)


class Pushed:
    """A stream and what it dropped."""

    def __init__(self, max_wait_s: float = 0.0, **parameters):
        self.drops: list[tuple[str, str]] = []
        self.inputs = plain_inputs()
        self.stream = SweepStream(from_flat({'use_tf': False, **parameters}),
                                  lambda spec, error: self.drops.append((spec.name, error.reason)),
                                  inputs=self.inputs, max_wait_s=max_wait_s)

    def take(self, name: str, message, transport: int = 0) -> None:
        spec = input_named(name, self.inputs)
        self.stream.take(spec, spec.transports[transport], message)

    def sweep(self, seconds: float, frame: str = 'lidar') -> SyncedSweep:
        return self.stream.sweep(cloud(seconds, frame))


def test_a_sweep_comes_with_its_map_image_and_motion():
    pushed = Pushed()
    pushed.take('map_image', image(0.0))
    pushed.take('odometry', odometry(0.0, x=1.0))
    sweep = pushed.sweep(0.0)
    assert sweep.map_image.stamp_ns == at(0.0) and sweep.map_reason == ''
    assert sweep.motion.T_odom_base[0, 3] == 1.0 and sweep.odometry_extrapolation_s == 0.0
    sweep = pushed.sweep(0.3)
    assert sweep.odometry_extrapolation_s == pytest.approx(0.3) and sweep.map_image.stamp_ns == at(0.0)
    assert pushed.stream.age_s('map_image', at(2.0)) == 2.0 and pushed.stream.age_s('transforms', at(2.0)) is None
    assert pushed.drops == []


def test_what_cannot_be_used_is_reported_and_costs_nothing_else():
    pushed = Pushed(use_tf=True)
    pushed.take('odometry', odometry(0.0, quaternion=(0.0, 0.0, 0.0, 0.0)))
    pushed.take('transforms', transforms(('base_link', 'lidar', 1.0, (0.0, 0.0, 0.0, 0.0))))
    pushed.take('transforms', transforms(('', 'lidar', 1.0)), transport=1)
    pushed.take('odometry', odometry(0.0, child='imu'))
    assert pushed.drops == [('odometry', 'bad_odometry'), ('transforms', 'bad_transform'),
                            ('transforms', 'bad_transform'), ('odometry', 'odometry_frame')]
    pushed.take('transforms', transforms(('base_link', 'lidar', 1.0)))
    assert pushed.sweep(0.0).map_reason == 'no_map'


def test_transforms_are_ignored_with_use_tf_false():
    """The node does not listen to them then; a recording that holds some must give the same numbers."""
    pushed = Pushed(use_tf=False)
    pushed.take('transforms', transforms(('base_link', 'imu', 1.0)))
    pushed.sweep(0.0)
    pushed.take('odometry', odometry(0.0, child='imu'))
    assert pushed.drops == [('odometry', 'odometry_frame')]


def test_a_sweep_waits_for_the_map_image_of_its_own_stamp():
    pushed = Pushed(max_wait_s=30.0)
    pushed.take('map_image', image(-0.2))
    pushed.take('odometry', odometry(0.5))  # later than the sweep: not waited for

    def later():
        while pushed.stream.waiting_for_ns is None:
            pass
        pushed.take('map_image', image(0.0))

    thread = threading.Thread(target=later)
    thread.start()
    assert pushed.sweep(0.0).map_image.stamp_ns == at(0.0)
    thread.join()
    assert pushed.stream.waiting_for_ns is None


def test_after_the_clock_was_set_back_sweeps_wait_for_their_map_image_again():
    pushed = Pushed(max_wait_s=30.0)
    for seconds in (10.0, 10.1):
        pushed.take('map_image', image(seconds))
        assert pushed.sweep(seconds).map_reason == ''
    pushed.stream.on_time_jump(at(5.0))

    def later():
        while pushed.stream.waiting_for_ns is None:
            if done.is_set():
                return
        pushed.take('map_image', image(5.0))

    done = threading.Event()
    thread = threading.Thread(target=later)
    thread.start()
    sweep = pushed.sweep(5.0)
    done.set()
    thread.join()
    assert sweep.map_reason == '' and sweep.map_image.stamp_ns == at(5.0)


def test_what_overtakes_the_clock_that_is_set_back_is_not_waited_for_again():
    pushed = Pushed(max_wait_s=30.0)
    pushed.take('map_image', image(5.01))
    pushed.take('odometry', odometry(5.01))
    pushed.stream.on_time_jump(at(5.0))
    assert pushed.stream.is_ready(pushed.stream.decode(cloud(5.01)))
    assert not pushed.stream.is_ready(pushed.stream.decode(cloud(5.02)))


def test_a_sweep_waits_for_its_transform():
    pushed = Pushed(max_wait_s=30.0, use_tf=True)
    pushed.take('map_image', image(0.0))
    pushed.take('odometry', odometry(0.0))

    def later():
        while pushed.stream.waiting_for_ns is None:
            pass
        pushed.take('transforms', transforms(('base_link', 'lidar', 1.0)))

    thread = threading.Thread(target=later)
    thread.start()
    assert pushed.sweep(0.0).motion.T_base_sensor[0, 3] == 1.0
    thread.join()


def test_a_sweep_waits_for_its_transform_in_a_message_with_a_bad_one():
    pushed = Pushed(max_wait_s=600.0, use_tf=True)
    pushed.take('map_image', image(0.0))
    pushed.take('odometry', odometry(0.0))
    found = []
    thread = threading.Thread(target=lambda: found.append(pushed.sweep(0.0)))
    thread.start()
    while pushed.stream.waiting_for_ns is None:
        pass
    pushed.take('transforms', transforms(('base_link', 'rear', 1.0, (0.0, 0.0, 0.0, 0.0)), ('base_link', 'lidar', 1.0)))
    thread.join(30.0)
    woken = bool(found)
    pushed.take('odometry', odometry(0.1))  # ends the wait in any case
    thread.join()
    assert woken and pushed.drops == [('transforms', 'bad_transform')]


def test_a_frame_that_was_waited_for_in_vain_is_not_waited_for_for_ever():
    pushed = Pushed(use_tf=True)
    sweeps = [cloud(5.0 * i, 'nowhere') for i in range(3)]
    waited = [pushed.stream.is_ready(pushed.stream.decode(sweep)) for sweep in sweeps[:1]]
    with pytest.raises(InputError, match='unknown frame|nothing was received'):
        pushed.stream.sweep(sweeps[0])
    for name, message in (('map_image', image(5.0)), ('odometry', odometry(5.0))):
        pushed.take(name, message)
    waited.append(pushed.stream.is_ready(pushed.stream.decode(sweeps[1])))
    assert waited == [False, True]
    pushed.take('transforms', transforms(('base_link', 'nowhere', 1.0)))
    assert pushed.stream.sweep(sweeps[1]).motion.T_base_sensor[0, 3] == 1.0


def is_ready(pushed: Pushed, seconds: float, frame: str) -> bool:
    """Whether a sweep with map image and odometry does not wait for its transform."""
    pushed.take('map_image', image(seconds))
    pushed.take('odometry', odometry(seconds))
    return pushed.stream.is_ready(pushed.stream.decode(cloud(seconds, frame)))


def test_a_frame_is_waited_for_again_after_a_reset():
    pushed = Pushed(use_tf=True)
    with pytest.raises(InputError):
        pushed.sweep(0.0, 'nowhere')
    assert not is_ready(pushed, 1.0, 'nowhere')  # each of the first sweeps may be the one after which it comes
    assert is_ready(pushed, 5.0, 'nowhere')
    pushed.stream.reset()
    assert not is_ready(pushed, 5.1, 'nowhere')


def test_what_came_before_a_reset_is_waited_for_again():
    pushed = Pushed()
    assert is_ready(pushed, 10.0, 'lidar')
    pushed.stream.reset()
    assert not pushed.stream.is_ready(pushed.stream.decode(cloud(10.0)))


def test_a_frame_is_waited_for_again_once_it_was_known():
    pushed = Pushed(use_tf=True)
    with pytest.raises(InputError):
        pushed.sweep(0.0)
    pushed.take('transforms', transforms(('base_link', 'lidar', 1.0), seconds=0.1), transport=1)
    assert is_ready(pushed, 0.1, 'lidar') and pushed.sweep(0.1) is not None
    assert not is_ready(pushed, 50.0, 'lidar')


def test_moving_transforms_are_extrapolated_and_say_by_how_much():
    pushed = Pushed(use_tf=True)
    for tenth in range(3):
        pushed.take('transforms', transforms(('base_link', 'lidar', 0.1 * tenth), seconds=0.1 * tenth), transport=1)
    sweep = pushed.sweep(0.3)
    assert sweep.motion.T_base_sensor[0, 3] == pytest.approx(0.3)
    assert sweep.transform_extrapolation_s == pytest.approx(0.1)
    with pytest.raises(InputError) as caught:
        pushed.sweep(0.8)
    assert caught.value.reason == 'transform_missing'
    assert pushed.stream.needs_dynamic_transforms('lidar') and pushed.stream.has_transform('lidar', at(0.2))


@pytest.mark.parametrize('sweep_first', [True, False])
@pytest.mark.parametrize('length', [0.5, 30.0])
def test_a_bag_that_starts_again_loses_one_sweep(sweep_first, length):
    """Whichever topic is heard first after the jump, the second sweep goes with what belongs to the new time."""
    pushed = Pushed()

    def inputs(seconds):
        pushed.take('map_image', image(seconds))
        pushed.take('odometry', odometry(seconds, x=seconds))

    for i in range(int(length * 10)):
        inputs(0.1 * i)
        epoch = pushed.sweep(0.1 * i).epoch
    if not sweep_first:
        inputs(0.0)
    with pytest.raises(InputError) as caught:
        pushed.sweep(0.0)
    assert caught.value.reason == 'stamp_backwards'
    inputs(0.1)
    sweep = pushed.sweep(0.1)
    assert sweep.cloud.stamp_ns == sweep.map_image.stamp_ns == at(0.1) and sweep.map_reason == ''
    assert sweep.epoch > epoch
    carried_on = not sweep_first or length < 1  # else only one pose of the new time is known: it is held
    assert pushed.sweep(0.2).motion.T_odom_base[0, 3] == pytest.approx(0.2 if carried_on else 0.1)


def test_after_a_reset_and_after_a_jump_of_the_clock_earlier_messages_are_forgotten():
    pushed = Pushed()
    pushed.take('map_image', image(50.0))
    first = pushed.sweep(50.0)
    pushed.stream.on_time_jump(at(0.0))
    second = pushed.sweep(0.1)
    assert second.map_reason == 'no_map'
    pushed.take('map_image', image(0.1))
    pushed.stream.reset()
    third = pushed.sweep(0.1)
    assert third.map_reason == 'no_map' and first.epoch < second.epoch < third.epoch


def test_parameters_can_change():
    pushed = Pushed()
    pushed.take('map_image', image(0.0))
    assert pushed.sweep(1.0).map_reason == ''
    pushed.stream.update(from_flat({'use_tf': False, 'map.max_age': 0.5}))
    assert pushed.sweep(1.0).map_reason == 'map_too_old'


def test_a_sensor_pose_that_is_not_rigid_is_refused():
    with pytest.raises(ConfigurationError, match='T_base_sensor'):
        SweepStream(from_flat({'use_tf': False, 'T_base_sensor': np.diag([1.0, 1.0, -1.0, 1.0]).ravel().tolist()}))


def test_a_further_input_is_an_entry_in_the_table():
    """A GNSS receiver, say: nothing but the spec, its decoder and a buffer."""
    @dataclasses.dataclass(frozen=True)
    class Fix:
        stamp_ns: int
        latitude: float

    def decode_fix(message) -> Fix:
        return Fix(at(message.seconds), message.latitude)

    def buffer() -> StampedBuffer[Fix]:
        return StampedBuffer('gnss', max_age_s=1.0)

    gnss = InputSpec('gnss', 'gnss', 'GNSS', (Transport('input/gnss', 'sensor_msgs/msg/NavSatFix', decode_fix, 10),),
                     'Topic of the position fix.', 'optional', make_buffer=buffer)
    stream = SweepStream(from_flat({'use_tf': False}), inputs=(*plain_inputs(), gnss), max_wait_s=0.0)
    assert stream.sweep(cloud(0.0)).companions == {}
    message = header(0.5)
    message.seconds, message.latitude = 0.5, 49.0
    stream.take(gnss, gnss.transports[0], message)
    assert stream.sweep(cloud(1.0)).companions == {'gnss': Fix(at(0.5), 49.0)}
    assert stream.age_s('gnss', at(2.5)) == 2.0
    assert stream.sweep(cloud(2.0)).companions == {}  # too old by then


def test_a_second_lidar_is_an_entry_in_the_table_alone():
    def buffer() -> StampedBuffer[PointCloud]:
        return StampedBuffer('rear', max_age_s=0.15)

    rear = InputSpec('rear', 'rear cloud', 'rear point cloud',
                     (Transport('input/rear', 'sensor_msgs/msg/PointCloud2', as_it_is, 5),), 'Topic of the rear LiDAR.',
                     'optional', waits=True, make_buffer=buffer)
    inputs = (*plain_inputs(), rear)
    stream = SweepStream(from_flat({'use_tf': True}), inputs=inputs, max_wait_s=0.0)
    tf = input_named('transforms', inputs)
    stream.take(tf, tf.transports[0], transforms(('base_link', 'lidar', 1.0), ('base_link', 'rear_lidar', -2.0)))
    stream.take(rear, rear.transports[0], cloud(-0.05, 'rear_lidar'))
    sweep = stream.sweep(cloud(0.0))
    assert sweep.companions['rear'].stamp_ns == at(-0.05)
    assert sweep.companion_poses['rear'][0, 3] == -2.0 and sweep.motion.T_base_sensor[0, 3] == 1.0


def shifted(shift: float, **parameters) -> tuple[Pushed, SyncedSweep | None]:
    """Ten sweeps stamped `shift` s ahead of the transform, odometry and map image that are received with them."""
    pushed, sweep = Pushed(**parameters), None
    for i in range(10):
        now = 0.1 * i
        for name, message in (('map_image', image(now)), ('odometry', odometry(now)),
                              ('transforms', transforms(('base_link', 'lidar', 1.0), seconds=now))):
            spec = input_named(name, pushed.inputs)
            pushed.stream.take(spec, spec.transports[-1 if name == 'transforms' else 0], message, at(now))
        try:
            sweep = pushed.stream.sweep(cloud(now + shift), at(now))
        except InputError:
            sweep = None
    return pushed, sweep


@pytest.mark.parametrize('shift', [37.0, -1.6e9])
def test_sweeps_of_another_clock_find_nothing_and_the_stream_says_why(shift):
    pushed, sweep = shifted(shift)
    assert sweep.motion.T_odom_base is None and sweep.map_image is None
    assert sweep.odometry_reason == ('odometry_too_old' if shift > 0 else 'odometry_from_future')
    assert pushed.stream.clock_difference().others == ('map image', 'odometry')
    assert pushed.stream.clock_difference().seconds == pytest.approx(shift)
    pushed, sweep = shifted(shift, use_tf=True)
    assert sweep is None and pushed.stream.clock_difference(received='now').others == ('transforms', 'now')


def test_sweeps_of_the_same_clock_find_everything():
    pushed, sweep = shifted(0.0, use_tf=True)
    assert sweep.odometry_reason == '' and sweep.motion.T_odom_base is not None
    assert pushed.stream.clock_difference() is None and pushed.stream.sweeps_against_reception('now') is None


def test_odometry_of_the_lidar_counts_with_a_parameter_for_its_pose():
    """Of the frame of the sweeps, whose pose on the vehicle is T_base_sensor; it is known with the first sweep."""
    half_turn = np.diag([1.0, -1.0, -1.0, 1.0])
    pushed = Pushed(T_base_sensor=half_turn.ravel().tolist())
    for i in range(3):
        pushed.take('odometry', odometry(0.1 * i, x=1.0 * i, child='lidar'))
    first = pushed.sweep(0.2).motion.T_odom_base
    pushed.take('odometry', odometry(0.3, x=3.0, child='lidar'))
    assert pushed.drops == []
    assert np.linalg.inv(first) @ pushed.sweep(0.3).motion.T_odom_base == pytest.approx(
        se3_from_quaternion((1.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0)))


# -- recordings -------------------------------------------------------------------------------------------------------

def pulled(path, limit: int = 0, **parameters) -> tuple[list[SyncedSweep | DroppedSweep], list[tuple[str, str]]]:
    drops = []
    with Recording(path) as recording:
        found = list(synced_sweeps(recording, recording.input_topics(), from_flat(parameters), limit,
                                   lambda topic, error: drops.append((topic, error.reason))))
    return found, drops


def test_a_recording_gives_its_sweeps_in_order(tmp_path):
    sweeps, drops = pulled(bag.write(tmp_path / 'drive', bag.drive(4)))
    assert [s.cloud.stamp_ns for s in sweeps] == [bag.T0 + i * bag.PERIOD for i in range(4)] and drops == []
    for i, sweep in enumerate(sweeps):
        assert sweep.map_image.stamp_ns == sweep.cloud.stamp_ns
        assert sweep.motion.T_odom_base[0, 3] == pytest.approx(2.0 * i)
        assert sweep.motion.T_base_sensor == pytest.approx(bag.SENSOR) and sweep.decode_ms > 0
    assert len(pulled(tmp_path / 'drive', limit=2)[0]) == 2


def delayed(events, topic: str, seconds: float):
    moved = [(stamp + round(seconds * 1e9) * (name == topic), name, message) for stamp, name, message in events]
    return sorted(moved, key=lambda event: event[0])


@pytest.mark.parametrize('delay_s, met', [(0.03, True), (0.9 * MAX_WAIT_S, True), (1.1 * MAX_WAIT_S, False)])
def test_companions_may_be_recorded_later_by_as_much_as_the_node_waits(tmp_path, delay_s, met):
    sweeps, _ = pulled(bag.write(tmp_path / 'late', delayed(bag.drive(3), '/map_image', delay_s)))
    assert [s.map_image is not None and s.map_image.stamp_ns == s.cloud.stamp_ns for s in sweeps] == [met] * 3


@pytest.mark.parametrize('period_s, waited', [(0.04, False), (0.08, True)])
def test_the_first_sweep_waits_for_its_map_image_until_the_next_one_comes(tmp_path, period_s, waited):
    """And no sweep is lost where images come later than that: from when that is known, sweeps wait for them."""
    scale = round(period_s * 1e9) / bag.PERIOD
    events = [(bag.T0 + round((stamp - bag.T0) * scale), topic, message) for stamp, topic, message in bag.drive(12)]
    for stamp, _, message in events:
        if hasattr(message, 'header'):
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
    sweeps, drops = pulled(bag.write(tmp_path / 'late', delayed(events, '/map_image', 0.06)))
    met = [s.map_image is not None and s.map_image.stamp_ns == s.cloud.stamp_ns for s in sweeps]
    assert len(sweeps) == 12 and drops == [] and met[0] is waited and all(met[8:])


def test_odometry_that_is_stamped_otherwise_is_not_waited_for(tmp_path):
    """As in the node: the first sweep waits for everybody, later ones for those only that do come."""
    events = [event for event in bag.drive(4) if event[1] != '/odom']
    for i in range(30):
        stamp = bag.T0 + i * bag.PERIOD // 7 + 1_000_000
        events.append((stamp + 5_000_000, '/odom', bag.odometry(stamp, 2.0 * i / 7)))
    sweeps, _ = pulled(bag.write(tmp_path / 'fast', sorted(events, key=lambda event: event[0])))
    assert sweeps[0].motion.T_odom_base is None  # no sample is stamped before it
    assert [s.motion.T_odom_base is not None for s in sweeps[1:]] == [True] * 3


def test_static_transforms_hold_wherever_they_stand(tmp_path):
    events = bag.drive(2)
    sweeps, _ = pulled(bag.write(tmp_path / 'end', [*events[1:], (events[-1][0], *events[0][1:])]))
    assert all(isinstance(sweep, SyncedSweep) for sweep in sweeps)


def test_damaged_messages_are_named_and_left_out(tmp_path):
    events = bag.drive(4)
    for topic, number in (('/map_image', 1), ('/odom', 2), ('/lidar/points', 3)):
        at_ = [i for i, event in enumerate(events) if event[1] == topic][number]
        events[at_] = (events[at_][0], topic, b'\x00\x01\x00\x00\x07')
    sweeps, drops = pulled(bag.write(tmp_path / 'damaged', events))
    assert drops == [('/map_image', 'undecodable_message'), ('/odom', 'undecodable_message')]
    assert [isinstance(sweep, SyncedSweep) for sweep in sweeps] == [True, True, True, False]
    assert sweeps[3].error.reason == 'undecodable_message' and sweeps[3].stamp_ns == bag.T0 + 3 * bag.PERIOD
    assert sweeps[1].map_image.stamp_ns == bag.T0 and sweeps[2].odometry_extrapolation_s == pytest.approx(PERIOD_S)


def test_a_recording_that_starts_again_loses_one_sweep(tmp_path):
    again = [(s + 10**9, t, m) for s, t, m in bag.drive(3) if t != '/tf_static']  # recorded later, stamped as before
    sweeps, _ = pulled(bag.write(tmp_path / 'loop', bag.drive(3) + again))
    reasons = [s.error.reason if isinstance(s, DroppedSweep) else '' for s in sweeps]
    assert reasons == ['', '', '', 'stamp_backwards', '', '']
    assert sweeps[4].epoch > sweeps[2].epoch


class PlayedInARow(Recording):
    """What was recorded from ROW on comes first, then what was recorded before: time jumps back between."""

    ROW = bag.T0 + 100 * 10**9

    def raw_messages(self, topics):
        return iter(sorted(super().raw_messages(topics), key=lambda raw: (raw.stamp_ns < self.ROW, raw.stamp_ns)))


def test_a_sweep_waits_no_longer_when_an_earlier_recording_follows(tmp_path):
    """The last map image is missing: its sweep is given before messages of another time are taken in."""
    later = [event for event in bag.drive(8, PlayedInARow.ROW) if event[1] != '/tf_static']
    events = bag.drive(2) + [event for event in later if event is not later[-2]]
    with PlayedInARow(bag.write(tmp_path / 'row', events)) as recording:
        sweeps = list(synced_sweeps(recording, recording.input_topics(), from_flat({})))
    last = sweeps[7]
    assert last.cloud.stamp_ns == PlayedInARow.ROW + 7 * bag.PERIOD
    assert last.map_image.stamp_ns == PlayedInARow.ROW + 6 * bag.PERIOD
    assert last.motion.T_odom_base[0, 3] == pytest.approx(14.0)


def test_base_poses_are_those_of_the_base_frame(tmp_path):
    T = se3_from_quaternion((1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0))
    events = [(bag.T0, '/tf_static', bag.transform_message(bag.T0, 'base_link', 'imu', T))]
    for i in range(5):
        stamp = bag.T0 + i * bag.PERIOD
        pose = se3_from_quaternion((float(i), 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))
        events.append((stamp, '/odom', bag.odometry_of(stamp, pose @ T, 'imu')))
    events.append((bag.T0, '/lidar/points', bag.cloud(bag.T0, bag.street(0, 100))))
    path = bag.write(tmp_path / 'imu', sorted(events, key=lambda event: event[0]))
    with Recording(path) as recording:
        stamps, poses = base_poses(recording, recording.input_topics(), from_flat({}))
    assert stamps.tolist() == [bag.T0 + i * bag.PERIOD for i in range(5)]
    assert poses[:, 0, 3] == pytest.approx(np.arange(5.0)) and poses[:, 0, 0] == pytest.approx(np.ones(5))
