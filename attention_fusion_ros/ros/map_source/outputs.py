# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The table of outputs of `map_source`: publishers and docs/maps.md are made from it. Plain data, without ROS."""

from __future__ import annotations

from attention_fusion_ros.ros.outputs import OutputSpec

MAP_IMAGE, POSITION, POSITION_FIX, ROUTE, ROUTE_GEOJSON, ROADS = (
    'map_image', 'position', 'position/fix', 'route', 'route/geojson', 'roads')
MAP_OUTPUTS = (
    OutputSpec(MAP_IMAGE, 'sensor_msgs/Image',
               'The map image, rgb8: what `input/map_image` of the fusion node expects. Stamped with the odometry (or '
               'fix) it was drawn for, in `frames.base`.', latched=True),
    OutputSpec(POSITION, 'geometry_msgs/PoseWithCovarianceStamped',
               'Where the vehicle is in `frames.map`, with covariance.', 'm, rad'),
    OutputSpec(POSITION_FIX, 'sensor_msgs/NavSatFix', 'The same in degrees.', 'deg, m'),
    OutputSpec(ROUTE, 'nav_msgs/Path', 'The route in `frames.map`; without poses when there is none.', 'm',
               latched=True),
    OutputSpec(ROUTE_GEOJSON, 'std_msgs/String',
               'The route as a GeoJSON Feature (RFC 7946) with length, seconds and names of streets; null geometry '
               'when there is none.', 'deg', latched=True),
    OutputSpec(ROADS, 'visualization_msgs/MarkerArray', 'The roads around the vehicle in `frames.map`, for displays.',
               'm', latched=True),
)
