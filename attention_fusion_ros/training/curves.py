# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The losses of a training as they go on."""

from __future__ import annotations

import torch
from torch import Tensor


class Curves:
    """Losses of the steps, kept on the device until somebody looks."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._latest = self._smoothed = torch.zeros(0)

    def add(self, parts: dict[str, Tensor]) -> None:
        """The losses of a step, () each, by name; the names are the same in every step."""
        values = torch.stack([value.float() for value in parts.values()])
        if not self._names:
            self._names, self._smoothed = list(parts), values
        self._latest = values
        smoothed = self._smoothed.lerp(values, 0.02)
        self._smoothed = torch.where(smoothed.isfinite(), smoothed, self._smoothed)

    def latest(self) -> dict[str, float]:
        """Of the last step."""
        return dict(zip(self._names, self._latest.tolist(), strict=True))

    def smoothed(self) -> dict[str, str]:
        """Averaged over some fifty steps, as text."""
        return {name: f'{value:.3f}' for name, value in zip(self._names, self._smoothed.tolist(), strict=True)}
