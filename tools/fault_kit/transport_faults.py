# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Shared memory, through which processes of one machine talk."""

from __future__ import annotations

import time
from pathlib import Path

from fault_kit.fault import fault
from fault_kit.isolation import NAMESPACES
from fault_kit.run import Run

GROUP = 'shared memory'
SHM = Path('/dev/shm')


@fault(GROUP, '/dev/shm full at the start', bound_s=30.0, needs=(NAMESPACES,))
def full_at_the_start(run: Run) -> None:
    """Filled to the last megabyte; node and driver start anew there, and it stays full."""
    filler = SHM / 'filler'
    run.stage.driver.stop()
    run.stop_node()
    run.fill(filler, leave=2**20)
    run.after(lambda: filler.unlink(missing_ok=True))
    run.inject()
    run.lift()
    run.stage.start_driver()
    run.stage.start_node()


@fault(GROUP, '/dev/shm fills up while it runs', bound_s=5.0, needs=(NAMESPACES,))
def fills_up(run: Run) -> None:
    """Filled to the last byte for 6 s, with clouds of 2 MB."""
    filler = SHM / 'filler'
    run.inject()
    run.fill(filler, leave=0)
    run.after(lambda: filler.unlink(missing_ok=True))
    run.stage.driver.want(cloud='2 MB')
    time.sleep(6.0)
    filler.unlink()
    run.lift()
    run.stage.driver.want()


@fault(GROUP, 'files in /dev/shm removed', bound_s=5.0, needs=(NAMESPACES,))
def removed(run: Run) -> None:
    """Somebody cleans up: every file of the middleware is deleted while node and driver run."""
    run.inject()
    for path in SHM.glob('*fast*'):
        path.unlink(missing_ok=True)
    time.sleep(3.0)
    run.lift()


@fault(GROUP, 'no /dev/shm', bound_s=30.0, needs=(NAMESPACES,))
def absent(run: Run) -> None:
    """The node starts where /dev/shm is read-only."""
    run.stop_node()
    run.inject()
    run.lift()
    script = 'mount -t tmpfs -o ro none /dev/shm && exec "$@"'
    run.stage.start_node(start=['unshare', '--mount', 'sh', '-c', script, 'sh', *run.stage.entry_point()])
