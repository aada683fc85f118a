"""A worker runs functions in a separate process: values come back as they were, and no death takes the caller with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ptycho_core import contract, errors
from ptycho_core.backends.worker import Worker
from ptycho_core.contract import BatchRecipe

JOBS = Path(__file__).with_name("worker_jobs.py")


def job(name: str) -> str:
    return f"{JOBS}:{name}"


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker("acme", threads=1) as shared:
        yield shared


def runs(pid: int) -> bool:
    """Whether a process exists; a zombie counts."""
    return Path(f"/proc/{pid}").exists() if Path("/proc").exists() else subprocess.run(["ps", "-p", str(pid)]).returncode == 0


def ends(pid: int, seconds: float = 10.0) -> bool:
    """Whether a process, which need not be a child of this one, is gone or a zombie before long."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] in ("Z", "X"):
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def test_values_come_back_as_they_were(worker):
    plain = [None, True, 3, -(2**70), 0.1, float("inf"), "µ\n", [1, (2, "x")], {"a": {"$b": 1}, "$": 2}, {1: 2}, 1 - 2j]
    others = [Path("a/b"), frozenset({"x"}), {3}, np.float32(0.1), np.complex128(1 + 2j), np.int64(7), np.bool_(True)]
    values, named = worker.call(job("same"), *plain, *others, key=(1, [None]))
    assert list(values) == plain + others
    assert [type(value) for value in values] == [type(value) for value in plain + others]
    assert named == {"key": (1, [None])}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64", "complex128", "int8", "uint64", "bool", ">f4"])
def test_arrays_come_back_bit_for_bit(worker, dtype):
    array = (np.random.default_rng(1).normal(size=(3, 4, 2)) * 100).astype(dtype)
    for given in (array, array.T, array[:, ::2], array[0, 0, 0:0], np.array(array[0, 0, 0])):
        (back,), _ = worker.call(job("same"), given)
        assert (back.dtype, back.shape) == (given.dtype, given.shape)
        assert back.tobytes() == given.tobytes()
    (back,), _ = worker.call(job("same"), np.array([np.nan, np.inf, -0.0]))
    assert back.tobytes() == np.array([np.nan, np.inf, -0.0]).tobytes()


def test_data_of_the_contract_travels_both_ways(worker):
    rng = np.random.default_rng(2)
    image = rng.normal(size=(8, 8)) + 1j
    counts = rng.poisson(5.0, size=(2, 4, 4)).astype(float)
    asked = contract.EvaluateJob(image, image[None, :4, :4], np.zeros((2, 2)), counts, weights={"nll": 0.5})
    found = worker.call(job("evaluate"), asked)
    assert type(found) is contract.EvaluateResult
    assert found.losses == {"nll": counts.sum()}
    np.testing.assert_array_equal(found.intensities, 2 * counts)
    np.testing.assert_array_equal(found.gradients["object"], image.conj())
    recipe = BatchRecipe((Path("x.npz"),), Path("m"), {"model": {"gridsize": 2}}, 0, np.array([[3, 1]]))
    (back,), _ = worker.call(job("same"), recipe)
    assert back.groups.tolist() == [[3, 1]]
    assert vars(replace(back, groups=None)) == vars(replace(recipe, groups=None))


def test_what_cannot_travel_is_refused_by_name_and_the_process_goes_on(worker):
    before = worker.call(job("pid"))
    with pytest.raises(errors.UsageError, match="holds a function, which cannot travel"):
        worker.call(job("same"), lambda: 0)
    with pytest.raises(errors.UsageError, match="holds a ndarray"):
        worker.call(job("same"), np.array([object()]))
    with pytest.raises(errors.UsageError, match=r"The answer of .*:stranger holds a object"):
        worker.call(job("stranger"))
    with pytest.raises(errors.UsageError, match="module:function"):
        worker.call("ptycho_core.evaluation")
    assert worker.call(job("pid")) == before != os.getpid()


def test_the_process_is_kept_between_calls(worker):
    first = worker.call(job("count"))
    assert worker.call(job("count")) == first + 1
    assert worker.call("os.path:basename", "a/b") == "b"
    assert worker.call("pathlib:Path.as_posix", Path("a/b")) == "a/b"


