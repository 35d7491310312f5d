# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The head's channels by name, and how their numbers are read."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from attention_fusion_ros.geometry import bin_bearings
from attention_fusion_ros.network.head import (
    HEAD_CHANNELS,
    bin_centres,
    decode_bearings,
    decode_headings,
    head_arrays,
    head_channel,
    head_layer,
)


def test_branches_are_rare_before_training():
    layer = head_layer(8)
    head = layer(torch.zeros(2, 8, 24)).detach()
    assert head.shape == (2, len(HEAD_CHANNELS), 24)
    assert (head_channel(head, 'presence') == -3.0).all() and head.sum() == pytest.approx(-3.0 * 2 * 24)


def test_channels_are_found_by_name_in_tensors_and_arrays():
    head = torch.arange(len(HEAD_CHANNELS) * 4.0).view(1, len(HEAD_CHANNELS), 4)
    for name, values in head_arrays(head.numpy()).items():
        assert np.array_equal(values, head_channel(head, name).numpy())
    with pytest.raises(ValueError):
        head_channel(head, 'colour')


def test_bearings_are_the_bins_centres_plus_an_offset_of_at_most_one_and_a_half_bins():
    step = math.radians(3.0)
    offset = np.zeros(120)
    offset[60:63] = 0.5, -9.0, 9.0
    bearings = decode_bearings(offset)
    assert bearings[60:63] == pytest.approx(bin_bearings(120)[60:63] + np.array([0.5, -1.5, 1.5]) * step)
    assert bin_centres(120).numpy() == pytest.approx(bin_bearings(120), abs=1e-6)


def test_headings_are_relative_to_the_bins_centre():
    headings = decode_headings(np.full(8, math.cos(0.3)), np.full(8, math.sin(0.3)))
    assert headings == pytest.approx(bin_bearings(8) + 0.3)
