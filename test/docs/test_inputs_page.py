# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The page of inputs names every layout and every reason; that it is up to date is in test_readme."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from attention_fusion_ros.decode import REASONS
from attention_fusion_ros.stream.inputs import INPUTS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / 'docs' / 'inputs.md').read_text()


@pytest.fixture
def tools(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'tools'))
    for name in ('reasons', 'cloud_layouts'):
        sys.modules.pop(name, None)


def test_every_reason_of_the_tables_has_a_row_with_a_remedy():
    rows = dict(re.findall(r'^\| `(\w+)` \| .+ \| (.*) \|$', PAGE, re.MULTILINE))
    wanted = {*REASONS, *(name for spec in INPUTS for name in spec.reasons)}
    assert wanted <= set(rows)
    assert not [name for name in wanted if not rows[name]]


def test_reasons_are_found_where_they_are_raised_too(tools):
    from reasons import reasons
    found = reasons()
    assert {'transform_missing', 'stamp_backwards', 'no_points_in_range', 'recording_missing'} <= set(found)
    assert found['no_map'].causes and found['no_map'].remedies


def test_every_layout_has_a_row(tools):
    from cloud_layouts import LAYOUTS
    for layout in LAYOUTS:
        assert f'| {layout.driver} | {layout.version} | {layout.source} |' in PAGE, layout.name
