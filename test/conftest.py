# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Markers and fixtures of all tests, and what must be set before ROS is imported.

Markers (`pytest -m "not slow"`, `-m "not ros"`, ...):
    ros   needs ROS 2: everything in test/ros, fixtures `ros`, `ros_domain` and `listener`, and explicit marks; with
          pytest-rerunfailures it has a second try, for DDS loses messages where all cores are busy
    data  needs the recorded drives in ../shared: whatever uses `shared_folder`; skipped where that folder is missing
    fleet needs Ray: test/fleet/test_ray.py; skipped where it is not installed (make fleet-test)
    gpu   needs a CUDA device; skipped where there is none
    slow  takes more than a few seconds: builds, trainings, commands from start to end
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Messages check the types of what is assigned to them, as they always do up to Humble; later only when asked to.
os.environ['ROS_PYTHON_CHECK_FIELDS'] = '1'
# Nothing of the tests concerns other machines. ROS_LOCALHOST_ONLY is Humble's word for it; where both are known it
# overrules the range and static peers, also in the processes that tests start.
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
os.environ.pop('ROS_LOCALHOST_ONLY', None)
if os.environ.get('ROS_DISTRO') == 'humble':
    os.environ['ROS_LOCALHOST_ONLY'] = '1'

TESTS = Path(__file__).parent
SHARED = TESTS.parent.parent / 'shared'  # beside the repository: recorded drives, too large for it


def pytest_collection_modifyitems(config, items):
    retries = config.pluginmanager.hasplugin('rerunfailures')
    for item in items:
        fixtures = set(getattr(item, 'fixturenames', ()))
        if TESTS / 'ros' in item.path.parents or fixtures & {'ros', 'ros_domain', 'listener'}:
            item.add_marker('ros')
        if retries and item.get_closest_marker('ros'):
            item.add_marker(pytest.mark.flaky(reruns=1))
        if 'shared_folder' in fixtures:
            item.add_marker('data')
        if item.get_closest_marker('gpu') and not _has_cuda():
            item.add_marker(pytest.mark.skip(reason='needs a CUDA device'))


def _has_cuda() -> bool:
    import torch
    return torch.cuda.is_available()


@pytest.fixture
def ros_domain() -> Iterator[int]:
    """The number of a ROS domain that nobody else on this machine uses."""
    from attention_fusion_ros.ros.clients.domains import ReservedDomain
    with ReservedDomain() as number:
        yield number


@pytest.fixture(scope='session')
def shared_folder() -> Path:
    """The folder with the recorded drives (`data`) and the tool that makes recordings of them (`tools`)."""
    if not (SHARED / 'tools' / 'to_rosbag2.py').exists():
        pytest.skip(f'needs the recorded drives in {SHARED}')
    return SHARED


@pytest.fixture(scope='session')
def mini_recording(tmp_path_factory) -> Path:
    """A recording of four simulated sweeps, map image, odometry and transform; made once, not to be changed."""
    from support import mini_drive
    return mini_drive.write(tmp_path_factory.mktemp('mini') / 'mini_drive')
