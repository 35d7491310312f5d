# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""FusionResult -> messages: the answer. What is as large as the grid, the picture or the cloud is in `encode_dense`.

Everything is given in the vehicle frame at the sweep's stamp (REP-105). Arrays are handed over as `array.array`:
other types are checked element by element, or refused, on some distributions.
"""

from __future__ import annotations

import array
import math

import numpy as np
from geometry_msgs.msg import Point, Pose, PoseArray, PoseWithCovarianceStamped, Quaternion
from sensor_msgs.msg import LaserScan, PointCloud2, PointField
from sensor_msgs_py.point_cloud2 import create_cloud
from std_msgs.msg import ColorRGBA, Float32MultiArray, Float64, Header, MultiArrayDimension
from visualization_msgs.msg import Marker, MarkerArray

from attention_fusion_ros.contracts import Branch, FusionResult
from attention_fusion_ros.geometry import quaternion_from_yaw

# Variance of what is exact by definition (z, roll, pitch, the distance from the vehicle): not 0, so that filters can
# invert the matrix.
EXACT = 1e-6
SCORED_FIELDS = ('x', 'y', 'z', 'bearing', 'heading', 'probability', 'bearing_std')
MARKER_HEIGHT = 0.5  # m above the ground, so that heatmap and arrows do not flicker through each other
MIN_ARROW, MAX_ARROW = 2.0, 8.0  # m, for probability 0 and 1
TAKEN, OTHER, RING = (0.15, 0.85, 0.25), (0.2, 0.5, 1.0), (0.6, 0.6, 0.6)  # RGB


def header(stamp_ns: int, frame: str) -> Header:
    """Stamp in ns and frame -> Header."""
    message = Header(frame_id=frame)
    message.stamp.sec, message.stamp.nanosec = divmod(stamp_ns, 10**9)
    return message


def on_ring(result: FusionResult, branch: Branch) -> Pose:
    """The pose on the ring at the branch's bearing, x along its heading."""
    x, y, z, w = quaternion_from_yaw(branch.heading)
    return Pose(position=Point(x=result.lookahead * math.cos(branch.bearing),
                               y=result.lookahead * math.sin(branch.bearing), z=0.0),
                orientation=Quaternion(x=x, y=y, z=z, w=w))


def direction(result: FusionResult, head: Header) -> PoseWithCovarianceStamped | None:
    """The branch to take, None when there is none.

    The covariance is that of the bearing along the ring's tangent, and of the heading about z.
    """
    branch = result.direction
    if branch is None:
        return None
    message = PoseWithCovarianceStamped(header=head)
    message.pose.pose = on_ring(result, branch)
    tangent = np.array([-math.sin(branch.bearing), math.cos(branch.bearing)])
    covariance = np.diag(np.full(6, EXACT))
    covariance[:2, :2] += (result.lookahead * branch.bearing_std)**2 * np.outer(tangent, tangent)
    covariance[5, 5] = max(EXACT, branch.heading_std**2)
    message.pose.covariance = covariance.ravel().tolist()
    return message


def map_alignment(result: FusionResult, head: Header) -> PoseWithCovarianceStamped | None:
    """Where the map belongs: the pose that takes it from where it was drawn to where the LiDAR says it is.

    None when the map was not used, or the network does not register it.
    """
    found = result.alignment
    if found is None:
        return None
    message = PoseWithCovarianceStamped(header=head)
    x, y, z, w = quaternion_from_yaw(found.dyaw)
    message.pose.pose = Pose(position=Point(x=float(found.dx), y=float(found.dy), z=0.0),
                             orientation=Quaternion(x=x, y=y, z=z, w=w))
    covariance = np.diag(np.full(6, EXACT))
    for place, std in zip((0, 1, 5), found.std):
        covariance[place, place] = max(EXACT, float(std)**2)
    message.pose.covariance = covariance.ravel().tolist()
    return message


