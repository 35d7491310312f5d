# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The page of inputs names every layout and every reason; that it is up to date is in test_readme."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

from attention_fusion_ros.contracts import NOT_SEEN
from attention_fusion_ros.decode import REASONS
from attention_fusion_ros.maps.reasons import REASONS as MAP_SOURCE_REASONS
from attention_fusion_ros.pipeline.no_direction import (
    AMBIGUOUS,
    DIRECTION_REASONS,
    IMPROBABLE,
    NO_BRANCH,
    NO_BRANCH_THERE,
)
from attention_fusion_ros.pipeline.route_fit import OFF_ROUTE
from attention_fusion_ros.stream.inputs import INPUTS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / 'docs' / 'inputs.md').read_text()


@pytest.fixture
def tools(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'tools'))
    for name in ('reasons', 'cloud_layouts'):
        sys.modules.pop(name, None)


def sayable() -> set[str]:
    """Every name by which the code can say that something is wrong: raised, found, warned of, counted or in a table."""
    trees = [ast.parse(path.read_text()) for path in sorted((ROOT / 'attention_fusion_ros').rglob('*.py'))]
    constants = {}
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and len(node.targets) == 1:
                pairs = zip(getattr(node.targets[0], 'elts', node.targets), getattr(node.value, 'elts', [node.value]))
                constants.update({target.id: value.value for target, value in pairs
                                  if isinstance(target, ast.Name) and isinstance(value, ast.Constant)})

    def text(node: ast.expr) -> object:
        return node.value if isinstance(node, ast.Constant) else constants.get(ast.unparse(node))
    found = []
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Call) and node.args and ast.unparse(node.func).rpartition('.')[2] in (
                'InputError', 'Finding', '_declined', '_count'):
            found += [text(argument) for argument in node.args[:2]]
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            found += [text(node.slice)] if ast.unparse(node.value).endswith('warnings') else []
    named = {name for name in found if isinstance(name, str) and re.fullmatch('[a-z]+(_[a-z]+)+', name)}
    named -= {spec.name for spec in INPUTS}  # of which a finding is
    return {*named, *REASONS, *MAP_SOURCE_REASONS, *(name for spec in INPUTS for name in spec.reasons)}


def test_everything_that_the_code_can_say_has_a_row_with_a_remedy():
    rows = {name: (cause, remedy) for name, cause, remedy
            in re.findall(r'^\| `([\w ]+)` \| (.*) \| (.*) \|$', PAGE.split('<!-- reasons')[1], re.MULTILINE)}
    wanted = sayable()
    assert {'blind_sector', 'ground_far_from_zero', 'ground_above_sensor', 'unfamiliar_sweep', 'odometry_jump',
            'lidar_silent', 'part_without_motion', 'fix_jumped', 'alignment_gated', 'not_finite'} <= wanted
    assert not wanted - set(rows)
    assert not [name for name, (cause, remedy) in rows.items() if not cause or not remedy]


def test_every_reason_for_no_direction_has_a_row_with_a_remedy():
    assert set(DIRECTION_REASONS) == {NOT_SEEN, OFF_ROUTE, *(
        reason.partition(':')[0] for reason in (AMBIGUOUS, IMPROBABLE, NO_BRANCH, NO_BRANCH_THERE))}
    for name, told in DIRECTION_REASONS.items():
        cause, _, remedy = told.partition(' Remedy: ')
        assert f'| `{name}` | {cause} | {remedy} |' in PAGE


def test_reasons_are_found_where_they_are_raised_too(tools):
    from reasons import reasons
    found = reasons()
    assert {'transform_missing', 'stamp_backwards', 'no_points_in_range', 'recording_missing'} <= set(found)
    assert found['no_map'].causes and found['no_map'].remedies


def test_every_layout_has_a_row(tools):
    from cloud_layouts import LAYOUTS
    for layout in LAYOUTS:
        assert f'| {layout.driver} | {layout.version} | {layout.source} |' in PAGE, layout.name
