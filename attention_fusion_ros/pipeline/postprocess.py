# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The network's outputs -> branches, the one to take, the circular distribution, attention and map alignment."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from attention_fusion_ros.backends.base import Model
from attention_fusion_ros.bev.coverage import drawn_bearings
from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.config import BranchesConfig, NodeConfig
from attention_fusion_ros.contracts import (
    READING,
    SELECTION,
    Attention,
    Branch,
    Calibration,
    Coverage,
    Deferred,
    FusionResult,
    MapAlignment,
    Mode,
    RingPoint,
)
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.geometry import angle_between, wrap
from attention_fusion_ros.network.config import channel_labels, fused_widths
from attention_fusion_ros.network.head import decode_bearings, decode_headings, head_arrays
from attention_fusion_ros.network.output import NetworkOutput
from attention_fusion_ros.pipeline.contribution import Heat
from attention_fusion_ros.pipeline.familiarity import summary, unfamiliar
from attention_fusion_ros.pipeline.no_direction import AMBIGUOUS, IMPROBABLE, NO_BRANCH, NO_BRANCH_THERE
from attention_fusion_ros.pipeline.not_seen import Sight, not_seen
from attention_fusion_ros.pipeline.plausibility import GROUND_ABOVE, blind, mounting
from attention_fusion_ros.pipeline.preprocess import Features
from attention_fusion_ros.pipeline.route_fit import WITHIN, goes_elsewhere, is_off_route, off_route, route_bearings
from attention_fusion_ros.utils.tensors import as_array
from attention_fusion_ros.utils.torch_later import Tensor, torch

STD_LIMITS_RAD = (math.radians(0.3), math.radians(40.0))  # what a reported standard deviation may be
ANSWERS = ('heads', 'nones', 'alignment')  # of the network: what is published is made of these
PATH_TURN_RAD = math.radians(35.0)  # from one ring to the next; more, and it is another branch
SAME_WAY_RAD = math.radians(15.0)  # at least: mass of the direction this near a branch is its own, see `_direction`


def fusion_result(features: Features, output: NetworkOutput, model: Model, config: NodeConfig,
                  stage_ms: dict[str, float] | None = None, context: object = None,
                  heat: Heat | None = None) -> FusionResult:
    """The result of one sweep from what the network was given and what it returned for it (a batch of one).

    Grids and attention maps stay where they are until they are read. stage_ms, context: passed on. heat: makes that of
    the cells that hard attention chose; None: all attention is that of the network's weights.
    Raises InputError `not_finite`.
    """
    ring = ring_index(model.network.rings, config.lookahead)
    heads, nones = output.rings, output.rings_no_direction
    if heads is None or nones is None:
        heads, nones = output.head[:, None], output.no_direction[:, None]
    registration = output.weights.get('map', {})
    absent = registration.get('log_absent')
    wanted = {'heads': heads, 'nones': nones, 'contribution': output.contribution,
              'alignment': output.alignment, 'alignment_std': output.alignment_std,
              'covariance': registration.get('covariance'), 'absent': absent}
    tensors: dict[str, Any] = {name: values[0] for name, values in wanted.items() if values is not None}
    with_map, network = features.map.mode is Mode.FUSED, model.network
    with_route = with_map and features.map.route
    square = Grid(network.extent, network.cells)
    tensors['familiarity'] = summary(features.lidar, network.extent)
    if features.levels is not None:
        tensors['levels'] = features.levels
    if features.own_reach is not None:
        tensors['own_reach'] = features.own_reach
    if features.coverage is not None:
        tensors['coverage'] = features.coverage
        if with_map:
            tensors['drawn'] = drawn_bearings(features.map.grid, square, network.bins, config.lookahead)
    if with_route:
        tensors['route'] = route_bearings(features.map.grid, square, network.bins, config.lookahead)
    numbers = _fetch(tensors)
    _check_finite(numbers)
    coverage = Coverage(*numbers['coverage']) if 'coverage' in numbers else None
    sight = None if coverage is None else Sight.of(coverage.seen, numbers['drawn'] > 0 if with_map else None)
    calibration = model.calibration.on_ring(config.lookahead)
    decoded = decode_head(numbers['heads'][ring], float(numbers['nones'][ring]), with_map, calibration,
                          config.branches, sight)
    if with_route and decoded.direction is not None and is_off_route(decoded.direction.bearing, numbers['route']):
        within = _fetch({str(share): route_bearings(features.map.grid, square, network.bins, share * config.lookahead)
                         for share in WITHIN})
        if not goes_elsewhere(numbers['route'], list(within.values())):
            decoded = replace(decoded, direction=None, direction_reason=off_route(numbers['route']))
    strange = unfamiliar(numbers['familiarity'], calibration.familiarity)
    mounted = mounting(numbers.get('levels'), features.sensor_height)
    if strange is not None:
        decoded = nothing_known(network.bins, f'{strange.name}: {strange.message.partition(" (")[0]}')
    elif mounted is not None and mounted.name == GROUND_ABOVE:
        decoded = nothing_known(network.bins, f'{mounted.name}: {mounted.message.partition(": no branch")[0]}')
    found = (strange, *features.findings, *features.map.findings, mounted, blind(numbers.get('own_reach')))
    return FusionResult(
        stamp_ns=features.stamp_ns, mode=features.map.mode, reason=features.map.reason, lookahead=config.lookahead,
        branches=decoded.branches, direction=decoded.direction, direction_reason=decoded.direction_reason,
        distribution=decoded.distribution,
        attention=_attention(output, numbers['contribution'], model,
                             None if heat is None else partial(heat, decoded.branches, ring)),
        lidar_bev=_array(features.lidar), map_bev=_array(features.map.grid), extent=model.network.extent,
        trained=model.trained, stage_ms={} if stage_ms is None else stage_ms,
        path=_path(decoded, ring, numbers['heads'], numbers['nones'], with_map, model, config),
        alignment=_alignment(numbers) if with_map else None, coverage=coverage,
        findings=tuple(finding for finding in found if finding is not None), context=context)