def branches(result: FusionResult, head: Header) -> PoseArray:
    """Every branch, most probable first."""
    return PoseArray(header=head, poses=[on_ring(result, b) for b in result.branches])


def scored_branches(result: FusionResult, head: Header) -> PointCloud2:
    """Every branch as a point with the fields SCORED_FIELDS, float32, most probable first."""
    fields = [PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
              for i, name in enumerate(SCORED_FIELDS)]
    rows = [(result.lookahead * math.cos(b.bearing), result.lookahead * math.sin(b.bearing), 0.0, b.bearing, b.heading,
             b.probability, b.bearing_std) for b in result.branches]
    return create_cloud(head, fields, rows)


def distribution(result: FusionResult, head: Header) -> LaserScan:
    """The circular distribution: angle = bearing, range = lookahead, intensity = probability of the bin."""
    step = 2 * math.pi / len(result.distribution)
    return LaserScan(header=head, angle_min=-math.pi + step / 2, angle_max=math.pi - step / 2, angle_increment=step,
                     range_min=0.0, range_max=result.lookahead + 1.0,
                     ranges=array.array('f', [result.lookahead] * len(result.distribution)),
                     intensities=array.array('f', result.distribution))


def channels(result: FusionResult, head: Header) -> Float32MultiArray:
    """LiDAR share, map share, then the weight of each channel; `layout.dim[i].label` names `data[i]`."""
    del head  # the type has none
    attention = result.attention
    message = Float32MultiArray()
    labels = ('lidar_share', 'map_share', *attention.channel_labels)
    message.layout.dim = [MultiArrayDimension(label=label, size=1, stride=1) for label in labels]
    message.data = array.array('f', [attention.lidar_share, attention.map_share, *attention.channel])
    return message


def milliseconds(value: float) -> Float64:
    """A duration."""
    return Float64(data=float(value))


def markers(result: FusionResult, head: Header) -> MarkerArray:
    """Arrows on the ring whose length and alpha show the probability; the one to take is green."""
    found = [Marker(header=head, action=Marker.DELETEALL), _ring(result, head)]
    found += [_arrow(result, head, i, branch) for i, branch in enumerate(result.branches)]
    if not result.trained:
        note = _marker(head, 'note', 0, Marker.TEXT_VIEW_FACING, (1.0, 0.2, 0.2), 1.0)
        note.text, note.scale.z, note.pose.position.z = 'UNTRAINED WEIGHTS', 2.0, 4.0
        found.append(note)
    return MarkerArray(markers=found)


def _marker(head: Header, namespace: str, number: int, kind: int, colour, alpha: float) -> Marker:
    r, g, b = colour
    message = Marker(header=head, ns=namespace, id=number, type=kind, action=Marker.ADD,
                     color=ColorRGBA(r=r, g=g, b=b, a=alpha))
    message.pose.orientation.w = 1.0
    return message


def _arrow(result: FusionResult, head: Header, number: int, branch: Branch) -> Marker:
    taken, probability = branch == result.direction, float(branch.probability)
    arrow = _marker(head, 'branches', number, Marker.ARROW, TAKEN if taken else OTHER, probability)
    arrow.pose = on_ring(result, branch)
    arrow.pose.position.z = MARKER_HEIGHT
    arrow.scale.x = MIN_ARROW + (MAX_ARROW - MIN_ARROW) * probability
    arrow.scale.y = arrow.scale.z = 1.0 if taken else 0.6
    return arrow


def _ring(result: FusionResult, head: Header) -> Marker:
    ring = _marker(head, 'ring', 0, Marker.LINE_STRIP, RING, 0.8)
    ring.scale.x = 0.1
    angles = np.linspace(-math.pi, math.pi, 73)
    ring.points = [Point(x=result.lookahead * math.cos(a), y=result.lookahead * math.sin(a), z=MARKER_HEIGHT)
                   for a in angles]
    return ring
