# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Messages say what the result says, in the places and units that other programs read them in."""

from __future__ import annotations

import array
import math
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

from sensor_msgs_py.point_cloud2 import read_points  # noqa: E402
from visualization_msgs.msg import Marker  # noqa: E402

from attention_fusion_ros.bev.grid import Grid  # noqa: E402
from attention_fusion_ros.bev.lidar import CHANNELS  # noqa: E402
from attention_fusion_ros.bev.map_image import CHANNELS as MAP_CHANNELS  # noqa: E402
from attention_fusion_ros.contracts import (  # noqa: E402
    Attention,
    Branch,
    FusionResult,
    MapAlignment,
    Mode,
    Motion,
    PointCloud,
    SyncedSweep,
)
from attention_fusion_ros.ros.messages import encode, encode_dense, published_sweep  # noqa: E402
from attention_fusion_ros.ros.messages.published_sweep import PublishedSweep  # noqa: E402
from attention_fusion_ros.ros.messages.sensors import header  # noqa: E402
from attention_fusion_ros.visualization.panels import compose_picture  # noqa: E402

GRID = Grid(40.0, 256)
STAMP = 1_700_000_000_123_456_789
# As numpy scalars, which are no floats to a message.
AHEAD = Branch(*map(np.float32, (0.1, 0.2, 0.9, 0.03, 0.05)))
LEFT = Branch(*map(np.float32, (math.pi / 2, 1.4, 0.6, 0.04, 0.06)))


def result(**changes) -> FusionResult:
    """Attention is 1 in a single cell, the one at x = 10, y = 5 m."""
    row, column = (round(float(v)) for v in GRID.metres_to_cells(10.0, 5.0))
    hot = np.zeros((256, 256), np.float32)
    hot[row, column] = 1.0
    attention = Attention(spatial={'stage1': hot}, channel=np.array([0.25, 0.75, 0.5], np.float32),
                          channel_labels=('lidar/00', 'lidar/01', 'map/00'), lidar_share=np.float32(0.6),
                          map_share=np.float32(0.4))
    k = 72
    distribution = np.zeros(k, np.float32)
    distribution[50] = 1.0
    values = dict(stamp_ns=STAMP, mode=Mode.FUSED, reason='', lookahead=20.0, branches=(AHEAD, LEFT), direction=AHEAD,
                  direction_reason='', distribution=distribution, attention=attention,
                  lidar_bev=np.zeros((len(CHANNELS), 256, 256), np.float32),
                  map_bev=np.zeros((3, 256, 256), np.float32),
                  extent=40.0, trained=True)
    return FusionResult(**{**values, **changes})


NO_POINTS = SyncedSweep(PointCloud(STAMP, 'lidar', np.zeros((0, 3), np.float32), None), Motion(np.eye(4)))


def published(found: FusionResult, sweep: SyncedSweep = NO_POINTS, explain=lambda found: {}) -> PublishedSweep:
    return PublishedSweep(found, sweep, explain)


HEAD = header(STAMP, 'base_link')


def test_messages_check_their_fields_here():
    """Otherwise the tests below would pass with types that Humble refuses."""
    with pytest.raises(AssertionError):
        Marker(id='seven')


def yaw(q) -> float:
    return 2 * math.atan2(q.z, q.w)


def test_header():
    assert (HEAD.stamp.sec, HEAD.stamp.nanosec, HEAD.frame_id) == (1_700_000_000, 123_456_789, 'base_link')


def test_direction_lies_on_the_ring_and_points_along_the_heading():
    message = encode.direction(published(result()), HEAD)
    p = message.pose.pose.position
    assert (p.x, p.y, p.z) == pytest.approx((20 * math.cos(0.1), 20 * math.sin(0.1), 0.0))
    assert yaw(message.pose.pose.orientation) == pytest.approx(0.2)
    assert encode.direction(published(result(direction=None, direction_reason='x')), HEAD) is None


@pytest.mark.parametrize('bearing', [0.0, 0.7, math.pi / 2, -2.5])
def test_direction_covariance_is_along_the_ring(bearing):
    branch = Branch(bearing, bearing, 0.9, 0.03, 0.05)
    message = encode.direction(published(result(direction=branch, branches=(branch,))), HEAD)
    c = np.reshape(message.pose.covariance, (6, 6))
    radial, tangent = (np.array([math.cos(a), math.sin(a)]) for a in (bearing, bearing + math.pi / 2))
    assert tangent @ (c[:2, :2] @ tangent) == pytest.approx((20 * 0.03)**2, rel=1e-4)
    assert radial @ (c[:2, :2] @ radial) == pytest.approx(encode.EXACT_VARIANCE, abs=1e-9)
    assert c[5, 5] == pytest.approx(0.05**2)
    assert np.allclose(c, c.T) and np.linalg.eigvalsh(c).min() > 0


