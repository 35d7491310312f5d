# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""OpenStreetMap or GeoJSON roads, where the vehicle is on them, the route, and the map image, without ROS.

    load_roads(path)               file -> RoadGraph (flat arrays, cached)
    LocalFrame(lat, lon)           degrees <-> metres east and north of a datum
    LocalRoads(graph, frame)       the roads there, with an index: nearest road, roads within a window
    MapPosition(frame)             fixes, odometry, headings, map alignments -> pose with honest deviations
    RoutePlanner(roads)            goal -> Route; RouteFollower notices when the vehicle leaves it
    MapPainter(roads)              pose and route -> the picture that `input/map_image` expects

What each frame means is in docs/maps.md. Bad input ends in `errors.InputError` with a reason of `reasons.REASONS`;
files and settings that cannot be used end in `errors.ConfigurationError`.
"""
