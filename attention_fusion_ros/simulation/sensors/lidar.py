# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""LiDAR sensors as they are mounted on vehicles: beam tables, mounting errors, noise, dropouts; presets and variation.

Beam tables and views follow the makers' manuals (Velodyne VLP-16, HDL-32E, HDL-64E S2, VLP-32C; Ouster OS0-128,
OS1-128; Livox Mid-360, Avia, HAP; Hesai AT128).
`python -m attention_fusion_ros.benchmarking.simulator` prints the throughput.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from attention_fusion_ros.simulation.sensors.faults import NONE, Faults, random_faults

# Elevations of the 32 beams of a VLP-32C (manual 63-9325, table 9-3), sorted.
VLP_32C_DEG = (
    -25.0, -15.639, -11.31, -8.843, -7.254, -6.148, -5.333, -4.667, -4.0, -3.667, -3.333, -3.0, -2.667, -2.333, -2.0,
    -1.667, -1.333, -1.0, -0.667, -0.333, 0.0, 0.333, 0.667, 1.0, 1.333, 1.667, 2.333, 3.333, 4.667, 7.0, 10.333, 15.0)


@dataclass(frozen=True)
class LidarModel:
    """One sensor on one vehicle. Angles in radians, lengths in metres."""

    name: str
    elevations: tuple[float, ...]  # (B,)
    steps: int = 1024  # azimuth steps in a full turn
    fov: tuple[float, float] = (-math.pi, math.pi)  # horizontal field of view, sensor frame
    blind: tuple[tuple[float, float], ...] = ()  # azimuth sectors (from, to) without returns, sensor frame
    min_range: float = 0.9
    max_range: float = 70.0
    # Mounting: nominal, which the node is told, and its error, which nobody knows.
    height: float = 1.8
    x: float = 0.0
    y: float = 0.0
    yaw: float = 0.0
    pitch_error: float = 0.0
    roll_error: float = 0.0
    frame_height: float | None = None  # height of the origin in which points are given; None: the optical centre
    # Measurement
    range_noise: float = 0.015
    beam_bias: float = 0.01  # standard deviation of the range offset from beam to beam
    beam_angle_error: float = 0.0005  # the same for its elevation, as calibrated against as built
    jitter: float = 0.0  # rad, scatter of ray directions (non-repetitive scanning)
    dropout: float = 0.02  # share of returns that get lost anywhere
    patch_dropout: float = 0.05  # share of surface patches (glass, dark paint) that return nothing
    reach: float = 45.0  # m at which half of the returns from level asphalt are lost (grazing incidence)
    stray: float = 0.0003  # share of returns from nowhere (multipath, dust, rain)
    own_body: tuple[float, float, float, float] | None = None  # x from, x to, |y|, z of the roof that rays may hit
    own_body_kept: bool = True  # False: the driver cuts those returns out
    # Intensity: a noisy function of what was hit, of the gain of each beam, and of nothing
    intensity_scale: float = 255.0
    intensity_meaning: float = 0.7  # 0: noise, 1: reflectivity
    seed: int = 0  # of beam offsets and gains
    pattern: str = 'rows'  # or 'rosette': one beam that swings through the view on petals, densest in its middle
    height_error: float = 0.0  # m by which the sensor is mounted higher than nominal
    faults: Faults = NONE

    @property
    def T_base_sensor(self) -> np.ndarray:
        """(4, 4) nominal sensor -> base_link, as the node is told."""
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        T = np.eye(4)
        T[:2, :2] = [[c, -s], [s, c]]
        T[:3, 3] = self.x, self.y, self.height if self.frame_height is None else self.frame_height
        return T


