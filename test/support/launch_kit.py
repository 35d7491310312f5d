# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Launch files in a process of their own, as `ros2 launch` runs them, with this source tree in place of a built one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from lifecycle_msgs.srv import ChangeState, GetState

from attention_fusion_ros.ros.clients.session import Session

ROOT = Path(__file__).parents[2]
PACKAGE = 'attention_fusion_ros'
TIMEOUT = 120.0  # s; for machines with much else to do
# What `ros2 launch` does with a launch file: without a terminal, launch passes SIGINT on to its processes.
LAUNCH = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
service = LaunchService(noninteractive=True)
service.include_launch_description(LaunchDescription([IncludeLaunchDescription(
    PythonLaunchDescriptionSource(sys.argv[1]), launch_arguments=[a.split(':=') for a in sys.argv[2:]])]))
sys.exit(service.run())
"""


def ament_prefix(folder: Path) -> Path:
    """An installation of this source tree as `colcon build` makes it, and an rviz2 that only says how it is called."""
    share, packages = folder / 'share' / PACKAGE, folder / 'share/ament_index/resource_index/packages'
    packages.mkdir(parents=True)
    for name in ('launch', 'config'):
        shutil.copytree(ROOT / name, share / name)
    shutil.copy(ROOT / 'package.xml', share)
    for command in ('fusion_node', 'map_source', 'play'):
        _executable(folder / 'lib' / PACKAGE / command, f'import sys\nsys.path.insert(0, {str(ROOT)!r})\n'
                    f'from {PACKAGE}.commands.{command} import main\nsys.exit(main())\n')
    _executable(folder / 'lib/rviz2/rviz2', 'import signal, sys\nprint("rviz2", *sys.argv[1:], flush=True)\n'
                'signal.signal(signal.SIGINT, lambda *_: sys.exit(0))\nsignal.pause()\n')
    for package in (PACKAGE, 'rviz2'):
        (packages / package).touch()
    return folder


def _executable(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!{sys.executable}\n{text}')
    path.chmod(0o755)


class Launched:
    """A launch file that runs in a domain, until it ends by itself or this context manager is left."""

    def __init__(self, prefix: Path, domain: int, name: str, *arguments: str):
        paths = [str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])]
        prefixes = [str(prefix), *filter(None, [os.environ.get('AMENT_PREFIX_PATH')])]
        environment = {**os.environ, 'ROS_DOMAIN_ID': str(domain), 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
                       'PYTHONPATH': os.pathsep.join(paths), 'AMENT_PREFIX_PATH': os.pathsep.join(prefixes),
                       'OVERRIDE_LAUNCH_PROCESS_OUTPUT': 'screen', 'ROS_LOG_DIR': str(prefix / 'log'),
                       'OMP_NUM_THREADS': '1'}
        self.process = subprocess.Popen(
            [sys.executable, '-c', LAUNCH, str(prefix / 'share' / PACKAGE / 'launch' / name), *arguments],
            env=environment, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True)
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.session = Session('probe', domain_id=domain)

    def __enter__(self) -> Launched:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()
        if self.process.poll() is None:
            self.interrupt()
            try:
                self.process.wait(30.0)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)  # and what it has left behind
        except ProcessLookupError:
            pass

    @property
    def output(self) -> str:
        """What launch and its processes have printed so far."""
        return ''.join(self._lines)

    def interrupt(self, twice: bool = True) -> None:
        """SIGINT to launch, which passes it on; twice: to every process as well, as Ctrl+C in a terminal sends it."""
        (os.killpg if twice else os.kill)(self.process.pid, signal.SIGINT)

    def end(self) -> int:
        """Wait until launch ends by itself; returns its exit code."""
        try:
            code = self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            raise AssertionError(f'launch has not ended:\n{self.output}') from None
        self._reader.join(10.0)
        return code

    def wait(self, condition, what: str):
        """The first true value of condition(), while launch runs."""
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            if value := condition():
                return value
            assert self.process.poll() is None, f'launch has ended before: {what}\n{self.output}'
            time.sleep(0.05)
        raise AssertionError(f'not within {TIMEOUT:g} s: {what}\n{self.output}')

    def pid_of(self, executable: str) -> int:
        """Process id of what launch has started under this name, once it has."""
        def found():
            for line in self.output.splitlines():
                if f'[{executable}-' in line and 'process started with pid [' in line:
                    return int(line.rpartition('[')[2].split(']')[0])
            return None
        return self.wait(found, f'{executable} is started')

    def state(self, node: str = '/attention_fusion') -> str:
        """The lifecycle state of the node."""
        return self.call(GetState, f'{node}/get_state', GetState.Request()).current_state.label

    def change(self, transition: int, node: str = '/attention_fusion') -> bool:
        """Trigger a transition as `ros2 lifecycle set` does; returns whether it succeeded."""
        request = ChangeState.Request()
        request.transition.id = transition
        return self.call(ChangeState, f'{node}/change_state', request).success

    def call(self, kind, name, request):
        """The answer of a service, once it is there."""
        client = self.session.node.create_client(kind, name)
        try:
            self.wait(client.service_is_ready, f'{name} is there')
            future = client.call_async(request)
            self.wait(future.done, f'{name} answers')
            return future.result()
        finally:
            self.session.node.destroy_client(client)

    def _read(self) -> None:
        for line in self.process.stdout:
            self._lines.append(line)
