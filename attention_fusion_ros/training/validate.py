# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Figures of a network on held-back scenes while it trains, and the calibration of its probabilities afterwards."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from attention_fusion_ros.bev.coverage import coverage, view_of_cells
from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.lidar import CHANNELS as LIDAR_CHANNELS
from attention_fusion_ros.config import BranchesConfig
from attention_fusion_ros.contracts import Calibration
from attention_fusion_ros.datasets.simulated import collate
from attention_fusion_ros.errors import require
from attention_fusion_ros.metrics.branches import NARROW_RAD, Prediction, TrueRoads, score
from attention_fusion_ros.metrics.matching import match
from attention_fusion_ros.metrics.registry import logged
from attention_fusion_ros.metrics.summary import point_values
from attention_fusion_ros.network.build import Network
from attention_fusion_ros.network.config import NetworkConfig
from attention_fusion_ros.network.head import decode_bearings, head_arrays
from attention_fusion_ros.pipeline.postprocess import circular_nms, decode_head

MIN_LOGIT = -6.0  # peaks below are no candidates
MIN_PEAKS = 50  # to fit a curve to
RIDGE = 1e-3  # pulls the curve to (0, 0) where the data leave it open
PURPOSE = 'calibrating probabilities'


@dataclass(frozen=True)
class Predictions:
    """Head outputs of a data set and its truths, S samples."""

    head: np.ndarray  # (S, 7, K)
    no_direction: np.ndarray  # (S,)
    with_map: np.ndarray  # (S,) bool
    route: np.ndarray  # (S,) bool
    truths: list[TrueRoads]
    # (S, 3) what is left of the map's error, m, m, rad, NaN without one, and its (S, 3, 3) covariance; None: not moved
    left: np.ndarray | None = None
    covariance: np.ndarray | None = None
    seen: np.ndarray | None = None  # (S, K) 0..1, share of the way to the ring that was looked at; None: not asked for


@torch.inference_mode()
def predict(network: Network, dataset: Dataset, device: torch.device | str = 'cpu',
            batch: int = 32, look: bool = False) -> Predictions:
    """Run the network over a data set, `batch` samples at a time. look: also fill in `seen`."""
    network.eval()
    heads, nones, maps, routes, truths = [], [], [], [], []
    seen: list[np.ndarray] = []
    left: list[np.ndarray] = []
    covariances: list[np.ndarray] = []
    # A generator of its own: figures must not change the random numbers that training goes on with.
    for item in DataLoader(dataset, batch_size=batch, collate_fn=collate, generator=torch.Generator()):
        output = network(item.lidar.to(device, memory_format=torch.channels_last),
                         item.map_image.to(device, memory_format=torch.channels_last),
                         None if item.past is None else item.past.to(device),
                         *(() if item.prior is None else (item.prior.to(device),)))
        heads.append(output.head.float().cpu().numpy())
        nones.append(output.no_direction.float().cpu().numpy())
        maps.append(item.with_map.numpy())
        routes.append(item.route.numpy())
        if output.alignment is not None and item.target.map_error is not None:
            left.append((item.target.map_error - output.alignment.float().cpu()).numpy())
            covariance = output.weights['map'].get('covariance')
            covariances += [] if covariance is None else [covariance.float().cpu().numpy()]
        if look:
            seen += [seen_cells(lidar, network.config) for lidar in item.lidar]
        truths += [true_roads(b, d) for b, d in zip(item.target.branches.numpy(), item.target.direction.numpy())]
    return Predictions(np.concatenate(heads), np.concatenate(nones), np.concatenate(maps), np.concatenate(routes),
                       truths, np.concatenate(left) if left else None,
                       np.concatenate(covariances) if covariances else None, np.stack(seen) if look else None)


def seen_cells(lidar: torch.Tensor, config: NetworkConfig) -> np.ndarray:
    """(C, H, W) features on the CPU -> (K,) share of the way to the ring that was looked at, 0..1."""
    occupied = lidar[LIDAR_CHANNELS.index('density')] > 0
    found = coverage([view_of_cells(occupied, Grid(config.extent, config.cells))], config.bins, config.lookahead,
                     config.extent)
    share: np.ndarray = found[0].numpy()
    return share


def true_roads(branches: np.ndarray, direction: np.ndarray) -> TrueRoads:
    """Rows of a target, (M, 2) and (2,) filled up with NaN -> truth of one scene."""
    pairs = tuple((float(b), float(h)) for b, h in branches if math.isfinite(b))
    return TrueRoads(pairs, (float(direction[0]), float(direction[1])) if math.isfinite(direction[0]) else None)


