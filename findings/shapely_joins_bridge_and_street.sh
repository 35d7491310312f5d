#!/usr/bin/env bash
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
#
# shapely 2.2.0 (GEOS 3.14.1): unary_union of lines with heights gives a bridge and the street below it a common node at
# the mean of both heights. The bridge at 6 m dips to 3 m, the street rises to 3 m, and both are cut in two there: roads
# that never meet are a junction of four branches, and no coordinate of the input has that height. node() does the same.
#
# Guessed: lines at different heights do not meet, as z is kept. z is carried along, but crossings are found in x and y
# alone. Whoever joins ways of a map this way to make a graph of roads gets junctions at every bridge. What helps: join
# ways by the nodes that they share, as OpenStreetMap states them.
#
# Seen:
#   shapely 2.2.0 GEOS 3.14.1
#   LINESTRING Z (0 -10 0, 0 0 3)
#   LINESTRING Z (0 0 3, 0 10 0)
#   LINESTRING Z (-10 0 6, 0 0 3)
#   LINESTRING Z (0 0 3, 10 0 6)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check shapely==2.2.0 numpy==2.2.6

cat > look.py <<'EOF'
import sys

import shapely

street = shapely.LineString([(0, -10, 0), (0, 10, 0)])
bridge = shapely.LineString([(-10, 0, 6), (10, 0, 6)])
parts = shapely.unary_union([street, bridge])
print('shapely', shapely.__version__, 'GEOS', '.'.join(map(str, shapely.geos_version)))
for part in parts.geoms:
    print(part.wkt)
ends = [part.coords for part in parts.geoms]
sys.exit(not (len(ends) == 4 and sum((0, 0, 3) in list(coords) for coords in ends) == 4))
EOF
env/bin/python look.py && echo 'as described' || { echo 'this has changed'; exit 1; }
