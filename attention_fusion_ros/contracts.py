# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The frozen values that the stages hand to each other: messages -> decode -> bev -> network -> result.

Conventions (REP-103, REP-105): SI units, radians, `base_link` x forward, y left, z up, origin on the ground.
A bearing is measured from +x of `base_link`, left positive, in (-pi, pi]. `T_a_b` maps b to a: `p_a = T_a_b @ p_b`.
Stamps are integer nanoseconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from typing import Any, Protocol, TypeVar

import numpy as np

Record = TypeVar('Record')
READING = 'reading'  # in `Attention.spatial`: the places that an attention over places read, by what they contribute
SELECTION = 'selection'  # in `Attention.spatial`: the cells that hard attention let pass, by what they contribute
PRIOR_SIZE = 13  # of what is known of the map's place: mean (3), covariance (9), weight; see `attention.pose_volume`
NOT_SEEN = 'not_seen'  # why there is no direction: it may lie where nobody looked


class Deferred:
    """A value that stays on its device until somebody asks for it."""

    def __init__(self, fetch: Callable[[], Any]):
        self._fetch = fetch

    def get(self) -> Any:
        """Fetch the value."""
        return self._fetch()


class _FetchedField:
    """A field that may be given a `Deferred`, whose value it fetches when it is read for the first time."""

    def __init__(self, name: str):
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            raise AttributeError(self._name)
        value = instance.__dict__[self._name]
        if isinstance(value, Deferred):
            value = instance.__dict__[self._name] = value.get()
        return value

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self._name] = value


def _fetched_when_read(*names: str) -> Callable[[type[Record]], type[Record]]:
    """Class decorator: these fields of a dataclass may be given as `Deferred`."""
    def decorate(cls: type[Record]) -> type[Record]:
        for name in names:
            setattr(cls, name, _FetchedField(name))
        return cls
    return decorate


class Mode(str, Enum):
    """What a result was estimated from. There is no third value: without a usable cloud there is no result."""

    FUSED = 'fused'
    LIDAR_ONLY = 'lidar_only'


class PointTimes(Protocol):
    """When each point of a cloud was measured, see `decode.point_time`. Nothing is read before somebody asks."""

    @property
    def what(self) -> str:
        """The field that holds it, in words."""

    def offsets_s(self, stamp_ns: int, xyz: np.ndarray) -> tuple[np.ndarray, str]:
        """(N,) float32 seconds after the stamp in the header, and how they were read. Raises InputError."""


@dataclass(frozen=True)
class PointCloud:
    """One decoded sweep in its sensor frame; every point is finite.

    The arrays may be views over the bytes of a message, read only and with steps of any number of bytes: what wants
    them contiguous or for itself (`torch.from_numpy` does) takes `np.ascontiguousarray`, or a copy.
    """

    stamp_ns: int
    frame_id: str
    xyz: np.ndarray  # (N, 3) float32, m
    intensity: np.ndarray | None  # (N,) float32, in the sensor's own unit; None when the sensor sends none
    times: PointTimes | None = field(default=None, repr=False, compare=False)  # None when the sensor sends none


@dataclass(frozen=True)
class MapPlacement:
    """Where a map lies that says so itself, as an occupancy grid does."""

    resolution: float  # m/pixel
    T_frame_image: np.ndarray  # (4, 4) pose of the lower left corner of the image, x right and y up, in its frame


@dataclass(frozen=True)
class MapImage:
    """One decoded topological map image. How it lies on the ground is configuration, unless it has a `placement`."""

    stamp_ns: int
    frame_id: str
    road: np.ndarray  # (H, W) float32 in 0..1, 1 = road
    route: np.ndarray | None  # (H, W) float32 in 0..1, 1 = route; None when no route is drawn
    placement: MapPlacement | None = None
    warnings: tuple[str, ...] = ()  # what is doubtful about it although it is used, `map_dim` for example

    @property
    def nbytes(self) -> int:
        """Bytes of the layers."""
        return self.road.nbytes + (0 if self.route is None else self.route.nbytes)


