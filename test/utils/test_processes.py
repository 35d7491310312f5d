# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from support import work

from attention_fusion_ros.utils.processes import process_pool, with_own

ROOT = Path(__file__).parents[2]


def test_processes_have_one_thread_and_can_use_torch_after_it_was_used_here():
    torch.ones(500, 500).matmul(torch.ones(500, 500))  # torch's threads run in this process now
    with process_pool(2) as pool:
        found = list(pool.map(work.threads, range(4)))
    assert {(n, value) for n, value, _ in found} == {(1, 200.0 ** 3)}
    assert os.getpid() not in {pid for _, _, pid in found}


def test_every_process_is_set_up_and_has_the_environment_of_now(monkeypatch):
    for value in ('first', 'second'):  # the server is still the one of the first pool
        monkeypatch.setenv('ATTENTION_FUSION_TEST', value)
        with process_pool(1, work.remember, (value,)) as pool:
            assert pool.submit(work.environment, 'ATTENTION_FUSION_TEST').result() == (value, [value], 1)


def test_what_was_made_in_the_process_does_its_work():
    with process_pool(2, work.Counter, (10,)) as pool:
        found = [pool.submit(with_own, work.Counter.add, 1).result() for _ in range(4)]
    assert all(10 < total <= 14 for total, _ in found) and os.getpid() not in {pid for _, pid in found}
    by_process = {pid: [total for total, at in found if at == pid] for _, pid in found}
    assert all(totals == list(range(11, 11 + len(totals))) for totals in by_process.values())  # made once in each


def test_a_variable_that_is_gone_is_gone_in_every_process(monkeypatch):
    with process_pool(1) as pool:  # the server has it, whether it starts now or runs already
        assert pool.submit(work.environment, 'PATH').result()[0]
    monkeypatch.delenv('PATH')
    with process_pool(1) as pool:
        assert pool.submit(work.environment, 'PATH').result()[0] is None


def test_ctrl_c_drops_the_work_that_is_left(tmp_path):
    with pytest.raises(KeyboardInterrupt), process_pool(1) as pool:
        for k in range(50):
            pool.submit(work.touch, tmp_path / str(k))
        deadline = time.monotonic() + 60
        while not (tmp_path / '0').exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        raise KeyboardInterrupt
    done = len(list(tmp_path.iterdir()))
    time.sleep(0.5)
    assert 0 < done < 50 and len(list(tmp_path.iterdir())) == done


def test_no_process_is_forked():
    """A fork would inherit torch's threads, and with them their locks."""
    work.marks.append('of the parent')
    with process_pool(1) as pool:
        assert pool.submit(work.seen_marks).result() == []


PARENT = """
import os, sys, time
sys.path[:0] = [{tests!r}]
from support import work
from attention_fusion_ros.utils.processes import process_pool
with process_pool(2) as pool:
    found = [pool.submit(work.threads, k) for k in range(4)]
    print(*{{done.result()[2] for done in found}}, flush=True)
    time.sleep(600)
"""


def exists(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_processes_end_when_the_one_they_work_for_is_killed():
    """Alone, as by the out-of-memory killer: they would wait for work for ever, and keep their memory."""
    parent = subprocess.Popen([sys.executable, '-c', PARENT.format(tests=str(ROOT / 'test'))], cwd=ROOT,
                              stdout=subprocess.PIPE, text=True)
    workers = [int(word) for word in parent.stdout.readline().split()]
    assert workers and all(map(exists, workers))
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 60
    while any(map(exists, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(exists, workers))
