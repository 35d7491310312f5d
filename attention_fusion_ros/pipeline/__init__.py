# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""One sweep from points to directions: preprocess, backend, postprocess."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """`from attention_fusion_ros.pipeline import FusionPipeline`, as before its modules were split up."""
    if name == 'FusionPipeline':
        from attention_fusion_ros.pipeline.fusion import FusionPipeline
        return FusionPipeline
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
