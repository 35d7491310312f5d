# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""tools/setup.sh: what it refuses, with a clear line and before it touches anything."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path):
    """A folder with the script and what it reads, but without an environment."""
    shutil.copytree(ROOT / 'tools', tmp_path / 'tools', ignore=shutil.ignore_patterns('__pycache__'))
    for path in [*ROOT.glob('requirements*.txt'), ROOT / 'setup.py', ROOT / 'setup.cfg']:
        shutil.copy(path, tmp_path)
    return tmp_path


def setup(checkout, *arguments, **environment):
    chosen = 'ROS_DISTRO', 'PYTHON', 'TORCH', 'ROS_WHEELS'
    values = {name: value for name, value in os.environ.items() if name not in chosen}
    return subprocess.run([checkout / 'tools/setup.sh', *arguments], env={**values, **environment}, text=True,
                          capture_output=True, timeout=60)


def old_python(folder: Path) -> Path:
    """An interpreter that says it is Python 3.8."""
    path = folder / 'python3.8'
    path.write_text('#!/bin/sh\ncase "$2" in *exit*) exit 1 ;; *) echo 3.8 ;; esac\n')
    path.chmod(0o755)
    return path


def test_an_old_python_that_was_asked_for_is_refused_not_replaced(checkout, tmp_path):
    done = setup(checkout, PYTHON=str(old_python(tmp_path)))
    assert done.returncode == 1 and not (checkout / '.venv').exists()
    assert done.stderr.count('\n') == 1 and 'is Python 3.8; Python 3.10 or later' in done.stderr


@pytest.mark.parametrize('environment, words', [({'PYTHON': '/nowhere/python3'}, 'cannot be run'),
                                                ({'TORCH': 'gpu'}, 'TORCH=gpu is unknown'),
                                                ({'ROS_WHEELS': 'foxy'}, 'ROS_WHEELS=foxy is unknown')])
def test_other_mistakes_are_one_line(checkout, environment, words):
    done = setup(checkout, **environment)
    assert done.returncode == 1 and not (checkout / '.venv').exists()
    assert done.stderr.count('\n') == 1 and words in done.stderr


def test_where_does_nothing(checkout):
    done = setup(checkout, '--where')
    assert done.stdout == '.venv\n' and done.returncode == 0 and not (checkout / '.venv').exists()


@pytest.mark.parametrize('wheels, folder', [('jazzy', '.venv'), ('kilted', '.venv-wheels-kilted')])
def test_every_distribution_of_wheels_has_an_environment_of_its_own(checkout, wheels, folder):
    assert setup(checkout, '--where', ROS_WHEELS=wheels).stdout == f'{folder}\n'


def test_ci_runs_on_every_distribution_of_wheels():
    script = (ROOT / 'tools' / 'setup.sh').read_text()
    known = re.search(r"^'' \| ([a-z| ]+)\) ;;$", script, re.MULTILINE)
    jobs = yaml.safe_load((ROOT / '.github/workflows/ci.yml').read_text())['jobs']
    assert jobs['wheels']['strategy']['matrix']['distribution'] == known[1].split(' | ')
    lines = [line for line in (ROOT / 'requirements-ros.txt').read_text().splitlines() if line.startswith('ros-')]
    assert lines and all(line.startswith('ros-jazzy-') for line in lines), 'tools/setup.sh replaces the name'
