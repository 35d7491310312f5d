# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a drive through a real city is like, beside `DriveOptions`. Without torch: `simulate --help` need not wait."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from attention_fusion_ros.maps import example_extract
from attention_fusion_ros.simulation.sensors.navigation_errors import GnssErrors, ImuErrors, OdometryErrors

Degrees = tuple[float, float]  # latitude, longitude


@dataclass(frozen=True)
class CityOptions:
    """Equal options give equal drives."""

    osm: Path = field(default_factory=example_extract)
    start: Degrees | None = None  # None: some place, chosen by the seed
    goals: tuple[Degrees, ...] = ()  # the last one is where the drive ends; none: some place
    left_hand: bool = False  # traffic keeps to the left
    gnss: GnssErrors | None = field(default_factory=GnssErrors)
    odometry: OdometryErrors = field(default_factory=OdometryErrors)
    imu: ImuErrors | None = None