def figures(predictions: Predictions, calibration: Calibration) -> dict[str, float]:
    """The metrics of training logs, `state_metric` -> value; what is not defined (no sample, no match) is left out."""
    config = BranchesConfig()
    decoded = []
    for head, none, with_map in zip(predictions.head, predictions.no_direction, predictions.with_map):
        answer = decode_head(head, float(none), bool(with_map), calibration, config)
        decoded.append(Prediction(answer.branches, answer.direction))
    found: dict[str, float] = {}
    for state, chosen in (('fused', predictions.with_map), ('nomap', ~predictions.with_map),
                          ('route', predictions.route)):
        rows = np.flatnonzero(chosen)
        scores = score([decoded[i] for i in rows], [predictions.truths[i] for i in rows])
        values = point_values(scores, [metric.name for metric in logged()])
        found |= {f'{state}_{metric.log_name}': values[metric.name] for metric in logged()
                  if math.isfinite(values[metric.name])}
    return found | registration_figures(predictions)


ELLIPSE_95 = 7.815  # of a chi-squared distribution with three degrees of freedom


def registration_figures(predictions: Predictions) -> dict[str, float]:
    """Median of what is left of the map's shift [m] and yaw [deg], and how often the 95 % ellipsoid holds it."""
    if predictions.left is None or not np.isfinite(predictions.left).any():
        return {}
    known = np.isfinite(predictions.left).all(axis=1)
    left = predictions.left[known]
    found = {'map_shift': float(np.median(np.hypot(left[:, 0], left[:, 1]))),
             'map_yaw': math.degrees(float(np.median(np.abs(left[:, 2]))))}
    if predictions.covariance is not None:
        distance = np.einsum('si,sij,sj->s', left, np.linalg.inv(predictions.covariance[known]), left)
        found['map_in_ellipse'] = float((distance < ELLIPSE_95).mean())
    return found


def calibrate(predictions: Predictions) -> Calibration:
    """Platt scaling (1999) of the peak scores against hits within 10 degrees, with and without a map."""
    logits, hits, with_map = _peaks(predictions)
    fitted = [platt_scaling(logits[chosen], hits[chosen]) for chosen in (with_map, ~with_map)]
    return Calibration(fused=fitted[0], lidar_only=fitted[1])


def _peaks(predictions: Predictions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Raw logit of every peak, whether it hit a true branch, whether its sample had a map."""
    rows = []
    for head, with_map, truth in zip(predictions.head, predictions.with_map, predictions.truths, strict=True):
        channel = head_arrays(head)
        presence, bearings = channel['presence'], decode_bearings(channel['offset'])
        peaks = [i for i in circular_nms(presence, bearings, BranchesConfig().nms_angle) if presence[i] > MIN_LOGIT]
        hit = {p for p, _ in match(bearings[peaks], [b for b, _ in truth.branches], NARROW_RAD)}
        rows += [(presence[i], n in hit, with_map) for n, i in enumerate(peaks)]
    table = np.array(rows, dtype=np.float64).reshape(-1, 3)
    return table[:, 0], table[:, 1] > 0, table[:, 2] > 0


def platt_scaling(logits: np.ndarray, hits: np.ndarray) -> tuple[float, float]:
    """(scale, shift) of the logistic curve through logits (N,) and hits (N,) bool; (1, 0) without enough data."""
    if len(logits) < MIN_PEAKS or hits.all() or not hits.any():
        return 1.0, 0.0
    optimize, special = require('scipy.optimize', PURPOSE), require('scipy.special', PURPOSE)
    design = np.stack([logits, np.ones_like(logits)], axis=1)

    def cost(theta: np.ndarray) -> float:
        z = design @ theta
        return float((np.logaddexp(0, z) - hits * z).sum() + 0.5 * RIDGE * theta @ theta)

    def gradient(theta: np.ndarray) -> Any:
        return design.T @ (special.expit(design @ theta) - hits) + RIDGE * theta

    def hessian(theta: np.ndarray) -> Any:
        p = special.expit(design @ theta)
        return (design * (p * (1 - p))[:, None]).T @ design + RIDGE * np.eye(2)
    found = optimize.minimize(cost, np.array([1.0, 0.0]), jac=gradient, hess=hessian, method='trust-exact',
                              options={'gtol': 1e-6})
    return float(found.x[0]), float(found.x[1])
