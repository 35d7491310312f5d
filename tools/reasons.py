# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Every named reason of the package with cause and remedy, read from its source.

Reasons are named where they are raised, `InputError(reason, message, remedy)`, where something is told of a sweep that
is used all the same, `Finding(name, input, message)` and `warnings[name] = message`, and in the tables whose names end
in REASONS and REASON_REMEDIES. A new one is found by itself.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from attention_fusion_ros.stream.inputs import Reason

PACKAGE = Path(__file__).resolve().parents[1] / 'attention_fusion_ros'
# Where a reason is met, by the room that raises it; in the order of the page.
PARTS = {'decode': 'Messages', 'sync': 'Sweeps and what belongs to them', 'stream': 'Recordings', 'fleet': 'Recordings',
         'bev': 'Points and maps', 'pipeline': 'Points and maps', 'network': 'Points and maps',
         'ros': 'The running node'}
WITHOUT = 'Optional inputs that a result does without'
KEPT = 'What is said of a sweep that is not dropped'
NO_DIRECTION = 'Results without a direction'
OTHER = 'Elsewhere'

Told = tuple[str, str, str, str]  # name, cause, remedy, part; part '': that of the room


@dataclass
class NamedReason:
    """What is told under one name: by a table, else where it is raised."""

    part: str
    causes: list[str] = field(default_factory=list)
    remedies: list[str] = field(default_factory=list)


def reasons() -> dict[str, NamedReason]:
    """{name: what is told}, those of one part together."""
    tabled: dict[str, list[tuple[str, str]]] = {}
    raised: dict[str, list[tuple[str, str]]] = {}
    parts: dict[str, str] = {}
    for path in sorted(PACKAGE.rglob('*.py')):
        tree = ast.parse(path.read_text(encoding='utf-8'))
        part = PARTS.get(path.relative_to(PACKAGE).parts[0], OTHER)
        for told, reasons_of_file in ((tabled, _tabled(tree, path)), (raised, _raised(tree)),
                                      (raised, _said(tree, path))):
            for name, cause, remedy, own_part in reasons_of_file:
                parts.setdefault(name, own_part or part)
                told.setdefault(name, []).append((cause, remedy))
    found = {}
    for name, part in parts.items():
        everywhere = [*tabled.get(name, []), *raised.get(name, [])]
        causes = [cause for cause, _ in tabled.get(name, raised.get(name, []))]
        found[name] = NamedReason(part, _once(causes), _once(remedy for _, remedy in everywhere))
    order = [*dict.fromkeys(PARTS.values()), WITHOUT, KEPT, NO_DIRECTION, OTHER]
    return dict(sorted(found.items(), key=lambda item: (order.index(item[1].part), item[0])))


def _once(texts: Iterable[str]) -> list[str]:
    """Each text once, without those that are filled in altogether."""
    return [text for text in dict.fromkeys(texts) if re.search('[a-z]', text)]


def _raised(tree: ast.Module) -> Iterator[Told]:
    """Every InputError that is made."""
    constants = {target.id: node.value.value for node in tree.body if isinstance(node, ast.Assign)
                 and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
                 for target in node.targets if isinstance(target, ast.Name)}
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'InputError'):
            continue
        values = {**dict(zip(('reason', 'message', 'remedy'), node.args)), **{k.arg: k.value for k in node.keywords}}
        name = values.get('reason')
        if isinstance(name, ast.Constant):
            reason = str(name.value)
        elif isinstance(name, ast.Name) and name.id in constants:
            reason = constants[name.id]
        else:
            continue
        yield reason, _words(values.get('message'), constants), _words(values.get('remedy'), constants), ''


def _said(tree: ast.Module, path: Path) -> Iterator[Told]:
    """Every Finding that is made, and every entry of `warnings`: cause and remedy are one text."""
    said = [(node.args[0], node.args[2]) for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'Finding']
    said += [(target.slice, node.value) for node in ast.walk(tree) if isinstance(node, ast.Assign)
             for target in node.targets if isinstance(target, ast.Subscript)
             and ast.unparse(target.value).rpartition('.')[2] == 'warnings']
    constants = {name: value for name, value in vars(_module(path)).items() if isinstance(value, str)} if said else {}
    for named, message in said:
        if name := _words(named, constants):
            yield name, *_apart(_words(message, constants)), KEPT


def _module(path: Path) -> ModuleType:
    return importlib.import_module('.'.join(path.relative_to(PACKAGE.parent).with_suffix('').parts)
                                   .removesuffix('.__init__'))


def _apart(text: str) -> tuple[str, str]:
    """A text that tells both -> cause, remedy."""
    cause, _, remedy = text.partition(' Remedy: ')
    return cause, remedy


def _tabled(tree: ast.Module, path: Path) -> Iterator[Told]:
    """The entries of tables `...REASONS` at the top of a module: {name: cause, or both} or {name: Reason}.

    And of those `...REASON_REMEDIES`: {name: remedy}.
    """
    for node in tree.body:
        for target in node.targets if isinstance(node, ast.Assign) else [getattr(node, 'target', None)]:
            if not (isinstance(target, ast.Name) and target.id.endswith(('REASONS', 'REASON_REMEDIES'))):
                continue
            table = getattr(_module(path), target.id)
            for name, value in table.items() if isinstance(table, dict) else ():
                if isinstance(value, Reason):
                    yield name, value.cause, value.remedy, WITHOUT
                elif target.id.endswith('REASON_REMEDIES'):
                    yield name, '', value, ''
                elif isinstance(value, str):
                    yield name, *_apart(value), NO_DIRECTION if target.id == 'DIRECTION_REASONS' else ''


def _words(node: ast.expr | None, constants: dict[str, str]) -> str:
    """A text with `...` for what is filled in; '' where it is made elsewhere. constants: texts by their names."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.Name):
        return constants.get(node.id, '')
    if isinstance(node, ast.JoinedStr):
        text = ''.join(str(part.value) if isinstance(part, ast.Constant) else _filled_in(part, constants)
                       for part in node.values)
        return re.sub(r'\.{4,}', '...', text)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _words(node.left, constants) + _words(node.right, constants)
    return ''


def _filled_in(part: ast.expr, constants: dict[str, str]) -> str:
    named = part.value if isinstance(part, ast.FormattedValue) else None
    return constants.get(named.id, '...') if isinstance(named, ast.Name) else '...'
