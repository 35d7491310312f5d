#!/usr/bin/env bash
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
#
# pyproj 3.7.2 (PROJ 9.5.1), as pip installs it: from WGS 84 with ellipsoidal height (which sensor_msgs/NavSatFix
# carries) to WGS 84 with height above the sea (EGM96, which maps and elevation models carry) the height is returned
# unchanged, in Germany 48 m from the truth. The grid of the geoid is not in the package, and of the ways to transform,
# one without it is taken ('ballpark'). only_best=True, which reads as if it forbade this, gives the same number;
# errcheck=True raises nothing, and no warning is given.
#
# Guessed: an error, as for a missing grid elsewhere. What helps: allow_ballpark=False, which does raise; or
# TransformerGroup(...).best_available.
#
# Seen:
#   pyproj 3.7.2 PROJ 9.5.1 - 100 m above the ellipsoid, above the sea:
#   as it is: 100.0
#   only_best=True: 100.0
#   allow_ballpark=False: error
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check pyproj==3.7.2

cat > look.py <<'EOF'
import sys
import warnings

import pyproj

warnings.simplefilter('ignore')
pyproj.network.set_network_enabled(False)  # as it is by default


def height(**options):
    try:
        transformer = pyproj.Transformer.from_crs('EPSG:4979', 'EPSG:9707', always_xy=True, **options)
        return transformer.transform(9.0, 48.0, 100.0, errcheck=True)[2]
    except pyproj.exceptions.ProjError:
        return 'error'


seen = [height(), height(only_best=True), height(allow_ballpark=False)]
print('pyproj', pyproj.__version__, 'PROJ', pyproj.proj_version_str, '- 100 m above the ellipsoid, above the sea:')
print('as it is:', seen[0])
print('only_best=True:', seen[1])
print('allow_ballpark=False:', seen[2])
sys.exit(seen != [100.0, 100.0, 'error'])
EOF
env/bin/python look.py && echo 'as described' || { echo 'this has changed'; exit 1; }
