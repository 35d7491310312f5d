# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The table of faults, and what is told about each."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fault_kit.run import Run


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    act: brings it about and takes it away again. what: how, in a sentence. bound_s: within how many seconds answers
    have to be there again. quick: part of the short run. needs: keys of `fault_kit.isolation.CAN`. graph: it happens to
    the running node, not to a command.
    """

    group: str
    name: str
    act: Callable[[Run], None]
    what: str
    bound_s: float
    quick: bool
    needs: tuple[str, ...]
    graph: bool


@dataclass
class Outcome:
    """What became of it, as it is printed."""

    group: str
    fault: str
    done: str
    answered: str = ''  # of the good sweeps that were sent between the fault and its end
    again_s: str = ''  # s from the end of the fault to the first answer that is as before
    bound_s: str = ''
    lost: str = ''
    said: str = ''
    ok: str = ''  # yes, NO, not run


FAULTS: dict[str, Fault] = {}


def fault(group: str, name: str, bound_s: float = 5.0, quick: bool = False, needs: tuple[str, ...] = (),
          graph: bool = True) -> Callable[[Callable[[Run], None]], Callable[[Run], None]]:
    """Decorator: a function with a docstring that says what it does becomes an entry of FAULTS."""
    def register(act: Callable[[Run], None]) -> Callable[[Run], None]:
        assert name not in FAULTS and act.__doc__, name
        FAULTS[name] = Fault(group, name, act, ' '.join(act.__doc__.split()), bound_s, quick, needs, graph)
        return act
    return register


def read(path: Path) -> list[Outcome]:
    """The outcomes in a file, [] without one."""
    if not path.exists():
        return []
    with open(path, newline='', encoding='utf-8') as file:
        return [Outcome(**row) for row in csv.DictReader(file)]


def append(path: Path, outcome: Outcome) -> None:
    """Add one to a file."""
    new = not path.exists()
    with open(path, 'a', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, [f.name for f in fields(Outcome)], lineterminator='\n')
        if new:
            writer.writeheader()
        writer.writerow(asdict(outcome))
