# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The commands in docs/training.md and in `--help` are understood as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from attention_fusion_ros.commands import train
from attention_fusion_ros.training import config as configs

PAGE = Path(__file__).resolve().parents[2] / 'docs' / 'training.md'
COMMANDS = [line.strip() for line in (PAGE.read_text() + train.EXAMPLES).splitlines()
            if re.search(r'(^|attention_fusion_ros )train ', line.strip())]


def test_commands_are_found():
    assert len(COMMANDS) >= 9 and any(c.startswith('torchrun') for c in COMMANDS)


@pytest.mark.parametrize('command', COMMANDS)
def test_commands_are_understood(command):
    words = shlex.split(command)
    options = train.options_parser().parse_args(words[words.index('train') + 1:])
    configs.load(None, {k: yaml.safe_load(v) for k, v in (text.split('=', 1) for text in options.settings)})


def test_the_network_of_the_page_can_be_built():
    text = re.search(r'-s "network=(\{.*?\}\})"', PAGE.read_text()).group(1)
    network = configs.load(None, {'network': yaml.safe_load(text)}).network
    assert network.fusion['name'] == network.stage_attention['name'] == 'none'


def test_the_settings_of_the_shipped_weights_are_understood():
    assert configs.load(PAGE.parents[1] / 'config' / 'train.yaml').scenes > 1000
