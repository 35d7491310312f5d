# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Training data from recordings: `train --bags DIR` adapts the network to a vehicle without labelling.

Every rosbag2 in the folder goes through the stream that the node and `replay` use, and its sweeps are accumulated as
the node does it. What is made is kept on disk and used again, see `recorded_shards`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import count, islice
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.lidar import CHANNELS
from attention_fusion_ros.bev.map_image import CHANNELS as MAP_LAYERS
from attention_fusion_ros.bev.map_image import map_bev
from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.contracts import Motion, SyncedSweep
from attention_fusion_ros.datasets.augment import random_map_state, sensor_faults, turn_angles, turn_grid
from attention_fusion_ros.datasets.driven_path import DrivenTruth, driven_truth, with_pose_at
from attention_fusion_ros.datasets.recorded_shards import RecordedScene, RecordedStore, is_complete, write_shard
from attention_fusion_ros.datasets.scenes import MASK_STRIDE, QUANTUM, quantise
from attention_fusion_ros.datasets.simulated import pad_branches
from attention_fusion_ros.errors import ConfigurationError, InputError
from attention_fusion_ros.geometry import bin_bearings, rotation_2d
from attention_fusion_ros.network.output import ROAD
from attention_fusion_ros.pipeline.preprocess import Preprocessor
from attention_fusion_ros.stream.content import ContentIndex, content_digest, local_state
from attention_fusion_ros.stream.find import recordings_below
from attention_fusion_ros.stream.inputs import input_named
from attention_fusion_ros.stream.recorded_sweeps import DroppedSweep, base_poses, synced_sweeps
from attention_fusion_ros.stream.recording import STORAGE_SUFFIXES, InputTopics, Recording
from attention_fusion_ros.sync.synchronizer import ODOMETRY
from attention_fusion_ros.utils.damaged import Damaged
from attention_fusion_ros.utils.digest import digest, source_files
from attention_fusion_ros.utils.stored_json import read_checked_json, write_checked_json

CONTENTS = 'contents'  # in the cache: what recordings hold that have been read
SHARD = 64  # sweeps a shard: what is in memory at a time, and what an interruption costs
# Reasons for which map images are left out: they would teach nothing, or something wrong.
NO_MAPS = ('camera_image', 'map_all_road', 'map_inverted', 'map_dim')
DENSITY = CHANNELS.index('density')
SUMMARY = 'recording.json'  # written when all shards of a recording are there
SOURCES = ('bev', 'decode', 'kernels', 'stream', 'sync', 'contracts.py', 'geometry.py', 'pipeline/preprocess.py',
           'datasets/driven_path.py', 'datasets/recorded.py', 'datasets/recorded_shards.py', 'datasets/scenes.py')


@dataclass(frozen=True)
class LabelOptions:
    """How recordings are made into labelled sweeps, besides the node's parameters."""

    grid: Grid
    lookahead: float  # m, radius of the ring
    every: int = 1  # only each n-th sweep is labelled; all of them are accumulated
    shard_size: int = SHARD
    topics: tuple[tuple[str, str], ...] = ()  # (input, topic) that were chosen, see `Recording.input_topics`


@dataclass(frozen=True)
class RecordingSummary:
    """What came of one recording."""

    recording: str
    sweeps: int  # that were read
    labelled: int
    shards: int
    drops: dict[str, int] = field(default_factory=dict)  # reason -> messages and sweeps that could not be used

    def __str__(self) -> str:
        dropped = ', '.join(f'{count} x {reason}' for reason, count in sorted(self.drops.items()))
        return f'{self.recording}: {self.labelled} of {self.sweeps} sweeps labelled' + (
            f' (dropped: {dropped})' if dropped else '')


def find_recordings(folder: Path, topics: Sequence[tuple[str, str]] = ()) -> list[Path]:
    """Every recording below a folder, or the folder or file itself; only their headers are read.

    topics: (input, topic) that were chosen, see `Recording.input_topics`.

    Raises ConfigurationError when there is none, or one that has no odometry: the driven path is the label. Raises
    InputError when a recording cannot be opened or its topics leave a choice.
    """
    found = recordings_below(folder)
    if not found:
        raise ConfigurationError(f"no recording below '{folder}': give a folder that holds recordings (each a "
                                 f'folder with metadata.yaml, or {" or ".join(STORAGE_SUFFIXES)} files)')
    for bag in found:
        check_recording(bag, topics)
    return found


def check_recording(bag: Path, topics: Sequence[tuple[str, str]] = ()) -> None:
    """Raise as `find_recordings` does for one recording."""
    with Recording(bag) as recording:
        _topics(recording, topics)


