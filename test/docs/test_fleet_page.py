# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The commands of docs/fleet.md are understood as they stand."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest

from attention_fusion_ros.__main__ import module_of

PAGE = Path(__file__).resolve().parents[2] / 'docs' / 'fleet.md'
COMMANDS = [line.partition('  #')[0].strip() for line in PAGE.read_text().splitlines()
            if re.match(r'(python|torchrun) .*attention_fusion_ros \w+ ', line)]


def test_commands_are_found():
    assert len(COMMANDS) >= 9 and any(command.startswith('torchrun') for command in COMMANDS)


@pytest.mark.parametrize('command', COMMANDS)
def test_commands_are_understood(command):
    words = shlex.split(command)
    name, *rest = words[words.index('attention_fusion_ros') + 1:]
    importlib.import_module(module_of(name)).options_parser().parse_args(rest)


def test_tools_are_there():
    tools = set(re.findall(r'python (tools/\w+\.py)', PAGE.read_text()))
    assert tools and all((PAGE.parents[1] / tool).exists() for tool in tools)
