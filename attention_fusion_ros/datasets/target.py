# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What is known about a batch of samples, for the losses to compare with."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

MASKS = ('road', 'roadside', 'vehicle')  # channels of Target.masks


@dataclass(frozen=True)
class Target:
    """A batch of truths. Angles in radians; rows of NaN fill up the branches."""

    branches: Tensor  # (B, M, 2) bearing, heading
    direction: Tensor  # (B, 2) bearing, heading; NaN when there is none
    direction_known: Tensor  # (B,) bool: False when the data do not tell whether there is a direction
    known: Tensor  # (B, K) bool: bearings about which the data tell anything
    masks: Tensor  # (B, len(MASKS), h, w) share of each cell, 0..1; NaN where unknown
    visible: Tensor  # (B, 1, h, w) 0..1 share of cells with points
    # (B, 3) dx, dy [m], dyaw [rad] in base_link: the correction that moves the drawn map onto the truth,
    # p_true = R(dyaw) p_map + (dx, dy); NaN without a map or where its error is unknown. None: of the whole batch.
    map_error: Tensor | None = None
    rings: Tensor | None = None  # (B, R, M, 2) the branches on each ring of the network; None: on the main one only
    ring_directions: Tensor | None = None  # (B, R, 2)
    main_ring: int = 0  # index of the ring of `branches` among them

    def mask(self, name: str) -> Tensor:
        """(B, 1, h, w) the mask called `name`, one of MASKS."""
        channel = MASKS.index(name)
        return self.masks[:, channel:channel + 1]

    def to(self, device: torch.device | str) -> Target:
        """The same on another device."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        moved: dict[str, Any] = {name: value.to(device, non_blocking=True) for name, value in values.items()
                                 if isinstance(value, Tensor)}
        return replace(self, **moved)
