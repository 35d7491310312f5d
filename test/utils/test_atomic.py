# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
import json
import os
import stat

import numpy as np
import pytest

from attention_fusion_ros.utils import atomic


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
