# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Point clouds as drivers send them, and as no driver should."""

from __future__ import annotations

import array
import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from support.messages import XYZI, cloud, field

from attention_fusion_ros.decode import REASONS, decode_cloud
from attention_fusion_ros.errors import InputError


def points(count, seed=0):
    rng = np.random.default_rng(seed)
    xyz = rng.uniform(-80, 80, (count, 3)).astype(np.float32)
    return {'x': xyz[:, 0], 'y': xyz[:, 1], 'z': xyz[:, 2], 'intensity': rng.integers(0, 200, count)}


def check(msg, values, intensity='intensity'):
    got = decode_cloud(msg)
    np.testing.assert_array_equal(got.xyz, np.stack([values['x'], values['y'], values['z']], 1).astype(np.float32))
    assert got.xyz.dtype == np.float32 and got.xyz.shape == (len(values['x']), 3)
    assert (got.stamp_ns, got.frame_id) == (12_000_000_034, 'lidar')
    if intensity is None:
        assert got.intensity is None
    else:
        assert got.intensity.dtype == np.float32
        np.testing.assert_array_equal(got.intensity, np.asarray(values[intensity], np.float32))


# The layouts of drivers in the field: name -> (fields, point_step).
LAYOUTS = {
    'packed_xyz': (XYZI[:3], 12),
    'pcl_xyzi_sse_aligned': ((('x', 'f4', 0), ('y', 'f4', 4), ('z', 'f4', 8), ('intensity', 'f4', 16)), 32),
    'velodyne_22_bytes': ((*XYZI, ('ring', 'u2', 16), ('time', 'f4', 18)), 22),
    'autoware_uint8': ((*XYZI[:3], ('intensity', 'u1', 12), ('return_type', 'u1', 13), ('channel', 'u2', 14)), 16),
    'ouster_uint16': ((*XYZI[:3], ('t', 'u4', 16), ('intensity', 'u2', 20), ('ring', 'u1', 22)), 48),
    'hesai_float64_time': ((*XYZI, ('timestamp', 'f8', 16), ('ring', 'u2', 24)), 26),
    'float64_odd': ((('ring', 'u1', 0), ('x', 'f8', 1), ('y', 'f8', 9), ('z', 'f8', 17), ('intensity', 'i4', 25)), 29),
    'scattered': ((('z', 'f4', 3), ('intensity', 'i1', 8), ('x', 'f8', 11), ('y', 'f4', 30)), 37),
}


@pytest.mark.parametrize('big', [False, True], ids=['little', 'big'])
@pytest.mark.parametrize('layout', LAYOUTS)
def test_layouts_of_drivers(layout, big):
    rows, step = LAYOUTS[layout]
    values = points(60)
    values['intensity'] %= 100  # within int8
    for name, code, _ in rows:
        values.setdefault(name, np.arange(60) % 100 if code != 'f8' else np.linspace(0, 1, 60))
    for height, padding in itertools.product((1, 4), (0, 7)):
        msg = cloud(values, rows, step, height, padding, big)
        check(msg, values, 'intensity' if layout != 'packed_xyz' else None)


@pytest.mark.parametrize('code', ['i1', 'u1', 'i2', 'u2', 'i4', 'u4', 'f4', 'f8'])
def test_intensity_of_every_datatype(code):
    values = points(9)
    values['intensity'] = np.arange(9)
    check(cloud(values, (*XYZI[:3], ('intensity', code, 13)), 24), values)


@pytest.mark.parametrize('name', ['intensities', 'i', 'reflectivity'])
def test_other_names_of_intensity(name):
    values = points(9)
    values[name] = values.pop('intensity')
    check(cloud(values, (*XYZI[:3], (name, 'u2', 12)), 14), values, name)


def test_intensity_goes_before_its_other_names():
    values = points(9) | {'reflectivity': np.zeros(9)}
    check(cloud(values, (*XYZI[:3], ('reflectivity', 'u1', 12), ('intensity', 'u1', 13)), 14), values)


@pytest.mark.parametrize('datatype', [9, 10, 11])
def test_datatypes_added_later_in_fields_that_are_not_read(datatype):
    values = points(5)
    msg = cloud(values, XYZI, 32)
    msg.fields.append(field('timestamp', 16, datatype))
    check(msg, values)


def test_of_duplicated_fields_the_first_counts():
    values = points(20) | {'other': np.full(20, 99.0)}
    msg = cloud(values, (*XYZI, ('other', 'f4', 16)), 20)
    for name in ('x', 'y', 'z', 'intensity'):
        msg.fields.append(field(name, 16))
    check(msg, values)


