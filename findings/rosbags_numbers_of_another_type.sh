#!/usr/bin/env bash
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
#
# rosbags 0.11.9: an array of whole numbers for a field float32[] is written as its bits, not as its numbers, and no
# error is raised as long as the size of an element is right: 1, 2, 3 of int32 are read back as 1e-45, 3e-45, 4e-45.
# Another size of element (float64 for float32[]) is an error, and so one guesses that the type is checked.
#
# Ranges or intensities that a script has rounded to whole numbers are, in a recording of its making, all next to 0: no
# return anywhere. What helps: np.asarray(values, np.float32) at each assignment.
#
# Seen:
#   rosbags 0.11.9
#   1, 2, 3 of float32 for float32[]: ['1', '2', '3']
#   1, 2, 3 of int32 for float32[]: ['1.4e-45', '2.8e-45', '4.2e-45']
#   1, 2, 3 of float64 for float32[]: error
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check rosbags==0.11.9 numpy==2.2.6

cat > look.py <<'EOF'
import sys
from importlib.metadata import version

import numpy as np
from rosbags.typesys import Stores, get_typestore

store = get_typestore(Stores.ROS2_JAZZY)
NAME = 'std_msgs/msg/Float32MultiArray'
Array, Layout = store.types[NAME], store.types['std_msgs/msg/MultiArrayLayout']


def back(values):
    try:
        return store.deserialize_cdr(store.serialize_cdr(Array(Layout([], 0), values), NAME), NAME).data.tolist()
    except ValueError:
        return 'error'


seen = {name: back(np.array([1, 2, 3], name)) for name in ('float32', 'int32', 'float64')}
print('rosbags', version('rosbags'))
for name, values in seen.items():
    told = values if values == 'error' else [f'{value:.2g}' for value in values]
    print(f'1, 2, 3 of {name} for float32[]:', told)
sys.exit(not (seen['float32'] == [1, 2, 3] and seen['float64'] == 'error' and max(seen['int32']) < 1e-40))
EOF
env/bin/python look.py && echo 'as described' || { echo 'this has changed'; exit 1; }
