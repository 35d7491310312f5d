# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether a sweep looks like those the network was trained on: a few statistics of its BEV grid, and how far off.

The distance is that of Mahalanobis in a space of features, by which Lee et al. ("A simple unified framework for
detecting out-of-distribution samples and adversarial attacks", NeurIPS 2018) tell unfamiliar inputs. The statistics are
those of the grid and not of the points, so that sensors of all kinds are alike: how far the returns reach, and how much
of what is seen is level ground.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.lidar import CHANNELS, compress_height
from attention_fusion_ros.contracts import Familiarity, Finding
from attention_fusion_ros.kernels import operation
from attention_fusion_ros.utils.torch_later import Tensor, torch

STATISTICS = ('distance of the nearest quarter of the cells', 'median distance', 'distance of the nearest nine tenths',
              'share of level cells')
QUANTILES = (0.25, 0.5, 0.9)  # of the distances of cells with returns
STEP_M = 0.5  # of the histogram of distances
STANDING_M = 0.3  # height from which on a cell is not level
MIN_CELLS = 30  # fewer say nothing about what the place is like
UNFAMILIAR = 'unfamiliar_sweep'


@operation('familiarity_summary')
def summary(lidar: Tensor, extent: float = 40.0) -> Any:
    """(C, H, W) features, channels as in bev.lidar.CHANNELS -> (D,) counts on the same device, for `statistics`.

    extent: m, the grid reaches from -extent to +extent. Plain sums: the host need not wait for a CUDA device.
    """
    channel = dict(zip(CHANNELS, lidar))
    ring, standing = _rings(Grid(extent, lidar.shape[-1]), str(lidar.device))
    occupied = (channel['density'] > 0).to(torch.float32)
    counts = torch.zeros(histogram_size(extent), device=lidar.device)
    counts = counts.scatter_add(0, ring, occupied.flatten())
    level = (occupied * (channel['top'] < standing)).sum()
    return torch.cat([counts, level[None]])


def histogram_size(extent: float) -> int:
    """Of the distances of the cells of a grid that reaches from -extent to +extent metres."""
    return int(math.sqrt(2.0) * extent / STEP_M) + 1


@lru_cache(maxsize=8)
def _rings(grid: Grid, device: str) -> tuple[Tensor, Tensor]:
    """(H * W,) int64 index of each cell in the histogram, and the compressed height of STANDING_M."""
    x, y = grid.centre_tensors(device)
    with torch.inference_mode(False):
        return ((torch.hypot(x, y) / STEP_M).long().flatten(), compress_height(torch.tensor(STANDING_M)).to(device))


def statistics(counts: np.ndarray) -> np.ndarray | None:
    """`summary` -> (S,) as named in STATISTICS, distances as logarithms of metres; None with too few cells."""
    histogram, level = counts[:-1].astype(np.float64), float(counts[-1])
    total = histogram.sum()
    if total < MIN_CELLS:
        return None
    cumulated = histogram.cumsum() / total
    edges = STEP_M * np.arange(1, len(histogram) + 1)
    return np.array([*(math.log(np.interp(q, cumulated, edges)) for q in QUANTILES), level / total])


def fit(samples: np.ndarray, held_back: np.ndarray) -> Familiarity:
    """(N, S) statistics of sweeps, and (M, S) of others of the same kind -> what is familiar.

    The limit is the largest distance among the held-back ones.
    """
    mean, covariance = samples.mean(0), np.cov(samples.T)
    precision = np.linalg.inv(covariance + 1e-6 * np.eye(len(mean)))
    known = Familiarity(tuple(mean.tolist()), tuple(map(tuple, precision.tolist())), math.inf)
    limit = max(known.distance(row) for row in held_back)
    return Familiarity(known.mean, known.precision, limit)


def unfamiliar(counts: np.ndarray, known: Familiarity | None) -> Finding | None:
    """What to say about a sweep that looks like none of training; counts: `summary`. None where it does not."""
    found = None if known is None else statistics(counts)
    if known is None or found is None:
        return None
    distance = known.distance(found)
    if distance <= known.limit:
        return None
    median = math.exp(found[1])
    return Finding(UNFAMILIAR, 'pointcloud',
                   f'the sweep looks like none the network was trained on (distance {distance:.1f}, at most '
                   f'{known.limit:.1f} is familiar; half of what is seen lies within {median:.1f} m): no branch is '
                   'published. Remedy: nothing indoors or in a yard; on a road check the unit of the points (metres), '
                   'the transform of the sensor, and what covers it.')
