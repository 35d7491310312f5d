# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Every reason that the map source gives for having no position, no route or no image: what it means, what to do."""

from __future__ import annotations

REASONS = {
    'no_fix': 'the receiver says that it has no position',
    'bad_fix': 'latitude or longitude are not finite or out of range',
    'fix_jumped': 'a fix is farther from where odometry led than the deviations of both allow; it is not used',
    'fix_at_another_time': 'fixes and odometry are stamped by different clocks',
    'near_pole': 'a position is beyond 84 degrees north or 80 degrees south, where no directions are defined',
    'far_from_datum': 'a position is too far from the datum for a local frame',
    'no_position': 'there has been no good fix and no absolute odometry yet',
    'no_heading': 'a fix came, but the vehicle has not moved far enough to tell which way it points',
    'position_uncertain': 'the position is known less well than `max_position_std` allows',
    'heading_uncertain': 'the heading is known less well than `max_heading_std` allows',
    'position_stale': 'the estimate is older than the image that is wanted',
    'clock_went_back': 'stamps went back, as when a recording starts again: position is sought anew',
    'odometry_lost': 'odometry came again after more than a minute, from elsewhere: position is sought anew',
    'yaw_jumped': 'a heading contradicts the estimate; it is not used',
    'restarted': 'fixes contradicted the estimate for long and agreed with each other: they are believed now',
    'no_orientation': 'a message of an IMU holds no orientation',
    'bad_yaw': 'a heading, or its deviation, is not finite or not positive',
    'alignment_unusable': 'a map alignment is not finite, or its covariance is no covariance',
    'alignment_too_large': 'a map alignment moves the map farther than registration can see',
    'alignment_without_image': 'a map alignment belongs to no image that was drawn here',
    'alignment_gated': 'a map alignment contradicts the corrected position; it is not used',
    'alignment_out_of_bounds': 'a map alignment would lead farther from the fixes than they can be wrong',
    'datum_far_from_map': 'the datum or the vehicle is nowhere near the roads of the file',
    'no_roads_near': 'there is no road near the vehicle',
    'goal_malformed': 'a goal is not finite, or has no latitude and longitude',
    'goal_off_network': 'there is no road near the goal',
    'start_off_network': 'there is no road near the vehicle to start from',
    'goal_unreachable': 'no way leads to the goal along roads in their allowed directions',
    'unknown_frame': 'a goal or a path is given in a frame that is not connected to the map',
    'map_loading': 'the file of roads is being read',
    'map_unusable': 'the file of roads could not be read, or does not fit the parameters',
    'path_too_short': 'a given path has fewer than two different points',
}

# Of reasons that are only counted: the others are raised, with the remedy. Single ones do no harm.
ALIGNMENTS = ('single ones do no harm; if all are like that, check the fusion node, and that both nodes use the same '
              'frames and clock.')
REASON_REMEDIES = {
    'fix_jumped': 'single ones are multipath and do no harm; if there are many, check the antenna and the covariance '
                  'of the fixes, and that odometry does not jump.',
    'clock_went_back': 'nothing to do when a recording starts again; otherwise look for a second publisher on the '
                       'topic, or an unsteady clock.',
    'odometry_lost': 'check that odometry keeps coming, and its publisher for restarts.',
    'yaw_jumped': 'single ones do no harm; if there are many, check how the antennas or the IMU are mounted, that yaw '
                  'is counted from east, and its covariance.',
    'restarted': 'nothing to do once; if it happens again, check the covariance of the fixes, and odometry for slip.',
    'alignment_unusable': ALIGNMENTS,
    'alignment_too_large': ALIGNMENTS,
    'alignment_without_image': ALIGNMENTS,
    'alignment_gated': ALIGNMENTS,
    'alignment_out_of_bounds': ALIGNMENTS,
}
