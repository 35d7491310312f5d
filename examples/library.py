#!/usr/bin/env python3
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The core as a library: road directions for every sweep of a recording, without ROS.

python3 -m attention_fusion_ros simulate --bag out/drive --lidar vlp_16 --duration 3
python3 examples/library.py out/drive
"""
import math
import sys

from attention_fusion_ros import DroppedSweep, FusionPipeline, NodeConfig, Recording, synced_sweeps

if len(sys.argv) != 2:
    sys.exit(__doc__)
config = NodeConfig(device='cpu')
pipeline = FusionPipeline(config)
with Recording(sys.argv[1]) as recording:
    for sweep in synced_sweeps(recording, recording.input_topics(), config):
        if isinstance(sweep, DroppedSweep):
            print(f'{sweep.stamp_ns}: dropped, {sweep.error}')
            continue
        result = pipeline.run(sweep)
        roads = ', '.join(f'{math.degrees(b.bearing):+.0f} deg ({b.probability:.2f})' for b in result.branches)
        print(f'{result.stamp_ns}: {result.mode.value}, roads at {roads or "none"}')
pipeline.close()
