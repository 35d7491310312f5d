# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
import ast
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from attention_fusion_ros.utils import atomic

ROOT = Path(__file__).parents[2]


def test_what_is_written_can_be_read(tmp_path):
    atomic.write_bytes(tmp_path / 'a', b'\x00\xff')
    atomic.write_text(tmp_path / 'b', 'grün')
    atomic.write_json(tmp_path / 'new' / 'c.json', {'x': [1, 2.5, None]})
    atomic.save_array(tmp_path / 'd.npy', np.arange(6).reshape(2, 3))
    atomic.save_arrays(tmp_path / 'e.npz', {'one': np.ones(3), 'two': np.zeros(2, np.int8)})
    assert (tmp_path / 'a').read_bytes() == b'\x00\xff'
    assert (tmp_path / 'b').read_text(encoding='utf-8') == 'grün'
    assert json.loads((tmp_path / 'new' / 'c.json').read_text()) == {'x': [1, 2.5, None]}
    np.testing.assert_array_equal(np.load(tmp_path / 'd.npy'), [[0, 1, 2], [3, 4, 5]])
    with np.load(tmp_path / 'e.npz') as stored:
        assert stored['one'].tolist() == [1, 1, 1] and stored['two'].dtype == np.int8


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    atomic.write_text(tmp_path / 'file', 'old')
    with pytest.raises(KeyboardInterrupt), atomic.replacing(tmp_path / 'file') as file:
        file.write(b'new, but cut off')
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir()] == ['file'] and (tmp_path / 'file').read_text() == 'old'
    with pytest.raises(ValueError, match='Object arrays'):
        atomic.save_array(tmp_path / 'objects.npy', np.array([object()]))
    with pytest.raises(TypeError):
        atomic.write_json(tmp_path / 'set.json', {1, 2})
    assert [p.name for p in tmp_path.iterdir()] == ['file']


def test_others_may_read_what_the_umask_lets_them(tmp_path):
    before = os.umask(0o022)
    try:
        atomic.write_text(tmp_path / 'shared', 'x')
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / 'shared').stat().st_mode) == 0o644


def test_tables_pictures_and_copies(tmp_path):
    atomic.write_csv(tmp_path / 'a.csv', [('name', 'value'), ('x, y', 1.5)])
    assert (tmp_path / 'a.csv').read_bytes() == b'name,value\r\n"x, y",1.5\r\n'
    atomic.copy(tmp_path / 'a.csv', tmp_path / 'new' / 'b.csv')
    assert (tmp_path / 'new' / 'b.csv').read_bytes() == (tmp_path / 'a.csv').read_bytes()
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    atomic.save_picture(tmp_path / 'c.png', image)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / 'c.png')), image)
    with pytest.raises(OSError, match='c.unknown'):
        atomic.save_picture(tmp_path / 'c.unknown', image)
    assert sorted(p.name for p in tmp_path.iterdir()) == ['a.csv', 'c.png', 'new']


WRITING_FOR_EVER = """
import sys, time
from pathlib import Path
from attention_fusion_ros.utils import atomic
with atomic.replacing(Path(sys.argv[1])) as file:
    file.write(b'half')
    file.flush()
    print('begun', flush=True)
    time.sleep(600)
"""


def writing_for_ever(path):
    """A process that has written half of a file."""
    process = subprocess.Popen([sys.executable, '-c', WRITING_FOR_EVER, str(path)], stdout=subprocess.PIPE, text=True,
                               cwd=ROOT)
    assert process.stdout.readline() == 'begun\n'
    return process


def test_what_a_killed_process_has_left_is_removed_and_what_another_one_writes_is_not(tmp_path, monkeypatch):
    (tmp_path / '.other.partial').write_text('not ours')
    dead, alive = writing_for_ever(tmp_path / 'file'), writing_for_ever(tmp_path / 'another')
    try:
        assert len(list(tmp_path.iterdir())) == 3
        dead.kill()
        dead.wait()
        atomic.write_text(tmp_path / 'file', 'whole')
        names = sorted(p.name for p in tmp_path.iterdir())
        assert [name for name in names if not name.startswith('.')] == ['file']
        assert len(names) == 3 and any(name.startswith('.another.') for name in names) and '.other.partial' in names
        assert (tmp_path / 'file').read_text() == 'whole'
    finally:
        alive.kill()
        alive.wait()


def test_the_content_is_on_the_disk_before_the_name(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(os, 'fsync', lambda handle: done.append(stat.S_ISDIR(os.fstat(handle).st_mode)))
    replace = os.replace
    monkeypatch.setattr(os, 'replace', lambda *paths: (done.append('named'), replace(*paths)))
    atomic.write_bytes(tmp_path / 'file', b'x')
    assert done == [False, 'named', True]


# Files that need not be whole: who reads them knows what they are, or they get their name with their folder.
ALLOWED = {
    'utils/atomic.py': 'it is how files are written',
    'utils/new_folder.py': 'the lock',
    'benchmarking/floor.py': 'a file of the kernel',
    'benchmarking/soak.py': 'a journal, row by row',
    'commands/draw_map.py': 'in the folder of a recording before it gets its name',
    'datasets/pool.py': 'in a folder before it gets its name',
    'stream/storage/compression.py': 'in a temporary folder',
    'fleet/work.py': 'the log of a piece of work, in a folder before it gets its name',
    'ros/clients/node_process.py': 'the log of a process',
}
WRITERS = {'write_text', 'write_bytes', 'imwrite', 'savefig', 'save', 'savez', 'savez_compressed', 'dump',
           'open_memmap', 'copyfile', 'copy2', 'tofile', 'savetxt'}


def writes_to_a_name(call):
    """Whether a call writes a file that has its name from the beginning."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, 'id', '')
    if name == 'open' and isinstance(call.func, ast.Name):
        modes = [a.value for a in [*call.args[1:2], *(k.value for k in call.keywords if k.arg == 'mode')]
                 if isinstance(a, ast.Constant)]
        return any(set(mode) & set('wax') for mode in modes)
    if name not in WRITERS or (isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == 'atomic'):
        return False
    # An open file, self, a buffer: what `replacing` gives, or what is no file.
    targets = [ast.unparse(a) for a in call.args]
    return not any(t in ('file', 'buffer', 'file.name') for t in targets) and ast.unparse(call.func) not in (
        'self.save', 'checkpoints.save', 'trainer.save', 'yaml.dump', 'checkpoint.save')


def test_every_module_writes_its_files_in_this_way():
    package = ROOT / 'attention_fusion_ros'
    found = {}
    for path in sorted(package.rglob('*.py')):
        calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call) and writes_to_a_name(n)]
        if calls:
            found[path.relative_to(package).as_posix()] = [ast.unparse(call) for call in calls]
    new = {path: calls for path, calls in found.items() if path not in ALLOWED}
    assert not new, 'write it with attention_fusion_ros.utils.atomic, so that nobody reads half of it'
    assert found.keys() >= ALLOWED.keys() - {'utils/atomic.py'}, 'no longer needed'