def test_what_is_printed_does_not_spoil_the_answers(worker):
    assert worker.call(job("noise"), timeout=60) == ""
    texts, last = ("printed", "forged", "from a child", "told"), time.monotonic() + 20
    while not all(text in worker.written for text in texts) and time.monotonic() < last:
        time.sleep(0.05)  # what the process writes is collected next to its answers
    assert all(text in worker.written for text in texts)


@pytest.mark.parametrize(
    ("kind", "wanted", "code"),
    [
        ("data", errors.DataError, "data"),
        ("own", errors.DataError, "data.own"),
        ("state", errors.BackendUnusableError, "backend.broken"),
        ("other", errors.CapabilityError, "backend.unsupported"),
    ],
)
def test_an_error_of_ours_is_raised_again_with_all_it_knows(worker, kind, wanted, code):
    with pytest.raises(errors.PtychoError) as caught:
        worker.call(job("refuse"), kind)
    error = caught.value
    assert (type(error), error.code) == (wanted, code)
    if kind == "data":
        assert (error.message, error.remedy, error.source) == ("scan.npz has no 'probe'.", "Give --probe.", "scan.npz")
    if kind == "state":
        assert (error.state, error.backend, error.distribution) == ("broken", "acme", "acme 1.0")
    assert "in refuse" in "".join(error.__notes__)


def test_any_other_exception_is_told_with_type_message_and_place(worker):
    with pytest.raises(errors.BackendError, match=r"backend 'acme' failed while running .*:leave: SystemExit: go away"):
        worker.call(job("leave"))
    with pytest.raises(errors.BackendError, match=r"ModuleNotFoundError: No module named 'no_such'") as caught:
        worker.call("no_such:function")
    assert "while importing no_such" in caught.value.message
    with pytest.raises(errors.BackendError, match=r"AttributeError: .*no attribute 'nothing'"):
        worker.call(job("nothing"))
    with pytest.raises(errors.BackendError) as caught:
        worker.call("json:loads", "{")
    assert "JSONDecodeError: Expecting property name" in caught.value.message
    assert "(json/decoder.py:" in caught.value.message
    assert "Traceback" in "".join(caught.value.__notes__)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
def test_a_signal_is_named_and_the_worker_can_be_used_again(number):
    with Worker("acme") as worker:
        before = worker.call(job("pid"))
        with pytest.raises(errors.WorkerError) as caught:
            worker.call(job("die"), int(number))
        assert f"the process died with signal {int(number)} ({number.name}) while running" in caught.value.message
        assert (caught.value.backend, caught.value.code, caught.value.exit_status) == ("acme", "backend.worker", 3)
        assert "last words" in "".join(caught.value.__notes__)
        assert "last words" in worker.written
        assert worker.age == 0
        assert not runs(before)
        after = worker.call(job("pid"))
        assert after != before
    assert not runs(after)


def test_what_a_process_that_dies_left_among_temporary_files_goes_with_it(tmp_path):
    with Worker("acme") as worker:
        with pytest.raises(errors.WorkerError, match="SIGKILL"):
            worker.call(job("leave_files"), tmp_path / "name")
        assert not Path((tmp_path / "name").read_text()).exists()
        assert worker.call(job("count")) == 1


def test_an_exit_status_is_named():
    with Worker("acme") as worker, pytest.raises(errors.WorkerError, match="ended with exit status 7 while running"):
        worker.call(job("exit_with"), 7)


def test_a_hang_ends_with_all_that_it_started(tmp_path):
    pids = tmp_path / "pids"
    with Worker("acme") as worker:
        worker.call(job("pid"))
        began = time.monotonic()
        with pytest.raises(errors.WorkerError, match=r"'acme' failed: no answer within 2 s while running .*:hang"):
            worker.call(job("hang"), pids, timeout=2)
        assert 1.9 < time.monotonic() - began < 10
        child, grandchild = map(int, pids.read_text().split())
        assert not runs(child)
        assert ends(grandchild)
        assert worker.call(job("same"), 1)[0] == (1,)


