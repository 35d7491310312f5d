# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What one trained network of the comparison is worth on held-out scenes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from attention_fusion_ros.config import BranchesConfig
from attention_fusion_ros.contracts import Calibration
from attention_fusion_ros.datasets.pool import Pool
from attention_fusion_ros.datasets.simulated import Batch, collate
from attention_fusion_ros.evaluation.interventions.replacement import MeanWeights, recorded, replaced
from attention_fusion_ros.metrics.branches import Prediction, TrueRoads, flips, invariance, score
from attention_fusion_ros.metrics.registry import ABLATION, METRICS, columns
from attention_fusion_ros.metrics.summary import point_values
from attention_fusion_ros.network.build import Network
from attention_fusion_ros.network.head import HEAD_CHANNELS
from attention_fusion_ros.network.output import NetworkOutput
from attention_fusion_ros.pipeline.postprocess import decode_head
from attention_fusion_ros.training.validate import Predictions, calibrate, true_roads

SCORED = tuple(name for name in columns(ABLATION) if METRICS[name].statistic is not None)
FOLDS = 2
MASKS = {'roadside': 'roadside', 'vehicles': 'vehicle'}  # figure -> mask, see Target.mask
JUDGED_BY = 'f1_10'  # what attention that decides cannot be replaced by its mean without


@dataclass
class _Outputs:
    """One pass over some scenes."""

    head: np.ndarray  # (S, len(HEAD_CHANNELS), K)
    no_direction: np.ndarray  # (S,)
    with_map: np.ndarray  # (S,) bool
    truths: list[TrueRoads]
    shares: np.ndarray  # (S, 4) attention and area on the roadside, attention and area on vehicles; nan without
    map_error: np.ndarray  # (S, 2, 3) correction that was needed and correction that was made; nan without STN


def evaluate_network(network: Network, pool: Pool, batch: int = 32) -> dict[str, float]:
    """Metrics of the network on a pool of held-out scenes, by name; nan where a network has no such thing.

    'map/...' are scenes with their map, 'nomap/...' all scenes without one. Probabilities are calibrated on one half of
    the scenes and used on the other. Angles in degrees, lengths in metres.
    """
    fold = pool.seed % FOLDS
    full, without_vehicles = np.flatnonzero(pool.with_vehicles), np.flatnonzero(~pool.with_vehicles)
    outputs = {'map': _run(network, pool, full, batch), 'nomap': _run(network, pool, full, batch, withhold_map=True),
               'no vehicles': _run(network, pool, without_vehicles, batch)}
    calibrations = [_calibration([outputs['map'], outputs['nomap']], fold[full] != k) for k in range(FOLDS)]
    predictions = {name: _predictions(s, fold[rows], calibrations)
               for (name, s), rows in zip(outputs.items(), (full, full, without_vehicles), strict=True)}
    found: dict[str, float] = {}
    for name, kept in (('map', outputs['map'].with_map), ('nomap', np.ones(len(full), bool))):
        rows = np.flatnonzero(kept)
        scores = score([predictions[name][i] for i in rows], [outputs[name].truths[i] for i in rows])
        found |= {f'{name}/{metric}': value for metric, value in point_values(scores, SCORED).items()}
    found |= _vehicle_invariance(predictions['map'], predictions['no vehicles'], pool.seed[full],
                                 pool.seed[without_vehicles])
    found |= _ratios(outputs['map'].shares)
    found |= _alignment(outputs['map'])
    with_map = np.flatnonzero(outputs['map'].with_map)
    mean = mean_attention(network, pool, full[with_map], batch)
    if mean:
        with replaced(network, mean):
            blunt = _run(network, pool, full[with_map], batch)
        scores = score(_predictions(blunt, fold[full[with_map]], calibrations), blunt.truths)
        found['attention/by_mean'] = point_values(scores, (JUDGED_BY,))[JUDGED_BY] - found[f'map/{JUDGED_BY}']
    return found


@torch.inference_mode()
def mean_attention(network: Network, pool: Pool, rows: np.ndarray, batch: int) -> Mapping[str, Mapping[str, Tensor]]:
    """Every weight that decides anything, mean over scenes: attention -> its weights -> (1, ...); {} without any."""
    means = MeanWeights()
    for item in DataLoader(Subset(pool, rows.tolist()), batch_size=batch, collate_fn=collate):
        with recorded(network) as weights:
            network(item.lidar.to(memory_format=torch.channels_last), item.map_image, item.past)
        means.add(weights, list(range(len(item.lidar))))
    found = means.reference().mean if len(rows) else {}
    return {name: {key: value[None] for key, value in kept.items()} for name, kept in found.items() if kept}


