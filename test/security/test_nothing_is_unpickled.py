# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The source is walked: what could run code out of a file, or knows no bounds, is used in one place each or nowhere."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ('attention_fusion_ros', 'tools', 'examples', 'launch')
FORBIDDEN_IMPORTS = ('pickle', '_pickle', 'cPickle', 'cloudpickle', 'dill', 'joblib', 'marshal', 'shelve', 'xml',
                     'lxml', 'pandas')
HARMLESS = ('xml.sax.saxutils',)  # quotes text, reads none
# Call -> the only files that may have it.
ALLOWED = {
    'torch.load': ('attention_fusion_ros/training/state.py',),  # states of earlier versions, weights_only
    'torch.save': (),
    'np.load': ('attention_fusion_ros/utils/arrays.py', 'examples/decode_export.py'),
    'np.lib.format.read_array': ('attention_fusion_ros/utils/arrays.py',),
    'np.fromfile': (), 'np.loadtxt': (), 'np.genfromtxt': (),
    'yaml.load': ('attention_fusion_ros/utils/outside.py',),  # by a SafeLoader without aliases
    'yaml.safe_load': (), 'yaml.full_load': (), 'yaml.unsafe_load': (), 'yaml.load_all': (), 'yaml.safe_load_all': (),
    'safe_open': ('attention_fusion_ros/utils/sealed_tensors.py',), 'load_file': (),
    'bz2.decompress': (), 'gzip.decompress': (), 'zlib.decompress': (), 'zstd.decompress': (),
    'eval': (), 'exec': (), 'os.system': (), '__import__': (),
}

# Tools read what they have made themselves; without pickle, as everybody.
OF_TOOLS = ('np.load', 'safe_open', 'zlib.decompress', 'exec')


def sources() -> list[Path]:
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob('*.py')]
    assert len(found) > 300
    return [*found, ROOT / 'setup.py']


def name_of(node: ast.expr) -> str:
    """`a.b.c` of a call; '' for anything else."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return '.'.join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ''


def faults(tree: ast.AST, file: str) -> Iterator[str]:
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or '']
        yield from (f'{file}:{node.lineno} imports {name}' for name in names
                    if name.partition('.')[0] in FORBIDDEN_IMPORTS and name not in HARMLESS)
        if not isinstance(node, ast.Call):
            continue
        name = name_of(node.func).replace('numpy.', 'np.')
        options = {keyword.arg: keyword.value for keyword in node.keywords}
        bounds = ALLOWED if not file.startswith('tools/') else {k: v for k, v in ALLOWED.items() if k not in OF_TOOLS}
        if file not in bounds.get(name, (file,)):
            yield f'{file}:{node.lineno} calls {name}'
        if name == 'torch.load' and not _is(options.get('weights_only'), True):
            yield f'{file}:{node.lineno} loads without weights_only'
        if name == 'np.load' and not _is(options.get('allow_pickle'), False):
            yield f'{file}:{node.lineno} loads without allow_pickle=False'
        if _is(options.get('allow_pickle'), True) or _is(options.get('shell'), True):
            yield f'{file}:{node.lineno} asks for allow_pickle or a shell'


def _is(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def test_no_source_unpickles_or_runs_what_it_reads():
    found = [fault for path in sources()
             for fault in faults(ast.parse(path.read_text()), path.relative_to(ROOT).as_posix())]
    assert not found, 'read by utils/arrays, outside, stored_json, sealed_tensors:\n' + '\n'.join(found)


@pytest.mark.parametrize('text', [
    'import pickle', 'from joblib import load', 'import xml.etree.ElementTree', 'torch.load(file)',
    'torch.load(file, weights_only=False)', 'np.load(file)', 'np.load(file, allow_pickle=True)', 'yaml.load(text, X)',
    'yaml.safe_load(text)', 'eval(text)', 'numpy.load(file)', 'subprocess.run(text, shell=True)',
    'bz2.decompress(data)'])
def test_the_walk_sees_what_it_is_for(text):
    assert list(faults(ast.parse(text), 'attention_fusion_ros/new.py'))


def test_every_exception_is_still_needed():
    for name, files in ALLOWED.items():
        for file in files:
            calls = [name_of(node.func) for node in ast.walk(ast.parse((ROOT / file).read_text()))
                     if isinstance(node, ast.Call)]
            assert name in calls, f'{file} has no {name} any more'
