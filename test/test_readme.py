"""What the README says of parameters and commands is what the package has."""

import re
import subprocess
import sys
from pathlib import Path

from attention_fusion_ros.__main__ import COMMANDS

ROOT = Path(__file__).parents[1]


def test_parameter_table_is_made_from_the_one_source():
    check = [sys.executable, ROOT / 'tools' / 'update_docs.py', '--check']
    done = subprocess.run(check, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_command_is_listed():
    text = (ROOT / 'README.md').read_text()
    listed = set(re.findall(r'^\| `(\w+)[ `]', text.split('## Commands')[1], re.MULTILINE))
    assert listed == set(COMMANDS)


def test_files_that_the_readme_points_to_exist():
    for target in re.findall(r'\]\(([^)]+)\)', (ROOT / 'README.md').read_text()):
        assert (ROOT / target).exists(), target