def test_branches_keep_their_order():
    message = encode.branches(published(result()), HEAD)
    assert [math.atan2(p.position.y, p.position.x) for p in message.poses] == pytest.approx([0.1, math.pi / 2])
    assert [yaw(p.orientation) for p in message.poses] == pytest.approx([0.2, 1.4])


def test_scored_branches_are_readable_by_name():
    message = encode.scored_branches(published(result()), HEAD)
    assert [f.name for f in message.fields] == ['x', 'y', 'z', 'bearing', 'heading', 'probability', 'bearing_std']
    points = read_points(message)
    assert points['bearing'] == pytest.approx([0.1, math.pi / 2])
    assert points['heading'] == pytest.approx([0.2, 1.4])
    assert points['probability'] == pytest.approx([0.9, 0.6])
    assert points['bearing_std'] == pytest.approx([0.03, 0.04])
    assert points['x'] == pytest.approx([20 * math.cos(0.1), 0.0], abs=1e-5)
    empty = encode.scored_branches(published(result(branches=(), direction=None)), HEAD)
    assert empty.width == 0 and len(empty.data) == 0 and len(empty.fields) == 7


def test_distribution_angles_are_bin_centres():
    scan = encode.distribution(published(result()), HEAD)
    k = 72
    assert len(scan.ranges) == len(scan.intensities) == k
    angle = scan.angle_min + 50 * scan.angle_increment
    assert angle == pytest.approx(-math.pi + 50.5 * 2 * math.pi / k, abs=1e-5)
    assert scan.angle_max == pytest.approx(scan.angle_min + (k - 1) * scan.angle_increment, abs=1e-5)
    assert scan.intensities[50] == 1.0 and sum(scan.intensities) == pytest.approx(1.0)
    assert all(scan.range_min <= r <= scan.range_max for r in scan.ranges)


def test_channels_are_labelled_shares_first():
    message = encode.channels(published(result()), HEAD)
    *labels, stamp = message.layout.dim
    assert [d.label for d in labels] == ['lidar_share', 'map_share', 'lidar/00', 'lidar/01', 'map/00']
    assert (stamp.label, stamp.size) == (f'stamp_ns={STAMP}', 0)  # the type has no header
    assert list(message.data) == pytest.approx([0.6, 0.4, 0.25, 0.75, 0.5])


@pytest.mark.parametrize('trained', [True, False])
def test_markers_show_probability_by_length_and_alpha(trained):
    markers = encode.markers(published(result(trained=trained)), HEAD).markers
    assert markers[0].action == Marker.DELETEALL
    arrows = [m for m in markers if m.type == Marker.ARROW and m.action == Marker.ADD]
    assert len(arrows) == 2
    assert arrows[0].scale.x > arrows[1].scale.x > 0
    assert [a.color.a for a in arrows] == pytest.approx([0.9, 0.6])
    assert [a.ns for a in arrows] == ['direction', 'branches']
    assert arrows[0].color.g > arrows[0].color.b and arrows[1].color.b > arrows[1].color.g  # the one to take is green
    assert len({(m.ns, m.id) for m in markers[1:]}) == len(markers) - 1
    texts = [m.text for m in markers if m.type == Marker.TEXT_VIEW_FACING]
    assert texts == ['20 m', *([] if trained else ['UNTRAINED WEIGHTS'])]


def test_markers_show_how_uncertain_bearing_and_heading_are():
    # Two standard deviations to each side: 0.06 rad of the bearing on the ring, 0.1 rad of the heading under the arrow.
    arrow, shown = (next(m for m in encode.markers(published(result()), HEAD).markers if (m.ns, m.id) == (ns, 0))
                    for ns in ('direction', 'uncertainty'))
    assert shown.type == Marker.TRIANGLE_LIST and len(shown.points) % 3 == 0
    assert shown.color.a < arrow.color.a and shown.lifetime == arrow.lifetime
    assert shown.scale.x * shown.scale.y * shown.scale.z == 1.0  # rviz shows nothing of scale 0
    xy = np.array([(p.x, p.y) for p in shown.points])
    place = np.array([arrow.pose.position.x, arrow.pose.position.y])
    band = np.abs(np.hypot(*xy.T) - 20.0) <= 0.41
    bearings = np.arctan2(xy[band, 1], xy[band, 0])
    assert (bearings.min(), bearings.max()) == pytest.approx((0.04, 0.16), abs=1e-3)
    fan = xy[~band] - place
    headings = np.arctan2(fan[:, 1], fan[:, 0])
    assert (headings.min(), headings.max()) == pytest.approx((0.1, 0.3), abs=1e-3)
    assert np.hypot(*fan.T) == pytest.approx(arrow.scale.x)


