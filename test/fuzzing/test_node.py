# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A short run of `tools/fuzz_node.py`: a node goes on after malformed messages, and its answers are what they were."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
TOOL = Path(__file__).parents[2] / 'tools' / 'fuzz_node.py'


@pytest.mark.ros
@pytest.mark.slow
def test_a_node_goes_on_after_malformed_messages(tmp_path):
    result = subprocess.run([sys.executable, str(TOOL), '--messages', '100', '--csv', str(tmp_path / 'table.csv')],
                            env={**os.environ, 'PYTHONPATH': str(TOOL.parents[1])}, capture_output=True, text=True,
                            timeout=280)
    assert result.returncode == 0, result.stdout + result.stderr[-4000:]
    rows = dict(csv.reader((tmp_path / 'table.csv').open()))
    assert int(rows['messages and calls sent']) >= 95 and rows['faults'] == '0'
    assert rows['answers as before, once configured anew'] == '3 of 3'
