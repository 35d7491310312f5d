# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Small messages of a result: branches, direction, distribution, channels, markers. Large ones are in `encode_dense`.

Encoders are named in the table of outputs (`ros/outputs.py`) and all take (sweep, head): the header holds the sweep's
stamp and the frame in which the message is given (REP-105). Arrays are handed over as `array.array`: other types are
checked element by element, or refused, on some distributions.
"""

from __future__ import annotations

import array
import math
from functools import lru_cache

import numpy as np

from attention_fusion_ros.contracts import Branch, FusionResult
from attention_fusion_ros.geometry import quaternion_from_yaw
from attention_fusion_ros.ros.messages.classes import (
    ColorRGBA,
    Duration,
    Float32MultiArray,
    Float64,
    Header,
    LaserScan,
    Marker,
    MarkerArray,
    MultiArrayDimension,
    Path,
    Point,
    PointCloud2,
    Pose,
    PoseArray,
    PoseStamped,
    PoseWithCovarianceStamped,
    Quaternion,
)
from attention_fusion_ros.ros.messages.published_sweep import PublishedSweep
from attention_fusion_ros.ros.messages.sensors import point_cloud

# Variance of what is exact by definition (z, roll, pitch, the distance from the vehicle): not 0, so that filters can
# invert the matrix.
EXACT_VARIANCE = 1e-6
PLANAR = (0, 1, 5)  # places of x, y and yaw in the covariance of a pose
SCORED_POINT = np.dtype([(name, np.float32) for name in
                         ('x', 'y', 'z', 'bearing', 'heading', 'probability', 'bearing_std')])
STAMP_LABEL = 'stamp_ns='  # label of the last, empty dimension of the channels message, followed by the number
# A few sweeps: a display must not go on pointing somewhere when the node has ended, or its messages get lost.
MARKER_LIFETIME = Duration(sec=1)
MARKER_HEIGHT_M = 0.5  # above the ground, so that heatmap and arrows do not flicker through each other
MIN_ARROW_M, MAX_ARROW_M = 2.0, 8.0  # for probability 0 and 1
TAKEN, OTHER, RING = (0.15, 0.85, 0.25), (0.2, 0.5, 1.0), (0.6, 0.6, 0.6)  # RGB
UNCERTAIN_STDS = 2.0  # standard deviations to each side that are shown: about 95 %
UNCERTAIN_WIDTH_M = 0.8  # of the band on the ring
UNCERTAIN_MAX_RAD = math.pi / 3  # to each side: what is less sure looks no different
UNCERTAIN_STEPS = 4  # pieces of an arc
RING_LABEL_BEARING = math.radians(-135.0)  # behind to the right, where roads seldom go


def pose_on_ring(result: FusionResult, branch: Branch) -> Pose:
    """The pose on the ring at the branch's bearing, x along its heading."""
    return _on_ring(result.lookahead, branch)


def _on_ring(radius: float, branch: Branch) -> Pose:
    x, y, z, w = quaternion_from_yaw(branch.heading)
    return Pose(position=Point(x=radius * math.cos(branch.bearing), y=radius * math.sin(branch.bearing), z=0.0),
                orientation=Quaternion(x=x, y=y, z=z, w=w))


def direction(sweep: PublishedSweep, head: Header) -> PoseWithCovarianceStamped | None:
    """The branch to take, None when there is none.

    The covariance is that of the bearing along the ring's tangent, and of the heading about z.
    """
    result, branch = sweep.result, sweep.result.direction
    if branch is None:
        return None
    message = PoseWithCovarianceStamped(header=head)
    message.pose.pose = pose_on_ring(result, branch)
    tangent = np.array([-math.sin(branch.bearing), math.cos(branch.bearing)])
    covariance = np.diag(np.full(6, EXACT_VARIANCE))
    covariance[:2, :2] += (result.lookahead * branch.bearing_std)**2 * np.outer(tangent, tangent)
    covariance[5, 5] = max(EXACT_VARIANCE, branch.heading_std**2)
    message.pose.covariance = covariance.ravel().tolist()
    return message


def map_alignment(sweep: PublishedSweep, head: Header) -> PoseWithCovarianceStamped | None:
    """The pose that moves the map image from where it was drawn to where the LiDAR says it belongs.

    None when the map image was not used, or the network does not register it.
    """
    alignment = sweep.result.alignment
    if alignment is None:
        return None
    message = PoseWithCovarianceStamped(header=head)
    x, y, z, w = quaternion_from_yaw(alignment.dyaw)
    message.pose.pose = Pose(position=Point(x=float(alignment.dx), y=float(alignment.dy), z=0.0),
                             orientation=Quaternion(x=x, y=y, z=z, w=w))
    covariance = np.diag(np.full(6, EXACT_VARIANCE))
    known = np.diag(np.square(alignment.std)) if alignment.covariance is None else np.array(alignment.covariance)
    covariance[np.ix_(PLANAR, PLANAR)] = known
    for place in PLANAR:
        covariance[place, place] = max(EXACT_VARIANCE, covariance[place, place])
    message.pose.covariance = covariance.ravel().tolist()
    return message


