# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What is known about a batch of samples, for the losses to compare with."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Target:
    """A batch of truths. Angles in radians; rows of NaN fill up the branches."""

    branches: Tensor  # (B, M, 2) bearing, heading
    direction: Tensor  # (B, 2) bearing, heading; NaN when there is none
    direction_known: Tensor  # (B,) bool: False when the data do not tell whether there is a direction
    known: Tensor  # (B, K) bool: bearings about which the data tell anything
    masks: Tensor  # (B, 3, h, w) 0..1 road, roadside, vehicle; NaN where unknown
    visible: Tensor  # (B, 1, h, w) 0..1 share of cells with points
    # (B, 3) dx, dy [m], dyaw [rad] in base_link: the correction that moves the drawn map onto the truth,
    # p_true = R(dyaw) p_map + (dx, dy); NaN without a map or where its error is unknown. None: of the whole batch.
    map_error: Tensor | None = None

    def to(self, device) -> Target:
        """The same on another device."""
        moved = {}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            moved[name] = None if value is None else value.to(device, non_blocking=True)
        return Target(**moved)
