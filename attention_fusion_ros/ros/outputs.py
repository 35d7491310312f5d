# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The table of outputs: publishers, README, launch documentation and diagnostics are made from it.

Plain data, without ROS. To add an output, write its encoder in `ros/messages` and its entry here.
"""

from __future__ import annotations

from dataclasses import dataclass

STAGES = {'decode': 'reading the point cloud message', 'bev': "making the network's input", 'network': 'inference',
          'postprocess': 'peaks, calibration, direction', 'total': 'message received to result published',
          'data_age': 'stamp of the sweep to result published'}
RELIABLE_DEPTH, LATCHED_DEPTH = 2, 1  # messages that publishers keep


@dataclass(frozen=True)
class OutputSpec:
    """One topic of the node."""

    name: str  # below the node (`direction` is ~/direction), or absolute
    type: str  # `geometry_msgs/PoseArray`
    description: str
    units: str = ''  # of the numbers in it
    encoder: str = ''  # `module.function` in ros/messages, (PublishedSweep, Header) -> message or None; '': see `stage`
    in_sensor_frame: bool = False  # the header names the frame of the cloud, not the vehicle's
    latched: bool = False  # a late subscriber gets the last message
    stage: str = ''  # the stage of STAGES whose duration this topic carries
    taken_back_by: str = ''  # `module.function`, Header -> the message that ends the last one when results do not go on

    @property
    def topic(self) -> str:
        """Name as rclpy takes it."""
        return self.name if self.name.startswith('/') else f'~/{self.name}'


def _stage_output(stage: str, meaning: str) -> OutputSpec:
    return OutputSpec(f'debug/processing_time/{stage}_ms', 'std_msgs/Float64', f'Duration: {meaning}.', 'ms',
                      stage=stage)


# In the order of publishing: what is steered by first, pictures next, and what needs a second run of the network last.
# Displays of OccupancyGrid ask for a latched map by default: a publisher that keeps its last message serves everybody.
OUTPUTS = (
    OutputSpec('direction', 'geometry_msgs/PoseWithCovarianceStamped',
               'The branch to take: a pose on the ring, oriented along the heading, with covariance. Not published '
               'when there is no direction.', 'm, rad', 'encode.direction'),
    OutputSpec('path', 'nav_msgs/Path',
               'From the vehicle along the branch to take, a pose on every ring that the checkpoint answers for, '
               'nearest first, each along the heading there. Not published when there is no direction.', 'm',
               'encode.path'),
    OutputSpec('branches', 'geometry_msgs/PoseArray', 'Every branch as a pose on the ring, most probable first.', 'm',
               'encode.branches'),
    OutputSpec('branches/scored', 'sensor_msgs/PointCloud2',
               'Every branch as a point with x, y, z, bearing, heading, probability and bearing_std (float32), most '
               'probable first.', 'm, rad', 'encode.scored_branches'),
    OutputSpec('distribution', 'sensor_msgs/LaserScan',
               'Circular distribution over bearings: angle = bearing, intensity = probability of the bin, range = '
               'lookahead.', 'rad, m', 'encode.distribution'),
    OutputSpec('coverage', 'sensor_msgs/LaserScan',
               'What was looked at: angle = bearing, range = how far, intensity = share of the way to the ring that '
               'rays passed. A dark sector may hide branches.', 'rad, m, 0..1', 'encode.coverage'),
    OutputSpec('heatmap/channels', 'std_msgs/Float32MultiArray',
               'Channel attention: LiDAR share, map share, then the weight of each channel; layout.dim[i].label names '
               "data[i], and a last, empty dimension 'stamp_ns=...' names the sweep.", '0..1', 'encode.channels'),
    OutputSpec('map_alignment', 'geometry_msgs/PoseWithCovarianceStamped',
               'Shift and yaw that move the map image to where the LiDAR says it belongs, with covariance. Not '
               'published without a map image, or when the checkpoint does not register it.', 'm, rad',
               'encode.map_alignment'),
    OutputSpec('markers', 'visualization_msgs/MarkerArray',
               'Arrows on the ring for rviz: length and alpha show the probability; the branch to take is green. Under '
               'them, 2 standard deviations of bearing (on the ring) and heading (a fan). They vanish after 1 s '
               'without a result, and when the node is deactivated.', 'm', 'encode.markers',
               taken_back_by='encode.no_markers'),
    OutputSpec('heatmap/spatial', 'nav_msgs/OccupancyGrid',
               'Spatial attention on the ground: 98 is the strongest, 0 is less than a tenth of that. Empty when '
               'results do not go on.', '0..98', 'encode_dense.spatial', latched=True,
               taken_back_by='encode_dense.no_heatmap'),
    OutputSpec('map_points', 'sensor_msgs/PointCloud2',
               'Roads (grey) and route (red) of the map image on the ground, where the network says they belong: a '
               'point a cell, with x, y, z and rgb. Empty when the map image is not used.', 'm',
               'encode_dense.map_points',
               taken_back_by='encode_dense.no_points'),
    OutputSpec('attention_points', 'sensor_msgs/PointCloud2',
               'The sweep in its own frame, with a field `attention` (float32).', 'm, 0..1',
               'encode_dense.attention_points', in_sensor_frame=True,
               taken_back_by='encode_dense.no_attention_points'),
    OutputSpec('heatmap/image', 'sensor_msgs/Image', 'BEV, map image, heatmap and arrows side by side (bgr8).', '',
               'encode_dense.picture'),
    OutputSpec('heatmap/gradcam', 'nav_msgs/OccupancyGrid',
               'Grad-CAM: which cells the direction (without one, the most probable branch) depends on. Costs a second '
               'run of the network, with gradients, for every sweep.', '0..98', 'encode_dense.gradcam', latched=True,
               taken_back_by='encode_dense.no_heatmap'),
    *(_stage_output(stage, meaning) for stage, meaning in STAGES.items()),
)
# Published in every state, by a steady clock.
DIAGNOSTICS = OutputSpec('/diagnostics', 'diagnostic_msgs/DiagnosticArray',
                         'Mode, rates, drops by reason, ages, device, checkpoint and stage times, with causes and '
                         'remedies.')
