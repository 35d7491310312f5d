# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the generators in this folder share: `--check`, writing, and blocks between markers in a page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with `--check`."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument('--check', action='store_true', help='write nothing; fail when a file is not up to date')
    return made


def write_or_check(files: dict[Path, str], check: bool, command: str) -> int:
    """Write files that differ, or only say which do; returns the exit status, 1 for a file that is out of date.

    command: what brings them up to date, for the message.
    """
    status = 0
    for path, text in files.items():
        if path.exists() and path.read_text(encoding='utf-8') == text:
            continue
        if check:
            print(f'{path} is out of date; run {command}', file=sys.stderr)
            status = 1
        else:
            path.write_text(text, encoding='utf-8')
            print(f'wrote {path}')
    return status


def block(text: str, begin: str, end: str, content: str) -> str:
    """`text` with `content` between the lines `begin` and `end`. Raises ValueError unless both are there once."""
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f'the page needs the lines {begin} and {end} once each')
    before, rest = text.split(begin)
    _, after = rest.split(end)
    return f'{before}{begin}\n{content}\n{end}{after}'
