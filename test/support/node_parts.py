# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What tests of single parts of the node share; nothing here needs ROS."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from attention_fusion_ros.contracts import Mode, Motion, PointCloud, SyncedSweep
from attention_fusion_ros.errors import InputError

TRUNCATED = InputError('truncated_data', 'half of it.', 'look at the cable.')
CLOUD = PointCloud(0, 'lidar', np.zeros((0, 3), np.float32), None)
SWEEP = SyncedSweep(CLOUD, Motion(np.eye(4)))


def result(mode=Mode.FUSED, reason='', alignment=None, stamp_ns=10**9):
    """What the monitor reads of a FusionResult."""
    return SimpleNamespace(stamp_ns=stamp_ns, mode=mode, reason=reason, direction_reason='', branches=(1, 2),
                           alignment=alignment, findings=(), coverage=None)


def some_results(monitor, count, found=None, sweep=SWEEP):
    for _ in range(count):
        monitor.result(found or result(), sweep, {'total': 50.0})


class Ticks:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now
