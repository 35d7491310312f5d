# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The examples run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def finished(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """An example that was run."""
    return subprocess.run([sys.executable, str(ROOT / 'examples' / name), *map(str, arguments)], text=True,
                          capture_output=True, timeout=240, env={**os.environ, 'PYTHONPATH': str(ROOT)})


def run(name: str, *arguments: object) -> str:
    """Output of an example."""
    done = finished(name, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_core_as_a_library(mini_recording):
    lines = run('library.py', mini_recording).splitlines()
    assert len(lines) == 4
    assert all(re.fullmatch(r'\d+: fused, roads at [+-]\d+ deg \(\d\.\d\d\).*', line) for line in lines), lines


def test_the_library_example_says_what_it_wants():
    done = finished('library.py')
    assert done.returncode == 1 and done.stdout == ''
    assert 'python3 examples/library.py out/drive' in done.stderr.splitlines()


def test_the_library_example_is_short():
    code = (ROOT / 'examples' / 'library.py').read_text().split('"""')[2]
    assert len([line for line in code.splitlines() if line.strip()]) <= 18
