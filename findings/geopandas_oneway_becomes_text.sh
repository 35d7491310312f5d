#!/usr/bin/env bash
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
#
# geopandas 1.2.0 with pyogrio 0.13.0, roads written by GeoDataFrame.to_file as GeoJSON: a column of booleans, `oneway` of
# OSMnx for example, holds true and false, until one road has no value, or has a list because it was merged of a oneway
# and a two-way piece. Then every other road's true is written as the text "True", which is no JSON boolean, and in
# OpenStreetMap neither yes, true nor 1; its false is the text "False", which counts as true in Python and JavaScript.
# GeoDataFrame.to_json of the same roads writes booleans and null.
#
# Guessed: null for the road without a value, and the others as they were. What helps: write with to_json, or compare
# texts without case.
#
# Seen:
#   geopandas 1.2.0, pyogrio 0.13.0, GDAL 3.12.4
#   oneway of all roads known: to_file [True, False, True]
#   of one not: to_file ['True', 'False', None], to_json [True, False, None]
#   of one a list: to_file ['True', 'False', [False, True]], to_json [True, False, [False, True]]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check geopandas==1.2.0 pyogrio==0.13.0

cat > look.py <<'EOF'
import json
import sys
from importlib.metadata import version

import geopandas
import pyogrio
from shapely.geometry import LineString


def written(values):
    roads = [LineString([(8.0, 49.0 + k / 1000), (8.1, 49.0 + k / 1000)]) for k in range(len(values))]
    table = geopandas.GeoDataFrame({'oneway': values}, geometry=roads, crs='EPSG:4326')
    table.to_file('roads.geojson', driver='GeoJSON')
    with open('roads.geojson', encoding='utf-8') as file:
        texts = file.read(), table.to_json()
    return [[feature['properties']['oneway'] for feature in json.loads(text)['features']] for text in texts]


print(f"geopandas {version('geopandas')}, pyogrio {version('pyogrio')}, GDAL {pyogrio.__gdal_version_string__}")
known, lacking, merged = [True, False, True], [True, False, None], [True, False, [False, True]]
files, texts = zip(*map(written, (known, lacking, merged)))
print('oneway of all roads known: to_file', files[0])
print(f'of one not: to_file {files[1]}, to_json {texts[1]}')
print(f'of one a list: to_file {files[2]}, to_json {texts[2]}')
sys.exit(not (files[0] == known and texts == (known, lacking, merged)
              and files[1] == ['True', 'False', None] and files[2] == ['True', 'False', [False, True]]))
EOF
env/bin/python look.py && echo 'as described' || { echo 'this has changed'; exit 1; }