@pytest.mark.parametrize('std', [0.0, 100.0, math.inf, math.nan])
def test_uncertainty_without_bounds_is_shown_within_bounds(std):
    unsure = replace(AHEAD, bearing_std=np.float32(std), heading_std=np.float32(std))
    markers = encode.markers(published(result(branches=(unsure,))), HEAD).markers
    shown = next(m for m in markers if m.ns == 'uncertainty')
    xy = np.array([(p.x, p.y) for p in shown.points])
    assert np.isfinite(xy).all() and np.hypot(*xy.T).max() < 30.0
    assert np.abs(np.arctan2(xy[:, 1], xy[:, 0])).max() < math.pi / 2

def test_spatial_heatmap_lies_where_the_attention_is():
    """By the definition of OccupancyGrid: data[j * width + i] is at origin + ((i + 0.5), (j + 0.5)) * resolution."""
    grid = encode_dense.spatial(published(result()), HEAD)
    data = np.asarray(grid.data).reshape(grid.info.height, grid.info.width)
    assert isinstance(grid.data, array.array) and grid.data.typecode == 'b'
    assert data.max() == 98 and (data > 0).sum() == 1
    j, i = np.unravel_index(np.argmax(data), data.shape)
    x = grid.info.origin.position.x + (i + 0.5) * grid.info.resolution
    y = grid.info.origin.position.y + (j + 0.5) * grid.info.resolution
    assert (x, y) == pytest.approx((10.0, 5.0), abs=grid.info.resolution)
    assert grid.info.resolution * grid.info.width == pytest.approx(80.0)
    assert grid.info.origin.orientation.w == 1.0


def test_the_heatmap_has_the_levels_that_displays_draw_as_heat():
    """0 is nothing; 99 and 100 are drawn as obstacles, and from 1 on everything is opaque."""
    heat = np.zeros((256, 256), np.float32)
    heat[:128, :10] = np.linspace(0, 1, 10)
    weights = Attention(spatial={'stage1': heat}, channel=np.ones(1, np.float32), channel_labels=('lidar/00',),
                        lidar_share=1.0, map_share=0.0)
    data = np.asarray(encode_dense.spatial(published(result(attention=weights)), HEAD).data)
    levels = set(data.tolist())
    assert min(levels) == 0 and max(levels) == 98
    assert not levels & {*range(1, 10), 99, 100} and (data < 0).sum() == 0


def test_what_is_taken_back_is_empty_but_no_error():
    grid = encode_dense.no_heatmap(HEAD)
    assert list(grid.data) == [0] and grid.info.width == grid.info.height == 1 and grid.info.resolution > 0
    for cloud, like in ((encode_dense.no_points(HEAD), encode_dense.map_points(published(result()), HEAD)),
                        (encode_dense.no_attention_points(HEAD),
                         encode_dense.attention_points(published(result()), HEAD))):
        assert cloud.width == len(cloud.data) == 0 and cloud.fields == like.fields


def test_map_points_lie_where_the_network_says_the_map_belongs():
    found = result(map_bev=np.zeros((3, 256, 256), np.float32))
    road, route = (MAP_CHANNELS.index(name) for name in ('road', 'route'))
    for (x, y), channels in {(10.0, 5.0): [road], (-20.0, 0.0): [road, route]}.items():
        row, column = (round(float(v)) for v in GRID.metres_to_cells(x, y))
        found.map_bev[channels, row, column] = 1.0
    points = read_points(encode_dense.map_points(published(found), HEAD))
    assert np.stack([points['x'], points['y'], points['z']], 1) == pytest.approx(
        np.array([[10.0, 5.0, 0.0], [-20.0, 0.0, 0.0]]), abs=GRID.resolution)
    red, green, blue = ((points['rgb'] >> shift) & 255 for shift in (16, 8, 0))
    assert red[0] < blue[0] and red[1] > 200 and max(green[1], blue[1]) < 60  # road grey, route red
    moved = replace(found, alignment=MapAlignment(1.0, 2.0, math.pi / 2, std=(0.1, 0.1, 0.1)))
    points = read_points(encode_dense.map_points(published(moved), HEAD))
    assert np.stack([points['x'], points['y']], 1) == pytest.approx(np.array([[-4.0, 12.0], [1.0, -18.0]]),
                                                                    abs=GRID.resolution)
    unused = replace(found, mode=Mode.LIDAR_ONLY, reason='map_too_old')
    assert encode_dense.map_points(published(unused), HEAD).width == 0


