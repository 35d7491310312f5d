# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The calibration of a trained network that knows what was looked at, fitted on sweeps with sectors removed."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from attention_fusion_ros.config import BranchesConfig
from attention_fusion_ros.contracts import DIRECTION_PRIOR, Calibration, Familiarity
from attention_fusion_ros.datasets.blind import BlindSectors
from attention_fusion_ros.errors import require
from attention_fusion_ros.geometry import angle_between
from attention_fusion_ros.metrics.branches import MISS_RAD, NARROW_RAD
from attention_fusion_ros.metrics.matching import match, nearest
from attention_fusion_ros.network.build import Network
from attention_fusion_ros.network.head import decode_bearings, head_arrays
from attention_fusion_ros.pipeline import familiarity
from attention_fusion_ros.pipeline.not_seen import Sight
from attention_fusion_ros.pipeline.postprocess import circular_nms
from attention_fusion_ros.training.validate import (
    ELLIPSOID_95,
    MIN_LOGIT,
    MIN_PEAKS,
    PURPOSE,
    Predictions,
    predict_rings,
)

RIDGE = 1e-3  # pulls parameters to 0 where the data leave them open
UNSEEN = 0.7  # share of the way from which on a peak counts as in the dark, for its standard deviation
PRIOR_FLOOR = 0.004  # of a class of the prior: nowhere is a direction impossible
MIN_DIRECTIONS = 100  # to estimate the prior from
PRIOR_SPREAD = (0.25, 0.5, 0.25)  # classes next to each other are alike


class _Peaks(NamedTuple):
    logit: np.ndarray  # (P,)
    hit: np.ndarray  # (P,) bool, a true branch lies within 10 degrees
    unseen: np.ndarray  # (P,) 0..1
    with_map: np.ndarray  # (P,) bool
    error: np.ndarray  # (P,) rad to the nearest true branch within 25 degrees, NaN without one
    std: np.ndarray  # (P,) rad, as the network states it


def calibrate_blind(network: Network, dataset: Dataset, device: torch.device | str = 'cpu') -> Calibration:
    """The calibration of a network from a data set of `datasets.simulated` that it has not seen.

    Every sweep is shown with sectors of 0 to 270 degrees removed, with and without its map.
    """
    main = network.config.lookahead
    found = {radius: calibration_of(predictions)
             for radius, predictions in predict_rings(network, BlindSectors(dataset), device, look=True).items()}
    return dataclasses.replace(found[main], familiarity=familiarity_of(dataset, network.config.extent),
                               other_rings=tuple((r, other) for r, other in found.items() if r != main))


@torch.no_grad()
def calibrate_registration(network: Network, predictions: Predictions) -> float | None:
    """Scale the covariances of a network that registers the map so that the 95 % ellipsoid holds 95 % of the truths.

    predictions: of the network, for maps that fit. Returns the factor of the standard deviations, which the network
    keeps; None when it states none, or there are too few.
    """
    scale = getattr(network.map_registration, 'covariance_scale', None)
    if scale is None or predictions.left is None or predictions.covariance is None:
        return None
    known = np.isfinite(predictions.left).all(axis=1)
    if known.sum() < MIN_PEAKS:
        return None
    left = predictions.left[known]
    distance = np.einsum('si,sij,sj->s', left, np.linalg.inv(predictions.covariance[known]), left)
    factor = math.sqrt(float(np.quantile(distance, 0.95)) / ELLIPSOID_95)
    scale.mul_(factor)
    return factor


def familiarity_of(dataset: Any, extent: float = 40.0) -> Familiarity | None:
    """What the sweeps of a data set of `datasets.simulated` are like, as they are; None for too few of them.

    Mean and spread are those of every other sweep, the limit is the largest distance of all.
    """
    found = [familiarity.statistics(familiarity.summary(torch.from_numpy(dataset[i]['lidar']), extent).numpy())
             for i in range(len(dataset))]
    samples = np.array([row for row in found if row is not None])
    return familiarity.fit(samples[::2], samples) if len(samples) >= MIN_PEAKS else None


