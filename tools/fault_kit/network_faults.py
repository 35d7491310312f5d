# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The network between the driver's machine and the node's: two network namespaces and a pair of interfaces."""

from __future__ import annotations

import subprocess
import time

from fault_kit import isolation
from fault_kit.fault import fault
from fault_kit.isolation import NAMESPACES, NETEM
from fault_kit.run import Run

GROUP = 'network'


def _down(seconds: float) -> None:
    def act(run: Run) -> None:
        run.inject()
        isolation.link(False)
        time.sleep(seconds)
        isolation.link(True)
        run.lift()

    act.__doc__ = 'ip link set down, and up again.'
    fault(GROUP, f'interface down for {seconds:g} s', bound_s=10.0, needs=(NAMESPACES,))(act)


def _spoiled(name: str, *netem: str) -> None:
    def act(run: Run) -> None:
        device = ('dev', isolation.HERE_LINK, 'root')
        run.inject()
        subprocess.run(['tc', 'qdisc', 'add', *device, *netem], check=True)
        time.sleep(6.0)
        subprocess.run(['tc', 'qdisc', 'del', *device], check=True)
        run.lift()

    act.__doc__ = f"For 6 s, in the node's direction of the link (tc {' '.join(netem)})."
    fault(GROUP, name, bound_s=10.0, needs=(NAMESPACES, NETEM))(act)


for _seconds in (5.0, 40.0):
    _down(_seconds)
_spoiled('a fifth of the packets lost', 'netem', 'loss', '20%')
_spoiled('packets late by 300 ms', 'netem', 'delay', '300ms', '100ms')
_spoiled('packets doubled and in another order', 'netem', 'delay', '10ms', 'reorder', '50%', 'duplicate', '20%')


@fault(GROUP, 'address of the interface changes', bound_s=30.0, needs=(NAMESPACES,))
def address(run: Run) -> None:
    """The node's machine gets another address on the link, as DHCP gives it, for 5 s, and then the first one again."""
    run.inject()
    for address in ('10.99.0.77/24', f'{isolation.HERE_IP}/24'):
        subprocess.run(['ip', 'addr', 'flush', 'dev', isolation.HERE_LINK], check=True)
        subprocess.run(['ip', 'addr', 'add', address, 'dev', isolation.HERE_LINK], check=True)
        if not address.startswith(isolation.HERE_IP):
            time.sleep(5.0)
    run.lift()


@fault(GROUP, 'node starts before the network', bound_s=15.0, needs=(NAMESPACES,))
def started_without(run: Run) -> None:
    """The interface is down while the node starts and is configured, and up 3 s later."""
    run.inject()
    isolation.link(False)
    run.stage.start_node()
    run.stage.up()
    time.sleep(3.0)
    isolation.link(True)
    run.lift()
