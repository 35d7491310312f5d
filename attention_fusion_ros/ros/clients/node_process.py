# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A lifecycle node of this package in a process of its own, as `ros2 run` would start it, and its lifecycle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.parameter import Parameter

from attention_fusion_ros.ros.clients.session import Session

NAME = 'attention_fusion'
START_TIMEOUT_S = 180.0  # importing torch on a busy machine takes a while
CONFIGURE_TIMEOUT_S = 180.0  # loading the network and its first run
STOP_TIMEOUT_S = 10.0  # until a process that does not end is killed
TAIL_LINES = 15  # of the log, in errors


class NodeError(RuntimeError):
    """The node did not start, refused a transition, or ended on its own."""


class NodeProcess:
    """Use as a context manager: the process ends with it, however it is left.

    parameters: of the node. remaps: {topic of the node: name on the graph}. log: where its output goes.
    domain_id: the domain of `session`, None for that of the environment. environment: variables besides those of this
    process. command: which node, as the package has it; name: its name on the graph. start: what to run in place of
    `python -m attention_fusion_ros COMMAND`, with the same arguments. output: where its output goes instead of the log.
    patience: multiplies how long is waited for it.
    """

    def __init__(self, session: Session, parameters: Mapping[str, Any], remaps: Mapping[str, str], log: Path,
                 domain_id: int | None = None, environment: Mapping[str, str] | None = None,
                 command: str = 'fusion_node', name: str = NAME, start: Sequence[str] = (), output: int | None = None,
                 patience: float = 1.0):
        self.name, self._log, self._patience = name, log, patience
        arguments = []
        for key, value in parameters.items():
            arguments += ['-p', f'{key}:={value if isinstance(value, str) and value else json.dumps(value)}']
        for topic, target in remaps.items():
            arguments += ['-r', f'{topic}:={target}']
        variables = {**os.environ, **(environment or {})}
        if domain_id is not None:
            variables['ROS_DOMAIN_ID'] = str(domain_id)
        log.parent.mkdir(parents=True, exist_ok=True)
        start = start or [sys.executable, '-m', 'attention_fusion_ros', command]
        with open(log, 'w') as file:
            # In a process group of its own: Ctrl+C reaches this process, which then stops the node in an orderly way.
            self._process = subprocess.Popen([*start, '--ros-args', *arguments], env=variables, start_new_session=True,
                                             stdout=file if output is None else output, stderr=subprocess.STDOUT)
        client: Callable[..., Any] = session.node.create_client  # rclpy of Kilted has types, that of Jazzy has not
        self._client = client(ChangeState, f'/{name}/change_state')
        self._parameters = client(SetParametersAtomically, f'/{name}/set_parameters_atomically')

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def bring_up(self) -> None:
        """Wait for the node, configure and activate it. Raises NodeError."""
        self.wait_until_started()
        self.activate()

    def wait_until_started(self) -> None:
        """Wait until the node is there, not yet configured. Raises NodeError."""
        self._wait(self._client.service_is_ready, START_TIMEOUT_S, 'did not start')

    def activate(self) -> None:
        """Configure and activate the node, which must be there. Raises NodeError."""
        self.change_state(Transition.TRANSITION_CONFIGURE, 'configure')
        self.change_state(Transition.TRANSITION_ACTIVATE, 'activate')

    def change_state(self, transition: int, name: str) -> None:
        """Call the lifecycle service. Raises NodeError when the transition fails."""
        request = ChangeState.Request()
        request.transition.id = transition
        future = self._client.call_async(request)
        self._wait(future.done, CONFIGURE_TIMEOUT_S, f'did not answer to {name}')
        if not future.result().success:
            raise NodeError(f'The node could not {name}. The end of its log:\n{self.log_tail()}')

    def cycle(self) -> None:
        """From active down to unconfigured and up again. Raises NodeError."""
        for transition, name in ((Transition.TRANSITION_DEACTIVATE, 'deactivate'),
                                 (Transition.TRANSITION_CLEANUP, 'clean up'),
                                 (Transition.TRANSITION_CONFIGURE, 'configure'),
                                 (Transition.TRANSITION_ACTIVATE, 'activate')):
            self.change_state(transition, name)

    def set_parameters(self, values: Mapping[str, Any]) -> None:
        """Set parameters, all or none. Raises NodeError when the node refuses."""
        request = SetParametersAtomically.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg() for name, value in values.items()])
        future = self._parameters.call_async(request)
        self._wait(future.done, CONFIGURE_TIMEOUT_S, 'did not answer to set_parameters_atomically')
        if not future.result().result.successful:
            raise NodeError(f'The node refused parameters: {future.result().result.reason}')

    def check(self) -> None:
        """Raises NodeError when the process has ended."""
        if self._process.poll() is not None:
            raise NodeError(f'The node ended with status {self._process.returncode}. The end of its log:\n'
                            f'{self.log_tail()}')

    def status(self) -> int | None:
        """Its exit status, None while it runs."""
        return self._process.poll()

    def rss_bytes(self) -> int:
        """Resident memory of the process (Linux: /proc)."""
        with open(f'/proc/{self.pid}/statm') as file:
            return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')

    def shared_bytes(self) -> int:
        """Of it, shared memory: the segments of the middleware, its own and those it reads (Linux: /proc)."""
        with open(f'/proc/{self.pid}/status') as file:
            return next((int(line.split()[1]) * 1024 for line in file if line.startswith('RssShmem:')), 0)

    def threads(self) -> list[int]:
        """Ids of the threads of the process (Linux: /proc)."""
        return sorted(int(name) for name in os.listdir(f'/proc/{self.pid}/task'))

    def handles(self) -> int:
        """How many file handles the process has open (Linux: /proc)."""
        return len(os.listdir(f'/proc/{self.pid}/fd'))

    def cpu_seconds(self) -> float:
        """Processor time that the process has used, over all cores (Linux: /proc)."""
        with open(f'/proc/{self.pid}/stat') as file:
            fields = file.read().rpartition(')')[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def log_lines(self) -> list[str]:
        """Its output so far."""
        return self._log.read_text(errors='replace').splitlines()

    def log_tail(self) -> str:
        """The last TAIL_LINES lines of its log."""
        return '\n'.join(self.log_lines()[-TAIL_LINES:])

    def stop(self) -> int:
        """Interrupt the node, kill it if that does not help; returns its exit status. May be repeated."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        return self._process.returncode

    def _wait(self, condition: Callable[[], Any], timeout_s: float, problem: str) -> None:
        timeout_s *= self._patience
        end = time.monotonic() + timeout_s
        while not condition():
            self.check()
            if time.monotonic() > end:
                raise NodeError(f'The node {problem} within {timeout_s:g} s. The end of its log:\n{self.log_tail()}')
            time.sleep(0.02)
