# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The channels of the network's head, by name."""

from __future__ import annotations

# What the head says of every bearing bin.
HEAD_CHANNELS = ('presence', 'offset', 'heading_cos', 'heading_sin', 'bearing_log_std', 'heading_log_std', 'direction')
