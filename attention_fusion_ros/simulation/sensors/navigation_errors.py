# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What is wrong with receivers, odometry and IMUs. Apart from the sensors, so that `--help` need not wait for those."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class GnssErrors:
    """What is wrong with the fixes. Lengths in m, times in s."""

    rate: float = 5.0  # fixes a second
    noise: float = 0.5  # standard deviation of each horizontal axis from fix to fix
    bias: float = 2.0  # standard deviation of each horizontal axis of what wanders
    bias_time: float = 120.0  # after which the bias is another one (1/e)
    losses: float = 0.5  # of the fix, a minute
    loss_time: float = 3.0  # mean duration
    lost: tuple[tuple[float, float], ...] = ()  # further ones: (from, duration) since the start
    jumps: float = 0.5  # by multipath, a minute
    jump: float = 15.0  # mean length
    jump_time: float = 2.0  # mean duration
    antenna: tuple[float, float, float] = (0.0, 0.0, 1.6)  # in base_link

    def __post_init__(self) -> None:
        """Raises ValueError for numbers that make no receiver."""
        positive = (self.rate, self.bias_time, self.loss_time, self.jump_time)
        if not all(math.isfinite(v) and v > 0 for v in positive):
            raise ValueError('rate and times of the fixes must be positive')
        numbers = (self.noise, self.bias, self.losses, self.jumps, self.jump, *(v for pair in self.lost for v in pair))
        if not all(math.isfinite(v) and v >= 0 for v in numbers):
            raise ValueError('noise, bias, losses and jumps of the fixes must not be negative')

    @property
    def variance(self) -> float:
        """m^2 of each horizontal axis, without jumps: what the receiver says of itself."""
        return self.noise**2 + self.bias**2


@dataclass(frozen=True)
class OdometryErrors:
    """How odometry drifts."""

    scale: float = 0.01  # that distances are too long: a tyre's size is not the one that was set
    turn: float = 0.05  # standard deviation of the yaw in degrees after a metre; it grows with the root of the way
    shift: float = 0.01  # m, the same for each axis

    def __post_init__(self) -> None:
        """Raises ValueError."""
        if not (abs(self.scale) < 0.5 and 0 <= self.turn < 10 and 0 <= self.shift < 1):
            raise ValueError('odometry that is wrong by more than half is none: scale within -0.5 to 0.5, turn of 0 to '
                             '10 deg and shift of 0 to 1 m after a metre')


@dataclass(frozen=True)
class ImuErrors:
    """Degrees, standard deviations."""

    noise: float = 0.5  # from message to message
    bias: float = 1.5  # drawn once a drive

    def __post_init__(self) -> None:
        """Raises ValueError."""
        if not (0 <= self.noise < 45 and 0 <= self.bias < 45):
            raise ValueError('noise and bias of the yaw must be 0 to 45 degrees')
