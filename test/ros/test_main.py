# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The executable fusion_node: how it starts, stops and fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

ROOT = Path(__file__).parents[2]
UNTRAINED = ['-p', 'checkpoint:=untrained', '-p', 'allow_untrained:=true', '-p', 'use_tf:=false', '-p', 'device:=cpu']


@pytest.fixture
def start(ros_domain):
    """Starts the node's process with these arguments."""
    def process(*arguments: str) -> subprocess.Popen:
        environment = {**os.environ, 'ROS_DOMAIN_ID': str(ros_domain), 'OMP_NUM_THREADS': '1',
                       'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}
        return subprocess.Popen([sys.executable, '-m', 'attention_fusion_ros', 'fusion_node', *arguments], cwd=ROOT,
                                env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return process


@pytest.mark.slow
@pytest.mark.parametrize('how', [signal.SIGINT, signal.SIGTERM])
def test_it_runs_until_it_is_told_to_stop(how, start):
    process = start('--activate', '--ros-args', *UNTRAINED)
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.rstrip().endswith('active'):
                break
        assert process.poll() is None, lines
        process.send_signal(how)
        rest = process.communicate(timeout=120)[0]
        assert process.returncode == 0, rest
        assert 'Traceback' not in rest and 'ERROR' not in rest, rest
        assert any('UNTRAINED' in line for line in lines)
    finally:
        process.kill()


def test_with_activate_it_fails_when_it_cannot_be_configured(start):
    process = start('--activate', '--ros-args', '-p', 'checkpoint:=/nowhere.safetensors', '-p', 'map.resolutoin:=1.0')
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 1
    assert "'map.resolutoin'" in output and "'map.resolution'" in output and 'Traceback' not in output


def test_help_has_an_example(start):
    process = start('--help')
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0 and '--activate' in output and 'examples' in output


def test_an_unknown_option_is_refused(start):
    process = start('--activte')
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 2 and '--activte' in output