@dataclass(frozen=True)
class Motion:
    """Where sensor, vehicle and map were: everything the pipeline needs to align its inputs."""

    T_base_sensor: np.ndarray  # (4, 4) float64
    T_odom_base: np.ndarray | None = None  # (4, 4) at the sweep's stamp; None without odometry
    T_odom_base_map: np.ndarray | None = None  # (4, 4) at the map image's stamp; None without odometry
    T_map_base: np.ndarray | None = None  # (4, 4) at the sweep's stamp in the frame of a map that has a placement
    odom_frame: str = ''  # in which T_odom_base is given, '' where nobody says


@dataclass(frozen=True)
class SweepPart:
    """Points of a sweep that one sensor sent in one message: `cloud.xyz[first:last]`."""

    input_name: str  # 'pointcloud', 'pointcloud_2', ...
    frame_id: str  # of the message
    stamp_ns: int  # of the message
    # (4, 4) base_link at the sweep's stamp <- the sensor when it sent this part: its origin is where rays started
    T_base_sensor: np.ndarray
    first: int
    last: int


@dataclass(frozen=True)
class Finding:
    """Something implausible about what came in, which does not keep it from being used."""

    name: str  # short snake_case name, as `ground_far_from_zero`
    input: str  # name of the input it is about, see `stream.inputs`
    message: str  # cause and remedy


@dataclass(frozen=True)
class SyncedSweep:
    """One decoded sweep with everything that belongs to it, aligned in time: what the pipeline is given.

    A sweep may be assembled from messages of several LiDARs, or of parts of a turn. Its stamp is that of its latest
    part, and its points lie where they would have been seen at that time, in the frame of the first sensor.
    """

    cloud: PointCloud
    motion: Motion
    map_image: MapImage | None = None
    map_reason: str = ''  # why there is no map image, '' when there is one
    companions: Mapping[str, Any] = field(default_factory=dict)  # decoded messages of further inputs, by input name
    companion_poses: Mapping[str, np.ndarray] = field(default_factory=dict)  # (4, 4) base <- its frame, where tf knows
    epoch: int = 0  # changes when time jumps back: what is remembered of another epoch does not count
    odometry_reason: str = ''  # why there is no odometry, '' when there is
    decode_ms: float = 0.0  # spent on decoding the sweep
    # (N, 2 or more) x, y [m] of the way driven in base_link, newest first; None: that of the sweeps before
    track: np.ndarray | None = None
    findings: tuple[Finding, ...] = ()  # what is implausible about the inputs
    odometry_extrapolation_s: float = 0.0  # by how much T_odom_base goes beyond the newest odometry
    transform_extrapolation_s: float = 0.0  # by how much T_base_sensor goes beyond the newest moving transform
    parts: tuple[SweepPart, ...] = ()  # what the sweep was assembled from; () where it is one message, see `sources`
    deskew: str = ''  # which time of the points was used, or why none was; '' where they have none
    warnings: Mapping[str, str] = field(default_factory=dict)  # reason -> what is missing in this sweep, and the remedy

    @property
    def sources(self) -> tuple[SweepPart, ...]:
        """The parts of the sweep, one at least: which points were seen from where."""
        cloud = self.cloud
        return self.parts or (SweepPart('pointcloud', cloud.frame_id, cloud.stamp_ns, self.motion.T_base_sensor, 0,
                                        len(cloud.xyz)),)


@dataclass(frozen=True)
class Branch:
    """A place where a road connected to the vehicle's own crosses the lookahead ring."""

    bearing: float  # rad, (-pi, pi]
    heading: float  # rad, (-pi, pi], outward
    probability: float  # calibrated probability that the branch exists, 0..1
    bearing_std: float  # rad
    heading_std: float  # rad


