# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Training data from recordings: `train --bags DIR` adapts the network to a vehicle without labelling.

Every rosbag2 in the folder goes through the same reading, decoding, pairing and BEV code as `replay`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.lidar import lidar_bev
from attention_fusion_ros.bev.map_image import map_bev
from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.contracts import MapImage, Motion, SyncedSweep
from attention_fusion_ros.datasets.augment import random_map_state, sensor_faults, turn_angles, turn_grid
from attention_fusion_ros.datasets.driven_path import DrivenTruth, driven_truth, with_pose_at
from attention_fusion_ros.datasets.scenes import MASK_STRIDE, QUANTUM, quantise
from attention_fusion_ros.datasets.simulated import pad_branches
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.geometry import bin_bearings, rotation_2d
from attention_fusion_ros.stream.recording import Recording
from attention_fusion_ros.stream.sweeps import synced_sweeps
from attention_fusion_ros.sync.synchronizer import ODOMETRY


@dataclass(frozen=True)
class RecordedScene:
    """One labelled sweep."""

    features: np.ndarray  # (5, H, W) int8
    map_image: MapImage | None
    motion: Motion
    truth: DrivenTruth


def read_recordings(folder: Path, config: NodeConfig, grid: Grid, lookahead: float, every: int = 1,
                    ) -> list[RecordedScene]:
    """Every labelled sweep of every recording below `folder`; `every`: only each n-th sweep.

    Raises ConfigurationError when there is no recording or no sweep could be labelled.
    """
    bags = sorted({p.parent for p in folder.rglob('metadata.yaml')}) or sorted(folder.glob('*.mcap'))
    if not bags:
        raise ConfigurationError(f"no rosbag2 recording below '{folder}': give a folder that holds recordings (each a "
                                 'folder with metadata.yaml, or .mcap files)')
    scenes = [scene for bag in bags for scene in _read_one(bag, config, grid, lookahead, every)]
    if not scenes:
        raise ConfigurationError(f"no sweep in '{folder}' could be labelled: the recordings need PointCloud2 and "
                                 f'odometry, and the vehicle must move more than {lookahead:g} m')
    return scenes


def _read_one(bag: Path, config: NodeConfig, grid: Grid, lookahead: float, every: int) -> list[RecordedScene]:
    pending = []  # (sweep, features)
    base_poses: dict[int, np.ndarray] = {}
    with Recording(bag) as recording:
        topics = recording.input_topics()
        if topics[ODOMETRY] is None:
            raise ConfigurationError(f"recording '{bag}' has no odometry: the driven path is the label")
        sweeps = synced_sweeps(recording, topics, config, on_base_pose=base_poses.__setitem__)
        for number, sweep in enumerate(sweeps):
            if isinstance(sweep, SyncedSweep) and number % every == 0:
                pending.append((sweep, _features(sweep, config, grid)))
    if len(base_poses) < 2:
        return []
    stamps = np.array(sorted(base_poses), np.int64)
    poses = np.stack([base_poses[stamp] for stamp in stamps.tolist()])
    scenes = []
    for sweep, features in pending:
        path = with_pose_at(stamps, poses, sweep.cloud.stamp_ns)
        truth = None if path is None else driven_truth(*path, lookahead)
        if truth is not None and truth.branches:
            scenes.append(RecordedScene(features, sweep.map_image, sweep.motion, truth))
    return scenes


def _features(sweep: SyncedSweep, config: NodeConfig, grid: Grid) -> np.ndarray:
    cloud = sweep.cloud
    T = torch.as_tensor(sweep.motion.T_base_sensor, dtype=torch.float32)
    xyz = torch.from_numpy(np.ascontiguousarray(cloud.xyz)) @ T[:3, :3].T + T[:3, 3]
    intensity = None if cloud.intensity is None else torch.from_numpy(np.ascontiguousarray(cloud.intensity))
    return quantise(lidar_bev(xyz, intensity, grid, config.cloud.min_range, config.cloud.max_height).numpy())


class RecordedDataset(Dataset):
    """Items as `SimulatedDataset` gives them; maps are shifted and turned at random, the vehicle turned on the spot."""

    def __init__(self, scenes: list[RecordedScene], config: NodeConfig, grid: Grid, bins: int, seed: int):
        self.scenes, self.config, self.grid, self.bins, self.seed = scenes, config, grid, bins, seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng([self.seed, self.epoch, i])
        scene = self.scenes[i]
        quarter, mirror = int(rng.integers(4)), bool(rng.integers(2))
        features = turn_grid(scene.features, quarter, mirror).astype(np.float32) * QUANTUM
        layers = turn_grid(self._map(scene, rng), quarter, mirror)
        turn = quarter * np.pi / 2

        def turned(pair):
            return turn_angles([(pair[0] + turn, pair[1] + turn)], mirror)[0]

        branches = [turned(b) for b in scene.truth.branches]
        ahead = turned(scene.truth.ahead) if scene.truth.ahead else (np.nan, np.nan)
        known = DrivenTruth(branches[0], branches[1] if len(branches) > 1 else None).known(bin_bearings(self.bins))
        small = self.grid.cells // MASK_STRIDE
        visible = (features[3] > 0).reshape(small, MASK_STRIDE, small, MASK_STRIDE).mean((1, 3), dtype=np.float32)
        # Which way 'ahead' is, is known only while the vehicle is not turned on the spot.
        upright = quarter == 0
        return dict(lidar=sensor_faults(features, rng), map_image=layers,
                    masks=np.full((3, small, small), np.nan, np.float32), visible=visible[None],
                    branches=pad_branches(branches), direction=np.array(ahead, np.float32),
                    direction_known=np.array(bool(upright and scene.truth.ahead)), known=known,
                    with_map=np.array(bool((layers[0] > 0.2).any())), route=np.array(bool((layers[1] > 0.2).any())),
                    map_error=np.full(3, np.nan, np.float32))  # how far off the recorded map was is not known

    def _map(self, scene: RecordedScene, rng: np.random.Generator) -> np.ndarray:
        """(3, H, W) float32: the recorded map image moved by a random error, or nothing."""
        state = random_map_state(rng)
        if scene.map_image is None or not state.present:
            return np.zeros((3, self.grid.cells, self.grid.cells), np.float32)
        error = np.eye(4)
        yaw = rng.uniform(-np.pi / 12, np.pi / 12) if state.wide else rng.normal(0, np.radians(4.0)) * state.scale
        shift = rng.uniform(-8, 8, 2) if state.wide else rng.normal(0, 2.5, 2) * state.scale
        error[:2, :2], error[:2, 3] = rotation_2d(yaw), shift
        # A vehicle that believes it is a little elsewhere sees the map where it is not.
        motion = scene.motion
        known = motion.T_odom_base is not None and motion.T_odom_base_map is not None
        then = motion.T_odom_base_map if known else np.eye(4)
        moved = Motion(motion.T_base_sensor, (motion.T_odom_base if known else np.eye(4)) @ error, then)
        return map_bev(scene.map_image, moved, self.config.map, self.grid).numpy()
