# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""One sweep from points to directions: preprocess, backend, postprocess."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """`FusionPipeline` as it was called up to 0.1.0, imported on first use. Raises AttributeError for others."""
    if name == 'FusionPipeline':
        from attention_fusion_ros.pipeline.compat import FusionPipeline
        return FusionPipeline
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
