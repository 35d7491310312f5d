#!/usr/bin/env bash
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
#
# utm 0.9.0: from_latlon of arrays takes the zone of the first point for all of them and returns it once. The same track
# in the other order is in another zone, and its numbers differ by 450 km; a map cut and a drive across the border of a
# zone, each converted by itself, do not lie on each other although each is consistent. The northing differs by less
# than a kilometre, so that half of the number looks right.
#
# Guessed: each point in its own zone, or an error as there is for tracks that cross the equator ('latitudes must all
# have the same sign'). What helps: fix the zone once (force_zone_number) for map and vehicle.
#
# Seen:
#   utm 0.9.0
#   west to east: zone 31, easting of the first point 716317, northing 5320370
#   east to west: zone 32, easting of the same point 268766, northing 5320951
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check utm==0.9.0 numpy==2.2.6

cat > look.py <<'EOF'
import sys
from importlib.metadata import version

import numpy as np
import utm

latitude, longitude = np.array([48.0, 48.0]), np.array([5.9, 6.1])  # zone 31 ends at 6 degrees
east, north, zone, _ = utm.from_latlon(latitude, longitude)
east_back, north_back, zone_back, _ = utm.from_latlon(latitude[::-1], longitude[::-1])
print('utm', version('utm'))
print(f'west to east: zone {zone}, easting of the first point {east[0]:.0f}, northing {north[0]:.0f}')
print(f'east to west: zone {zone_back}, easting of the same point {east_back[1]:.0f}, northing {north_back[1]:.0f}')
apart = abs(east[0] - east_back[1])
sys.exit(not ((zone, zone_back) == (31, 32) and apart > 400_000 and abs(north[0] - north_back[1]) < 2_000))
EOF
env/bin/python look.py && echo 'as described' || { echo 'this has changed'; exit 1; }