def path(sweep: PublishedSweep, head: Header) -> Path | None:
    """From the vehicle along the branch to take, a pose on every ring of the network; None without a direction."""
    result = sweep.result
    if not result.path:
        return None
    poses = [PoseStamped(header=head, pose=Pose(orientation=Quaternion(w=1.0)))]
    poses += [PoseStamped(header=head, pose=_on_ring(point.radius, point.branch)) for point in result.path]
    return Path(header=head, poses=poses)


def branches(sweep: PublishedSweep, head: Header) -> PoseArray:
    """Every branch, most probable first."""
    return PoseArray(header=head, poses=[pose_on_ring(sweep.result, b) for b in sweep.result.branches])


def scored_branches(sweep: PublishedSweep, head: Header) -> PointCloud2:
    """Every branch as a point with the fields of SCORED_POINT, most probable first."""
    ring = sweep.result.lookahead
    rows = [(ring * math.cos(b.bearing), ring * math.sin(b.bearing), 0.0, b.bearing, b.heading, b.probability,
             b.bearing_std) for b in sweep.result.branches]
    return point_cloud(np.array(rows, SCORED_POINT), head)


def distribution(sweep: PublishedSweep, head: Header) -> LaserScan:
    """The circular distribution: angle = bearing, range = lookahead, intensity = probability of the bin."""
    result = sweep.result
    step = 2 * math.pi / len(result.distribution)
    return LaserScan(header=head, angle_min=-math.pi + step / 2, angle_max=math.pi - step / 2, angle_increment=step,
                     range_min=0.0, range_max=result.lookahead + 1.0,
                     ranges=array.array('f', [result.lookahead] * len(result.distribution)),
                     intensities=array.array('f', result.distribution))


def coverage(sweep: PublishedSweep, head: Header) -> LaserScan | None:
    """What was looked at: angle = bearing, range = how far, intensity = share of the way to the ring, 0..1.

    None when it is not known.
    """
    result, found = sweep.result, sweep.result.coverage
    if found is None:
        return None
    step = 2 * math.pi / len(found.seen)
    return LaserScan(header=head, angle_min=-math.pi + step / 2, angle_max=math.pi - step / 2, angle_increment=step,
                     range_min=0.0, range_max=result.extent + 1.0, ranges=array.array('f', found.reach),
                     intensities=array.array('f', found.seen))


def channels(sweep: PublishedSweep, head: Header) -> Float32MultiArray:
    """LiDAR share, map share, then the weight of each channel; `layout.dim[i].label` names `data[i]`.

    The type has no header: a last dimension, of size 0, is labelled `stamp_ns=` and the stamp of the sweep.
    """
    attention = sweep.result.attention
    message = Float32MultiArray()
    labels = ('lidar_share', 'map_share', *attention.channel_labels)
    stamp = MultiArrayDimension(label=f'{STAMP_LABEL}{head.stamp.sec * 10**9 + head.stamp.nanosec}', size=0, stride=0)
    message.layout.dim = [*(MultiArrayDimension(label=label, size=1, stride=1) for label in labels), stamp]
    message.data = array.array('f', [attention.lidar_share, attention.map_share, *attention.channel])
    return message


def milliseconds(value: float) -> Float64:
    """A duration in ms."""
    return Float64(data=float(value))


def markers(sweep: PublishedSweep, head: Header) -> MarkerArray:
    """Arrows on the ring whose length and alpha show the probability; the one to take is green.

    Namespaces: `ring`, `direction` and `branches` (the arrows), and `uncertainty`: 2 standard deviations to each side,
    of the bearing as a band on the ring and of the heading as a fan under the arrow.
    """
    result = sweep.result
    found = [Marker(header=head, action=Marker.DELETEALL), _ring(result, head), _ring_label(result, head)]
    found += [_arrow(result, head, i, branch) for i, branch in enumerate(result.branches)]
    found += [_uncertainty(result, head, i, branch) for i, branch in enumerate(result.branches)]
    if not result.trained:
        note = _marker(head, 'note', 0, Marker.TEXT_VIEW_FACING, (1.0, 0.2, 0.2), 1.0)
        note.text, note.scale.z, note.pose.position.z = 'UNTRAINED WEIGHTS', 2.0, 4.0
        found.append(note)
    return MarkerArray(markers=found)


