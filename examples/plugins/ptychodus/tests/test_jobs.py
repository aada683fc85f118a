"""The process of a job, on files that ptychodus wrote, without ptychodus."""

import shutil
import time
from contextlib import closing

import numpy as np
import pytest
from host_runs import HERE

import ptycho_core

RECORDED = HERE.parents[3] / "tests/imaging/ptychodus"


@pytest.fixture
def plugin(monkeypatch):
    """The modules of the distribution that need no ptychodus, here and in the processes of jobs."""
    monkeypatch.syspath_prepend(HERE.parent)
    monkeypatch.setenv("PYTHONPATH", str(HERE.parent))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    from ptycho_ptychodus import child

    return child


@pytest.fixture
def order(tmp_path):
    """A fit of the recorded scan, with the probe of a product of ptychodus."""
    probe = shutil.copy(RECORDED / "product.h5", tmp_path)
    settings = {"backend": "numpy", "modes": 2, "epochs": 2, "iterations": 2, "threads": 1, "probe": str(probe)}
    given = {"scans": [str(RECORDED / "scan.npz")], "folder": str(tmp_path), "model": None}
    return {"verb": "reconstruct", **given, "settings": settings, "snapshot_seconds": 0}


def test_a_job_shows_each_epoch_and_gives_what_the_function_gives(plugin, order, tmp_path):
    lines, counted = [], []
    with closing(plugin.Job(order)) as job:
        for line in job.lines(lambda: False):
            lines.append(line)
            if line["kind"] in ("started", "epoch"):
                counted.append((job.done, job.goal))
    epochs = [line for line in lines if line["kind"] == "epoch"]
    assert counted[0] == (0, 4)
    assert [done for done, _ in counted] == list(range(len(epochs) + 1))
    assert all(goal >= done for done, goal in counted)
    products = [line for line in lines if line["kind"] == "checkpoint"]
    assert [line["values"]["last"] for line in products] == [False] * (len(products) - 1) + [True]
    assert len(products) == len(epochs) + 1
    ours = ptycho_core.reconstruct(order["scans"][0], **order["settings"])
    first, last = (ptycho_core.load_reconstruction(line["path"]) for line in (products[0], products[-1]))
    for name in ("object", "probe", "positions", "origin"):
        assert np.array_equal(getattr(last, name), getattr(ours, name)), name
    assert last.frames is None or last.frames.tolist() == list(range(20))
    assert np.array_equal(first.origin, last.origin)
    assert np.array_equal(first.frames, last.frames)
    assert not np.array_equal(first.object, last.object)


def test_a_stop_ends_the_epoch_and_gives_the_result(plugin, order):
    order["settings"] |= {"epochs": 100_000}
    seen = []
    with closing(plugin.Job(order)) as job:
        seen.extend(line for line in job.lines(lambda: len(seen) > 5))
    assert "error" not in {line["kind"] for line in seen}
    assert [line for line in seen if line["kind"] == "checkpoint"][-1]["values"]["last"]


def test_a_job_whose_host_is_gone_ends_and_leaves_no_folder(plugin, order, tmp_path):
    order["settings"] |= {"epochs": 100_000}
    job = plugin.Job(order)
    lines = job.lines(lambda: False)
    while next(lines)["kind"] != "checkpoint":
        pass
    began = time.monotonic()
    job.close()
    assert time.monotonic() - began < 10
    assert not tmp_path.exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [({"epochs": -1}, "override 'epochs': epochs = -1 must be at least 0."), ({"modes": 1}, "Use --modes 2.")],
)
def test_what_fails_is_a_sentence(change, said, plugin, order):
    order["settings"] |= change
    with closing(plugin.Job(order)) as job:
        (line,) = [line for line in job.lines(lambda: False) if line["kind"] == "error"]
    assert said in line["message"]
    assert "Traceback" not in line["message"]


def test_what_ptychodus_is_not_is_refused_by_name(plugin, monkeypatch, capsys):
    from importlib import metadata

    from ptycho_ptychodus import host

    for version, said in (
        ("1.8.0", "ptychodus 1.8.0 is installed; this works with 1.7 alone."),
        (None, "ptychodus is not installed."),
    ):

        def found(name, version=version):
            if version is None:
                raise metadata.PackageNotFoundError(name)
            return version

        monkeypatch.setattr(metadata, "version", found)
        assert host.run() == 2
        told = capsys.readouterr().err
        assert said in told
        assert "pip install 'ptychodus==1.7.*'" in told
