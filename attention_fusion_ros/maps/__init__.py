# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""OpenStreetMap or GeoJSON roads, where the vehicle is on them, the route, and the map image, without ROS.

    load_roads(path)               file -> RoadGraph (flat arrays, cached)
    LocalFrame(lat, lon)           degrees <-> metres east and north of a datum
    LocalRoads(graph, frame)       the roads there, with an index: nearest road, roads within a window
    MapPosition(frame)             fixes, odometry, headings, map alignments -> pose with honest deviations
    RoutePlanner(roads)            goal -> Route; RouteFollower notices when the vehicle leaves it
    MapPainter(roads)              pose and route -> the picture that `input/map_image` expects
    example_extract()              a small extract that ships with the package, to try all of this with

What each frame means is in docs/maps.md. Bad input ends in `errors.InputError` with a reason of `reasons.REASONS`;
files and settings that cannot be used end in `errors.ConfigurationError`.
"""

from pathlib import Path


def example_extract() -> Path:
    """The file of the extract that ships with the package: 1.5 x 2.3 km of Boston, its Seaport.

    (c) OpenStreetMap contributors, ODbL, see maps/data/README.md. No network that ships was trained there.
    """
    return Path(__file__).parent / 'data' / 'boston_seaport.osm.gz'
