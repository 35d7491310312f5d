# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Too little of what a process needs: handles, memory, processor, threads."""

from __future__ import annotations

import signal
import subprocess
import time

from fault_kit import isolation
from fault_kit.fault import fault
from fault_kit.isolation import CPU, MEMORY, PIDS, PRLIMIT
from fault_kit.run import Run

GROUP = 'resources'


def _limit(run: Run, name: str, value: str) -> None:
    subprocess.run(['prlimit', '--pid', str(run.node.pid), f'--{name}={value}'], check=True)


@fault(GROUP, 'no file handles left', bound_s=5.0, needs=(PRLIMIT,))
def handles(run: Run) -> None:
    """For some seconds the node may open no handle more than it has; a subscriber comes, and it is configured anew."""
    run.inject()
    _limit(run, 'nofile', f'{run.node.handles()}:20000')
    with run.helper('subscribe', '/attention_fusion/heatmap/image', 'sensor_msgs/msg/Image'):
        run.tracebacks_expected = True
        run.stage.reconfigure(must=False)
        time.sleep(3.0)
    _limit(run, 'nofile', '20000:20000')
    run.stage.reconfigure(must=False)
    run.lift()


@fault(GROUP, 'started with 64 file handles', bound_s=30.0, needs=(PRLIMIT,))
def few_handles(run: Run) -> None:
    """ulimit -n 64."""
    run.stop_node()
    run.inject()
    run.lift()
    run.stage.start_node(start=['prlimit', '--nofile=64:64', *run.stage.entry_point()])


@fault(GROUP, 'no memory left for the process', bound_s=30.0, needs=(PRLIMIT,))
def address_space(run: Run) -> None:
    """RLIMIT_AS of the running node is set below what it has for 4 s: every larger allocation fails."""
    run.tracebacks_expected = True
    run.inject()
    _limit(run, 'as', '100000000:unlimited')
    time.sleep(4.0)
    if run.node.status() is None:
        _limit(run, 'as', 'unlimited:unlimited')
        run.lift()
    else:
        run.respawn()


@fault(GROUP, 'killed for its memory', bound_s=30.0, needs=(MEMORY,))
def out_of_memory(run: Run) -> None:
    """A memory control group of 150 MB: the kernel kills the node; it is started again without the limit."""
    group = isolation.cgroup('memory')
    assert group is not None
    run.stop_node()
    run.inject()
    run.after(group.rmdir)
    limit = next(group / n for n in ('memory.limit_in_bytes', 'memory.max') if (group / n).exists())
    limit.write_text(str(150 * 2**20))
    run.stage.start_node(start=['sh', '-c', f'echo $$ > {group}/cgroup.procs && exec "$@"', 'sh',
                                *run.stage.entry_point()])
    run.note_end(60.0 * run.stage.patience)
    run.lift()
    run.stage.start_node()


@fault(GROUP, 'a tenth of a core', bound_s=5.0, needs=(CPU,))
def starved(run: Run) -> None:
    """The running node gets 10 % of one core for 10 s."""
    group = isolation.cgroup('cpu')
    assert group is not None
    run.after(group.rmdir)
    run.inject()
    (group / 'cpu.cfs_quota_us').write_text('10000')
    for thread in run.node.threads():
        (group / 'tasks').write_text(str(thread))
    time.sleep(10.0)
    run.still_answers()
    (group / 'cpu.cfs_quota_us').write_text('-1')
    for thread in run.node.threads():
        (group.parent / 'tasks').write_text(str(thread))
    run.lift()


@fault(GROUP, 'no more threads', bound_s=10.0, needs=(PIDS,))
def no_threads(run: Run) -> None:
    """The node may have no thread more than it has, for 4 s, and is configured anew meanwhile."""
    group = isolation.cgroup('pids')
    assert group is not None
    run.tracebacks_expected = True
    run.after(group.rmdir)
    run.inject()
    (group / 'cgroup.procs').write_text(str(run.node.pid))
    (group / 'pids.max').write_text(str(len(run.node.threads())))
    run.stage.reconfigure(must=False)
    time.sleep(2.0)
    (group / 'pids.max').write_text('max')
    (group.parent / 'cgroup.procs').write_text(str(run.node.pid))
    run.stage.reconfigure(must=False)
    run.lift()


@fault(GROUP, 'four processes that take every core', bound_s=5.0)
def busy(run: Run) -> None:
    """Busy loops beside it for 6 s."""
    run.inject()
    loops = [subprocess.Popen(['sh', '-c', 'while :; do :; done']) for _ in range(4)]
    time.sleep(6.0)
    run.still_answers()
    for loop in loops:
        loop.send_signal(signal.SIGKILL)
        loop.wait()
    run.lift()
