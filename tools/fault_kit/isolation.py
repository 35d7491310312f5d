# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Namespaces of our own: faults of network, disks and shared memory then touch nobody else on the machine.

Linux, as root; without either, the faults that need it are told as not run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

MARK = 'FAULTS_ISOLATED'
CGROUPS = Path('/sys/fs/cgroup')
SHIFT_SOURCE = Path(__file__).parent / 'clock_shift.c'
HERE_IP, THERE_IP = '10.99.0.1', '10.99.0.2'
HERE_LINK, THERE_LINK = 'af0', 'af1'


def quiet(*command: str) -> bool:
    """Run it; whether it went well."""
    try:
        return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


def enter() -> int | None:
    """Run this script again in namespaces of its own, where that is possible; returns its exit status.

    None where it is not possible, or this is inside.
    """
    if os.environ.get(MARK) or os.geteuid() != 0 or not quiet('unshare', '--mount', '--net', '--pid', '--fork', 'true'):
        return None
    os.environ[MARK] = '1'
    # With processes of its own as well: none is left behind, however this one ends. unshare itself ignores SIGTERM.
    inside = subprocess.Popen(['unshare', '--mount', '--propagation', 'private', '--net', '--pid', '--fork',
                               '--mount-proc', '--kill-child', sys.executable, *sys.argv])
    try:
        return inside.wait()
    finally:
        inside.kill()


def isolated() -> bool:
    """Whether this process is in namespaces of its own."""
    return bool(os.environ.get(MARK))


def prepare() -> None:
    """In new namespaces: a loopback device, and shared memory of our own."""
    if isolated():
        subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)
        subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=2G', 'shm', '/dev/shm'], check=True)


def clock_shift(folder: Path) -> Path:
    """The library that moves a process's wall clock, compiled into the folder."""
    library = folder / 'clock_shift.so'
    if not library.exists():
        subprocess.run(['cc', '-O1', '-shared', '-fPIC', '-o', str(library), str(SHIFT_SOURCE), '-ldl'], check=True)
    return library


def cgroup(controller: str) -> Path | None:
    """A new control group, None where there can be none."""
    for parent in (CGROUPS / controller, CGROUPS):
        group = parent / f'faults_{os.getpid()}'
        knob = {'memory': ('memory.limit_in_bytes', 'memory.max'), 'cpu': ('cpu.cfs_quota_us', 'cpu.max'),
                'pids': ('pids.max', 'pids.max')}[controller]
        try:
            group.mkdir(exist_ok=True)
            if any((group / name).exists() for name in knob):
                return group
            group.rmdir()
        except OSError:
            continue
    return None


def _has_cgroup(controller: str) -> bool:
    group = cgroup(controller)
    if group is not None:
        group.rmdir()
    return group is not None


CAN: dict[str, Callable[[], bool]] = {
    'namespaces of its own (root, unshare)': isolated,
    'netem (tc, sch_netem)': lambda: isolated() and shutil.which('tc') is not None and _has_netem(),
    'a C compiler': lambda: shutil.which('cc') is not None,
    'a memory control group': lambda: _has_cgroup('memory'),
    'a cpu control group': lambda: _has_cgroup('cpu'),
    'a pids control group': lambda: _has_cgroup('pids'),
    'prlimit': lambda: shutil.which('prlimit') is not None,
    'root': lambda: os.geteuid() == 0,
}
NAMESPACES, NETEM, COMPILER, MEMORY, CPU, PIDS, PRLIMIT, ROOT = CAN


def _has_netem() -> bool:
    if not quiet('tc', 'qdisc', 'add', 'dev', 'lo', 'root', 'netem', 'delay', '1ms'):
        return False
    return quiet('tc', 'qdisc', 'del', 'dev', 'lo', 'root')


class OtherMachine:
    """A network namespace that is reached through a pair of interfaces only. Use as a context manager."""

    def __enter__(self) -> OtherMachine:
        self._holder = subprocess.Popen(['unshare', '--net', 'sleep', 'infinity'])
        for command in (f'ip link add {HERE_LINK} type veth peer name {THERE_LINK}',
                        f'ip link set {THERE_LINK} netns {self._holder.pid}',
                        f'ip addr add {HERE_IP}/24 dev {HERE_LINK}', f'ip link set {HERE_LINK} up multicast on'):
            self._until(command.split())
        inside = ['nsenter', '--net', '--target', str(self._holder.pid)]
        for command in ('ip link set lo up', f'ip addr add {THERE_IP}/24 dev {THERE_LINK}',
                        f'ip link set {THERE_LINK} up multicast on'):
            self._until([*inside, *command.split()])
        self.prefix = inside
        return self

    def __exit__(self, *_: object) -> None:
        self._holder.kill()
        self._holder.wait()
        quiet('ip', 'link', 'del', HERE_LINK)

    @staticmethod
    def _until(command: list[str]) -> None:
        """The namespace is there a moment after the process."""
        for _ in range(50):
            if quiet(*command):
                return
            import time
            time.sleep(0.1)
        raise OSError(f'failed: {" ".join(command)}')


def link(up: bool) -> None:
    """The interface towards the other machine."""
    subprocess.run(['ip', 'link', 'set', HERE_LINK, 'up' if up else 'down'], check=True)
