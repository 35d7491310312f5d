# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What is promised about versions of dependencies is what CI tests."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def lines(path: Path) -> list[str]:
    """Without remarks, and without the machines that they are for."""
    return [line for text in path.read_text().splitlines() if (line := text.split('#')[0].split(';')[0].strip())]


def version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split('.')))


def test_every_lower_bound_is_tested():
    oldest = dict(line.split('==') for line in lines(ROOT / '.ci' / 'oldest.txt'))
    bounds = {name: low for name, low in (re.match(r'([\w-]+)>=([\d.]+)', line).groups()
                                          for line in lines(ROOT / 'requirements.txt'))}
    assert set(oldest) == set(bounds)
    for name, low in bounds.items():
        if name != 'pyyaml':  # see the remark in oldest.txt
            tested = version(oldest[name])
            assert tested[:len(version(low))] == version(low), name
