# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The README's example of a new mechanism works as told; docs/attention.md knows every mechanism and its paper."""

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from attention_fusion_ros import attention
from attention_fusion_ros.attention import MECHANISMS
from attention_fusion_ros.network import checkpoint
from attention_fusion_ros.network.shipped import SHIPPED

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / 'README.md').read_text(encoding='utf-8')
TEXT = (ROOT / 'docs' / 'attention.md').read_text(encoding='utf-8')


WITH_IT = """
import pathlib, sys
from support import synthetic_bag as bag
from attention_fusion_ros.attention import build
from attention_fusion_ros.commands import replay
from attention_fusion_ros.contracts import Calibration
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.network import checkpoint
from attention_fusion_ros.training import config

settings = {'network': {'stage_attention': {'name': 'simam', 'regularisation': 1e-3}}}
network = checkpoint.untrained(config.load(None, settings).network).network
network.head.bias.data.zero_()  # so that branches are found, of which there is a Grad-CAM
checkpoint.save('simam.safetensors', network, Calibration(), {})
recording = bag.write(pathlib.Path('recording'), bag.drive(1))
assert replay.main([str(recording), '--out', 'out', '--device', 'cpu', '-p', 'checkpoint:=simam.safetensors']) == 0
try:
    build('simamm', 8)
except ConfigurationError as error:
    print(error, file=sys.stderr)
"""


def assert_checked(folder, example, section):
    """What this project asks of a mechanism holds for the example as well: style, licence, paper and row."""
    pytest.importorskip('ruff')
    check = [sys.executable, '-m', 'ruff', 'check', '--no-cache', '--config', str(ROOT / 'pyproject.toml'), str(folder)]
    done = subprocess.run(check, cwd=folder.parents[1], text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    own = (folder / 'none.py').read_text().splitlines()[:2]
    assert example.splitlines()[:2] == own and own[0].startswith('# SPDX')
    row, = re.findall(r'^    (\| `simam` \|.*)$', section, flags=re.MULTILINE)
    assert row.count('|') == re.search(r'^\| `none` \|.*$', TEXT, flags=re.MULTILINE).group().count('|')
    papers = papers_of(example)
    assert papers and all(paper in row for paper in papers)


@pytest.mark.slow
def test_the_mechanism_of_the_readme_is_added_as_told_and_runs(tmp_path):
    section = README.split('## Add an attention mechanism')[1].split('\n## ')[0]
    example, = re.findall(r'```python\n(.*?)```', section, flags=re.DOTALL)
    line, entry = (re.search(rf'`({pattern})`', section).group(1) for pattern in (r'from [^`]+', r"'simam': [^`]+"))
    assert len(example.splitlines()) + 2 < 30
    ignore = shutil.ignore_patterns('__pycache__', 'weights')
    package = shutil.copytree(ROOT / 'attention_fusion_ros', tmp_path / 'attention_fusion_ros', ignore=ignore)
    folder = package / 'attention'
    (folder / 'simam.py').write_text(example)
    registry = (folder / '__init__.py').read_text()
    for before, added in (('from attention_fusion_ros.attention.sk ', f'{line}\n'), ("    'none':", f'    {entry}\n')):
        assert before in registry
        registry = registry.replace(before, added + before)
    (folder / '__init__.py').write_text(registry)
    assert_checked(folder, example, section)
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(tmp_path), str(ROOT / 'test')])}
    done = subprocess.run([sys.executable, '-c', WITH_IT], cwd=tmp_path, env=environment, text=True,
                          stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    assert re.search(r'unknown .* Known are: simam, none, .*temporal', done.stderr)
    sweep, = json.loads((tmp_path / 'out' / 'attention.json').read_text())['sweeps']
    assert set(sweep['agreement']) == {'stage1', 'stage2', 'stage3'}  # its weights are shown beside Grad-CAM
    assert 'simam' not in MECHANISMS  # nothing of this was done to the package itself


def test_every_mechanism_has_its_row_in_the_table():
    rows = re.findall(r'^\| `(\w+)` \|', TEXT, flags=re.MULTILINE)
    assert sorted(rows) == sorted(MECHANISMS)


def papers_of(source):
    """The links at the head of a module."""
    return [link.rstrip('.,:)') for link in re.findall(r'https://\S+', source.split('"""')[1])]


def test_every_paper_named_in_the_code_is_linked():
    folder = Path(attention.__file__).parent
    for path in folder.glob('*.py'):
        for link in papers_of(path.read_text(encoding='utf-8')):
            assert link in TEXT, f'{path.name}: {link}'


@pytest.mark.parametrize('name', [name for name in MECHANISMS if name != 'none'])
def test_every_file_names_its_paper(name):
    module = sys.modules[MECHANISMS[name].__module__]
    assert re.search(r'https://', module.__doc__), f'{name}: the paper is linked at the head'


def test_what_is_shipped_names_every_mechanism_of_the_default_network():
    config = checkpoint.load(SHIPPED).network.config
    shipped, = re.findall(r'^\*\*What is shipped\.\*\*.*?\n\n', TEXT, flags=re.MULTILINE | re.DOTALL)
    for settings in (config.fusion, config.stage_attention, config.reading):
        assert f'`{settings["name"]}`' in shipped
    assert f'`reading`, {config.reading["heads"]} heads' in shipped


def test_options_in_the_table_of_differences_exist():
    section = TEXT.split('## Where implementations differ')[1].split('\n## ')[0]
    options = re.findall(r'`(\w+): (\w+)`', section)
    assert len(options) >= 6
    for name, option in options:
        assert option in inspect.signature(MECHANISMS[name].__init__).parameters
