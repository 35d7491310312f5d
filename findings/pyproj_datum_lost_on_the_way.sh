#!/usr/bin/env bash
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
#
# pyproj 3.7.2 (PROJ 9.5.1): from GDA2020 to GDA94, the old and the new datum of Australia, directly: 1.5 m. The same
# two by way of WGS 84, which is what a program does that keeps all positions as 'latitude, longitude': 0 m. Either is
# taken to be equal to WGS 84, each to a few metres, so that both steps do nothing. A map in GDA94 and a receiver that
# corrects to GDA2020 are half a lane apart after that, with no error and no warning; the same holds for other pairs of
# plate-fixed datums.
#
# What helps: transform from the map's own EPSG code to the receiver's in one step; the attribute accuracy of the
# transformer is -1 (unknown) for the step that does nothing.
#
# Seen:
#   pyproj 3.7.2 PROJ 9.5.1
#   GDA2020 to GDA94: 1.52 m
#   GDA2020 to WGS 84 to GDA94: 0.0 m
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check pyproj==3.7.2

cat > look.py <<'EOF'
import sys

import pyproj


def step(start, end, place):
    return pyproj.Transformer.from_crs(start, end, always_xy=True).transform(*place)


place = (150.0, -33.0)  # somewhere near Sydney
GDA2020, GDA94, WGS84 = 'EPSG:7844', 'EPSG:4283', 'EPSG:4326'
direct = step(GDA2020, GDA94, place)
by_way = step(WGS84, GDA94, step(GDA2020, WGS84, place))
geod = pyproj.Geod(ellps='GRS80')
seen = [round(geod.inv(*place, *end)[2], 2) for end in (direct, by_way)]
print('pyproj', pyproj.__version__, 'PROJ', pyproj.proj_version_str)
print('GDA2020 to GDA94:', seen[0], 'm')
print('GDA2020 to WGS 84 to GDA94:', seen[1], 'm')
sys.exit(not (1.4 < seen[0] < 1.9 and seen[1] == 0.0))
EOF
env/bin/python look.py && echo 'as described' || { echo 'this has changed'; exit 1; }