def test_picture_is_bgr8():
    picture = encode_dense.picture(published(result()), HEAD)
    expected = compose_picture(result(), encode_dense.PICTURE_PX)
    assert (picture.height, picture.width, picture.encoding) == (*expected.shape[:2], 'bgr8')
    assert picture.step == 3 * picture.width and isinstance(picture.data, array.array)
    assert np.array_equal(np.frombuffer(picture.data, np.uint8).reshape(expected.shape), expected)


def test_attention_points_stay_in_the_sensor_frame():
    """The sensor is 4 m ahead and turned by 90 degrees: what it sees at (5, -6) lies at (10, 5) in base_link."""
    T = np.array([[0.0, -1, 0, 4], [1, 0, 0, 0], [0, 0, 1, 2], [0, 0, 0, 1]])
    xyz = np.array([[5.0, -6.0, -2.0], [0.0, 0.0, 0.0], [500.0, 0.0, 0.0]], np.float32)
    cloud = PointCloud(STAMP, 'lidar', xyz, None)
    message = encode_dense.attention_points(published(result(), SyncedSweep(cloud, Motion(T))), header(STAMP, 'lidar'))
    points = read_points(message)
    assert points['attention'] == pytest.approx([1.0, 0.0, 0.0])
    assert np.stack([points['x'], points['y'], points['z']], 1) == pytest.approx(xyz)
    assert message.header.frame_id == 'lidar' and isinstance(message.data, array.array)


def test_gradcam_lies_on_the_grid_of_the_spatial_attention():
    found = result()
    spatial = encode_dense.spatial(published(found), HEAD)
    maps = {'stage1': 1e-4 * found.attention.spatial['stage1']}
    gradcam = encode_dense.gradcam(published(found, explain=lambda found: maps), HEAD)
    assert gradcam.info == spatial.info and gradcam.data == spatial.data and max(gradcam.data) == 98
    assert encode_dense.gradcam(published(found), HEAD) is None


def test_map_alignment_is_the_pose_that_moves_the_map_to_its_place():
    assert encode.map_alignment(published(result()), HEAD) is None
    found = MapAlignment(*map(np.float32, (1.5, -2.5, 0.2)), std=(np.float32(0.5), np.float32(0.25), np.float32(0.0)))
    message = encode.map_alignment(published(result(alignment=found)), HEAD)
    place = message.pose.pose.position
    assert (place.x, place.y, place.z) == pytest.approx((1.5, -2.5, 0.0))
    assert yaw(message.pose.pose.orientation) == pytest.approx(0.2)
    covariance = np.reshape(message.pose.covariance, (6, 6))
    assert np.diag(covariance) == pytest.approx([0.25, 0.0625, *[encode.EXACT_VARIANCE] * 4])
    assert np.count_nonzero(covariance) == 6 and message.header == HEAD


def test_no_branch_at_all():
    nothing = replace(result(), branches=(), direction=None, direction_reason='no_branch')
    assert encode.branches(published(nothing), HEAD).poses == []
    markers = encode.markers(published(nothing), HEAD).markers
    assert [m for m in markers if m.type == Marker.ARROW and m.action == Marker.ADD] == []


def test_picture_is_what_cv_bridge_makes_of_it():
    cv_bridge = pytest.importorskip('cv_bridge')
    expected = cv_bridge.CvBridge().cv2_to_imgmsg(compose_picture(result(), encode_dense.PICTURE_PX), encoding='bgr8')
    expected.header = HEAD
    assert encode_dense.picture(published(result()), HEAD) == expected


def test_the_heatmap_of_a_sweep_is_computed_once_for_all_topics(monkeypatch):
    """Quantile and resizing take milliseconds, and several topics show it."""
    calls = []
    monkeypatch.setattr(published_sweep, 'spatial_heatmap', lambda found: calls.append(1) or np.ones((256, 256)))
    cloud = PointCloud(STAMP, 'lidar', np.ones((5, 3), np.float32), None)
    sweep = published(result(), SyncedSweep(cloud, Motion(np.eye(4))))
    grid = encode_dense.spatial(sweep, HEAD)
    points = read_points(encode_dense.attention_points(sweep, HEAD))
    assert len(calls) == 1
    assert set(grid.data) == {98} and (points['attention'] == 1.0).all()
