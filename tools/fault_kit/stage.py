# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The processes: the node under test, a driver that feeds it, and a listener that knows what came back and when."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import GetParameters, SetParametersAtomically
from rclpy.parameter import Parameter, parameter_value_to_python

from attention_fusion_ros.geometry import angle_between
from attention_fusion_ros.ros import transport
from attention_fusion_ros.ros.clients.diagnostics_listener import DiagnosticsListener
from attention_fusion_ros.ros.clients.domains import ReservedDomain
from attention_fusion_ros.ros.clients.node_process import NodeError, NodeProcess
from attention_fusion_ros.ros.clients.result_listener import ResultListener
from attention_fusion_ros.ros.clients.session import Session

HERE = Path(__file__).parent
ODD_NODE = [sys.executable, str(HERE / 'odd_node.py')]
NAME = '/attention_fusion'
PARAMETERS = {'device': 'cpu', 'threads': 1, 'diagnostics.period': 0.25, 'diagnostics.log_throttle': 1.0}
SAME_RAD = math.radians(3.0)  # an answer this near to the one of the start is the same
WIDE = {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET'}
READY_TIMEOUT_S = 60.0
CALL_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Sent:
    """A sweep that ought to be answered."""

    stamp_ns: int
    at_s: float  # time.monotonic()


class Driver:
    """The process of driver.py. prefix: of its command line. environment: of the process, whole."""

    def __init__(self, scene: Path, environment: Mapping[str, str], prefix: Sequence[str] = (),
                 best_effort: bool = False):
        options = ['--best-effort'] if best_effort else []
        self.process = subprocess.Popen([*prefix, sys.executable, str(HERE / 'driver.py'), str(scene), *options],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=dict(environment), start_new_session=True)
        self.good: list[Sent] = []
        self.odd = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def want(self, **wanted: Any) -> None:
        """Send this from now on, see `driver.Wanted`."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(wanted) + '\n')
        self.process.stdin.flush()

    @property
    def sent(self) -> int:
        """Sweeps so far, good or not."""
        return len(self.good) + self.odd

    def stop(self) -> None:
        """End it. May be repeated."""
        with suppress(OSError):
            self.process.kill()
        self.process.wait()
        self._reader.join(5.0)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            kind, stamp_ns, at_s = line.split()
            if kind == 'good':
                self.good.append(Sent(int(stamp_ns), float(at_s)))
            else:
                self.odd += 1


class Stage:
    """A ROS domain with the listener; node and driver come and go. Use as a context manager.

    folder: for logs. wide: across network interfaces. driver_prefix: of the driver's command line. patience: multiplies
    how long is waited for processes.
    """

    def __init__(self, folder: Path, scene: Path, wide: bool = False, driver_prefix: Sequence[str] = (),
                 patience: float = 1.0):
        self.folder, self.scene, self._driver_prefix, self.patience = folder, scene, driver_prefix, patience
        self._domain = ReservedDomain()
        self.environment = {**(WIDE if wide else transport.local_only()), 'ROS_DOMAIN_ID': str(self._domain.id),
                            'OMP_NUM_THREADS': '1', 'ROS_LOG_DIR': str(folder / 'ros')}
        self.session = Session('fault_probe', domain_id=self._domain.id, environment=self.environment)
        self.listener = ResultListener(self.session.node, shares=False, keep=20_000)
        self.diagnostics = DiagnosticsListener(self.session.node)
        self.drivers: list[Driver] = []
        self.reference: float | None = None  # rad, bearing of the direction when nothing is wrong
        self.node: NodeProcess | None = None
        self._nodes = 0
        self._plain = False  # the node is as `ready` makes it

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.session.close()
        self._domain.close()

    @property
    def driver(self) -> Driver:
        """The latest one."""
        return self.drivers[-1]

    @property
    def good(self) -> list[Sent]:
        """Every good sweep of every driver so far."""
        return [sent for driver in self.drivers for sent in list(driver.good)]

    def full_environment(self, more: Mapping[str, str | None] | None = None) -> dict[str, str]:
        """That of processes of this stage. more: variables, None for one that is to be absent."""
        found: dict[str, str | None] = {**os.environ, **self.environment, **(more or {})}
        return {name: value for name, value in found.items() if value is not None}

    def start_driver(self, **options: Any) -> Driver:
        """A new one, beside those there are."""
        options.setdefault('prefix', self._driver_prefix)
        self.drivers.append(Driver(self.scene, self.full_environment(), **options))
        return self.driver

    def start_node(self, parameters: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None,
                   **options: Any) -> NodeProcess:
        """The node under test, in the place of the one there was; it takes a while. options: of NodeProcess."""
        self._nodes += 1
        self.stop_node()
        self._plain = not (parameters or environment or options)
        self.node = NodeProcess(self.session, {**PARAMETERS, **(parameters or {})}, options.pop('remaps', {}),
                                self.folder / f'node_{self._nodes}.log', self._domain.id,
                                {**self.environment, **(environment or {})}, patience=self.patience,
                                start=options.pop('start', self.entry_point()), **options)
        return self.node

    def up(self) -> None:
        """Wait until the node's log says that it is active. Raises NodeError."""
        node = self.node
        assert node is not None

        def ready() -> bool:
            return node.status() is not None or any(line.endswith(': active') for line in node.log_lines())

        found = self.wait(ready, READY_TIMEOUT_S * self.patience)
        node.check()
        if not found:
            raise NodeError(f'the node is not active. The end of its log:\n{node.log_tail()}')

    def stop_node(self) -> None:
        """End the node under test, if there is one."""
        if self.node is not None:
            self.node.stop()
            self.node = None

    def stop(self) -> None:
        """End the processes."""
        self.stop_node()
        for driver in self.drivers:
            driver.stop()

    def ready(self) -> None:
        """See that there is a node and a driver, and that sweeps are answered. Raises NodeError."""
        if not self.drivers or self.driver.process.poll() is not None:
            self.start_driver()
        if self.node is None or self.node.status() is not None or not self._plain:
            self.start_node()
        self.driver.want()
        if self.answer(time.monotonic(), READY_TIMEOUT_S * self.patience) is None:
            raise NodeError(f'no answers before the fault. The end of the log:\n{self.node and self.node.log_tail()}')

    @staticmethod
    def entry_point(activate: bool = True) -> list[str]:
        """The command that starts the node, as a supervisor does it.

        The node brings itself up: for 20 s after a process was killed, its services seem to be there, and what calls
        them gets no answer, nor does the node that was started in its place get the call.
        """
        return [sys.executable, '-m', 'attention_fusion_ros', 'fusion_node', *(['--activate'] if activate else [])]

    # -- services ------------------------------------------------------------------------------------------------------

    def call(self, kind: type, name: str, request: Any) -> Any:
        """The answer of a service of the node. Raises NodeError without one in time."""
        client = self.session.node.create_client(kind, f'{NAME}/{name}')
        try:
            if not client.wait_for_service(READY_TIMEOUT_S * self.patience):
                raise NodeError(f'no service {name}')
            future = client.call_async(request)
            if not self.wait(future.done, CALL_TIMEOUT_S * self.patience):
                raise NodeError(f'{name} did not answer within {CALL_TIMEOUT_S * self.patience:g} s')
            return future.result()
        finally:
            self.session.node.destroy_client(client)

    def change_state(self, transition: int) -> bool:
        """Trigger a transition; whether it succeeded."""
        request = ChangeState.Request()
        request.transition.id = transition
        return bool(self.call(ChangeState, 'change_state', request).success)

    def reconfigure(self, must: bool = True) -> None:
        """To unconfigured, from wherever it is, and back to active. must: raise NodeError where that fails."""
        for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP):
            self.change_state(transition)
        for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
            if not self.change_state(transition) and must:
                raise NodeError(f'transition {transition} failed')

    def parameter(self, name: str) -> Any:
        """Its value."""
        return parameter_value_to_python(
            self.call(GetParameters, 'get_parameters', GetParameters.Request(names=[name])).values[0])

    def set_parameter(self, name: str, value: Any) -> bool:
        """Whether the node accepted it."""
        request = SetParametersAtomically.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        return bool(self.call(SetParametersAtomically, 'set_parameters_atomically', request).result.successful)

    # -- answers -------------------------------------------------------------------------------------------------------

    def answer(self, after_s: float, timeout_s: float) -> float | None:
        """When the first answer as before to a good sweep that was sent later came, None without one in time."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end and not (self.node is not None and self.node.status() is not None):
            for sent in reversed(self.good[-400:]):
                if sent.at_s < after_s:
                    continue
                found = self._as_before(sent.stamp_ns, after_s)
                if found is not None:
                    return self._first(after_s)
            time.sleep(0.02)
        return None

    def _first(self, after_s: float) -> float | None:
        times = [self._as_before(sent.stamp_ns, after_s) for sent in self.good if sent.at_s >= after_s]
        return min((t for t in times if t is not None), default=None)

    def _as_before(self, stamp_ns: int, after_s: float) -> float | None:
        result = self.listener.result(stamp_ns)
        if result is None or result.direction is None or result.direction_at_s is None:
            return None
        if self.reference is None:
            self.reference = result.direction[0]
        near = abs(angle_between(result.direction[0], self.reference)) < SAME_RAD
        return result.direction_at_s if near and result.direction_at_s >= after_s else None

    def answered(self, stamp_ns: int) -> bool:
        """Whether this sweep was."""
        result = self.listener.result(stamp_ns)
        return result is not None and result.branches_at_s is not None

    def wait(self, condition: Callable[[], Any], timeout_s: float) -> bool:
        """Whether the condition was met in time."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if condition():
                return True
            time.sleep(0.02)
        return False