def _check_finite(numbers: dict[str, np.ndarray]) -> None:
    """Raises InputError `not_finite`: what compares with NaN is false, and 'no branch' would pass for an answer."""
    bad = [name for name in ANSWERS if name in numbers and not np.isfinite(numbers[name]).all()]
    if bad:
        raise InputError('not_finite', f"the network put out NaN or infinite numbers ({', '.join(bad)}).",
                         'clean up and configure the node, which loads the weights anew; check the memory of the '
                         'device, and the checkpoint, if it happens again.')


def ring_index(rings: Sequence[float], lookahead: float) -> int:
    """Index of the ring of radius `lookahead` among those [m] of a network."""
    return int(np.argmin([abs(radius - lookahead) for radius in rings]))


def _path(decoded: DecodedHead, ring: int, heads: np.ndarray, nones: np.ndarray, with_map: bool, model: Model,
          config: NodeConfig) -> tuple[RingPoint, ...]:
    """Where the branch to take crosses every ring. Nothing without a direction.

    A ring whose own branch to take turns off from the direction by more than PATH_TURN_RAD a ring's width is left out,
    and what is beyond it.
    """
    if decoded.direction is None:
        return ()
    radii = model.network.rings
    found: list[RingPoint] = [RingPoint(radii[ring], decoded.direction)]
    for order in (range(ring - 1, -1, -1), range(ring + 1, len(radii))):
        before = found[0] if order.step < 0 else found[-1]
        for k in order:
            calibration = model.calibration.on_ring(radii[k])
            taken = decode_head(heads[k], float(nones[k]), with_map, calibration, config.branches).direction
            if taken is None or angle_between(taken.bearing, before.branch.bearing) > PATH_TURN_RAD:
                break
            before = RingPoint(radii[k], taken)
            found.insert(0 if order.step < 0 else len(found), before)
    return tuple(found)


def _fetch(values: dict[str, Any]) -> dict[str, np.ndarray]:
    """Small tensors and arrays of any shape -> float32 arrays, with a single transfer from the device."""
    tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
    arrays = {name: np.asarray(value, np.float32) for name, value in values.items() if name not in tensors}
    if not tensors:
        return arrays
    packed = torch.cat([t.reshape(-1).float() for t in tensors.values()]).cpu().numpy()
    ends = np.cumsum([t.numel() for t in tensors.values()])[:-1]
    return arrays | {name: part.reshape(tuple(t.shape))
                     for (name, t), part in zip(tensors.items(), np.split(packed, ends))}


def _array(values: Any) -> Any:
    """The tensor as an array, once somebody asks for it."""
    return Deferred(lambda: as_array(values))


def _attention(output: NetworkOutput, contribution: np.ndarray, model: Model,
               heat: Callable[[], np.ndarray] | None) -> Attention:
    """contribution: (C,) of the fused channels, LiDAR first. heat: of the chosen cells."""
    width, _ = fused_widths(model.network)
    lidar, of_map = float(contribution[:width].mean()), float(contribution[width:].mean())  # means: the widths differ
    share = lidar / (lidar + of_map) if lidar + of_map > 0 else 0.5
    spatial = {stage: weights[0, 0] for stage, weights in output.spatial.items()}
    time = None if output.temporal_weights is None else _array(output.temporal_weights[0].float().mean(dim=(1, 2)))

    def maps() -> dict[str, np.ndarray]:
        found = {stage: as_array(weights) for stage, weights in spatial.items()}
        return found if heat is None else found | {READING if READING in found else SELECTION: heat()}
    fetched: Any = Deferred(maps)
    return Attention(
        spatial=fetched, channel=_array(output.channel[0]), channel_labels=channel_labels(model.network),
        lidar_share=share, map_share=1.0 - share, time=time)


def _alignment(numbers: dict[str, np.ndarray]) -> MapAlignment | None:
    """Only of a map that was used: without one the network's correction means nothing."""
    if 'alignment' not in numbers:
        return None
    (dx, dy, dyaw), (std_x, std_y, std_yaw) = numbers['alignment'].tolist(), numbers['alignment_std'].tolist()
    covariance = tuple(map(tuple, numbers['covariance'].tolist())) if 'covariance' in numbers else None
    fits = 1.0 - math.exp(float(numbers['absent'])) if 'absent' in numbers else 1.0
    return MapAlignment(dx, dy, dyaw, (std_x, std_y, std_yaw), covariance, fits)


