# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""How long the node takes to start, what it takes while it waits, and what the installation takes on disk."""

from __future__ import annotations

import os
import statistics
import sysconfig
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attention_fusion_ros.backends.create import BACKENDS, EXPORTED
from attention_fusion_ros.ros import transport
from attention_fusion_ros.ros.clients.domains import ReservedDomain
from attention_fusion_ros.ros.clients.node_process import NodeProcess
from attention_fusion_ros.ros.clients.session import Session
from attention_fusion_ros.utils.packages import is_installed

IDLE_S = 10.0  # without a message, after a second to settle
MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Start:
    """One backend: medians over several starts."""

    backend: str
    starts: int
    to_active_s: float  # from the call of `configure` to active
    from_process_s: float  # from the start of the process, with Python and every import
    resident_mb: float  # when it is active
    idle_share: float  # of a core, while no message comes


def installed() -> list[str]:
    """The backends that can be measured here."""
    return [name for name in ('torch', *EXPORTED) if is_installed(BACKENDS[name].package)]


def measure(backends: Sequence[str], parameters: Mapping[str, Any], starts: int, log: Path,
            idle_s: float = IDLE_S) -> Iterator[Start]:
    """Start the node `starts` times with each backend, one after the other; the log is that of the last.

    The first start of a backend, which may compile loops and read everything from disk, is made but not counted. Raises
    NodeError.
    """
    for backend in backends:
        found = []
        for _ in range(starts + 1):
            found.append(_one({**parameters, 'backend': backend}, log, idle_s))
        yield Start(backend, starts, *(statistics.median(values) for values in zip(*found[1:])))


def _one(parameters: Mapping[str, Any], log: Path, idle_s: float) -> tuple[float, float, float, float]:
    local = transport.local_only()
    with ReservedDomain() as domain, Session('start', domain_id=domain, environment=local) as session:
        began = time.perf_counter()
        with NodeProcess(session, parameters, {}, log, domain, local) as node:
            node.wait_until_started()
            configured = time.perf_counter()
            node.activate()
            active = time.perf_counter()
            resident = node.rss_bytes() / MEBIBYTE
            time.sleep(1.0)
            before, waited = node.cpu_seconds(), time.perf_counter()
            time.sleep(idle_s)
            idle = (node.cpu_seconds() - before) / (time.perf_counter() - waited)
    return active - configured, active - began, resident, idle


def environment_mb() -> float:
    """What the packages beside this one take on disk, in MiB: the folders that pip installs to."""
    folders = {Path(sysconfig.get_path(name)).resolve() for name in ('purelib', 'platlib')}
    seen: dict[tuple[int, int], int] = {}  # a file with two names counts once
    for folder in folders:
        for place, _, names in os.walk(folder):
            for name in names:
                about = os.lstat(os.path.join(place, name))
                seen[about.st_dev, about.st_ino] = about.st_blocks * 512
    return sum(seen.values()) / MEBIBYTE