@dataclass(frozen=True)
class RingPoint:
    """Where the branch to take crosses one of the rings that a network answers for."""

    radius: float  # m
    branch: Branch


@dataclass(frozen=True)
class Coverage:
    """What was looked at, for every bin of the circular distribution. Made by `bev.coverage`."""

    seen: np.ndarray  # (K,) float32 0..1, share of the way from the vehicle to the ring
    reach: np.ndarray  # (K,) float32 m, distance of the farthest place that was looked at, 0 where none was


@dataclass(frozen=True)
class MapAlignment:
    """Where the LiDAR says the map belongs: `p_true = R(dyaw) p_map + (dx, dy)`, in base_link at the sweep's stamp."""

    dx: float  # m
    dy: float  # m
    dyaw: float  # rad
    std: tuple[float, float, float]  # standard deviations of the three, m, m, rad
    covariance: tuple[tuple[float, ...], ...] | None = None  # (3, 3) of the three; None: only `std` is known
    fits: float = 1.0  # probability that the map fits anywhere within reach, 0..1
    state: str = ''  # see `network.map_tracker.TrackState`; '' where nothing is carried from sweep to sweep


@_fetched_when_read('spatial', 'channel', 'time')
@dataclass(frozen=True)
class Attention:
    """The weights the network used for this sweep (CBAM, Woo et al. 2018)."""

    # stage name -> (h, w) float32 in 0..1, on the BEV grid (row 0 farthest ahead), see `pipeline.contribution` for
    # SELECTION
    spatial: dict[str, np.ndarray]
    channel: np.ndarray  # (C,) float32, weight of each fused channel
    channel_labels: tuple[str, ...]  # (C,) for example `lidar/03`, `map/11`
    lidar_share: float  # share of the weighted activation that LiDAR features have, 0..1
    map_share: float  # 1 - lidar_share
    # (T,) share of each sweep, oldest first, the last is now; None: one sweep only
    time: np.ndarray | None = None


@_fetched_when_read('lidar_bev', 'map_bev')
@dataclass(frozen=True)
class FusionResult:
    """The result for one sweep. Grids and attention maps stay on the network's device until they are read."""

    stamp_ns: int
    mode: Mode
    reason: str  # why this mode, '' when fused
    lookahead: float  # m, radius of the ring
    branches: tuple[Branch, ...]  # most probable first
    direction: Branch | None  # the branch to take
    direction_reason: str  # why there is no direction, '' when there is one
    distribution: np.ndarray  # (K,) float32, sums to 1; bin k covers bearings around -pi + (k + 0.5) * 2 pi / K
    attention: Attention
    lidar_bev: np.ndarray  # (C_l, H, W) float32, channels named by bev.lidar.CHANNELS
    map_bev: np.ndarray  # (C_m, H, W) float32, channels named by bev.map_image.CHANNELS
    extent: float  # m, the BEV grid reaches from -extent to +extent
    trained: bool  # False: random weights, the numbers mean nothing
    stage_ms: dict[str, float] = field(default_factory=dict)  # bev, network, postprocess
    path: tuple[RingPoint, ...] = ()  # through the rings of the network along the branch to take, nearest first
    alignment: MapAlignment | None = None  # None: mode is not fused, or the network does not register the map
    coverage: Coverage | None = None  # None: not known
    findings: tuple[Finding, ...] = ()  # what is implausible about the sweep
    context: Any = field(default=None, repr=False, compare=False)  # what `FusionPipeline.explain` needs; opaque


@dataclass(frozen=True)
class Familiarity:
    """What the sweeps of training were like, as a mean and a spread of a few statistics; see `pipeline.familiarity`."""

    mean: tuple[float, ...]  # (S,)
    precision: tuple[tuple[float, ...], ...]  # (S, S), inverse of the covariance
    limit: float  # Mahalanobis distance beyond which a sweep is like none of them

    def distance(self, statistics: np.ndarray) -> float:
        """Mahalanobis distance of the (S,) statistics of a sweep."""
        offset = np.asarray(statistics, dtype=np.float64) - np.asarray(self.mean)
        return float(np.sqrt(max(0.0, offset @ np.asarray(self.precision) @ offset)))


