# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""ROS domains that no other process of this machine uses."""

from __future__ import annotations

import random
import re
import socket
from pathlib import Path
from types import TracebackType

from attention_fusion_ros.errors import ConfigurationError

DOMAINS = range(1, 100)  # those that every operating system has ports for
PORT_BASE, PORTS_PER_DOMAIN = 7400, 250  # RTPS 2.2, 9.6.1.1
SHARED_MEMORY = Path('/dev/shm')


class ReservedDomain:
    """A ROS domain that nobody on this machine uses, as far as can be seen; `id` is its number.

    No other caller on the machine gets it until `close`, the end of a `with` statement (which gives the number) or the
    end of the process. It is held by the TCP port with the number of the domain's first UDP port, which the middleware
    has no use for; a forked child holds it too.

    Fast DDS leaves its shared-memory ports behind when a process is killed, and messages through such a port come up to
    seconds late: domains with ports are given last.

    Raises ConfigurationError when all are reserved.
    """

    def __init__(self) -> None:
        ports = (re.fullmatch(r'fast(?:rtps|dds)_port(\d+)', f.name) for f in SHARED_MEMORY.glob('fast*_port*'))
        used = {(int(match[1]) - PORT_BASE) // PORTS_PER_DOMAIN for match in ports if match}
        for domain in sorted(DOMAINS, key=lambda domain: (domain in used, random.random())):
            self._holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                self._holder.bind(('127.0.0.1', PORT_BASE + PORTS_PER_DOMAIN * domain))
                self.id = domain
                return
            except OSError:
                self._holder.close()
        raise ConfigurationError(f'every ROS domain from {DOMAINS[0]} to {DOMAINS[-1]} is reserved on this machine: '
                                 'end other benchmarks, demos and tests first.')

    def close(self) -> None:
        """Give it back. May be repeated."""
        self._holder.close()

    def __enter__(self) -> int:
        return self.id

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()
