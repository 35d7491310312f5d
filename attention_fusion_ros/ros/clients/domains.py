# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""ROS domains that no other process of this machine uses."""

from __future__ import annotations

import random
import re
import socket
from pathlib import Path

from attention_fusion_ros.errors import ConfigurationError

DOMAINS = range(1, 100)  # those that every operating system has ports for
PORT_BASE, PORTS_PER_DOMAIN = 7400, 250  # RTPS 2.2, 9.6.1.1
SHARED_MEMORY = Path('/dev/shm')

_reserved: dict[int, socket.socket] = {}


def reserve_domain() -> int:
    """A ROS domain id that nobody on this machine uses, as far as can be seen, and that no other caller gets.

    It is reserved until `release_domain` or the end of this process, by the TCP port with the number of the domain's
    first UDP port, which the middleware has no use for.

    Fast DDS leaves its shared-memory ports behind when a process is killed, and messages through such a port come up to
    seconds late: domains with ports are given last.

    Raises ConfigurationError when all are reserved.
    """
    ports = (re.fullmatch(r'fast(?:rtps|dds)_port(\d+)', f.name) for f in SHARED_MEMORY.glob('fast*_port*'))
    used = {(int(match[1]) - PORT_BASE) // PORTS_PER_DOMAIN for match in ports if match}
    for domain in sorted(DOMAINS, key=lambda d: (d in used, random.random())):
        reservation = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            reservation.bind(('127.0.0.1', PORT_BASE + PORTS_PER_DOMAIN * domain))
        except OSError:
            reservation.close()
            continue
        _reserved[domain] = reservation
        return domain
    raise ConfigurationError(f'every ROS domain from {DOMAINS[0]} to {DOMAINS[-1]} is in use on this machine: end '
                             'other runs of this program first.')


def release_domain(domain: int) -> None:
    """Give a domain of `reserve_domain` back. May be repeated."""
    reservation = _reserved.pop(domain, None)
    if reservation is not None:
        reservation.close()
