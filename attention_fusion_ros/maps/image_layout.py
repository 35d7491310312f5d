# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""How a map image lies on the ground. Without OpenCV, which changes the environment of whoever imports it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.geometry import rotation_2d

MAX_PIXELS = 4096


@dataclass(frozen=True)
class ImageLayout:
    """How the image lies on the ground, in the words of the parameters `map.*` of the fusion node."""

    resolution: float = 0.25  # m per pixel
    size: tuple[int, int] = (480, 480)  # columns, rows
    anchor: tuple[float, float] = (0.5, 0.5)  # of the vehicle: column and row as fractions
    orientation: str = 'heading_up'  # or north_up
    road_width: float = 0.0  # m of every road; 0: each as wide as its kind
    route_width: float = 2.0  # m
    route_behind: float = 5.0  # m of the route behind the vehicle that are drawn
    layers: str = 'own'  # what is connected to the vehicle's road, or 'all' bridges and tunnels too

    def __post_init__(self) -> None:
        """Raises ConfigurationError."""
        good = (0.01 <= self.resolution <= 20.0 and all(1 <= n <= MAX_PIXELS for n in self.size)
                and all(0.0 <= f <= 1.0 for f in self.anchor) and self.orientation in ('heading_up', 'north_up')
                and self.road_width >= 0.0 and self.route_width > 0.0 and self.layers in ('own', 'all'))
        if not good:
            raise ConfigurationError(f'{self} cannot be drawn. Remedy: 0.01 to 20 m per pixel, up to {MAX_PIXELS} '
                                     'pixels a side, an anchor within 0 to 1, orientation heading_up or north_up, '
                                     'layers own or all')

    def pixels(self, pose: tuple[float, float, float]) -> np.ndarray:
        """(2, 3) affine map from metres of the local frame to columns and rows; (0, 0) is the corner of the image."""
        x, y, yaw = pose
        up = yaw if self.orientation == 'heading_up' else math.pi / 2
        turn = rotation_2d(math.pi / 2 - up) / self.resolution  # `up` of the frame becomes up in the image
        turn[1] *= -1.0  # rows run down
        anchor = np.array(self.anchor) * self.size
        return np.column_stack([turn, anchor - turn @ (x, y)])

    def reach(self) -> float:
        """m from the vehicle to the farthest corner."""
        across = [max(f, 1.0 - f) * n * self.resolution for f, n in zip(self.anchor, self.size)]
        return math.hypot(*across)
