# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the README says of parameters and commands is what the package has; links of all pages lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from attention_fusion_ros.__main__ import COMMANDS
from attention_fusion_ros.stream.inputs import MAX_LIDARS, SWEEPS, cloud_inputs

ROOT = Path(__file__).parents[2]


def test_parameter_table_is_made_from_the_one_source():
    check = [sys.executable, ROOT / 'tools' / 'update_docs.py', '--check']
    done = subprocess.run(check, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_command_is_listed():
    text = (ROOT / 'README.md').read_text()
    listed = set(re.findall(r'^\| `(\w+)[ `]', text.split('## Commands')[1], re.MULTILINE))
    assert listed == set(COMMANDS)


def test_limits_know_as_many_lidars_as_there_are_inputs():
    text = (ROOT / 'README.md').read_text()
    limits = text.split('## Limits')[1].split('\n## ')[0]
    assert len(cloud_inputs()) == MAX_LIDARS == 4
    assert f'Up to four LiDARs are put together to one sweep (`input/{SWEEPS}` to `input/{SWEEPS}_4`)' in limits
    assert 'One LiDAR cloud is the input' not in text


def anchors(page: Path) -> set[str]:
    """The headings of a page as they are linked to."""
    headings = re.findall(r'^#+ (.*)$', page.read_text(), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


@pytest.mark.parametrize('page', [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md')),
                                  ROOT / 'attention_fusion_ros' / 'weights' / 'README.md'], ids=lambda page: page.stem)
def test_what_a_page_links_to_exists(page):
    links = [link for link in re.findall(r'\]\(([^)]+)\)', page.read_text()) if not link.startswith('https://')]
    for link in links:
        file, _, anchor = link.partition('#')
        target = page.parent / file if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
