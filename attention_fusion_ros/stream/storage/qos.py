# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Offered QoS profiles: as recordings hold them, by names or numbers, and as they are written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rosbags.interfaces import Qos

RELIABLE_DEPTH = 10


def qos_of(profiles: Any) -> list[Qos]:
    """Profiles as text or as read from YAML -> for writing; [] where they cannot be understood."""
    from rosbags.rosbag2.metadata import parse_qos
    try:
        return parse_qos(profiles)
    except Exception:  # profiles are written differently by every distribution and edited by hand
        return []


def reliable_qos(depth: int = RELIABLE_DEPTH, latched: bool = False) -> Qos:
    """A reliable profile; latched: its publisher keeps messages for late subscribers."""
    from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
    zero = QosTime(0, 0)
    return Qos(QosHistory.KEEP_LAST, depth, QosReliability.RELIABLE,
               QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE, zero, zero,
               QosLiveliness.AUTOMATIC, zero, False)


def latched_qos() -> Qos:
    """That of a latched topic of ROS 1."""
    return reliable_qos(1, latched=True)