def _degrees(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(float(np.deg2rad(v)) for v in values)


def vlp_16(**changes: Any) -> LidarModel:
    """Velodyne VLP-16: -15..15 deg in steps of 2."""
    return replace(LidarModel('vlp_16', _degrees(np.linspace(-15, 15, 16)), steps=1800, height=1.9, reach=30.0),
                   **changes)


def hdl_32e(**changes: Any) -> LidarModel:
    """Velodyne HDL-32E: -30.67..10.67 deg in steps of 1.33."""
    return replace(LidarModel('hdl_32e', _degrees(np.linspace(-30.67, 10.67, 32)), steps=1084, height=1.84,
                              x=0.94, reach=32.0, own_body=(-0.2, 1.5, 0.55, 1.48)), **changes)


def hdl_64e(**changes: Any) -> LidarModel:
    """Velodyne HDL-64E: upper block 2..-8.33 deg in steps of 1/3, lower block -8.83..-24.33 deg in steps of 1/2."""
    table = np.concatenate([np.linspace(-24.33, -8.83, 32), np.linspace(-8.33, 2.0, 32)])
    return replace(LidarModel('hdl_64e', _degrees(table), steps=2083, height=1.73, reach=50.0, range_noise=0.012,
                              beam_bias=0.015), **changes)


def vlp_32c_pair(**changes: Any) -> LidarModel:
    """Two VLP-32C stacked, one upside down, merged into a frame low on the vehicle."""
    table = _degrees(VLP_32C_DEG) + _degrees(-v for v in VLP_32C_DEG)
    return replace(LidarModel('vlp_32c_pair', table, steps=1800, height=1.95, frame_height=0.33, x=1.35, reach=60.0,
                              min_range=3.0), **changes)


def os1_128(**changes: Any) -> LidarModel:
    """Ouster OS1-128: +-22.5 deg in 128 even steps."""
    return replace(LidarModel('os1_128', _degrees(np.linspace(-22.5, 22.5, 128)), steps=1024, height=1.9, reach=35.0),
                   **changes)


def solid_state(**changes: Any) -> LidarModel:
    """A forward-looking solid-state sensor: 120 x 25 deg, non-repetitive."""
    model = LidarModel('solid_state', _degrees(np.linspace(-16, 9, 96)), steps=1800, jitter=np.deg2rad(0.1), height=1.5,
                       fov=(-math.pi / 3, math.pi / 3), x=1.5, reach=55.0)
    return replace(model, **changes)


def mid_360(**changes: Any) -> LidarModel:
    """Livox Mid-360: all around, -7..52 deg, non-repetitive, 20,000 points in 0.1 s."""
    return replace(LidarModel('mid_360', _degrees(np.linspace(-7, 52, 40)), steps=500, jitter=np.deg2rad(0.7),
                              height=1.6, reach=35.0), **changes)


def avia(**changes: Any) -> LidarModel:
    """Livox Avia: 70.4 x 77.2 deg ahead in a rosette, 24,000 points in 0.1 s."""
    half = np.deg2rad(35.2)
    return replace(LidarModel('avia', _degrees(np.linspace(-38.6, 38.6, 32)), steps=3835, pattern='rosette',
                              fov=(-half, half), height=1.5, x=1.5, reach=60.0), **changes)


def hap(**changes: Any) -> LidarModel:
    """Livox HAP: 120 x 25 deg ahead, non-repetitive, 45,200 points in 0.1 s."""
    return replace(LidarModel('hap', _degrees(np.linspace(-12.5, 12.5, 96)), steps=1412, jitter=np.deg2rad(0.3),
                              fov=(-math.pi / 3, math.pi / 3), height=1.2, x=1.8, reach=60.0), **changes)


def os0_128(**changes: Any) -> LidarModel:
    """Ouster OS0-128: +-45 deg in 128 even steps."""
    return replace(LidarModel('os0_128', _degrees(np.linspace(-45, 45, 128)), steps=1024, height=1.9, reach=25.0),
                   **changes)


def at128(**changes: Any) -> LidarModel:
    """Hesai AT128: 120 x 25.4 deg ahead in 128 rows."""
    return replace(LidarModel('at128', _degrees(np.linspace(-12.5, 12.9, 128)), steps=3600,
                              fov=(-math.pi / 3, math.pi / 3), height=1.5, x=1.5, reach=60.0), **changes)


PRESETS = {f.__name__: f for f in (vlp_16, hdl_32e, hdl_64e, vlp_32c_pair, os1_128, solid_state, mid_360, avia, hap,
                                   os0_128, at128)}
FAN = 'fan'  # not a product: beams spread evenly
# How often `random_lidar` draws each. A preset that is not named here is never drawn, so that adding one changes no
# scene of any seed; adding one here changes them all.
SHARES = {'vlp_16': 0.09, 'hdl_32e': 0.21, 'hdl_64e': 0.2, 'vlp_32c_pair': 0.17, 'os1_128': 0.1, 'solid_state': 0.05,
          FAN: 0.18}
SENSOR_SHARES = {  # by the name of the profile, see `world.profile`
    'v1': SHARES,
    'v2': {'vlp_16': 0.09, 'hdl_32e': 0.17, 'hdl_64e': 0.15, 'vlp_32c_pair': 0.12, 'os1_128': 0.08, 'solid_state': 0.04,
           FAN: 0.14, 'mid_360': 0.05, 'avia': 0.03, 'hap': 0.04, 'os0_128': 0.05, 'at128': 0.04},
}


def random_lidar(rng: np.random.Generator, rays: int | None = None, shares: Mapping[str, float] = SHARES
                 ) -> LidarModel:
    """A sensor with randomised mounting, noise and losses: a preset or an even fan of beams, drawn by `shares`.

    rays: upper bound for beams x azimuth steps, to bound the time of a scan; None leaves the sensor as it is.
    """
    name = str(rng.choice(list(shares), p=list(shares.values())))
    if name == FAN:
        low, high = rng.uniform(-32, -14), rng.uniform(1, 20)
        beams = int(rng.choice([24, 32, 40, 48, 64, 80, 96]))
        even = np.linspace(0, 1, beams) ** rng.uniform(0.7, 1.0)  # many have their beams dense near the horizon
        model = LidarModel(FAN, _degrees(low + (high - low) * even), steps=int(rng.choice([900, 1024, 1800, 2048])))
    else:
        model = PRESETS[name]()
    steps = model.steps
    if rays is not None:
        views = 1.0 if name in SHARES else 2 * math.pi / (model.fov[1] - model.fov[0])  # as narrow views allow
        steps = max(min(steps, int(views * rays) // len(model.elevations)), 360)
    height, x = float(rng.uniform(1.2, 2.2)), float(rng.uniform(-0.5, 1.5))
    table = np.sort(model.elevations) if name != 'vlp_32c_pair' else np.array(model.elevations)
    if name == 'mid_360' and rng.random() < 0.6:  # mounted upside down, to see the road
        table = -table[::-1]
    table = table + rng.normal(0, rng.uniform(0, 0.15), len(table)) * np.median(np.abs(np.diff(np.sort(table))))
    blind: tuple[tuple[float, float], ...] = ()
    own_body: tuple[float, float, float, float] | None = None
    if rng.random() < 0.15:  # a rack, a cabin or a spare wheel behind the sensor
        half, centre = rng.uniform(0.2, 0.9), math.pi + rng.normal(0, 0.2)
        blind = ((centre - half, centre + half),)
    if rng.random() < 0.4 and height > 1.5:  # a roof that the lowest beams touch, more or less
        drop = float(rng.uniform(0.15, 0.5))
        graze = drop / math.tan(max(-float(table.min()), 0.2))
        own_body = (x - graze * float(rng.uniform(0.5, 3)), x + graze * float(rng.uniform(0.5, 1.7)),
                    min(graze * float(rng.uniform(0.5, 1.4)), 0.9), height - drop)
    yaw = float(rng.choice([0.0, 0.0, rng.normal(0, 0.02), math.pi / 2, -math.pi / 2, math.pi]))
    if model.fov[1] - model.fov[0] < 6.0:
        yaw = 0.0
    if yaw:
        blind = tuple((a - yaw, b - yaw) for a, b in blind)
    return replace(
        model, elevations=tuple(float(e) for e in table), steps=steps, height=height, yaw=yaw,
        x=x, y=float(rng.normal(0, 0.05)),
        pitch_error=float(np.deg2rad(np.clip(rng.normal(0, 1.0), -2.5, 2.5))),
        roll_error=float(np.deg2rad(np.clip(rng.normal(0, 1.0), -2.5, 2.5))),
        frame_height=float(rng.choice([0.0, 0.33])) if rng.random() < 0.1 else None,
        blind=blind, own_body=own_body, own_body_kept=bool(rng.random() < 0.5),
        min_range=float(rng.uniform(0.5, 2.5)), range_noise=float(rng.uniform(0.005, 0.035)),
        beam_bias=float(rng.uniform(0.0, 0.025)), beam_angle_error=float(rng.uniform(0.0, 0.001)),
        dropout=float(rng.choice([0.01, 0.03, 0.1, 0.25], p=[0.4, 0.35, 0.2, 0.05])),
        patch_dropout=float(rng.uniform(0.0, 0.15)), stray=float(rng.choice([0.0, 0.0003, 0.003])),
        reach=model.reach * float(rng.uniform(0.6, 1.4)),
        intensity_scale=float(rng.choice([1.0, 100.0, 255.0, 4000.0])),
        intensity_meaning=float(rng.choice([0.0, 0.3, 0.7, 1.0])), seed=int(rng.integers(1 << 30)))


def with_faults(rng: np.random.Generator, lidar: LidarModel) -> LidarModel:
    """The sensor with faults, mounted a little higher or lower than the node is told.

    Sensors that look ahead only are not blanked or cut further: nothing would be left.
    """
    faults = random_faults(rng)
    if lidar.fov[1] - lidar.fov[0] < math.radians(200):
        faults = replace(faults, blank=(), missing_turn=0.0)
    return replace(lidar, faults=faults, height_error=float(np.clip(rng.normal(0, 0.06), -0.15, 0.15)))
