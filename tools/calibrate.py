#!/usr/bin/env python3
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Fit the calibration of a checkpoint again, as `train` does at its end, and write it into the file; weights stay.

    python tools/calibrate.py --validation DIR                              of the shipped checkpoint, in its place
    python tools/calibrate.py --validation DIR --checkpoint A --out B       A with the new calibration as B

DIR: shards of simulated scenes that the network has not seen (`train --scenes-only` makes those of validation). Every
sweep is shown with sectors of 0 to 270 degrees removed, with and without its map.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]

from attention_fusion_ros.bev.grid import Grid  # noqa: E402
from attention_fusion_ros.datasets.ring_scenes import simulated_samples  # noqa: E402
from attention_fusion_ros.datasets.shards import SceneStore, find_shards  # noqa: E402
from attention_fusion_ros.network import checkpoint as checkpoints  # noqa: E402
from attention_fusion_ros.training.calibration import as_lines, calibrate_blind, calibrate_registration  # noqa: E402
from attention_fusion_ros.training.validate import predict  # noqa: E402


def main() -> int:
    """Fit, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--validation', type=Path, nargs='+', required=True, metavar='DIR')
    parser.add_argument('--checkpoint', type=Path, default=checkpoints.SHIPPED)
    parser.add_argument('--out', type=Path, default=None, help='default: the checkpoint itself')
    options = parser.parse_args()
    loaded = checkpoints.load(options.checkpoint)
    network = loaded.network
    grid = Grid(network.config.extent, network.config.cells)
    store = SceneStore(find_shards(options.validation, grid))
    scenes = simulated_samples(network.config, store, grid, seed=5, augment=False)
    factor = calibrate_registration(network, predict(network, scenes))
    if factor is not None:
        print(f'standard deviations of the registration: times {factor:.2f}')
    calibration = calibrate_blind(network, scenes)
    print('\n'.join(as_lines(calibration)))
    checkpoints.save(options.out or options.checkpoint, network, calibration, loaded.training)
    return 0


if __name__ == '__main__':
    sys.exit(main())