@torch.inference_mode()
def _run(network: Network, pool: Pool, rows: np.ndarray, batch: int, withhold_map: bool = False) -> _Outputs:
    network.eval()
    heads, nones, with_map, truths, shares, errors = [], [], [], [], [], []
    for item in DataLoader(Subset(pool, rows.tolist()), batch_size=batch, collate_fn=collate):
        image = torch.zeros_like(item.map_image) if withhold_map else item.map_image
        output = network(item.lidar.to(memory_format=torch.channels_last), image, item.past)
        heads.append(output.head.numpy())
        nones.append(output.no_direction.numpy())
        with_map.append(np.zeros(len(image), bool) if withhold_map else item.with_map.numpy())
        truths += [true_roads(b, d) for b, d in zip(item.target.branches.numpy(), item.target.direction.numpy())]
        shares.append(_attention_shares(output, item))
        errors.append(_corrections(output, item))
    empty = (np.zeros((0, len(HEAD_CHANNELS), network.config.bins)), np.zeros(0), np.zeros(0, bool), np.zeros((0, 4)),
             np.zeros((0, 2, 3)))
    joined = [np.concatenate([e, *a]) for e, a in zip(empty, (heads, nones, with_map, shares, errors), strict=True)]
    return _Outputs(joined[0], joined[1], joined[2].astype(bool), truths, joined[3], joined[4])


def _attention_shares(output: NetworkOutput, item: Batch) -> np.ndarray:
    """(B, 4), see _Outputs: weights of the finest stage, over cells with points, by the share of a cell in a mask."""
    stages = [w for name, w in output.spatial.items() if name.startswith('stage')]
    if not stages:
        return np.full((len(item.lidar), 4), np.nan)
    weights = max(stages, key=lambda w: w.shape[-1])
    visible = item.target.visible

    def total(x: Tensor) -> Tensor:
        return x.sum((1, 2, 3))
    columns = []
    for mask in MASKS.values():
        covered = visible * item.target.mask(mask)
        columns += [total(weights * covered) / total(weights * visible), total(covered) / total(visible)]
    return torch.stack(columns, dim=1).numpy()


def _corrections(output: NetworkOutput, item: Batch) -> np.ndarray:
    if output.alignment is None or item.target.map_error is None:
        return np.full((len(item.lidar), 2, 3), np.nan)
    return torch.stack([item.target.map_error, output.alignment], dim=1).numpy()


def _calibration(outputs: list[_Outputs], rows: np.ndarray) -> Calibration:
    return calibrate(Predictions(np.concatenate([s.head[rows] for s in outputs]),
                                 np.concatenate([s.no_direction[rows] for s in outputs]),
                                 np.concatenate([s.with_map[rows] for s in outputs]), np.zeros(0, bool),
                                 [t for s in outputs for t, there in zip(s.truths, rows, strict=True) if there]))


def _predictions(outputs: _Outputs, fold: np.ndarray, calibrations: list[Calibration]) -> list[Prediction]:
    made = []
    for head, none, with_map, k in zip(outputs.head, outputs.no_direction, outputs.with_map, fold, strict=True):
        answer = decode_head(head, float(none), bool(with_map), calibrations[k], BranchesConfig())
        made.append(Prediction(answer.branches, answer.direction))
    return made


def _vehicle_invariance(full: list[Prediction], without_vehicles: list[Prediction], seeds: np.ndarray,
                        seeds_without_vehicles: np.ndarray) -> dict[str, float]:
    """Mean change of the direction when the vehicles are taken away, and how often they decide whether there is one."""
    where = {seed: i for i, seed in enumerate(seeds.tolist())}
    pairs = [(where[seed], k) for k, seed in enumerate(seeds_without_vehicles.tolist()) if seed in where]
    there, gone = [full[i] for i, _ in pairs], [without_vehicles[k] for _, k in pairs]
    changes = invariance(there, gone) if pairs else np.zeros(0)
    known = np.isfinite(changes)
    return {'vehicle_invariance': float(changes[known].mean()) if known.any() else math.nan,
            'vehicle_flips': flips(there, gone) if pairs else math.nan}


def _ratios(shares: np.ndarray) -> dict[str, float]:
    """Share of the attention over share of the area, each summed over the scenes."""
    found = {}
    for k, name in enumerate(MASKS):
        both = shares[:, 2 * k:2 * k + 2]
        sums = both[np.isfinite(both).all(axis=1)].sum(axis=0)
        found[f'attention/{name}'] = float(sums[0] / sums[1]) if sums[1] > 0 else math.nan
    return found


def _alignment(outputs: _Outputs) -> dict[str, float]:
    """Median error of the map's place and yaw as drawn, and after the network's correction."""
    pairs = outputs.map_error[outputs.with_map & np.isfinite(outputs.map_error).all(axis=(1, 2))]
    found = {}
    for name, left in (('before', pairs[:, 0]), ('after', pairs[:, 0] - pairs[:, 1])):
        there = len(left) > 0
        found[f'map_shift/{name}'] = float(np.median(np.hypot(left[:, 0], left[:, 1]))) if there else math.nan
        found[f'map_yaw/{name}'] = float(np.degrees(np.median(np.abs(left[:, 2])))) if there else math.nan
    return found