# Of the direction of simulated scenes over its angle from straight ahead, 15 degrees each, both sides together.
DIRECTION_PRIOR = (0.42, 0.21, 0.11, 0.10, 0.08, 0.045, 0.015, 0.004, 0.004, 0.004, 0.004, 0.004)


@dataclass(frozen=True)
class Calibration:
    """From the network's raw scores to probabilities, and what to make of directions that were not looked at.

    A peak's probability is sigmoid(scale * logit + shift), one pair for each mode (Platt 1999). With `unseen`, the
    share of the way that was not looked at, scale and shift change in proportion: in the dark less is known.
    """

    fused: tuple[float, float] = (1.0, 0.0)
    lidar_only: tuple[float, float] = (1.0, 0.0)
    fused_unseen: tuple[float, float] = (0.0, 0.0)  # added to scale and shift where nothing at all was looked at
    lidar_only_unseen: tuple[float, float] = (0.0, 0.0)
    unseen_bearing_std: tuple[float, float] = (0.0, 0.0)  # rad, of a branch in the dark: fused, lidar_only
    direction_prior: tuple[float, ...] = DIRECTION_PRIOR  # where the branch to take lies before anything is seen
    familiarity: Familiarity | None = None  # None: not known, no sweep counts as unfamiliar
    other_rings: tuple[tuple[float, Calibration], ...] = ()  # radius in m and what holds there, where it differs

    def on_ring(self, radius: float) -> Calibration:
        """What holds on the ring of this radius [m]; what is not said of it is as on the main one."""
        for other, calibration in self.other_rings:
            if math.isclose(other, radius):
                return replace(calibration, familiarity=self.familiarity, direction_prior=self.direction_prior)
        return self

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Calibration:
        """From `dataclasses.asdict`, also as read from JSON and as stored before the newer fields were there.

        Raises KeyError or TypeError for anything else.
        """
        values: dict[str, Any] = {f.name: tuple(stored[f.name]) for f in fields(cls)
                                  if f.name in stored and f.name not in ('familiarity', 'other_rings')}
        values |= {'fused': tuple(stored['fused']), 'lidar_only': tuple(stored['lidar_only'])}
        if stored.get('familiarity') is not None:
            known = stored['familiarity']
            values['familiarity'] = Familiarity(tuple(known['mean']), tuple(map(tuple, known['precision'])),
                                                float(known['limit']))
        values['other_rings'] = tuple((float(radius), cls.from_dict(other))
                                      for radius, other in stored.get('other_rings', ()))
        made = cls(**values)
        for f in fields(cls):
            numbers = getattr(made, f.name)
            if f.name not in ('familiarity', 'other_rings') and not (
                    len(numbers) == len(f.default)  # type: ignore[arg-type]  # every default is a tuple
                    and all(isinstance(n, (int, float)) and math.isfinite(n) for n in numbers)):
                raise TypeError(f'{f.name} must be {len(f.default)} numbers, got {numbers!r}')  # type: ignore[arg-type]
        return made

    def probability(self, logit: np.ndarray | float, with_map: bool, unseen: np.ndarray | float = 0.0) -> np.ndarray:
        """Raw logits of any shape, and `unseen` 0..1 of that shape -> calibrated probabilities of that shape, 0..1."""
        scale, shift = self.fused if with_map else self.lidar_only
        dark_scale, dark_shift = self.fused_unseen if with_map else self.lidar_only_unseen
        unseen = np.asarray(unseen)
        # Never a slope below zero, however little was looked at: a higher score is never less probable.
        slope = np.maximum(scale + unseen * dark_scale, 0.0)
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(slope * np.asarray(logit) + shift + unseen * dark_shift,
                                                       -30.0, 30.0))))
