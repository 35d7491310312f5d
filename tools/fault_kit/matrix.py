# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs the faults one after the other, on a node that is kept as long as it answers."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from attention_fusion_ros.ros.clients.node_process import NodeError
from fault_kit import (  # noqa: F401  (they fill the table)
    clock_faults,
    cloud_faults,
    companion_faults,
    environment_faults,
    file_faults,
    graph_faults,
    isolation,
    network_faults,
    process_faults,
    resource_faults,
    scene,
    simulated_faults,
    transport_faults,
)
from fault_kit import fault as faults
from fault_kit.fault import FAULTS, Fault, Outcome
from fault_kit.run import Run
from fault_kit.stage import Stage


def chosen(only: Sequence[str], quick: bool) -> list[Fault]:
    """The faults of these names or groups; quick: of those, the quick ones. Raises SystemExit for an unknown name."""
    unknown = set(only) - {f.name for f in FAULTS.values()} - {f.group for f in FAULTS.values()}
    if unknown:
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}; --list prints the names")
    return [f for f in FAULTS.values() if (not only or f.name in only or f.group in only) and (f.quick or not quick)]


def run(wanted: Sequence[Fault], folder: Path, patience: float = 1.0, again: bool = False) -> list[Outcome]:
    """What became of each. patience: multiplies the bounds.

    Those that are in the folder's faults.csv already are taken from there, unless `again`.
    """
    path = folder / 'faults.csv'
    if again:
        path.unlink(missing_ok=True)
    done = {o.fault: o for o in faults.read(path)}
    scene_path = folder / 'scene.npz'
    if not scene_path.exists():
        scene.write(scene_path)
    wanted = [replace(f, bound_s=f.bound_s * patience) for f in wanted]
    outcomes = []
    can: dict[str, bool] = {}
    with ExitStack() as stack:
        stages = Stages(stack, folder, scene_path, patience)
        for fault in wanted:
            if fault.name not in done:
                missing = [n for n in fault.needs if not can.setdefault(n, isolation.CAN[n]())]
                outcome = (Outcome(fault.group, fault.name, fault.what, bound_s=f'{fault.bound_s:g}',
                                   ok=f"not run: needs {', '.join(missing)}") if missing
                           else one(fault, stages, folder / 'logs' / re.sub(r'\W+', '_', fault.name)))
                faults.append(path, outcome)
                done[fault.name] = outcome
            outcome = done[fault.name]
            outcomes.append(outcome)
            print(f'{outcome.ok[:60]:12} {outcome.fault}: {outcome.again_s or "-"} s; {outcome.said[:150]}',
                  file=sys.stderr, flush=True)
    return outcomes


class Stages:
    """The stage of faults within the machine, and one across a network; both are made when they are needed."""

    def __init__(self, stack: ExitStack, folder: Path, scene_path: Path, patience: float):
        self._stack, self._folder, self._scene, self.patience = stack, folder, scene_path, patience
        self._made: dict[bool, Stage] = {}

    def of(self, fault: Fault) -> Stage | None:
        """That of a fault, None for one that has none. Only one of them has processes at a time."""
        if not fault.graph:
            return None
        wide = fault.group == 'network'
        for other, stage in self._made.items():
            if other != wide:
                stage.stop()
        if wide not in self._made:
            prefix = self._stack.enter_context(isolation.OtherMachine()).prefix if wide else ()
            self._made[wide] = self._stack.enter_context(Stage(
                self._folder / 'logs', self._scene, wide, prefix, self.patience))
        return self._made[wide]


def one(fault: Fault, stages: Stages, folder: Path) -> Outcome:
    """What became of this one."""
    try:
        stage = stages.of(fault)
        if stage is not None:
            try:
                stage.ready()
            except NodeError:  # what the last one has left behind is not held against this one
                stage.stop()
                stage.ready()
        run = Run(fault, stage, folder, stages.patience)
        outcome = run.go()
    except Exception as error:
        traceback.print_exc()
        outcome = Outcome(fault.group, fault.name, fault.what, bound_s=f'{fault.bound_s:g}',
                          ok=f'NO: the script failed: {type(error).__name__}: {str(error)[:200]}')
    if outcome.ok != 'yes' and (left := stages.of(fault)) is not None:
        left.stop()
    return outcome
