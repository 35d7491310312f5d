# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The encoders of the outputs, found by the names in the table of outputs. Works with and without ROS."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from attention_fusion_ros.ros.messages.published_sweep import PublishedSweep
from attention_fusion_ros.ros.messages.sensors import header
from attention_fusion_ros.ros.outputs import OUTPUTS, OutputSpec

Encoder = Callable[[PublishedSweep, Any], Any]


def encoder_of(spec: OutputSpec) -> Encoder:
    """The function of `ros/messages` that makes the messages of an output."""
    encoder: Encoder = _function(spec.encoder)
    return encoder


def head_of(spec: OutputSpec, sweep: PublishedSweep, base_frame: str) -> Any:
    """The header of an output's message."""
    return header(sweep.result.stamp_ns, sweep.sweep.cloud.frame_id if spec.in_sensor_frame else base_frame)


def _function(name: str) -> Callable[..., Any]:
    module, _, function = name.rpartition('.')
    messages = importlib.import_module(f'attention_fusion_ros.ros.messages.{module}')
    found: Callable[..., Any] = getattr(messages, function)
    return found


ENCODERS = {spec: encoder_of(spec) for spec in OUTPUTS if spec.encoder}
TAKEN_BACK_BY = {spec.name: _function(spec.taken_back_by) for spec in OUTPUTS if spec.taken_back_by}
STAGE_OUTPUTS = {spec.stage: spec.name for spec in OUTPUTS if spec.stage}