def no_markers(head: Header) -> MarkerArray:
    """Takes back all that `markers` has shown."""
    return MarkerArray(markers=[Marker(header=head, action=Marker.DELETEALL)])


def _marker(head: Header, namespace: str, number: int, kind: int, colour: tuple[float, float, float],
            alpha: float) -> Marker:
    r, g, b = colour
    message = Marker(header=head, ns=namespace, id=number, type=kind, action=Marker.ADD,
                     color=ColorRGBA(r=r, g=g, b=b, a=alpha), lifetime=MARKER_LIFETIME)
    message.pose.orientation.w = 1.0
    return message


def _arrow(result: FusionResult, head: Header, number: int, branch: Branch) -> Marker:
    taken, probability = branch == result.direction, float(branch.probability)
    name, colour = ('direction', TAKEN) if taken else ('branches', OTHER)
    arrow = _marker(head, name, number, Marker.ARROW, colour, probability)
    arrow.pose = pose_on_ring(result, branch)
    arrow.pose.position.z = MARKER_HEIGHT_M
    arrow.scale.x = _arrow_length(branch)
    arrow.scale.y = arrow.scale.z = 1.0 if taken else 0.6
    return arrow


def _arrow_length(branch: Branch) -> float:
    return MIN_ARROW_M + (MAX_ARROW_M - MIN_ARROW_M) * float(branch.probability)


def _uncertainty(result: FusionResult, head: Header, number: int, branch: Branch) -> Marker:
    """Triangles on the ground, below the arrow of the branch."""
    taken, probability = branch == result.direction, float(branch.probability)
    shown = _marker(head, 'uncertainty', number, Marker.TRIANGLE_LIST, TAKEN if taken else OTHER, 0.45 * probability)
    shown.scale.x = shown.scale.y = shown.scale.z = 1.0
    shown.pose.position.z = MARKER_HEIGHT_M / 2
    place = result.lookahead * np.array([math.cos(branch.bearing), math.sin(branch.bearing)])
    tips = place + _arrow_length(branch) * _directions(branch.heading, branch.heading_std)
    around = _directions(branch.bearing, branch.bearing_std)
    near, far = ((result.lookahead + side * UNCERTAIN_WIDTH_M / 2) * around for side in (-1, 1))
    # A corner is one object wherever it stands: they take longer to make than all else.
    corner, *rest = [Point(x=x, y=y, z=0.0) for x, y in np.vstack([place, tips, near, far]).tolist()]
    t, n, f = (rest[k:k + UNCERTAIN_STEPS + 1] for k in range(0, len(rest), UNCERTAIN_STEPS + 1))
    shown.points = [point for k in range(UNCERTAIN_STEPS) for point in (
        corner, t[k], t[k + 1], n[k], f[k], f[k + 1], n[k], f[k + 1], n[k + 1])]
    return shown


def _directions(angle: float, std: float) -> np.ndarray:
    """(UNCERTAIN_STEPS + 1, 2): unit vectors from one end of what is shown of an uncertain angle to the other."""
    side = min(UNCERTAIN_STDS * std, UNCERTAIN_MAX_RAD) if math.isfinite(std) else UNCERTAIN_MAX_RAD
    angles = angle + np.linspace(-side, side, UNCERTAIN_STEPS + 1)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _ring_label(result: FusionResult, head: Header) -> Marker:
    label = _marker(head, 'ring', 1, Marker.TEXT_VIEW_FACING, RING, 1.0)
    label.text, label.scale.z = f'{result.lookahead:g} m', 1.5
    label.pose.position.x = (result.lookahead + 1.5) * math.cos(RING_LABEL_BEARING)
    label.pose.position.y = (result.lookahead + 1.5) * math.sin(RING_LABEL_BEARING)
    label.pose.position.z = MARKER_HEIGHT_M
    return label


def _ring(result: FusionResult, head: Header) -> Marker:
    ring = _marker(head, 'ring', 0, Marker.LINE_STRIP, RING, 0.8)
    ring.scale.x = 0.1
    ring.points = _circle(result.lookahead)
    return ring


@lru_cache(maxsize=4)
def _circle(radius: float) -> list[Point]:
    """The same points for every message: they take longer to make than all else in it."""
    return [Point(x=radius * math.cos(a), y=radius * math.sin(a), z=MARKER_HEIGHT_M)
            for a in np.linspace(-math.pi, math.pi, 73)]
