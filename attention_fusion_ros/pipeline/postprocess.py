# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The network's answer for every bearing bin -> branches, the one to take, and the circular distribution."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from attention_fusion_ros.config import BranchesConfig
from attention_fusion_ros.contracts import Branch, Calibration
from attention_fusion_ros.geometry import angle_between, wrap
from attention_fusion_ros.network.head import decode_bearings, decode_headings, head_arrays

STD_LIMITS = (math.radians(0.3), math.radians(40.0))  # rad, what a reported standard deviation may be
NO_CONTINUATION = 'ambiguous: neither a drawn route nor the road itself clearly tells which branch to take'
NO_BRANCH = 'no branch found'


@dataclass(frozen=True)
class Answer:
    """What `decode_head` makes of one sweep's head output."""

    branches: tuple[Branch, ...]  # most probable first
    direction: Branch | None
    direction_reason: str
    distribution: np.ndarray  # (K,) sums to 1


def circular_nms(scores: np.ndarray, bearings: np.ndarray, min_angle: float) -> list[int]:
    """Indices of the peaks, best first: greedy, each at least `min_angle` radians from every better one.

    scores, bearings: (K,). Only local maxima on the circle are candidates.
    """
    peak = (scores >= np.roll(scores, 1)) & (scores > np.roll(scores, -1))
    kept: list[int] = []
    for i in sorted(np.flatnonzero(peak), key=lambda i: -scores[i]):
        if all(angle_between(bearings[i], bearings[j]) >= min_angle for j in kept):
            kept.append(int(i))
    return kept


def decode_head(head: np.ndarray, no_direction: float, with_map: bool, calibration: Calibration,
                config: BranchesConfig) -> Answer:
    """head (7, K) float, channels as in HEAD_CHANNELS, and the no-direction logit -> Answer.

    with_map: chooses the calibration. Sub-bin accuracy comes from the regressed offset of the peak's bin.
    """
    channel = head_arrays(head)
    bins = head.shape[1]
    bearings = decode_bearings(channel['offset'])
    headings = decode_headings(channel['heading_cos'], channel['heading_sin'])
    probability = calibration.probability(channel['presence'], with_map)
    low, high = STD_LIMITS

    def branch(i: int) -> Branch:
        return Branch(bearing=wrap(bearings[i]), heading=wrap(headings[i]), probability=float(probability[i]),
                      bearing_std=float(np.clip(np.exp(channel['bearing_log_std'][i]), low, high)),
                      heading_std=float(np.clip(np.exp(channel['heading_log_std'][i]), low, high)))

    peaks = [i for i in circular_nms(channel['presence'], bearings, config.nms_angle)
             if probability[i] >= config.min_probability]
    direction, reason = _direction(channel['direction'], no_direction, peaks, bearings, config)
    total = float(probability.sum())
    distribution = probability / total if total > 0 else np.full(bins, 1.0 / bins)
    return Answer(tuple(branch(i) for i in peaks), branch(direction) if direction is not None else None, reason,
                  distribution.astype(np.float32))


def _direction(logits: np.ndarray, no_direction: float, peaks: list[int], bearings: np.ndarray,
               config: BranchesConfig) -> tuple[int | None, str]:
    """Index of the branch that holds most of the direction's probability mass, or None and the reason."""
    if not peaks:
        return None, NO_BRANCH
    everything = np.append(logits, no_direction)
    mass = np.exp(everything - everything.max())
    mass /= mass.sum()
    nearest = np.argmin(angle_between(bearings[:, None], bearings[peaks][None, :]), axis=1)
    share = np.bincount(nearest, weights=mass[:-1], minlength=len(peaks))
    best = int(share.argmax())
    if share[best] < config.min_direction_probability:
        return None, NO_CONTINUATION
    return peaks[best], ''
