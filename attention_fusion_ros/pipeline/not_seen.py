# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What was not seen is not 'no road': when the branch to take may lie where nobody looked, there is no direction.

The network says where the road goes as if everything had been seen. A bearing that was neither looked at nor drawn by a
map can hide the branch to take. How probable that is follows from Bayes' rule: the probability that a direction lies
there at all (`Calibration.direction_prior`), summed over the dark bearings, against that around the branch found.

A road that a map draws into the dark is only as good as the map, which is metres and degrees off. It is followed where
its probability, which says how often it lies within 10 degrees, is high, and the map fits the branches that were seen.
The thresholds were chosen on simulated validation scenes with sectors removed (`datasets.blind`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from attention_fusion_ros.contracts import NOT_SEEN
from attention_fusion_ros.geometry import angle_between, bin_bearings

DARK, LIT = 0.1, 0.3  # share of the way to the ring below which a bearing is dark, and from which on it is not at all
SPREAD_RAD = math.radians(7.5)  # the share is averaged this far to both sides: a road is that wide
MAP_TOLERANCE_RAD = math.radians(12.0)  # a road drawn this near counts: maps are off
UNDRAWN_WEIGHT = 0.1  # a map without a road there makes a direction this much less probable
NEAR_RAD = math.radians(15.0)  # of the branch found: what counts as the same direction
MAX_LOG_ODDS = 0.8  # hidden against found; beyond, there is no direction
MAX_LOG_ODDS_DRAWN, CLEAR_SHARE = 2.0, 0.95  # where a map draws roads into the dark, unless the network is sure
FLOOR = 1e-3  # of probabilities
MIN_PROBABILITY_DRAWN = 0.8  # of a branch in the dark where a map draws a road; below, one in five is > 15 degrees off
MAX_MISFIT_RAD = math.radians(15.0)  # from a branch that was looked at to the nearest road drawn; beyond, as many are
MIN_SECTOR_RAD = math.radians(9.0)  # narrower dark sectors are not reported
REMEDY = ('check the sensor for dirt and what blocks it, lost packets, and that every LiDAR of the vehicle is '
          'configured; a map image of the roads there helps as well.')


@dataclass(frozen=True)
class Sight:
    """What is known about the bearings of the circular distribution before the network is asked."""

    unseen: np.ndarray  # (K,) 0..1, share of the way to the ring that was not looked at
    dark: np.ndarray  # (K,) 0..1, 1 where a branch would go unnoticed
    drawn: np.ndarray  # (K,) bool, a map that is used draws a road there or near; all False without one
    with_map: bool
    roads: np.ndarray  # (R,) rad, bearings of the middles of the roads drawn across the ring

    @classmethod
    def of(cls, seen: np.ndarray, drawn: np.ndarray | None = None) -> Sight:
        """seen: (K,) `Coverage.seen`. drawn: (K,) bool, see `bev.coverage.drawn_bearings`; None without a map."""
        bins = len(seen)
        reach = round(SPREAD_RAD / (2 * math.pi / bins))
        smooth = seen[_neighbours(bins, reach)].mean(axis=0)
        known = np.zeros(bins, bool)
        roads: np.ndarray = np.zeros(0)
        if drawn is not None:
            roads = np.array([0.5 * (right + left) for right, left in sectors(drawn.astype(bool))])
            reach = round(MAP_TOLERANCE_RAD / (2 * math.pi / bins))
            known = drawn.astype(bool)[_neighbours(bins, reach)].any(axis=0)
        return cls(1.0 - smooth, np.clip((LIT - smooth) / (LIT - DARK), 0.0, 1.0), known, drawn is not None,
                   roads)

    def hides(self, bearing: float | None, share: float, prior: Sequence[float]) -> bool:
        """Whether the branch to take may well lie in the dark.

        bearing: rad, of the branch found, None when there is none. share: 0..1, the network's own certainty about it.
        prior: `Calibration.direction_prior`.
        """
        bearings = bin_bearings(len(self.unseen))
        expected = _known_prior(tuple(prior), len(bearings))
        if self.with_map:
            expected = expected * np.where(self.drawn, 1.0, UNDRAWN_WEIGHT)
            expected /= expected.sum()
        unknown = self.dark * ~self.drawn
        if bearing is None:
            return float(expected @ unknown) > 0.5
        near = angle_between(bearings, bearing) < NEAR_RAD

        def log_odds(dark: np.ndarray) -> float:
            hidden, found = expected @ dark, expected[near] @ (1.0 - dark[near])
            return math.log((hidden + FLOOR) / (found + FLOOR))
        if log_odds(unknown) > MAX_LOG_ODDS:
            return True
        # Roads that a map draws into the dark: the branch found is one that was looked at, but is it the right one?
        looked_at = self.dark[int(np.argmin(angle_between(bearings, bearing)))] < 0.5
        return self.with_map and looked_at and share < CLEAR_SHARE and log_odds(self.dark) > MAX_LOG_ODDS_DRAWN

    def is_dark(self, bearings: np.ndarray) -> np.ndarray:
        """(N,) rad -> (N,) bool: a branch there would go unnoticed."""
        bins = len(self.dark)
        index = np.floor((np.asarray(bearings) + math.pi) * (bins / (2 * math.pi))).astype(int) % bins
        dark: np.ndarray = self.dark[index] >= 0.5
        return dark

    def misfit(self, bearings: np.ndarray) -> float:
        """Largest angle in rad from those of the branches (N,) rad that were looked at to the nearest road drawn."""
        seen = bearings[~self.is_dark(bearings)]
        if not len(seen) or not len(self.roads):
            return 0.0
        return float(angle_between(seen[:, None], self.roads[None, :]).min(1).max())

    def doubts_map(self, bearing: float, probability: float, branches: np.ndarray) -> bool:
        """Whether a direction that leans on the map alone, in the dark, may well be somewhere else.

        bearing: rad, of the branch to take. probability: its own, calibrated. branches: (N,) rad, all that were found.
        """
        if not self.with_map or not self.is_dark(np.array([bearing]))[0]:
            return False
        return probability < MIN_PROBABILITY_DRAWN or self.misfit(branches) > MAX_MISFIT_RAD

    def sectors(self) -> list[tuple[float, float]]:
        """(right, left) bearings in rad of the sectors that were not looked at, right < left.

        left may exceed pi: a sector behind the vehicle. (-pi, pi) where nothing was looked at, whatever the bearing.
        """
        return [sector for sector in sectors(self.dark >= 0.5) if sector[1] - sector[0] >= MIN_SECTOR_RAD]


def sectors(chosen: np.ndarray) -> list[tuple[float, float]]:
    """(K,) bool by bearing -> (right, left) bearings in rad of the sectors it is true in, see `Sight.sectors`."""
    bins = len(chosen)
    width = 2 * math.pi / bins
    if chosen.all():
        return [(-math.pi, math.pi)]
    found: list[tuple[float, float]] = []
    for start in np.flatnonzero(chosen & ~np.roll(chosen, 1)):
        right = -math.pi + float(start) * width
        found.append((right, right + int(np.argmin(chosen[(start + np.arange(bins)) % bins])) * width))
    return found


@lru_cache(maxsize=8)
def _neighbours(bins: int, reach: int) -> np.ndarray:
    """(2 * reach + 1, K) indices of the bins up to `reach` to both sides of each."""
    return (np.arange(bins) - np.arange(-reach, reach + 1)[:, None]) % bins


def spread_prior(prior: Sequence[float], bins: int) -> np.ndarray:
    """Shares by angle from straight ahead, both sides together -> (K,) over bearings, sums to 1."""
    edges = np.linspace(0.0, math.pi, len(prior) + 1)
    centres = 0.5 * (edges[1:] + edges[:-1])
    density = np.interp(np.abs(bin_bearings(bins)), centres, np.asarray(prior, dtype=np.float64))
    normalised: np.ndarray = density / density.sum()
    return normalised


@lru_cache(maxsize=8)
def _known_prior(prior: tuple[float, ...], bins: int) -> np.ndarray:
    """`spread_prior`, made once, and not to be written to."""
    return spread_prior(prior, bins)


def dark_sectors(seen: np.ndarray) -> list[tuple[float, float]]:
    """The sectors that were not looked at: (K,) `Coverage.seen` -> see `Sight.sectors`."""
    return Sight.of(seen).sectors()


def describe_sectors(sectors: Sequence[tuple[float, float]]) -> str:
    """Sectors of `dark_sectors` in words: 'in 90 deg from 45 deg right through ahead to 45 deg left of ahead'.

    Between two bearings there are two ways round: the width, and what lies between, say which one is meant.
    """
    if any(left - right >= 2 * math.pi - 1e-6 for right, left in sectors):
        return 'all around the vehicle'
    return ' and '.join(f'in {math.degrees(left - right):.0f} deg from {_side(right)}{_between(right, left)} to '
                        f'{_side(left)} of ahead' for right, left in sectors)


def _between(right: float, left: float) -> str:
    """Whether a sector holds what is straight ahead or behind: ' through behind and ahead', '' for neither."""
    first, last = math.floor(right / math.pi + 1e-6) + 1, math.ceil(left / math.pi - 1e-6)
    passed = ' and '.join('behind' if half % 2 else 'ahead' for half in range(first, last))
    return f' through {passed}' if passed else ''


def _side(bearing: float) -> str:
    degrees = round(math.degrees(math.remainder(bearing, 2 * math.pi)))
    return f'{abs(degrees)} deg {"left" if degrees >= 0 else "right"}'


def not_seen(sight: Sight, doubted: bool = False) -> str:
    """Why there is no direction: names the dark sectors. doubted: the map, see `Sight.doubts_map`."""
    where = describe_sectors(sight.sectors()) or 'where it may lie'
    drawn = 'the map shows no road there that is clearly to be taken' if sight.with_map else 'there is no map'
    if doubted:
        drawn = 'the map, which draws a road there, does not fit what was seen well enough'
    return f'{NOT_SEEN}: the branch to take may lie where nothing was looked at, {where}, and {drawn}'
