# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
from pathlib import Path

import pytest

from attention_fusion_ros.utils.new_folder import NewFolder, remove_left_behind

ROOT = Path(__file__).parents[2]
WRITING_FOR_EVER = """
import sys, time
from pathlib import Path
from attention_fusion_ros.utils.new_folder import NewFolder
with NewFolder(Path(sys.argv[1])) as new:
    new.work.mkdir()
    (new.work / 'file').write_text('half')
    print('begun', flush=True)
    time.sleep(600)
"""


def test_it_gets_its_name_when_it_is_complete(tmp_path):
    with NewFolder(tmp_path / 'deep' / 'folder') as new:
        new.work.mkdir()
        (new.work / 'file').write_text('x')
        assert not (tmp_path / 'deep' / 'folder').exists()
    assert (tmp_path / 'deep' / 'folder' / 'file').read_text() == 'x'
    assert [p.name for p in (tmp_path / 'deep').iterdir()] == ['folder']


def test_after_an_error_nothing_is_left(tmp_path):
    with pytest.raises(KeyboardInterrupt), NewFolder(tmp_path / 'folder') as new:
        new.work.mkdir()
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_has_left_is_removed_and_what_another_one_writes_is_not(tmp_path):
    processes = []
    try:
        for name in ('folder', 'another'):
            processes.append(subprocess.Popen([sys.executable, '-c', WRITING_FOR_EVER, str(tmp_path / name)],
                                              stdout=subprocess.PIPE, text=True, cwd=ROOT))
            assert processes[-1].stdout.readline() == 'begun\n'
        remove_left_behind(tmp_path / 'folder')
        assert len(list(tmp_path.iterdir())) == 2, 'somebody is writing it'
        (tmp_path / '.folder.12345678.partial').mkdir()  # of who was killed while the lock was made or removed
        processes[0].kill()
        processes[0].wait()
        with NewFolder(tmp_path / 'folder') as new:
            new.work.mkdir()
        names = sorted(p.name.partition('.')[2].partition('.')[0] or p.name for p in tmp_path.iterdir())
        assert names == ['another', 'folder']
    finally:
        for process in processes:
            process.kill()
            process.wait()
