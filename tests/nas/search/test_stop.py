"""Signals and the deadline."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from nas.stop import Interrupted, StopSignal


def send(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_ends(number: int) -> None:
    with StopSignal() as stop:
        assert not stop()
        send(number)
        assert stop()
        assert stop.signal == number
        with pytest.raises(Interrupted) as ended:
            send(signal.SIGINT)
        assert ended.value.signal == number, "the first one says what the exit code is"


def test_while_nothing_is_recorded_the_first_ends() -> None:
    with StopSignal() as stop:
        with stop.after(1), pytest.raises(Interrupted):
            send()
        with pytest.raises(Interrupted):
            send()


def test_while_a_record_is_written_two_wait_and_a_third_ends() -> None:
    with StopSignal() as stop:
        with stop.after(3):
            send()
            send()
        with pytest.raises(Interrupted), stop.after(2):
            pytest.fail("the two that waited end what comes next")
        with stop.after(3), pytest.raises(Interrupted):
            send()


def test_the_handlers_of_before_come_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with StopSignal():
        assert signal.getsignal(signal.SIGTERM) != before[1]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_in_another_thread_only_the_deadline_counts() -> None:
    seen: list[bool] = []

    def work() -> None:
        with StopSignal(0.01) as stop:
            time.sleep(0.02)
            seen.append(stop())

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_deadline_passes() -> None:
    stop = StopSignal(0.05)
    assert not stop()
    time.sleep(0.06)
    assert stop()
    assert stop.late
    assert not stop.interrupted
