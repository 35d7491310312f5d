# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Position, route and roads of the map source -> messages."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from attention_fusion_ros.geometry import quaternion_from_rotation, quaternion_from_yaw
from attention_fusion_ros.maps.frames import LocalFrame
from attention_fusion_ros.maps.local_roads import LocalRoads
from attention_fusion_ros.maps.localizer import Estimate
from attention_fusion_ros.maps.route import Route
from attention_fusion_ros.ros.messages.classes import (
    ColorRGBA,
    Header,
    Marker,
    MarkerArray,
    NavSatFix,
    Path,
    Point,
    Pose,
    PoseStamped,
    PoseWithCovarianceStamped,
    Quaternion,
    String,
    TransformStamped,
)
from attention_fusion_ros.ros.messages.encode import EXACT_VARIANCE
from attention_fusion_ros.ros.messages.types import message_class

ROAD_COLOUR, CLOSED_COLOUR = (0.55, 0.57, 0.62), (0.35, 0.35, 0.38)  # RGB; closed to cars
NO_ROUTE = json.dumps({'type': 'Feature', 'geometry': None, 'properties': {}})
APPROXIMATED = 1  # sensor_msgs/NavSatFix.COVARIANCE_TYPE_APPROXIMATED


def _pose(x: float, y: float, yaw: float) -> Pose:
    qx, qy, qz, qw = quaternion_from_yaw(yaw)
    return Pose(position=Point(x=float(x), y=float(y), z=0.0), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw))


def position(estimate: Estimate, head: Header) -> PoseWithCovarianceStamped:
    """Where base_link is in the local frame."""
    message = PoseWithCovarianceStamped(header=head)
    message.pose.pose = _pose(*estimate.pose)
    covariance = np.diag(np.full(6, EXACT_VARIANCE))
    covariance[np.ix_((0, 1, 5), (0, 1, 5))] = estimate.covariance
    message.pose.covariance = covariance.ravel().tolist()
    return message


def position_fix(estimate: Estimate, frame: LocalFrame, head: Header) -> NavSatFix:
    """The same in degrees. The height is that of the datum, and not known."""
    message = NavSatFix(header=head)
    latitude, longitude = frame.to_degrees(np.array(estimate.pose[:2]))
    message.latitude, message.longitude, message.altitude = float(latitude), float(longitude), math.nan
    covariance = np.zeros((3, 3))
    covariance[:2, :2] = estimate.covariance[:2, :2]
    covariance[2, 2] = 1e6
    message.position_covariance = covariance.ravel().tolist()
    message.position_covariance_type = APPROXIMATED
    return message


def transform(T: np.ndarray, head: Header, child_frame_id: str) -> Any:
    """A (4, 4) transform as a tf2_msgs/TFMessage. Raises InputError where that package is not installed."""
    message = TransformStamped(header=head, child_frame_id=child_frame_id)
    t, q = message.transform.translation, message.transform.rotation
    t.x, t.y, t.z = map(float, T[:3, 3])
    q.x, q.y, q.z, q.w = quaternion_from_rotation(T[:3, :3])
    return message_class('tf2_msgs/TFMessage')(transforms=[message])


def route_path(route: Route | None, head: Header) -> Path:
    """The route; x of each pose points along it."""
    message = Path(header=head)
    if route is not None:
        d = np.diff(route.xy, axis=0)
        yaws = np.arctan2(d[:, 1], d[:, 0])
        message.poses = [PoseStamped(header=head, pose=_pose(x, y, yaw))
                         for (x, y), yaw in zip(route.xy.tolist(), [*yaws.tolist(), float(yaws[-1])])]
    return message


def route_geojson(route: Route | None) -> String:
    """The route in degrees."""
    return String(data=NO_ROUTE if route is None else route.geojson())


def roads_around(roads: LocalRoads, place: np.ndarray, radius: float, head: Header) -> MarkerArray:
    """The roads around a place (2,) m: lines as wide as the roads; the first marker deletes those before."""
    clear = Marker(header=head, ns='roads', action=Marker.DELETEALL)
    vertices = roads.segments[roads.segments_in(place - radius, place + radius)]
    edges = roads.edge_of_vertex[vertices]
    widths = np.maximum(np.rint(roads.graph.widths[edges]), 1.0)
    markers = [clear]
    for number, width in enumerate(np.unique(widths).tolist()):
        for closed, colour in ((False, ROAD_COLOUR), (True, CLOSED_COLOUR)):
            chosen = vertices[(widths == width) & (roads.graph.routable[edges] != closed)]
            if not len(chosen):
                continue
            marker = Marker(header=head, ns='roads', id=2 * number + closed, type=Marker.LINE_LIST, action=Marker.ADD)
            marker.pose.orientation.w = 1.0
            marker.scale.x = float(width)
            marker.color = ColorRGBA(r=colour[0], g=colour[1], b=colour[2], a=0.8)
            ends = np.stack([roads.xy[chosen], roads.xy[chosen + 1]], axis=1).reshape(-1, 2)
            marker.points = [Point(x=x, y=y, z=0.0) for x, y in ends.tolist()]
            markers.append(marker)
    return MarkerArray(markers=markers)