def label_recordings(recordings: Sequence[Path], cache: Path, config: NodeConfig,
                     options: LabelOptions) -> tuple[RecordedStore, list[RecordingSummary]]:
    """Every sweep of the recordings that the driven path labels, from `cache` where it has been made before.

    An interrupted run goes on after its last complete shard.
    Raises ConfigurationError when no sweep could be labelled, and InputError when a recording cannot be used.
    """
    return store_of([label_recording(bag, cache, config, options) for bag in recordings], options)


def label_recording(bag: Path, cache: Path, config: NodeConfig, options: LabelOptions, state: str | None = None,
                    ) -> Path:
    """The folder with the labelled sweeps of one recording, made in `cache` where they are missing.

    state: as `stream.content.local_state` tells it (the default), or whatever else changes when the recording does.
    Raises InputError when it cannot be used, ConfigurationError when it has no odometry.
    """
    index, state = ContentIndex(cache / CONTENTS), state or local_state(bag)
    content = index.known(state)
    if content is None:
        content = content_digest(bag)
        index.remember(state, content)
    folder = cache / _cache_name(bag.stem, content, config, options)
    if _kept(folder) is None:
        _label_one(bag, folder, config, options)
    return folder


def labelled_before(stem: str, state: str | None, cache: Path, config: NodeConfig,
                    options: LabelOptions) -> Path | None:
    """What `label_recording` has made of a recording in this state, which need not be at hand; None: nothing whole."""
    content = ContentIndex(cache / CONTENTS).known(state)
    folder = None if content is None else cache / _cache_name(stem, content, config, options)
    return folder if folder is not None and _kept(folder) is not None else None


def store_of(labelled: Sequence[Path], options: LabelOptions) -> tuple[RecordedStore, list[RecordingSummary]]:
    """What `label_recording` has made, opened for reading. Raises ConfigurationError when no sweep is labelled."""
    summaries = [summary for folder in labelled if (summary := _kept(folder)) is not None]
    assert len(summaries) == len(labelled)  # they have just been made
    folders = [_shard(folder, number) for folder, summary in zip(labelled, summaries)
               for number in range(summary.shards)]
    if not folders:
        raise ConfigurationError('no sweep of the recordings could be labelled: the vehicle must move more than '
                                 f'{options.lookahead:g} m. ' + '; '.join(map(str, summaries)))
    return RecordedStore(folders), summaries


def _topics(recording: Recording, chosen: Sequence[tuple[str, str]]) -> InputTopics:
    try:
        topics = recording.input_topics(**dict(chosen))
    except InputError as error:  # one of many recordings: say which
        remedy = error.remedy.replace(f', or {input_named(ODOMETRY).option} none', '')  # the driven path is the label
        raise InputError(error.reason, f'{recording.path}: {error.cause}', remedy) from error
    if topics[ODOMETRY] is None:
        raise ConfigurationError(f"recording '{recording.path}' has no odometry: the driven path is the label. Remedy: "
                                 'record nav_msgs/Odometry, or move the recording to another folder.')
    return topics


def _cache_name(stem: str, content: str, config: NodeConfig, options: LabelOptions) -> str:
    """Other contents, other code and other parameters that matter make another folder."""
    parameters = [getattr(config, name) for name in ('use_tf', 'T_base_sensor', 'frames', 'cloud', 'map', 'odometry')]
    return f'{stem}-{digest(source_files(SOURCES), [content, parameters, options])}'


def _shard(folder: Path, number: int) -> Path:
    return folder / f'{number:05d}'


def _kept(folder: Path) -> RecordingSummary | None:
    """What was made of a recording before; None where that is not whole or damaged, and is made again."""
    try:
        summary = RecordingSummary(**read_checked_json(folder / SUMMARY))
        shards = [_shard(folder, number) for number in range(summary.shards)]
    except (OSError, Damaged, TypeError):
        return None
    return summary if all(map(is_complete, shards)) else None


def _label_one(bag: Path, folder: Path, config: NodeConfig, options: LabelOptions) -> None:
    """Write the shards of one recording that are missing, then its summary."""
    shape = len(CHANNELS), options.grid.cells, options.grid.cells
    with Recording(bag) as recording:
        labeller = _Labeller(recording, config, options)
        sweeps = labeller.sweeps()
        for number in count():
            shard = _shard(folder, number)
            some = islice(sweeps, options.shard_size)
            if is_complete(shard):  # its sweeps are still needed, for those after them to be accumulated with
                passed = 0
                for sweep, _ in some:
                    labeller.remember(sweep)
                    passed += 1
                if not passed:
                    break
                continue
            labelled = [labeller.scene(*sweep_and_truth) for sweep_and_truth in some]
            if not labelled:
                break
            write_shard(shard, [scene for scene in labelled if scene is not None], shape)
        stored = len(RecordedStore([_shard(folder, n) for n in range(number)]))
        write_checked_json(folder / SUMMARY, asdict(labeller.summary(number, stored)))


