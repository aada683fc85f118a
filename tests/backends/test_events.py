"""Observers cannot hurt a run, and Ctrl-C asks it to stop before it breaks it off."""

from __future__ import annotations

import os
import signal
import threading

import numpy as np
import pytest

from ptycho_core.contract import Event, Snapshot
from ptycho_core.events import EventHub, stop_on_interrupt

EPOCH = Event("epoch", "fit", 1, 2, {"loss": 0.5})


def test_a_failing_observer_is_told_once_and_the_others_go_on():
    seen = []

    def faulty(_event):
        raise ValueError("disk full")

    hub = EventHub([faulty, seen.append])
    with pytest.warns(RuntimeWarning) as told:  # noqa: PT031 - one warning of them all is the test
        hub.emit(EPOCH)
        hub.emit(EPOCH)
    assert seen == [EPOCH, EPOCH]
    assert len(told) == 1
    assert "faulty failed and is left out from now on: ValueError: disk full" in str(told[0].message)


def test_what_a_failing_observer_should_still_do_is_left_out_too():
    done = []

    def faulty(_event):
        raise OSError("disk full")

    hub = EventHub()
    hub.add(faulty)
    with pytest.warns(RuntimeWarning) as told:  # noqa: PT031 - one warning of them all is the test
        hub.guard(faulty, lambda: done.append("before"))
        hub.emit(EPOCH)
        hub.guard(faulty, lambda: done.append("after"))
    assert (done, len(told)) == (["before"], 1)


def test_by_default_the_failure_is_a_warning_and_never_an_exception(capsys):
    def faulty(_event):
        raise SystemExit(1)

    with pytest.warns(RuntimeWarning, match="faulty failed"):
        EventHub([faulty]).emit(EPOCH)
    EventHub([faulty]).emit(EPOCH)  # here warnings are errors
    assert "faulty failed" in capsys.readouterr().err


def test_the_first_interrupt_asks_to_stop_and_the_second_stops(capfd):
    hub = EventHub()
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), stop_on_interrupt(hub, "saving first"):  # noqa: PT012 - the order of the two signals is the test
        assert not hub.stop_requested
        os.kill(os.getpid(), signal.SIGTERM)
        assert hub.stop_requested
        assert "ptycho: saving first; press Ctrl-C again to stop at once" in capfd.readouterr().err
        os.kill(os.getpid(), signal.SIGINT)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_outside_the_main_thread_signals_are_left_alone():
    done = []

    def work():
        with stop_on_interrupt(EventHub(), ""):
            done.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [signal.getsignal(signal.SIGINT)]


def test_installed_observers_are_made_and_one_that_cannot_be_is_a_warning(site):
    site.distribution("watch", entry_points="[ptycho.observers]\na_bad = watch:nothing\nb_good = watch:Printer\n")
    site.write("watch.py", "class Printer:\n    def __call__(self, event):\n        print('got', event.kind)\n")
    code = (
        "from ptycho_core.contract import Event; from ptycho_core.events import *; from ptycho_core.jobs.observers import *\n"
        "EventHub(installed_observers()).emit(Event('started'))"
    )
    done = site.python("-c", code)
    assert done.stdout.splitlines() == ["got started"]
    assert "the observer 'a_bad' (watch 1.0) cannot be loaded: AttributeError" in done.stderr


class Watch:
    """An observer that wants snapshots."""

    def __init__(self, seconds, fails=False):
        self.snapshot_seconds, self.fails, self.seen, self.events = seconds, fails, [], []

    def __call__(self, event):
        self.events.append(event)

    def snapshot(self, now):
        if self.fails:
            raise ValueError("no screen")
        self.seen.append(now)


NOW = Snapshot("pie", 1, np.ones((4, 4), complex), np.ones((1, 2, 2), complex), np.zeros((3, 2)))


def test_a_snapshot_is_due_only_where_an_observer_wants_one_and_no_sooner_than_it_wants(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("ptycho_core.events.time.monotonic", lambda: clock[0])
    assert not EventHub([print]).snapshot_due
    often, seldom = Watch(2.0), Watch(5.0)
    hub = EventHub([often, seldom, print])
    assert not hub.snapshot_due  # it has just begun
    shown = []
    for clock[0] in np.arange(100.5, 112.0, 0.5):
        if hub.snapshot_due:
            shown.append(clock[0])
            hub.show(NOW)
    assert (len(often.seen), len(seldom.seen)) == (5, 2)
    assert shown == [102.0, 104.0, 105.0, 106.0, 108.0, 110.0]
    hub.emit(EPOCH)
    assert often.events == seldom.events == [EPOCH]


def test_an_observer_whose_snapshot_fails_is_left_out_and_then_none_is_due():
    hub = EventHub([Watch(0.0, fails=True)])
    assert hub.snapshot_due
    with pytest.warns(RuntimeWarning, match="failed and is left out from now on: ValueError: no screen"):
        hub.show(NOW)
    assert not hub.snapshot_due


def test_an_observer_that_says_wrongly_how_often_it_wants_snapshots_is_left_out_and_the_job_goes_on():
    wrong, right = Watch("two seconds"), Watch(0.0)
    hub = EventHub([wrong, right])
    with pytest.warns(RuntimeWarning, match="Watch failed and is left out from now on: TypeError"):
        assert hub.snapshot_due
    hub.show(NOW)
    assert (wrong.seen, right.seen) == ([], [NOW])
