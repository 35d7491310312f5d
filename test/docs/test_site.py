# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The documentation site: it builds without a warning, and has a page of the API for every room."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytest.importorskip('mkdocstrings', reason='pip install -r requirements-docs.txt')


@pytest.mark.slow
def test_the_site_builds_strictly_and_has_every_room(tmp_path):
    done = subprocess.run([sys.executable, '-m', 'mkdocs', 'build', '--strict', '--site-dir', str(tmp_path / 'site')],
                          cwd=ROOT, text=True, capture_output=True, timeout=280,
                          env={**os.environ, 'PYTHONPATH': str(ROOT), 'NO_MKDOCS_2_WARNING': '1'})
    assert done.returncode == 0, done.stderr[-4000:]
    rooms = {path.name for path in (ROOT / 'attention_fusion_ros').iterdir() if (path / '__init__.py').exists()}
    assert rooms <= {path.name for path in (tmp_path / 'site' / 'api').iterdir()}
    contracts = (tmp_path / 'site' / 'api' / 'attention_fusion_ros' / 'index.html').read_text()
    assert 'SyncedSweep' in contracts and 'T_base_sensor' in contracts
    assert 'Quick start' in (tmp_path / 'site' / 'index.html').read_text()