class _Labeller:
    """The sweeps of one recording that its driven path labels."""

    def __init__(self, recording: Recording, config: NodeConfig, options: LabelOptions):
        self._recording, self._options = recording, options
        self._topics = _topics(recording, options.topics)
        self._config = config = recording.configured(config, self._topics)
        self._stamps, self._poses = base_poses(recording, self._topics, config)
        self._preprocess = Preprocessor(options.grid, torch.device('cpu'), config)
        self._drops: Counter[str] = Counter()
        self._read = self._labelled = 0

    def sweeps(self) -> Iterator[tuple[SyncedSweep, DrivenTruth]]:
        """Each labelled sweep, for `scene` or `remember`; those between are remembered for them."""
        epoch = 0
        for sweep in synced_sweeps(self._recording, self._topics, self._config, on_drop=self._on_drop):
            self._read += 1
            if isinstance(sweep, DroppedSweep):
                self._drops[sweep.error.reason] += 1
                continue
            if sweep.epoch != epoch:
                self._preprocess.reset()
                epoch = sweep.epoch
            wanted = (self._read - 1) % self._options.every == 0
            truth = self._truth(sweep.cloud.stamp_ns) if wanted else None
            if truth is None:
                self.remember(sweep)
            else:
                self._labelled += 1
                yield sweep, truth

    def scene(self, sweep: SyncedSweep, truth: DrivenTruth) -> RecordedScene | None:
        """What is stored of a labelled sweep; None where it gives no features."""
        try:
            features = self._preprocess.accumulated(sweep)
        except InputError:
            return None
        reason = self._preprocess.map(sweep).reason
        if reason in NO_MAPS:
            self._drops[f'map image: {reason}'] += 1
        image = None if reason in NO_MAPS else sweep.map_image
        return RecordedScene(quantise(features.numpy()), image, sweep.motion, truth)

    def remember(self, sweep: SyncedSweep) -> None:
        """Accumulate a sweep that is not stored (again)."""
        try:
            self._preprocess.remember(sweep)
        except InputError:
            pass  # it cannot be accumulated

    def summary(self, shards: int, stored: int) -> RecordingSummary:
        """What came of the recording; stored: sweeps in its shards."""
        drops = dict(self._drops)
        if self._labelled > stored:
            drops['no_features'] = self._labelled - stored
        return RecordingSummary(self._recording.path.name, self._read, stored, shards, drops)

    def _truth(self, stamp_ns: int) -> DrivenTruth | None:
        path = with_pose_at(self._stamps, self._poses, stamp_ns)
        truth = None if path is None else driven_truth(*path, self._options.lookahead)
        return truth if truth is not None and truth.branches else None

    def _on_drop(self, topic: str, error: InputError) -> None:
        self._drops[f'{topic}: {error.reason}'] += 1


def _is_drawn(layers: np.ndarray, name: str) -> np.ndarray:
    """() bool: whether the map layer called `name` shows anything."""
    return np.array(bool((layers[MAP_LAYERS.index(name)] > ROAD).any()))


class RecordedDataset(Dataset):
    """Items as `SimulatedDataset` gives them; maps are shifted and turned at random, the vehicle turned on the spot."""

    def __init__(self, scenes: Sequence[RecordedScene], config: NodeConfig, grid: Grid, bins: int, seed: int):
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

        def turned(pair: tuple[float, float]) -> tuple[float, float]:
            return turn_angles([(pair[0] + turn, pair[1] + turn)], mirror)[0]

        branches = [turned(b) for b in scene.truth.branches]
        ahead = turned(scene.truth.ahead) if scene.truth.ahead else (np.nan, np.nan)
        known = DrivenTruth(branches[0], branches[1] if len(branches) > 1 else None).known(bin_bearings(self.bins))
        small = self.grid.cells // MASK_STRIDE
        visible = (features[DENSITY] > 0).reshape(small, MASK_STRIDE, small, MASK_STRIDE).mean((1, 3), dtype=np.float32)
        # Which way 'ahead' is, is known only while the vehicle is not turned on the spot.
        upright = quarter == 0
        return dict(lidar=sensor_faults(features, rng), map_image=layers,
                    masks=np.full((3, small, small), np.nan, np.float32), visible=visible[None],
                    branches=pad_branches(branches), direction=np.array(ahead, np.float32),
                    direction_known=np.array(bool(upright and scene.truth.ahead)), known=known,
                    with_map=_is_drawn(layers, 'road'), route=_is_drawn(layers, 'route'),
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
        now, then = motion.T_odom_base, motion.T_odom_base_map
        if now is None or then is None:
            now = then = np.eye(4)
        T_map_base = None if motion.T_map_base is None else motion.T_map_base @ error
        moved = Motion(motion.T_base_sensor, now @ error, then, T_map_base)
        layers: np.ndarray = map_bev(scene.map_image, moved, self.config.map, self.grid).numpy()
        return layers
