# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The table of inputs of `map_source`: subscriptions, /diagnostics, launch arguments and docs are made from it."""

from __future__ import annotations

from attention_fusion_ros.decode import decode_odometry, decode_static_transforms, decode_transforms
from attention_fusion_ros.maps.config import MapSourceConfig
from attention_fusion_ros.maps.fix import fix_from_message
from attention_fusion_ros.maps.heading import heading_from_message
from attention_fusion_ros.maps.messages import decode_alignment, decode_goal_fix, decode_goal_pose, decode_path
from attention_fusion_ros.stream.inputs import InputSpec, Transport

FIX, ODOMETRY, IMU, ALIGNMENT, GOAL_POSE, GOAL_FIX, PATH, TF = (
    'fix', 'odometry', 'imu', 'map_alignment', 'goal_pose', 'goal_fix', 'path', 'transforms')
MAP_INPUTS = (
    InputSpec(
        name=FIX, component='fix', label='fix', default_topic='fix',
        transports=(Transport('input/fix', 'sensor_msgs/msg/NavSatFix', fix_from_message, depth=10),),
        description='Topic of sensor_msgs/NavSatFix: where the vehicle is.',
        note='`position.source` fix: where the antenna is; `position.antenna`, or tf, says where that is mounted'),
    InputSpec(
        name=ODOMETRY, component='odometry', label='odometry', default_topic='odom',
        transports=(Transport('input/odometry', 'nav_msgs/msg/Odometry', decode_odometry, depth=50),),
        description='Topic of nav_msgs/Odometry: how the vehicle moves.',
        note='between fixes, in a frame that may lie anywhere; without it `frames.odom` on /tf. `position.source` '
        'odometry: in ENU or UTM, and all that is needed'),
    InputSpec(
        name=IMU, component='heading', label='heading', default_topic='heading',
        transports=(Transport('input/imu', 'sensor_msgs/msg/Imu', heading_from_message, depth=20),),
        description='Topic of sensor_msgs/Imu with an absolute yaw (optional input).',
        note='optional: absolute yaw (dual antenna, INS), counted from true east; without it the heading is known '
        'after some metres of driving'),
    InputSpec(
        name=ALIGNMENT, component='alignment', label='map alignment', default_topic='attention_fusion/map_alignment',
        transports=(Transport('input/map_alignment', 'geometry_msgs/msg/PoseWithCovarianceStamped', decode_alignment,
                              depth=5),),
        description='Topic of map_alignment of the fusion node (optional input).',
        note='optional: where the LiDAR says that the map belongs'),
    InputSpec(
        name=GOAL_POSE, component='goal', label='goal', default_topic='goal_pose',
        transports=(Transport('input/goal_pose', 'geometry_msgs/msg/PoseStamped', decode_goal_pose, depth=5,
                              may_latch=True),),
        description='Topic of geometry_msgs/PoseStamped: a goal clicked in rviz (optional input).',
        note='optional: a goal in `frames.map`, `frames.odom`, `frames.base` or another frame that tf connects to '
        'them; in the frame `wgs84`, x is the longitude and y the latitude'),
    InputSpec(
        name=GOAL_FIX, component='goal', label='goal', default_topic='goal_fix',
        transports=(Transport('input/goal_fix', 'sensor_msgs/msg/NavSatFix', decode_goal_fix, depth=5,
                              may_latch=True),),
        description='Topic of sensor_msgs/NavSatFix: a goal in degrees (optional input).',
        note='optional: a goal in degrees'),
    InputSpec(
        name=PATH, component='goal', label='path', default_topic='plan',
        transports=(Transport('input/path', 'nav_msgs/msg/Path', decode_path, depth=5, may_latch=True),),
        description='Topic of nav_msgs/Path: a route that another planner made (optional input).',
        note='optional: a path of another planner, drawn instead of a route to a goal; without poses: no route'),
    InputSpec(
        name=TF, component='transform', label='transforms', selectable=False,
        transports=(
            Transport('/tf_static', 'tf2_msgs/msg/TFMessage', decode_static_transforms, depth=100, may_latch=True,
                      fixed_qos=True),
            Transport('/tf', 'tf2_msgs/msg/TFMessage', decode_transforms, depth=100, fixed_qos=True)),
        description='Transforms between frames, tf2_msgs/TFMessage.',
        note='mounting of antenna and IMU, goals in other frames; `position.source` tf: the position itself'),
)


def inputs_used(config: MapSourceConfig) -> tuple[InputSpec, ...]:
    """Those that a node of this configuration subscribes to."""
    position = config.position
    without = {name for name, used in (
        (FIX, position.source == 'fix'), (IMU, position.imu != 'off'), (ALIGNMENT, position.use_alignment),
        (TF, config.use_tf), (ODOMETRY, position.source != 'tf')) if not used}
    return tuple(spec for spec in MAP_INPUTS if spec.name not in without)


def inputs_needed(config: MapSourceConfig) -> tuple[str, ...]:
    """Names of those without which there is no position."""
    return {'fix': (FIX,), 'odometry': (ODOMETRY,), 'tf': (TF,)}[config.position.source]
