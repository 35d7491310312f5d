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
ELLIPSOID_95 = 7.815  # 95 % of a chi-squared distribution of three degrees of freedom lie below
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


def predict(network: Network, dataset: Dataset, device: torch.device | str = 'cpu',
            batch: int = 32, look: bool = False) -> Predictions:
    """Run the network over a data set, `batch` samples at a time. look: also fill in `seen`. On its main ring."""
    return predict_rings(network, dataset, device, batch, look, main_only=True)[network.config.lookahead]


@torch.inference_mode()
def predict_rings(network: Network, dataset: Dataset, device: torch.device | str = 'cpu', batch: int = 32,
                  look: bool = False, main_only: bool = False) -> dict[float, Predictions]:
    """As `predict`, on every ring that the network answers for and the data set knows the truth of, by radius in m."""
    network.eval()
    config = network.config
    found: dict[float, _Answers] = {}
    left: list[np.ndarray] = []
    covariances: list[np.ndarray] = []
    maps, routes = [], []
    # A generator of its own: figures must not change the random numbers that training goes on with.
    for item in DataLoader(dataset, batch_size=batch, collate_fn=collate, generator=torch.Generator()):
        output = network(item.lidar.to(device, memory_format=torch.channels_last),
                         item.map_image.to(device, memory_format=torch.channels_last),
                         None if item.past is None else item.past.to(device),
                         *(() if item.prior is None else (item.prior.to(device),)))
        maps.append(item.with_map.numpy())
        routes.append(item.route.numpy())
        target = item.target
        found.setdefault(config.lookahead, _Answers()).add(output.head, output.no_direction, target.branches,
                                                           target.direction)
        if not main_only and output.rings is not None and output.rings_no_direction is not None \
                and target.rings is not None and target.ring_directions is not None:
            for k, radius in enumerate(config.rings):
                if radius != config.lookahead:
                    found.setdefault(radius, _Answers()).add(output.rings[:, k], output.rings_no_direction[:, k],
                                                             target.rings[:, k], target.ring_directions[:, k])
        if look:
            for radius, answers in found.items():
                answers.seen += [seen_cells(lidar, config, radius) for lidar in item.lidar]
        if output.alignment is not None and target.map_error is not None:
            left.append((target.map_error - output.alignment.float().cpu()).numpy())
            covariance = output.weights['map'].get('covariance')
            covariances += [] if covariance is None else [covariance.float().cpu().numpy()]
    with_map, route = np.concatenate(maps), np.concatenate(routes)
    return {radius: Predictions(np.concatenate(answers.heads), np.concatenate(answers.nones), with_map, route,
                                answers.truths, np.concatenate(left) if left else None,
                                np.concatenate(covariances) if covariances else None,
                                np.stack(answers.seen) if look else None)
            for radius, answers in found.items()}


class _Answers:
    """Of one ring, batch by batch."""

    def __init__(self) -> None:
        self.heads: list[np.ndarray] = []
        self.nones: list[np.ndarray] = []
        self.truths: list[TrueRoads] = []
        self.seen: list[np.ndarray] = []

    def add(self, head: torch.Tensor, no_direction: torch.Tensor, branches: torch.Tensor,
            direction: torch.Tensor) -> None:
        self.heads.append(head.float().cpu().numpy())
        self.nones.append(no_direction.float().cpu().numpy())
        self.truths += [true_roads(b, d) for b, d in zip(branches.numpy(), direction.numpy())]


def seen_cells(lidar: torch.Tensor, config: NetworkConfig, radius: float) -> np.ndarray:
    """(C, H, W) features on the CPU -> (K,) share of the way to the ring of that radius that was looked at, 0..1."""
    occupied = lidar[LIDAR_CHANNELS.index('density')] > 0
    found = coverage([view_of_cells(occupied, Grid(config.extent, config.cells))], config.bins, radius,
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
        found['map_in_ellipse'] = float((distance < ELLIPSOID_95).mean())
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
