#!/usr/bin/env python3
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""An animation of a map that lies metres and degrees off, and where the network puts it, sweep by sweep.

    python tools/registration_animation.py --out docs/images/registration.gif

A simulated drive with a drawn route. Left: the map as it is given. Right: where it is put, with what is left of its
error. LiDAR structure is grey in both.
"""
from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

sys.path[:0] = [str(Path(__file__).parents[1])]

from attention_fusion_ros import FusionPipeline  # noqa: E402
from attention_fusion_ros.config import MapConfig, NodeConfig  # noqa: E402
from attention_fusion_ros.contracts import FusionResult, Motion, SyncedSweep  # noqa: E402
from attention_fusion_ros.datasets.drives import image_message  # noqa: E402
from attention_fusion_ros.datasets.simulated import map_correction  # noqa: E402
from attention_fusion_ros.decode import decode_map_image  # noqa: E402
from attention_fusion_ros.geometry import se2, wrap, yaw_of  # noqa: E402
from attention_fusion_ros.simulation.drive_options import DriveOptions  # noqa: E402
from attention_fusion_ros.simulation.sensors.map_image import MapError  # noqa: E402
from attention_fusion_ros.simulation.sweeps import SimulatedDrive  # noqa: E402
from attention_fusion_ros.visualization.lettering import draw_text  # noqa: E402
from attention_fusion_ros.visualization.panels import BAR, INK, draw_answer, map_panel  # noqa: E402

RATE_HZ, FRAME_MS, LAST_MS = 5.0, 400, 2500
SIZE, TITLE = 360, 44


def main() -> int:
    """Drive, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--checkpoint', default=NodeConfig().checkpoint)
    parser.add_argument('--seed', type=int, default=20_000_104)
    parser.add_argument('--error', type=float, nargs=3, metavar=('X', 'Y', 'YAW'), default=(-3.6, 4.8, 10.0),
                        help='of the map: m, m, deg (default: 6 m and 10 deg)')
    parser.add_argument('--sweeps', type=int, default=12)
    options = parser.parse_args()
    x, y, yaw = options.error
    frames = [_frame(*step) for step in drive(options.checkpoint, options.seed, MapError(x, y, math.radians(yaw)),
                                              options.sweeps)]
    images = [Image.fromarray(frame).convert('P', palette=Image.Palette.ADAPTIVE, colors=64) for frame in frames]
    images[0].save(options.out, save_all=True, append_images=images[1:], loop=0, optimize=True,
                   duration=[FRAME_MS] * (len(images) - 1) + [LAST_MS])
    print(f'wrote {options.out}: {len(frames)} sweeps')
    return 0


def drive(checkpoint: str, seed: int, error: MapError, sweeps: int) -> list[tuple[int, FusionResult, float, float]]:
    """(number, result, what is left of the shift [m], of the yaw [deg]) of every sweep; the error is rigid."""
    world = SimulatedDrive(DriveOptions(seed=seed, rate=RATE_HZ, lidar='hdl_64e', map_shift=(error.x, error.y),
                                        map_yaw=error.yaw, duration=sweeps / RATE_HZ), 20.0)
    layout = world.map_layout
    config = dataclasses.replace(NodeConfig(checkpoint=checkpoint),
                                 map=MapConfig(resolution=layout.resolution, anchor=list(layout.anchor)))
    pipeline, undone = FusionPipeline(config), se2(*map_correction(error))
    image, T_odom_first, found = None, np.eye(4), []
    for index in range(min(sweeps, len(world))):
        sweep = world.sweep(index)
        T_odom_base = np.eye(4)
        planar = se2(*sweep.pose)
        T_odom_base[:2, :2], T_odom_base[:2, 3] = planar[:2, :2], planar[:2, 2]
        if image is None and sweep.map_image is not None:
            image = decode_map_image(image_message(1 + sweep.time_ns, sweep.map_image, 'rgb8'))
            T_odom_first = T_odom_base
        result = pipeline.run(SyncedSweep(sweep.cloud, Motion(world.T_base_sensor, T_odom_base, T_odom_first), image))
        moved = np.linalg.inv(T_odom_base) @ T_odom_first
        T_now_first = se2(moved[0, 3], moved[1, 3], yaw_of(moved))
        wanted = T_now_first @ undone @ np.linalg.inv(T_now_first)
        a = result.alignment
        has = se2(a.dx, a.dy, a.dyaw) if a is not None else np.eye(3)
        left = np.linalg.inv(wanted) @ has
        found.append((index + 1, result, float(np.hypot(*left[:2, 2])), abs(math.degrees(wrap(yaw_of(left))))))
    pipeline.close()
    return found


def _frame(number: int, result: FusionResult, shift: float, yaw: float) -> np.ndarray:
    """(H, W, 3) uint8 RGB."""
    texts = ('the map as it is given', f'sweep {number}: {shift:.1f} m, {yaw:.1f} deg left')
    columns = []
    for moved, text in zip((False, True), texts):
        panel = map_panel(result, SIZE, moved=moved)
        if moved:
            draw_answer(panel, result)
        bar = np.full((TITLE, SIZE, 3), BAR, np.uint8)
        draw_text(bar, text, 10, 29, 15, INK)
        columns.append(np.concatenate([bar, panel]))
    return np.asarray(cv2.cvtColor(np.concatenate(columns, axis=1), cv2.COLOR_BGR2RGB))


if __name__ == '__main__':
    sys.exit(main())