def test_a_death_is_noticed_although_another_process_holds_the_pipe(tmp_path):
    pids = tmp_path / "pids"
    with Worker("acme") as worker, pytest.raises(errors.WorkerError, match="exit status 5"):
        worker.call(job("leave_a_child"), pids, timeout=60)
    child, grandchild = map(int, pids.read_text().split())
    assert not runs(child)
    assert ends(grandchild)


def test_a_hang_before_python_runs_our_code_is_told_too(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import time\ntime.sleep(600)\n")
    sys.path.insert(0, str(tmp_path))
    try:
        with Worker("acme") as worker, pytest.raises(errors.WorkerError, match="no answer within 1 s while starting Python"):
            worker.call(job("pid"), timeout=1)
    finally:
        sys.path.remove(str(tmp_path))


def test_events_are_passed_on_in_order(worker):
    seen: list[contract.Event] = []
    assert worker.call(job("report"), observer=seen.append) == 1
    assert [(event.kind, event.stage, event.epoch, event.total) for event in seen] == [("epoch", "fit", n, 3) for n in range(3)]
    assert seen[2].values["loss"] == np.float64(0.2)
    assert np.isnan(seen[2].values["misfit"])
    assert worker.call(job("report")) == 0


def test_an_observer_that_fails_costs_no_call(worker):
    with pytest.warns(RuntimeWarning, match="the observer .* failed"):
        assert worker.call(job("report"), observer=lambda event: 1 / 0) == 1


def test_threads_and_environment_reach_the_process(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "MINE")
    with Worker("acme", threads=2, environment={"MINE": "yes"}) as worker:
        assert worker.call(job("environment"), *names) == ["2", "2", "PASSIVE", "yes"]
    with Worker("acme", environment={"OMP_WAIT_POLICY": "ACTIVE"}) as worker:
        assert worker.call(job("environment"), *names) == [None, None, "ACTIVE", None]


def test_usage_is_that_of_the_child_alone():
    ballast = np.ones(50_000_000)  # 400 MB of the parent must not count
    with Worker("acme", threads=1) as worker:
        assert worker.usage is None
        worker.call(job("pid"))
        assert worker.usage.peak_mb < 300
        idle = worker.usage.cpu_seconds
        worker.call(job("spend"), 0.5, 200)
        assert worker.usage.peak_mb > 200
        assert 0.5 <= worker.usage.cpu_seconds - idle < 1.5
        assert worker.usage.call_seconds >= 0.5
        assert worker.age > 0.5
    assert ballast[0] == 1


PARENT = """
    import sys
    from pathlib import Path
    from ptycho_core.backends.worker import Worker
    worker = Worker("acme")
    try:
        worker.call({job!r}, Path({pids!r}))
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -9), (signal.SIGTERM, -15)])
def test_when_the_parent_is_interrupted_or_dies_so_do_its_children(tmp_path, started, number, status):
    pids = tmp_path / "pids"
    parent = started(code=textwrap.dedent(PARENT).format(job=job("hang"), pids=str(pids))).process
    until = time.monotonic() + 60
    while not (pids.exists() and len(pids.read_text().split()) == 2):
        assert time.monotonic() < until
        time.sleep(0.05)
    child, grandchild = map(int, pids.read_text().split())
    parent.send_signal(number)
    assert parent.wait(30) == status
    assert ends(child)
    assert ends(grandchild)


def test_who_is_told_not_to_listen_to_ctrl_c_tests_it_all_the_same():
    """As where the test run is a job in the background of a shell without job control."""
    ignoring = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    test = f"{__file__}::test_when_the_parent_is_interrupted_or_dies_so_do_its_children[2-130]"
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test]
    done = subprocess.run([sys.executable, "-c", ignoring, *words], capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout


def test_a_worker_that_is_forgotten_leaves_nothing_behind(tmp_path):
    code = f"from ptycho_core.backends.worker import Worker\nw = Worker('acme')\nprint(w.call({job('pid')!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ends(int(done.stdout))
