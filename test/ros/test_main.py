# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The executable fusion_node: how it starts, stops and fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
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
@pytest.mark.parametrize('how', [[signal.SIGINT], [signal.SIGTERM], [signal.SIGINT] * 3,
                                 [signal.SIGINT, signal.SIGTERM]], ids=lambda how: '+'.join(s.name for s in how))
def test_it_runs_until_it_is_told_to_stop(how, start):
    """Once or several times: a terminal and a launch file may both tell it, and launch does again after a while."""
    process = start('--activate', '--ros-args', *UNTRAINED)
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.rstrip().endswith('active'):
                break
        assert process.poll() is None, lines
        for number in how:
            process.send_signal(number)
            time.sleep(0.05)
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


@pytest.mark.slow
def test_a_signal_during_the_start_stops_it_as_well(start):
    process = start('--activate', '--ros-args', *UNTRAINED)
    try:
        modules = Path(f'/proc/{process.pid}/maps')
        end = time.monotonic() + 60.0
        while '/libtorch' not in modules.read_text():  # in the midst of its imports
            assert time.monotonic() < end and process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=120)[0]
        assert process.returncode == 0 and 'Traceback' not in output, output
    finally:
        process.kill()


@pytest.mark.parametrize('content', [None, 'lookahead: 20.0\n', '/**:\n  ros__parameters: [\n'])
def test_a_parameter_file_that_cannot_be_read_is_an_error_in_one_line(start, tmp_path, content):
    path = tmp_path / 'parameters.yaml'
    if content is not None:
        path.write_text(content)
    process = start('--ros-args', '--params-file', str(path))
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 2, output
    error = next(line for line in output.splitlines() if line.startswith('error: '))
    assert str(path) in error and 'Remedy' in error and 'Traceback' not in output


def test_help_has_an_example(start):
    process = start('--help')
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0 and '--activate' in output and 'examples' in output


def test_an_unknown_option_is_refused(start):
    process = start('--activte')
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 2 and '--activte' in output
