# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Clocks that jump: simulated time, and the wall clock of processes (the machine's own clock stays as it is)."""

from __future__ import annotations

import struct
import time

from fault_kit import isolation
from fault_kit.fault import fault
from fault_kit.isolation import COMPILER
from fault_kit.run import Run
from fault_kit.stage import READY_TIMEOUT_S

GROUP = 'clocks'
JUMPS = {'/clock jumps back 60 s': -60.0, '/clock jumps ahead an hour': 3600.0}


def _simulated(run: Run) -> None:
    run.stage.driver.want(clock=1.0)
    run.stage.start_node(parameters={'use_sim_time': True})
    run.stage.answer(time.monotonic(), READY_TIMEOUT_S * run.stage.patience)


def _register_jump(name: str, jump_s: float) -> None:
    def act(run: Run) -> None:
        _simulated(run)
        run.inject()
        run.stage.driver.want(clock=1.0, jump_s=jump_s)
        run.lift()

    act.__doc__ = 'The node has use_sim_time; everything that is sent jumps with the clock (a bag that starts again).'
    fault(GROUP, name)(act)


for _name, _jump in JUMPS.items():
    _register_jump(_name, _jump)


@fault(GROUP, '/clock stands still for 8 s')
def paused(run: Run) -> None:
    """The player is paused: no clock, no sweeps, and then both go on."""
    _simulated(run)
    run.inject()
    run.stage.driver.want(clock=0.0, rate=0.01)
    time.sleep(8.0)
    run.stage.driver.want(clock=1.0)
    run.lift()


@fault(GROUP, 'use_sim_time without /clock', bound_s=30.0)
def no_clock(run: Run) -> None:
    """The node is started with use_sim_time by mistake, hears no /clock for 5 s, and is started as it should be."""
    run.inject()
    run.stage.start_node(parameters={'use_sim_time': True})
    run.stage.wait(lambda: '/clock' in ' '.join(map(str, run.stage.diagnostics.alerts())), READY_TIMEOUT_S)
    time.sleep(5.0)
    run.expect('/clock')
    run.note_alerts()
    run.stop_node()
    run.respawn()


def _register_system(name: str, seconds: int, both: bool) -> None:
    def act(run: Run) -> None:
        wish = run.folder / 'shift'
        wish.write_bytes(struct.pack('q', 0))
        shifted = {'LD_PRELOAD': str(isolation.clock_shift(run.folder.parent)), 'CLOCK_SHIFT': str(wish)}
        run.stage.start_node(environment=shifted)
        if both:
            run.stage.driver.stop()
            run.stage.start_driver(prefix=['env', *(f'{name}={value}' for name, value in shifted.items())])
        run.stage.answer(time.monotonic(), READY_TIMEOUT_S * run.stage.patience)
        run.inject()
        with open(wish, 'r+b') as file:  # in place: the processes have it mapped
            file.write(struct.pack('q', seconds))
        time.sleep(3.0)
        run.lift()
        if both:
            run.after(run.stage.driver.stop)

    act.__doc__ = f"The clock of {'node and driver' if both else 'the node'} is set by {seconds:+d} s and stays so."
    fault(GROUP, name, needs=(COMPILER,))(act)


_register_system('system clock set back an hour', -3600, True)
_register_system('system clock set ahead an hour', 3600, True)
_register_system("clock of the node's machine set back an hour", -3600, False)
_register_system("clock of the node's machine set ahead an hour", 3600, False)
