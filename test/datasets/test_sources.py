# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What is kept in the cache is named by the code that makes it: no module of it may be missing in SOURCES."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from attention_fusion_ros.datasets import recorded, shards
from attention_fusion_ros.utils.digest import PACKAGE, source_files

# What may change without a change of what is stored, and why.
EITHER = {
    'contracts.py': 'names and types of what is handed on',
    'errors.py': 'what is said of failures',
    'utils': 'how files are written, processes started and arrays copied',
    'datasets/checked_rows.py': 'whether stored rows are damaged, not what they hold',
    'engines': 'where the work is done',
    'pipeline/familiarity.py': 'what is measured of features that are made',
}
SCENES = {
    **EITHER,
    'decode': 'reached from the fast kernels: scenes are made of points, never of messages',
    'stream/deskew.py': 'likewise: the points of a scene are of one moment',
    'maps/pbf_sizes.py': 'refuses extracts that are too large',
    'maps/tags.py': 'tells bollards and forbidden turns, which routes heed and scenes do not have',
    'maps/kinds.py': 'imported along with it; scenes have kinds of their own',
}
RECORDED = {
    **{name: reason for name, reason in EITHER.items() if name != 'contracts.py'},
    'config.py': 'the parameters that count are in the name',
    'network': 'features are made without a network',
    'attention': 'likewise',
    'backends': 'likewise; their base names the devices',
    'maps': 'imported along with the simulation',
    'simulation': 'imported along with what quantises features, which is the same for simulated scenes',
    'pipeline/plausibility.py': 'what is said of inputs and answers, not what features are',
    'pipeline/not_seen.py': 'likewise',
    'datasets/target.py': 'recordings have no masks; all else is about batches',
    'datasets/shards.py': 'how many shards are open at a time alone',
}
# Where the sweeps of recordings are made; `recorded` itself also imports what trains on them.
MADE_BY = ('stream/sweeps.py', 'stream/recorded_sweeps.py', 'pipeline/preprocess.py', 'datasets/driven_path.py',
           'datasets/recorded_shards.py')


def imported(module: Path) -> Iterator[Path]:
    """The modules of the package that a module imports anywhere."""
    for node in ast.walk(ast.parse(module.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [str(node.module), *(f'{node.module}.{alias.name}' for alias in node.names)]
        for name in names:
            package, *parts = name.split('.')
            if package == PACKAGE.name and parts:
                place = PACKAGE.joinpath(*parts)
                yield from filter(Path.is_file, (place.with_suffix('.py'), place / '__init__.py'))


def reached(start: Iterable[Path]) -> set[str]:
    """These modules and all that they import, and so on; without `__init__.py`, which hand on names."""
    found: set[Path] = set()
    todo = list(start)
    while todo:
        module = todo.pop()
        if module not in found:
            found.add(module)
            todo += imported(module)
    return {module.relative_to(PACKAGE).as_posix() for module in found if module.name != '__init__.py'}


@pytest.mark.parametrize('sources, start, exceptions', [
    (shards.SOURCES, ('datasets/scenes.py', 'datasets/shards.py'), SCENES), (recorded.SOURCES, MADE_BY, RECORDED)],
    ids=['scenes', 'recorded'])
def test_the_name_in_the_cache_depends_on_all_code_that_matters(sources, start, exceptions):
    """That of fast kernels, too, which are imported by the names of their files when the first operation is called."""
    needed = reached(source_files((*start, 'kernels/fast')))
    covered = {module.relative_to(PACKAGE).as_posix() for module in source_files(sources)}
    excepted = {name: {module for module in needed - covered if Path(module).is_relative_to(name)}
                for name in exceptions}
    assert needed - covered == set().union(*excepted.values()), 'add them to SOURCES'
    assert all(excepted.values()), 'exceptions that are none any more'
    assert any(Path('kernels/fast/new.py').is_relative_to(name) for name in sources)
    assert {'bev/lidar.py', 'kernels/registry.py', 'geometry.py'} < needed & covered
