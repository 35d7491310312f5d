# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Why a result has no direction, and what to do about it.

Beside these it is a finding for which nothing at all is published: `unfamiliar_sweep`, `ground_above_sensor`.
"""

from __future__ import annotations

from attention_fusion_ros.contracts import NOT_SEEN
from attention_fusion_ros.pipeline.not_seen import REMEDY
from attention_fusion_ros.pipeline.route_fit import OFF_ROUTE

AMBIGUOUS = 'ambiguous: neither a drawn route nor the road itself clearly tells which branch to take'
IMPROBABLE = 'improbable: the branch to take is less probable than branches.min_direction_probability'
NO_BRANCH = 'no branch found'
NO_BRANCH_THERE = 'no branch found where the way seems to lead'

DIRECTION_REASONS = {  # name: cause and remedy
    NOT_SEEN: 'the branch to take may lie where nothing was looked at, and no map shows a road there that is clearly '
              f'to be taken. Remedy: {REMEDY}',
    AMBIGUOUS.partition(':')[0]: f'{AMBIGUOUS.partition(": ")[2]}. Remedy: draw the route into the map image (bright, '
                                 'pure red); the branches are published all the same, with their probabilities.',
    IMPROBABLE.partition(':')[0]: f'{IMPROBABLE.partition(": ")[2]}. Remedy: none for single sweeps; if it lasts, '
                                  'check the map image, or lower branches.min_direction_probability.',
    OFF_ROUTE: 'a route is drawn across the ring, and no branch that was found fits it. Remedy: check that the route '
               'is that of now, and map.anchor and map.orientation.',
    NO_BRANCH: 'no road that crosses the ring was found with branches.min_probability. Remedy: none where no road is '
               'near; on a road check the transform of the sensor, the unit of the points (metres), and the map image.',
    NO_BRANCH_THERE: 'the direction lies where no branch was found. Remedy: none for single sweeps; if it lasts, check '
                     'that the map image fits what the LiDAR sees, or lower branches.min_probability.',
}
