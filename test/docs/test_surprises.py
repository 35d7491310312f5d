# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The page of what guesses get wrong: each row has a version, a source and a test, and the tests exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / 'docs/surprises.md').read_text()
ROWS = [[cell.strip() for cell in line.strip('|').split(' | ')] for line in PAGE.splitlines() if line.startswith('| ')]
CLAIMS = [row for row in ROWS if len(row) == 5 and row[0] not in ('what one guesses', '---')]
SCRIPTS = sorted(path.name for path in (ROOT / 'findings').glob('*.sh'))


@pytest.mark.parametrize('row', CLAIMS, ids=[row[0] for row in CLAIMS])
def test_a_test_that_exists_holds_each_row(row):
    _, _, version, source, held = row
    assert version.endswith(('; run', '; from source')) and source
    tests = re.findall(r'`([\w/]+\.py)::(\w+)`', held)
    assert tests
    for path, name in tests:
        tree = ast.parse((ROOT / path).read_text())
        assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, f'{path}::{name}'


def test_every_row_was_looked_at():
    assert len(CLAIMS) == sum(line.count('test/') > 0 for line in PAGE.splitlines()) > 15


def test_every_script_is_listed_and_every_one_that_is_named_exists():
    listed = [row[0] for row in ROWS if len(row) == 2 and row[0].startswith('`findings/')]
    assert listed == [f'`findings/{name}`' for name in SCRIPTS]
    assert set(re.findall(r'findings/(\w+\.sh)', PAGE)) == set(SCRIPTS)


@pytest.mark.parametrize('name', SCRIPTS)
def test_a_script_states_what_it_saw_and_pins_what_it_installs(name):
    text = (ROOT / 'findings' / name).read_text()
    head = text.split('set -euo pipefail')[0]
    assert '\n# Seen:\n#   ' in head and '(not run yet)' not in head
    packages = re.search(r'pip install ((?:.*\\\n)*.*)\n', text)
    wanted = [word for word in packages.group(1).split() if not word.startswith('-') and word != '\\']
    assert wanted and all('==' in word for word in wanted)
    assert 'sys.exit(' in text and 'http' not in text.split('cat > look.py')[1]