def test_of_a_field_with_several_elements_the_first_counts():
    values = points(7)
    msg = cloud(values, XYZI, 40)
    msg.fields[3].count = 4
    msg.fields.append(field('descriptor', 28, 7, 3))
    check(msg, values)


def test_unnamed_and_overlapping_fields_do_no_harm():
    values = points(7)
    msg = cloud(values)
    msg.fields += [field('', 0, 2, 16), field('', 8, 8), field('rgb', 12)]
    check(msg, values)


@pytest.mark.parametrize('count', [1, 2, 300_000])
def test_from_one_point_to_a_great_many(count):
    values = points(count)
    check(cloud(values), values)


@pytest.mark.parametrize('wrap', [
    bytes, bytearray, memoryview, lambda b: array.array('B', b), lambda b: np.frombuffer(b, np.uint8),
    lambda b: np.frombuffer(b, np.uint8).reshape(5, -1), lambda b: np.frombuffer(b, np.int8)],
    ids=['bytes', 'bytearray', 'memoryview', 'rclpy', 'rosbags', 'two_dimensional', 'int8'])
def test_every_kind_of_buffer(wrap):
    values = points(10)
    msg = cloud(values)
    msg.data = wrap(msg.data)
    check(msg, values)


def test_the_result_does_not_share_memory_with_the_message():
    values = points(10)
    msg = cloud(values, XYZI[:3], 12)
    msg.data = bytearray(msg.data)
    got = decode_cloud(msg)
    msg.data[:] = bytes(len(msg.data))
    np.testing.assert_array_equal(got.xyz[:, 0], values['x'])


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('axis', ['x', 'y', 'z'])
@pytest.mark.parametrize('code', ['f4', 'f8'])
def test_points_that_are_not_finite_are_dropped(bad, axis, code):
    values = points(40)
    size = int(code[1])
    layout = [(name, code, size * i) for i, name in enumerate('xyz')] + [('intensity', 'u1', 3 * size)]
    values[axis] = np.where(np.arange(40) % 3 == 0, bad, values[axis])
    got = decode_cloud(cloud(values, layout, 3 * size + 1, height=4))
    keep = np.arange(40) % 3 != 0
    np.testing.assert_array_equal(got.xyz[:, 1], np.float32(values['y'][keep]))
    np.testing.assert_array_equal(got.intensity, values['intensity'][keep])


def test_opposite_infinities_do_not_cancel():
    values = points(4)
    values['x'] = np.array([np.inf, -np.inf, 1.0, 2.0])
    assert len(decode_cloud(cloud(values)).xyz) == 2


@pytest.mark.filterwarnings('error')
def test_coordinates_beyond_float32_are_dropped_and_great_ones_are_kept():
    values = points(4)
    values['x'] = np.array([1e300, 3e38, 3e38, 3e38])  # the sum of the others overflows as well
    got = decode_cloud(cloud(values, [(name, 'f8', 8 * i) for i, name in enumerate('xyz')], 24))
    np.testing.assert_array_equal(got.xyz[:, 0], np.float32([3e38] * 3))


def test_an_intensity_that_is_not_finite_becomes_zero():
    values = points(4)
    values['intensity'] = np.array([1.0, np.nan, np.inf, 4.0])
    np.testing.assert_array_equal(decode_cloud(cloud(values)).intensity, np.float32([1, 0, 0, 4]))


def change(**attributes):
    def apply(msg):
        for name, value in attributes.items():
            setattr(msg, name, value)
    return apply


def change_field(index, **attributes):
    return lambda msg: change(**attributes)(msg.fields[index])


def change_stamp(**attributes):
    return lambda msg: change(**attributes)(msg.header.stamp)