@dataclass(frozen=True)
class DecodedHead:
    """What `decode_head` makes of one sweep's head output."""

    branches: tuple[Branch, ...]  # most probable first
    direction: Branch | None
    direction_reason: str
    distribution: np.ndarray  # (K,) sums to 1


def circular_nms(scores: np.ndarray, bearings: np.ndarray, min_angle: float) -> list[int]:
    """Indices of the peaks, best first: greedy, each at least `min_angle` radians from every better one.

    scores, bearings: (K,). Only local maxima on the circle are candidates.
    """
    count = np.arange(len(scores))
    peaks = np.flatnonzero((scores >= scores[count - 1]) & (scores > scores[count + 1 - len(scores)]))
    best_first = peaks[np.argsort(-scores[peaks], kind='stable')].tolist()
    at = bearings.tolist()  # there are few: plain numbers are faster than arrays
    kept: list[int] = []
    for i in best_first:
        if all(abs(wrap(at[i] - at[j])) >= min_angle for j in kept):
            kept.append(i)
    return kept


def nothing_known(bins: int, reason: str) -> DecodedHead:
    """No branch, no direction, and every bearing as probable as any other."""
    return DecodedHead((), None, reason, np.full(bins, 1.0 / bins, np.float32))


def decode_head(head: np.ndarray, no_direction: float, with_map: bool, calibration: Calibration,
                config: BranchesConfig, sight: Sight | None = None) -> DecodedHead:
    """head (7, K) float, channels as in HEAD_CHANNELS, and the no-direction logit -> DecodedHead.

    with_map: chooses the calibration. Sub-bin accuracy comes from the regressed offset of the peak's bin.
    sight: what was looked at; None: everything.
    """
    channel = head_arrays(head)
    bins = head.shape[1]
    bearings = decode_bearings(channel['offset'])
    headings = decode_headings(channel['heading_cos'], channel['heading_sin'])
    unseen = np.zeros(bins) if sight is None else sight.unseen
    probability = calibration.probability(channel['presence'], with_map, unseen)
    low, high = STD_LIMITS_RAD
    dark_std = unseen * calibration.unseen_bearing_std[0 if with_map else 1]

    def branch(i: int) -> Branch:
        bearing_std = math.hypot(np.exp(channel['bearing_log_std'][i]), dark_std[i])
        return Branch(bearing=wrap(bearings[i]), heading=wrap(headings[i]), probability=float(probability[i]),
                      bearing_std=min(max(bearing_std, low), high),
                      heading_std=min(max(float(np.exp(channel['heading_log_std'][i])), low), high))

    peaks = [i for i in circular_nms(channel['presence'], bearings, config.nms_angle)
             if probability[i] >= config.min_probability]
    direction, share, reason = _direction(channel['direction'], no_direction, peaks, bearings, config)
    if sight is not None:
        taken = None if direction is None else wrap(bearings[direction])
        if sight.hides(taken, share, calibration.direction_prior):
            direction, reason = None, not_seen(sight)
        elif taken is not None and sight.doubts_map(taken, float(probability[direction]), wrap(bearings[peaks])):
            direction, reason = None, not_seen(sight, doubted=True)
    if direction is not None and probability[direction] < config.min_direction_probability:
        direction, reason = None, IMPROBABLE
    total = float(probability.sum())
    distribution = probability / total if total > 0 else np.full(bins, 1.0 / bins)
    return DecodedHead(tuple(branch(i) for i in peaks), branch(direction) if direction is not None else None, reason,
                  distribution.astype(np.float32))


def _direction(logits: np.ndarray, no_direction: float, peaks: list[int], bearings: np.ndarray,
               config: BranchesConfig) -> tuple[int | None, float, str]:
    """Index of the branch that holds most of the direction's probability mass, or None, that mass, and why None.

    Mass belongs to the nearest branch, if it is no farther than another branch would be: a road ahead that is not
    probable enough to be a branch must not speak for the one behind.
    """
    if not peaks:
        return None, 0.0, NO_BRANCH
    everything = np.append(logits, no_direction)
    mass = np.exp(everything - everything.max())
    mass /= mass.sum()
    distance = angle_between(bearings[:, None], bearings[peaks][None, :])
    own = distance.min(axis=1) <= max(config.nms_angle, SAME_WAY_RAD)
    share = np.bincount(distance.argmin(axis=1), weights=mass[:-1] * own, minlength=len(peaks))
    best = int(share.argmax())
    elsewhere = float(mass[:-1][~own].sum())
    if elsewhere > max(share[best], mass[-1]):
        return None, float(share[best]), NO_BRANCH_THERE
    if share[best] < config.min_direction_probability:
        return None, float(share[best]), AMBIGUOUS
    return peaks[best], float(share[best]), ''
