# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
import contextlib
import os
import signal
import threading

import pytest

from attention_fusion_ros.commands import cli
from attention_fusion_ros.utils.interrupt import Interrupted, SignalGuard, insist, insisting


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


@pytest.fixture
def as_python_starts():
    """SIGINT as in a process of its own: the workers that run tests may ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures('as_python_starts')
def test_an_interrupt_that_got_lost_is_raised_again_at_the_next_piece_of_work():
    def lose() -> None:
        with contextlib.suppress(KeyboardInterrupt):  # as Python does in __del__ and libraries in callbacks
            signal.raise_signal(signal.SIGINT)

    with insisting():
        insist()
        lose()
        with pytest.raises(KeyboardInterrupt):
            insist()
        try:
            raise ValueError
        except ValueError:
            insist()  # while something else goes wrong, that is what is told
    insist()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures('as_python_starts')
@pytest.mark.parametrize('bar', [lambda: cli.progress(range(9)), lambda: cli.progress(total=9)])
def test_a_command_whose_interrupt_got_lost_ends_at_its_progress_bar(bar, capsys):
    seen = []

    def work() -> int:
        with bar() as pieces:
            for i in pieces if pieces.iterable is not None else range(9):
                seen.append(i)
                if i == 2:
                    with contextlib.suppress(KeyboardInterrupt):
                        signal.raise_signal(signal.SIGINT)
                if pieces.iterable is None:
                    pieces.update()
        return 0
    assert cli.run(work) == 130 and seen == [0, 1, 2]
    assert 'interrupted' in capsys.readouterr().err


def test_who_handles_the_signal_already_keeps_it():
    with SignalGuard() as guard, insisting():
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGINT)
        assert guard.received == signal.SIGINT
        insist()