# What is wrong -> how it is done to a good cloud of 6 x 4 points of 16 bytes, and the reason given.
BAD = {
    'data cut off': (lambda m: change(data=m.data[:-1])(m), 'truncated_data'),
    'no data': (change(data=b''), 'truncated_data'),
    'no data and no row_step': (change(data=b'', row_step=0), 'size_mismatch'),
    'data of another cloud': (lambda m: change(data=m.data + b'\0')(m), 'size_mismatch'),
    'more rows than data': (change(height=5), 'truncated_data'),
    'fewer rows than data': (change(height=3), 'size_mismatch'),
    'more columns than a row holds, in rows of no whole points': (change(width=7, row_step=95), 'size_mismatch'),
    'greater points than a row holds': (change(point_step=17), 'size_mismatch'),
    'point_step 0': (change(point_step=0), 'field_out_of_point'),
    'row_step 0 and data cut off': (lambda m: change(row_step=0, data=m.data[:-1])(m), 'size_mismatch'),
    'row_step 0 and one row less': (lambda m: change(row_step=0, data=m.data[:-96])(m), 'size_mismatch'),
    'row_step of the whole cloud and one row less': (lambda m: change(row_step=384, data=m.data[:-96])(m),
                                                     'truncated_data'),
    'no columns, and data of several': (change(width=0), 'empty_cloud'),
    'no rows, and data of several': (change(height=0), 'empty_cloud'),
    'no columns and no rows': (change(width=0, height=0), 'empty_cloud'),
    'no points and no data': (change(width=0, row_step=0, data=b''), 'empty_cloud'),
    'absurdly wide': (change(width=2**32 - 1, row_step=0), 'size_mismatch'),
    'absurdly high': (change(height=2**32 - 1), 'truncated_data'),
    'absurd all over': (change(width=2**32 - 1, height=2**32 - 1, row_step=2**32 - 1), 'size_mismatch'),
    'absurd and of no size': (change(width=2**32 - 1, height=2**32 - 1, row_step=0, point_step=0, fields=[], data=b''),
                              'missing_field'),
    'no x': (change_field(0, name='X'), 'missing_field'),
    'no y': (change_field(1, name=''), 'missing_field'),
    'no z': (lambda m: m.fields.pop(2), 'missing_field'),
    'no fields': (change(fields=[]), 'missing_field'),
    'x of datatype 0': (change_field(0, datatype=0), 'unknown_datatype'),
    'intensity of datatype 12': (change_field(3, datatype=12), 'unknown_datatype'),
    'unread field of datatype 255': (lambda m: m.fields.append(field('ring', 0, 255)), 'unknown_datatype'),
    'whole-number x': (change_field(0, datatype=5), 'unknown_datatype'),
    'x beyond the point': (change_field(0, offset=13), 'field_out_of_point'),
    'intensity far beyond the point': (change_field(3, offset=2**32 - 1), 'field_out_of_point'),
    'count beyond the point': (change_field(3, count=2), 'field_out_of_point'),
    'count 0 and beyond the point': (change_field(3, offset=14, count=0), 'field_out_of_point'),
    'x, y and z at one place': (lambda m: [change_field(k, offset=0)(m) for k in (1, 2)], 'fields_overlap'),
    'z at the place of x': (change_field(2, offset=0), 'fields_overlap'),
    'y begins within x': (change_field(1, offset=3), 'fields_overlap'),
    'x of float64 reaches into y': (change_field(0, datatype=8), 'fields_overlap'),
    'every point NaN': (lambda m: change(data=np.full(len(m.data) // 4, np.nan, np.float32).tobytes())(m),
                        'no_finite_points'),
    'every point at the origin': (lambda m: change(data=bytes(len(m.data)))(m), 'no_returns'),
    'stamp 0': (change_stamp(sec=0, nanosec=0), 'stamp_zero'),
    'stamp before 1970': (change_stamp(sec=-1), 'malformed_message'),
    'nanoseconds of more than a second': (change_stamp(nanosec=10**9), 'malformed_message'),
    'width negative': (change(width=-1), 'malformed_message'),
    'width not whole': (change(width=6.0), 'malformed_message'),
    'width None': (change(width=None), 'malformed_message'),
    'data None': (change(data=None), 'malformed_message'),
    'data text': (change(data='points'), 'malformed_message'),
    'data a list': (change(data=[1, 2, 3]), 'malformed_message'),
    'data of floats': (change(data=array.array('f', [0.0] * 96)), 'malformed_message'),
    'data with gaps': (lambda m: change(data=memoryview(m.data * 2)[::2])(m), 'malformed_message'),
    'data of objects': (change(data=np.array([None] * 4)), 'malformed_message'),
    'fields None': (change(fields=None), 'malformed_message'),
    'fields text': (change(fields='xyz'), 'malformed_message'),
    'field None': (change(fields=[None]), 'malformed_message'),
    'field name None': (change_field(0, name=None), 'malformed_message'),
    'is_bigendian text': (change(is_bigendian='yes'), 'malformed_message'),
    'header None': (change(header=None), 'malformed_message'),
    'frame None': (lambda m: change(frame_id=None)(m.header), 'malformed_message'),
}


def packed(**numbers):
    return lambda msg: change(data=msg.data, **numbers)(msg)


# What is wrong beside data that leaves one reading -> how it is done to a good cloud of 6 x 4 points of 16 bytes.
DATA_DECIDES = {
    'row_step 0': packed(row_step=0),
    'row_step of one point': packed(row_step=16),
    'row_step of the whole cloud': packed(row_step=384),  # PointCloud2Modifier::resize(width, height)
    'row_step of the cloud before a filter': packed(row_step=1536),
    'row_step of a narrower cloud': packed(row_step=80),
    'row_step in points': packed(row_step=6),
    'row_step greatest': packed(row_step=2**32 - 1),
    'width and height swapped': packed(width=4, height=6),
    'width and height swapped and row_step 0': packed(width=4, height=6, row_step=0),
    'one column of all points': packed(width=1, height=24),
    'one row of all points': packed(width=24, height=1),
    'no height': packed(width=24, height=0, row_step=384),
    'no height and no row_step': packed(width=24, height=0, row_step=0),
    'no width': packed(width=0, height=24, row_step=0),
    'width of the cloud before a filter': packed(width=100),
    'width greatest': packed(width=2**32 - 1),
    'count 0 of every field': lambda msg: [change(count=0)(f) for f in msg.fields],
    'everything at once': lambda msg: [packed(width=24, height=0, row_step=7)(msg), change_field(2, count=0)(msg)],
}


@pytest.mark.parametrize('what', DATA_DECIDES)
def test_where_the_data_leaves_one_reading_it_decides(what):
    values = points(24)
    msg = cloud(values, height=4)
    DATA_DECIDES[what](msg)
    check(msg, values)


def test_rows_may_be_padded_and_the_last_one_not():
    values = points(24)
    msg = cloud(values, height=4, row_padding=5)
    msg.data = msg.data[:-5]
    check(msg, values)


@pytest.mark.parametrize('spoil', [lambda m: change(data=m.data[:-1])(m), change(row_step=97)],
                         ids=['cut off', 'wrong row_step'])
def test_where_it_does_not_the_message_says_what_does_not_fit_and_guesses_no_cause(spoil):
    msg = cloud(points(24), height=4, row_padding=3)
    spoil(msg)
    with pytest.raises(InputError) as error:
        decode_cloud(msg)
    told = str(error.value)
    assert all(str(number) in told for number in (len(msg.data), 384, 4 * msg.row_step))
    assert not any(word in told for word in ('fragment', 'QoS', 'receive buffer', 'lost'))


NO_RETURNS = {
    'origin': (0.0, 0.0, 0.0),
    'negative zero': (-0.0, 0.0, -0.0),
    'tiny': (1e-6, -1e-6, 0.0),
    'a millimetre': (0.001, 0.0, 0.001),
    'smallest numbers': (1e-45, 1e-45, 1e-45),
    'NaN x only': (np.nan, 0.0, 0.0),
    'moved into the frame of the vehicle': (2.4, 0.0, 1.73),
    'at the greatest range': (0.0, 0.0, 655.35),
}


@pytest.mark.parametrize('order', ['shuffled', 'every second', 'some rings', 'last'])
@pytest.mark.parametrize('what', NO_RETURNS)
def test_points_that_stand_for_no_return_are_dropped(what, order):
    count = 12_800
    values = points(count)
    wrong = {'shuffled': np.random.default_rng(1).permutation(count) < count // 2,
             'every second': np.arange(count) % 2 == 1,
             'some rings': np.arange(count) % 64 > 60, 'last': np.arange(count) > count * 0.97}[order]
    spoilt = {name: np.where(wrong, value, values[name]) for name, value in zip('xyz', NO_RETURNS[what])}
    got = decode_cloud(cloud(spoilt | {'intensity': np.where(wrong, 0, values['intensity'])}, height=4))
    np.testing.assert_array_equal(got.xyz, np.stack([values[name][~wrong] for name in 'xyz'], 1))
    np.testing.assert_array_equal(got.intensity, np.float32(values['intensity'][~wrong]))


@pytest.mark.parametrize('dense', [False, True])
def test_no_returns_are_found_though_the_cloud_says_it_is_dense(dense):
    """livox_ros_driver2 writes them as (0, 0, 0), and is_dense true."""
    values, missing = points(1000), np.arange(1000) % 3 == 0
    message = cloud(values | {axis: np.where(missing, 0.0, values[axis]) for axis in 'xyz'})
    message.is_dense = dense
    np.testing.assert_array_equal(decode_cloud(message).xyz, np.stack([values[axis][~missing] for axis in 'xyz'], 1))


def test_what_measurements_have_in_common_is_kept():
    """A wall at exactly 10 m, two returns of one beam, returns on the vehicle itself, and few points in all."""
    values = points(6_000)
    values['x'][:2_000] = 10.0
    for name in 'xyz':
        values[name][3_000:4_000] = values[name][2_000:3_000]
        values[name][4_000:4_040] = 3.0
    values['x'][5_000:], values['y'][5_000:], values['z'][5_000:] = 0.1, 0.0, np.linspace(-1, 1, 1_000)
    check(cloud(values), values)
    few = {name: np.full(5, 2.0) for name in 'xyz'} | {'intensity': np.arange(5)}
    check(cloud(few), few)


@pytest.mark.parametrize('what', BAD)
def test_bad_clouds_are_refused_with_a_reason(what):
    spoil, reason = BAD[what]
    msg = cloud(points(24), height=4)
    decode_cloud(msg)
    spoil(msg)
    with pytest.raises(InputError) as error:
        decode_cloud(msg)
    assert error.value.reason == reason
    assert reason in REASONS and error.value.remedy and str(error.value).endswith(error.value.remedy)


def test_a_message_of_another_type_is_refused():
    with pytest.raises(InputError, match='has no `header`'):
        decode_cloud(SimpleNamespace())


@pytest.fixture(scope='module')
def ros():
    """rclpy's messages and sensor_msgs_py (or its stand-in)."""
    point_cloud2 = pytest.importorskip('sensor_msgs_py.point_cloud2', reason='needs ROS 2 messages')
    messages = pytest.importorskip('sensor_msgs.msg')
    return point_cloud2, messages


def as_ros(msg, messages):
    """The same cloud as rclpy delivers it."""
    out = messages.PointCloud2(height=msg.height, width=msg.width, is_bigendian=bool(msg.is_bigendian),
                               point_step=msg.point_step, row_step=msg.row_step, is_dense=msg.is_dense)
    out.header.stamp.sec, out.header.stamp.nanosec = msg.header.stamp.sec, msg.header.stamp.nanosec
    out.header.frame_id = msg.header.frame_id
    out.fields = [messages.PointField(name=f.name, offset=f.offset, datatype=f.datatype, count=f.count)
                  for f in msg.fields]
    out.data = array.array('B', msg.data)
    return out


@pytest.mark.parametrize('big', [False, True], ids=['little', 'big'])
@pytest.mark.parametrize('layout', LAYOUTS)
def test_agrees_with_sensor_msgs_py(ros, layout, big):
    point_cloud2, messages = ros
    rows, step = LAYOUTS[layout]
    values = points(500)
    values['intensity'] %= 100
    values['y'] = np.where(np.arange(500) % 7 == 0, np.nan, values['y'])
    for name, _, _ in rows:
        values.setdefault(name, np.arange(500) % 100)
    msg = as_ros(cloud(values, rows, step, big=big), messages)
    got = decode_cloud(msg)
    wanted = point_cloud2.read_points(msg, ['x', 'y', 'z'], skip_nans=True)
    assert len(got.xyz) == 428
    np.testing.assert_array_equal(got.xyz, np.stack([wanted[name].astype(np.float32) for name in 'xyz'], 1))
    if got.intensity is not None:
        everything = point_cloud2.read_points(msg)
        np.testing.assert_array_equal(got.intensity, everything['intensity'][~np.isnan(everything['y'])])


def test_clouds_made_by_sensor_msgs_py(ros):
    point_cloud2, messages = ros
    xyz = np.random.default_rng(3).normal(size=(50, 3)).astype(np.float32)
    msg = point_cloud2.create_cloud_xyz32(as_ros(cloud(points(1)), messages).header, xyz)
    assert isinstance(msg.data, array.array)
    np.testing.assert_array_equal(decode_cloud(msg).xyz, xyz)


def test_messages_of_rosbags():
    typestore = pytest.importorskip('rosbags.typesys')
    store = typestore.get_typestore(typestore.Stores.ROS2_JAZZY)
    types = store.types
    values = points(30)
    plain = cloud(values, XYZI, 20, height=3, row_padding=6)
    stamp = types['builtin_interfaces/msg/Time'](sec=12, nanosec=34)
    msg = types['sensor_msgs/msg/PointCloud2'](
        header=types['std_msgs/msg/Header'](stamp=stamp, frame_id='lidar'), height=3, width=10,
        fields=[types['sensor_msgs/msg/PointField'](**vars(f)) for f in plain.fields], is_bigendian=False,
        point_step=20, row_step=206, data=np.frombuffer(plain.data, np.uint8), is_dense=True)
    raw = store.serialize_cdr(msg, 'sensor_msgs/msg/PointCloud2')
    check(store.deserialize_cdr(raw, 'sensor_msgs/msg/PointCloud2'), values)
