# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a registration of the map leaves of its error, across and along the road, and how honest its covariance is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from attention_fusion_ros.config import MapConfig, NodeConfig
from attention_fusion_ros.contracts import FusionResult, Motion, SyncedSweep
from attention_fusion_ros.datasets.drives import image_message
from attention_fusion_ros.datasets.simulated import map_correction
from attention_fusion_ros.decode import decode_map_image
from attention_fusion_ros.geometry import se2, wrap, yaw_of
from attention_fusion_ros.pipeline.fusion import FusionPipeline
from attention_fusion_ros.simulation.drive_options import DriveOptions
from attention_fusion_ros.simulation.sensors.map_image import MapError
from attention_fusion_ros.simulation.sweeps import SimulatedDrive

CHI2_95 = 7.815  # 95 % of a chi-square distribution of three degrees of freedom lie below
DRIVE_RATE_HZ = 5.0
Pose = tuple[float, float, float]  # m, m, rad


@dataclass(frozen=True)
class Left:
    """What is left of a map's error."""

    lateral: float  # m, across the road
    longitudinal: float  # m, along it
    yaw: float  # rad
    holds: bool | None = None  # whether the 95 % ellipsoid holds the truth; None without one


def left_of(correction: Pose | None, error: MapError, axis: float, covariance: np.ndarray | None = None) -> Left:
    """What a correction (dx, dy [m], dyaw [rad]; None: nothing is corrected) leaves of a map's error.

    axis: of the road at the vehicle, rad in base_link. covariance: (3, 3) of the correction.
    """
    missing = np.asarray(correction or (0.0, 0.0, 0.0), np.float64) - map_correction(error)
    missing[2] = wrap(float(missing[2]))
    along = missing[0] * math.cos(axis) + missing[1] * math.sin(axis)
    across = -missing[0] * math.sin(axis) + missing[1] * math.cos(axis)
    holds = None
    if covariance is not None:
        holds = bool(missing @ np.linalg.solve(covariance, missing) <= CHI2_95)
    return Left(abs(float(across)), abs(float(along)), abs(float(missing[2])), holds)


def repeatability(first: Sequence[FusionResult], second: Sequence[FusionResult], errors_first: Sequence[Pose],
                  errors_second: Sequence[Pose]) -> np.ndarray:
    """(n, 2) by how much two registrations of the same sweep disagree about where the map belongs, m and rad.

    first, second: results of the same sweeps, whose maps were turned about the vehicle and shifted by these errors
    (x, y [m], yaw [rad]), as in `MapError`. nan where one of them has no alignment. The map's own error, which nobody
    knows on a recording, cancels. Raises ValueError when their numbers differ.
    """
    rows = []
    for a, b, of_a, of_b in zip(first, second, errors_first, errors_second, strict=True):
        if a.alignment is None or b.alignment is None:
            rows.append((math.nan, math.nan))
            continue
        places = [se2(found.dx, found.dy, found.dyaw) @ se2(*error)
                  for found, error in ((a.alignment, of_a), (b.alignment, of_b))]
        apart = np.linalg.inv(places[0]) @ places[1]
        rows.append((float(np.hypot(*apart[:2, 2])), abs(yaw_of(apart))))
    return np.array(rows).reshape(-1, 2)


def left_over_a_drive(pipeline: FusionPipeline, seed: int, error: MapError, sweeps: int = 10,
                      lidar: str = 'hdl_32e') -> list[Left | None]:
    """What registration leaves sweep by sweep of a simulated drive with exact odometry and one map image.

    The map's error is rigid: it stays where it is on the ground while the vehicle moves on. None where there is no
    alignment. The pipeline is reset before and after.
    """
    drive = SimulatedDrive(DriveOptions(seed=seed, rate=DRIVE_RATE_HZ, lidar=lidar, route=False,
                                        map_shift=(error.x, error.y), map_yaw=error.yaw,
                                        duration=sweeps / DRIVE_RATE_HZ), pipeline.config.lookahead)
    pipeline.reset()
    layout = drive.map_layout
    before: NodeConfig = pipeline.config
    pipeline.update(replace(before, map=MapConfig(resolution=layout.resolution, anchor=list(layout.anchor))))
    undone = se2(*map_correction(error))
    found: list[Left | None] = []
    image, T_odom_first = None, np.eye(4)
    for index in range(min(sweeps, len(drive))):
        sweep = drive.sweep(index)
        T_odom_base = _pose_matrix(sweep.pose)
        if image is None and sweep.map_image is not None:
            image = decode_map_image(image_message(1 + sweep.time_ns, sweep.map_image, 'rgb8'))
            T_odom_first = T_odom_base
        result = pipeline.run(SyncedSweep(sweep.cloud, Motion(drive.T_base_sensor, T_odom_base, T_odom_first), image))
        if result.alignment is None:
            found.append(None)
            continue
        moved = np.linalg.inv(T_odom_base) @ T_odom_first
        T_now_first = se2(moved[0, 3], moved[1, 3], yaw_of(moved))
        wanted = T_now_first @ undone @ np.linalg.inv(T_now_first)
        a = result.alignment
        found.append(Left(abs(a.dy - wanted[1, 2]), abs(a.dx - wanted[0, 2]), abs(wrap(a.dyaw - yaw_of(wanted)))))
    pipeline.reset()
    pipeline.update(before)
    return found


def _pose_matrix(pose: tuple[float, float, float]) -> np.ndarray:
    matrix = np.eye(4)
    planar = se2(*pose)
    matrix[:2, :2], matrix[:2, 3] = planar[:2, :2], planar[:2, 2]
    return matrix
