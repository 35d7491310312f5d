# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the worker leaves behind for /diagnostics, so that nobody looks into a map source while it works."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from attention_fusion_ros.errors import InputError
from attention_fusion_ros.geometry import wrap
from attention_fusion_ros.maps.guide import Guidance
from attention_fusion_ros.maps.localizer import Estimate
from attention_fusion_ros.maps.source import MapSource


@dataclass(frozen=True)
class SourceStatus:
    """A map source at one moment."""

    roads: int  # stretches of road in the file
    datum: tuple[float, float] | None  # degrees
    datum_given: bool
    estimate: Estimate | None
    degrees: tuple[float, float] | None  # of the estimate
    corrected_m: float | None  # by how much map alignments moved the position away from the fixes
    corrected_rad: float | None
    guidance: Guidance
    replanned: int
    refused: Mapping[str, int] = field(default_factory=dict)  # reason -> how often the filter did not use something
    problem: InputError | None = None  # why there is no image now


def status_of(source: MapSource, problem: InputError | None) -> SourceStatus:
    """The status now."""
    estimate, degrees, away, turned = None, None, None, None
    refused: dict[str, int] = {}
    if source.position is not None and source.frame is not None:
        position = source.position
        refused = {**position.reference.counts, **position.counts}
        try:
            estimate = position.estimate()
            latitude, longitude = source.frame.to_degrees(estimate.pose[:2])
            degrees = float(latitude), float(longitude)
            reference = position.reference.estimate().pose
            away = math.hypot(estimate.pose.x - reference.x, estimate.pose.y - reference.y)
            turned = abs(wrap(estimate.pose.yaw - reference.yaw))
        except InputError:
            pass
    frame = source.frame
    return SourceStatus(len(source.graph), None if frame is None else (frame.latitude, frame.longitude),
                        source.datum_given, estimate, degrees, away, turned, source.guide.guidance,
                        source.guide.replanned, refused, problem)