def calibration_of(predictions: Predictions) -> Calibration:
    """The calibration from predictions that know what was looked at (`predict(look=True)`)."""
    peaks = _peaks(predictions)
    fitted: list[tuple[float, ...]] = []
    stds = []
    for chosen in (peaks.with_map, ~peaks.with_map):
        part = _Peaks(*(values[chosen] for values in peaks))
        fitted.append(_platt_scaling(part))
        dark = (part.unseen > UNSEEN) & np.isfinite(part.error)
        extra = part.error[dark] ** 2 - part.std[dark] ** 2
        stds.append(math.sqrt(max(0.0, float(extra.mean()))) if len(extra) >= MIN_PEAKS else 0.0)
    return Calibration(fused=_pair(fitted[0][:2]), lidar_only=_pair(fitted[1][:2]), fused_unseen=_pair(fitted[0][2:]),
                       lidar_only_unseen=_pair(fitted[1][2:]), unseen_bearing_std=_pair(stds),
                       direction_prior=direction_prior(predictions))


def _pair(values: Any) -> tuple[float, float]:
    first, second = values
    return float(first), float(second)


def direction_prior(predictions: Predictions) -> tuple[float, ...]:
    """Shares of the true directions by angle from straight ahead, both sides together; those of routes do not count."""
    angles = [abs(truth.direction[0]) for truth, route in zip(predictions.truths, predictions.route)
              if truth.direction is not None and not route]
    if len(angles) < MIN_DIRECTIONS:
        return DIRECTION_PRIOR
    counts = np.histogram(angles, len(DIRECTION_PRIOR), (0.0, math.pi))[0] / len(angles)
    shares = np.maximum(np.convolve(np.pad(counts, 1, mode='symmetric'), PRIOR_SPREAD, mode='valid'), PRIOR_FLOOR)
    return tuple((shares / shares.sum()).round(4).tolist())


def _peaks(predictions: Predictions) -> _Peaks:
    assert predictions.seen is not None
    rows = []
    for head, with_map, truth, seen in zip(predictions.head, predictions.with_map, predictions.truths,
                                           predictions.seen, strict=True):
        channel = head_arrays(head)
        presence, bearings = channel['presence'], decode_bearings(channel['offset'])
        peaks = [i for i in circular_nms(presence, bearings, BranchesConfig().nms_angle) if presence[i] > MIN_LOGIT]
        true = np.array([b for b, _ in truth.branches])
        hit = {p for p, _ in match(bearings[peaks], true, NARROW_RAD)}
        unseen = Sight.of(seen).unseen
        for n, i in enumerate(peaks):
            k = nearest(bearings[i], true, MISS_RAD)
            error = math.nan if k is None else float(angle_between(bearings[i], true[k]))
            rows.append((presence[i], n in hit, unseen[i], with_map, error, math.exp(channel['bearing_log_std'][i])))
    table = np.array(rows, dtype=np.float64).reshape(-1, 6).T
    return _Peaks(table[0], table[1] > 0, table[2], table[3] > 0, table[4], table[5])


def _platt_scaling(peaks: _Peaks) -> tuple[float, float, float, float]:
    """(scale, shift) and what is added to both in the dark; (1, 0, 0, 0) without enough data."""
    if len(peaks.logit) < MIN_PEAKS or peaks.hit.all() or not peaks.hit.any():
        return 1.0, 0.0, 0.0, 0.0
    optimize, special = require('scipy.optimize', PURPOSE), require('scipy.special', PURPOSE)
    x, u = peaks.logit, peaks.unseen
    design = np.stack([x, np.ones_like(x), u * x, u], axis=1)

    def cost(theta: np.ndarray) -> float:
        z = design @ theta
        return float((np.logaddexp(0, z) - peaks.hit * z).sum() + 0.5 * RIDGE * theta @ theta)

    def gradient(theta: np.ndarray) -> Any:
        return design.T @ (special.expit(design @ theta) - peaks.hit) + RIDGE * theta
    found = optimize.minimize(cost, np.array([1.0, 0.0, 0.0, 0.0]), jac=gradient, method='BFGS')
    scale, shift, dark_scale, dark_shift = (float(value) for value in found.x)
    return scale, shift, max(dark_scale, -scale), dark_shift


def as_lines(calibration: Calibration) -> list[str]:
    """The calibration for a terminal, one field a line."""
    return [f'{name}: {value}' for name, value in dataclasses.asdict(calibration).items()]
