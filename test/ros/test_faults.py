# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The short version of the fault matrix: answers come again after each fault, and are those of before."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('tf2_msgs', reason='tf2_msgs is not installed')

ROOT = Path(__file__).parents[2]
PATIENCE = 6  # machines with much else to do


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='needs /proc')
def test_the_node_gets_over_the_quick_faults(tmp_path):
    arguments = ['--quick', '--patience', str(PATIENCE), '--out', str(tmp_path)]
    done = subprocess.run([sys.executable, str(ROOT / 'tools/faults.py'), *arguments], cwd=tmp_path, text=True,
                          env={**os.environ, 'PYTHONPATH': str(ROOT)}, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=850)
    with open(tmp_path / 'faults.csv', newline='') as file:
        rows = {row['fault']: row for row in csv.DictReader(file)}
    logs = '\n'.join(f'{path}:\n{path.read_text()[-3000:]}' for path in sorted((tmp_path / 'logs').glob('node_*.log')))
    assert len(rows) >= 8 and all(row['ok'] == 'yes' for row in rows.values()), f'{done.stdout}\n{logs}'
    assert done.returncode == 0 and all(name in done.stdout for name in rows)
    assert '`empty_cloud`' in rows['empty clouds']['said'] and float(rows['driver killed']['again_s']) > 0
