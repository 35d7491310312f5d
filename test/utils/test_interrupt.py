# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
import os
import signal
import threading

import pytest

from attention_fusion_ros.utils.interrupt import Interrupted, SignalGuard


@pytest.mark.parametrize('number, status', [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_raises_and_the_handlers_of_before_are_back_afterwards(number, status):
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as raised, SignalGuard():
        os.kill(os.getpid(), number)
    assert raised.value.exit_status == status and isinstance(raised.value, KeyboardInterrupt)
    assert signal.getsignal(number) is before


def test_what_must_not_be_cut_runs_to_its_end_and_further_signals_are_ignored():
    done = []
    with SignalGuard() as guard:
        guard.check()
        with guard.hold():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append('first')
            os.kill(os.getpid(), signal.SIGINT)
            done.append('second')
        assert done == ['first', 'second']
        with pytest.raises(Interrupted) as raised:
            guard.check()
        os.kill(os.getpid(), signal.SIGINT)  # while the state is written, say
    assert raised.value.signal_number == signal.SIGTERM == guard.received


def test_the_innermost_guard_counts():
    with SignalGuard() as outer, pytest.raises(Interrupted):
        with SignalGuard():
            os.kill(os.getpid(), signal.SIGINT)
    assert outer.received is None


def test_a_thread_may_enter_it():
    seen = []

    def work():
        with SignalGuard() as guard:
            guard.check()
            seen.append(guard.received)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [None]


def test_at_the_end_of_a_process_signals_stay_ignored_once_one_has_come():
    """The interpreter takes a moment to end, and a second Ctrl+C must not make an error of it."""
    before = signal.getsignal(signal.SIGINT)
    try:
        with SignalGuard(final=True):
            pass
        assert signal.getsignal(signal.SIGINT) is before
        with pytest.raises(Interrupted), SignalGuard(final=True):
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
