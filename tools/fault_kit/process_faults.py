# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Processes that die, hang, or are told to stop at a bad moment. What starts the node again here is this script."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from fault_kit.fault import fault
from fault_kit.run import Run
from fault_kit.stage import READY_TIMEOUT_S

GROUP = 'processes'
RESPAWN_S = 30.0  # most of it is the import of torch


@fault(GROUP, 'driver killed', quick=True)
def driver_killed(run: Run) -> None:
    """kill -9 of the publisher; another one starts 3 s later."""
    run.inject()
    run.stage.driver.stop()
    time.sleep(3.0)
    run.stage.start_driver()
    run.stage.wait(lambda: run.stage.driver.good, 20.0)
    run.lift()


@fault(GROUP, 'node killed', bound_s=RESPAWN_S)
def node_killed(run: Run) -> None:
    """kill -9 of the node in work; it is started again at once."""
    run.inject()
    run.signal(signal.SIGKILL)
    run.respawn()


@fault(GROUP, 'node killed five times in a row', bound_s=RESPAWN_S)
def node_killed_often(run: Run) -> None:
    """kill -9 and a new start, five times; each leaves its shared memory behind."""
    run.inject()
    for _ in range(4):
        run.signal(signal.SIGKILL)
        run.stage.start_node()
        run.stage.up()
    run.signal(signal.SIGKILL)
    run.respawn()


@fault(GROUP, 'node and driver killed together', bound_s=RESPAWN_S)
def group_killed(run: Run) -> None:
    """kill -9 of both, as of a process group; both start again. launch itself was not run."""
    run.inject()
    run.stage.driver.stop()
    run.signal(signal.SIGKILL)
    run.note_end()
    run.lift()
    run.stage.start_driver()
    run.stage.start_node()


def _stopped_in_work(number: signal.Signals) -> None:
    def act(run: Run) -> None:
        run.inject()
        run.signal(number)
        run.respawn()
        run.expect('node ended: status 0')

    act.__doc__ = 'In work; the node ends by itself and is started again.'
    fault(GROUP, f'{number.name} in work', bound_s=RESPAWN_S)(act)


def _stopped_while_it_configures(number: signal.Signals) -> None:
    def act(run: Run) -> None:
        run.inject()
        run.stage.start_node(start=run.stage.entry_point())
        run.stage.wait(lambda: '/libtorch' in Path(f'/proc/{run.node.pid}/maps').read_text(), 20.0)
        time.sleep(1.0)
        run.signal(number)
        run.signal(number)
        run.respawn()
        run.expect('node ended: status 0')

    act.__doc__ = 'Twice, one second after torch was loaded, while the node configures itself; it is started again.'
    fault(GROUP, f'{number.name} while it configures', bound_s=RESPAWN_S)(act)


for _number in (signal.SIGINT, signal.SIGTERM):
    _stopped_in_work(_number)
    _stopped_while_it_configures(_number)


@fault(GROUP, 'SIGHUP in work', bound_s=RESPAWN_S)
def hang_up(run: Run) -> None:
    """The terminal is closed; the node is started again."""
    run.inject()
    run.signal(signal.SIGHUP)
    run.respawn()


@fault(GROUP, 'node stopped for 30 s')
def node_stopped(run: Run) -> None:
    """SIGSTOP, SIGCONT 30 s later."""
    run.inject()
    with run.stopped(run.node.pid):
        time.sleep(30.0)
    run.lift()


@fault(GROUP, 'driver stopped for 30 s')
def driver_stopped(run: Run) -> None:
    """SIGSTOP of the publisher, SIGCONT 30 s later."""
    run.inject()
    with run.stopped(run.stage.driver.process.pid):
        time.sleep(30.0)
    run.lift()


@fault(GROUP, 'nobody reads its output any more', bound_s=5.0)
def broken_pipe(run: Run) -> None:
    """The pipe that its log goes to is closed at the other end, and messages are odd enough to be logged."""
    reading, writing = os.pipe()
    drain = subprocess.Popen(['cat'], stdin=reading, stdout=subprocess.DEVNULL)
    os.close(reading)
    run.stage.start_node(output=writing)
    os.close(writing)
    run.stage.answer(time.monotonic(), READY_TIMEOUT_S * run.stage.patience)
    run.inject()
    drain.kill()
    drain.wait()
    run.send(3.0, cloud='empty')


@fault(GROUP, 'its output is not read', bound_s=5.0)
def full_pipe(run: Run) -> None:
    """The reader of the pipe that its log goes to is stopped for 10 s, while the log is noisy."""
    reading, writing = os.pipe()
    drain = subprocess.Popen(['cat'], stdin=reading, stdout=subprocess.DEVNULL)
    os.close(reading)
    run.stage.start_node(output=writing)
    os.close(writing)
    run.stage.answer(time.monotonic(), READY_TIMEOUT_S * run.stage.patience)
    run.inject()
    with run.stopped(drain.pid):
        run.stage.driver.want(cloud='empty')
        time.sleep(10.0)
    run.lift()
    run.stage.driver.want()
    run.after(drain.kill)


@fault(GROUP, 'working directory removed')
def no_directory(run: Run) -> None:
    """The node is started in a folder that is deleted while it runs; then it is configured again."""
    folder = run.folder / 'gone'
    folder.mkdir(exist_ok=True)
    run.stage.start_node(start=['env', '-C', str(folder), *run.stage.entry_point()])
    run.stage.up()
    run.inject()
    folder.rmdir()
    run.lift()
    run.stage.reconfigure()
