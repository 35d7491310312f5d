# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The measurement of bfloat16 gradients: its size is that of rounding where it should be, and other values show."""

from __future__ import annotations

import torch

from attention_fusion_ros.studies.bfloat16_gradients import ROUNDING, Convolution


def test_rounding_is_told_from_other_values(monkeypatch):
    layer = Convolution(8, 1, channels_last=False)  # not dilated: right on every processor known
    assert 1e-4 < layer.largest_error(batch=1, cells=12) < ROUNDING
    autocast = torch.autocast
    monkeypatch.setattr(torch, 'autocast', lambda *a, **k: autocast(*a, **{**k, 'enabled': False}))
    assert layer.largest_error(batch=1, cells=12) == 0.0
