# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The page about reliability prints what the scripts have written, and tells what failed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / 'docs/reliability.md'


@pytest.fixture
def tools(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'tools'))
    import reliability_tables
    from fault_kit import fault
    yield reliability_tables, fault
    for name in [n for n in sys.modules if n.split('.')[0] in ('reliability_tables', 'fault_kit')]:
        del sys.modules[name]


def test_every_file_of_figures_is_on_the_page(tools):
    tables, _ = tools
    text = PAGE.read_text()
    for name, make in tables.sections(ROOT / 'docs/reliability').items():
        assert f'<!-- {name}: made by' in text and make() in text, 'run python tools/update_docs.py'


def test_faults_are_told_as_they_were_written(tools, tmp_path):
    tables, fault = tools
    path = tmp_path / 'faults.csv'
    for outcome in (fault.Outcome('processes', 'node killed', 'kill -9.', '0 of 3', '4.2', '30', '5', 'a | b', 'yes'),
                    fault.Outcome('processes', 'hang', 'SIGSTOP.', said='x', ok='NO: no answers as before'),
                    fault.Outcome('network', 'down', 'ip link.', ok='not run: needs root')):
        fault.append(path, outcome)
    assert [o.fault for o in fault.read(path)] == ['node killed', 'hang', 'down']
    text = tables.sections(tmp_path)['faults']()
    assert '3 faults: 1 as they should be, 1 not, 1 not run.' in text
    assert '### Processes' in text and '### Network' in text and 'a / b' in text
    assert 'NO: no answers as before' in text and 'not run: needs root' in text


def test_another_file_is_printed_as_it_is(tools, tmp_path):
    (tmp_path / 'fuzz.csv').write_text('decoder,messages\ncloud,"1|000"\n')
    text = tools[0].sections(tmp_path)['fuzz']()
    assert text.splitlines()[0].replace(' ', '') == '|decoder|messages|' and '1/000' in text


def test_the_peers_are_named_with_their_sources():
    text = PAGE.read_text()
    for words in ('nav2_lifecycle_manager/test/test_bond.cpp', 'autoware_planning_test_manager', 'PRBonn/kiss-icp',
                  'Where they are ahead'):
        assert words in text
