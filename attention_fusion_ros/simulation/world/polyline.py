# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Polylines: (P, 2) arrays of points in metres, as centre lines of roads are given."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

TOUCH_M = 0.1  # vertices nearer to each other than this are one


def arc_length(line: np.ndarray) -> np.ndarray:
    """(P, 2) -> (P,) metres along the line up to each vertex."""
    step = np.diff(line, axis=0)
    return np.concatenate([[0.0], np.cumsum(np.hypot(step[:, 0], step[:, 1]))])


def point_at(line: np.ndarray, s: ArrayLike, along: np.ndarray | None = None) -> np.ndarray:
    """Points (..., 2) at `s` (...) metres along the line; held at the ends. along: `arc_length(line)` if known."""
    along = arc_length(line) if along is None else along
    s = np.asarray(s, dtype=np.float64)
    return np.stack([np.interp(s, along, line[:, 0]), np.interp(s, along, line[:, 1])], axis=-1)


def substring(line: np.ndarray, begin: float, end: float, along: np.ndarray | None = None) -> np.ndarray:
    """The part of the line between two arc lengths."""
    along = arc_length(line) if along is None else along
    inner = line[(along > begin + 1e-6) & (along < end - 1e-6)]
    return np.concatenate([point_at(line, [begin], along), inner, point_at(line, [end], along)])


def offset_curve(line: np.ndarray, left: float) -> np.ndarray:
    """The line moved `left` metres to its left, with mitred vertices."""
    d = np.diff(line, axis=0)
    d = d / np.maximum(np.hypot(d[:, 0], d[:, 1]), 1e-9)[:, None]
    n = np.stack([-d[:, 1], d[:, 0]], axis=1)
    mitre = np.concatenate([n[:1], n[:-1] + n[1:], n[-1:]])
    mitre = mitre / np.maximum((mitre * np.concatenate([n[:1], n[1:], n[-1:]])).sum(axis=1), 0.3)[:, None]
    return np.asarray(line + left * mitre)


def resample(line: np.ndarray, step: float) -> np.ndarray:
    """The same line with vertices every `step` metres; both ends stay."""
    along = arc_length(line)
    n = max(int(np.ceil(along[-1] / step)), 1)
    return point_at(line, np.linspace(0.0, along[-1], n + 1), along)


def smoothed(line: np.ndarray, sigma: float, step: float = 0.5) -> np.ndarray:
    """The line resampled every `step` metres with corners rounded by a Gaussian of `sigma` metres; its ends stay."""
    fine = resample(line, step)
    reach = min(int(3 * sigma / step), len(fine) - 1)
    if reach < 1:
        return fine
    padded = np.concatenate([2 * fine[0] - fine[reach:0:-1], fine, 2 * fine[-1] - fine[-2:-reach - 2:-1]])
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) * step / sigma) ** 2)
    weights /= weights.sum()
    return np.stack([np.convolve(padded[:, k], weights, mode='valid') for k in (0, 1)], axis=1)


def tangents(line: np.ndarray) -> np.ndarray:
    """(P, 2) unit vectors along the line, at a vertex the mean of the two segments that meet there."""
    d = np.diff(line, axis=0)
    d /= np.maximum(np.hypot(d[:, 0], d[:, 1])[:, None], 1e-12)
    t = np.concatenate([d[:1], d[:-1] + d[1:], d[-1:]])
    return np.asarray(t / np.maximum(np.hypot(t[:, 0], t[:, 1])[:, None], 1e-12))


def normals(line: np.ndarray) -> np.ndarray:
    """(P, 2) unit vectors to the left of the line."""
    t = tangents(line)
    return np.stack([-t[:, 1], t[:, 0]], axis=1)


def distances(line: np.ndarray, point: ArrayLike) -> np.ndarray:
    """(P - 1,) distance in metres from a point to each segment of the line."""
    a, d = line[:-1], np.diff(line, axis=0)
    share = np.clip(((point - a) * d).sum(axis=1) / np.maximum((d * d).sum(axis=1), 1e-12), 0.0, 1.0)
    away = a + share[:, None] * d - point
    return np.asarray(np.hypot(away[:, 0], away[:, 1]))


def project(line: np.ndarray, point: ArrayLike) -> tuple[float, float]:
    """Nearest place of the line to a point: (metres along the line, distance in metres)."""
    away = distances(line, point)
    k = int(away.argmin())
    d = line[k + 1] - line[k]
    length = max(float(np.hypot(*d)), 1e-12)
    share = float(np.clip((point - line[k]) @ d / length ** 2, 0.0, 1.0))
    return float(arc_length(line[:k + 1])[-1] + share * length), float(away[k])


def clip_to_disc(line: np.ndarray, radius: float) -> list[np.ndarray]:
    """The parts of a (P, 2) polyline inside the disc around the origin, cut exactly on its circle."""
    a, d = line[:-1], np.diff(line, axis=0)
    A = (d * d).sum(axis=1)
    B = (a * d).sum(axis=1)
    C = (a * a).sum(axis=1) - radius * radius
    disc = B * B - A * C
    touched = (disc > 0) & (A > 0)
    if not touched.any():
        return []
    runs: list[np.ndarray] = []
    current: list[np.ndarray] = []
    for k in np.flatnonzero(touched):
        root = math.sqrt(disc[k])
        t0, t1 = max((-B[k] - root) / A[k], 0.0), min((-B[k] + root) / A[k], 1.0)
        if t0 >= t1:
            continue
        p, q = a[k] + t0 * d[k], a[k] + t1 * d[k]
        if current and t0 == 0.0 and np.abs(current[-1] - p).max() < 1e-9:
            current.append(q)
        else:
            if current:
                runs.append(np.array(current))
            current = [p, q]
        if t1 < 1.0:
            runs.append(np.array(current))
            current = []
    if current:
        runs.append(np.array(current))
    if len(runs) > 1 and np.abs(line[0] - line[-1]).max() < TOUCH_M and np.abs(runs[0][0] - line[0]).max() < TOUCH_M \
            and np.abs(runs[-1][-1] - line[-1]).max() < TOUCH_M:
        runs = [np.concatenate([runs[-1], runs[0][1:]]), *runs[1:-1]]  # a closed road (roundabout) has no end
    return [r for r in runs if np.abs(np.diff(r, axis=0)).sum() > 1e-6]
