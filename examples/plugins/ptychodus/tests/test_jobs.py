"""The process of a job, on files that ptychodus wrote, without ptychodus; and the filter of events."""

import io
import json
import shutil
import sys
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
    from ptycho_ptychodus import child, events

    return child, events


@pytest.fixture
def order(tmp_path):
    """A fit of the recorded scan, with the probe of a product of ptychodus."""
    probe = shutil.copy(RECORDED / "product.h5", tmp_path)
    settings = {"backend": "numpy", "modes": 2, "epochs": 2, "iterations": 2, "threads": 1, "probe": str(probe)}
    given = {"scans": [str(RECORDED / "scan.npz")], "folder": str(tmp_path), "model": None}
    return {"verb": "reconstruct", **given, "settings": settings, "snapshot_seconds": 0}


def test_a_job_shows_each_epoch_and_gives_what_the_function_gives(plugin, order, tmp_path):
    with closing(plugin[0].Job(order)) as job:
        lines = list(job.lines(lambda: False))
    progress = [line for line in lines if line["what"] == "progress"]
    assert [line["done"] for line in progress] == list(range(1, len(progress) + 1))
    assert all(line["goal"] >= line["done"] for line in progress)
    products = [line for line in lines if line["what"] == "product"]
    assert [line["last"] for line in products] == [False] * (len(products) - 1) + [True]
    assert len(products) == len(progress) + 1
    ours = ptycho_core.reconstruct(order["scans"][0], **order["settings"])
    first, last = (dict(np.load(line["path"])) for line in (products[0], products[-1]))
    for name in ("object", "probe", "positions", "origin"):
        assert np.array_equal(last[name], getattr(ours, name)), name
    assert last["frames"].tolist() == list(range(20))
    assert np.array_equal(first["origin"], last["origin"])
    assert np.array_equal(first["frames"], last["frames"])
    assert not np.array_equal(first["object"], last["object"])


def test_a_stop_ends_the_epoch_and_gives_the_result(plugin, order):
    order["settings"] |= {"epochs": 100_000}
    seen = []
    with closing(plugin[0].Job(order)) as job:
        seen.extend(line for line in job.lines(lambda: len(seen) > 5))
    assert "error" not in {line["what"] for line in seen}
    assert [line for line in seen if line["what"] == "product"][-1]["last"]


def test_a_job_whose_host_is_gone_ends_and_leaves_no_folder(plugin, order, tmp_path):
    order["settings"] |= {"epochs": 100_000}
    job = plugin[0].Job(order)
    lines = job.lines(lambda: False)
    while next(lines)["what"] != "product":
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
    with closing(plugin[0].Job(order)) as job:
        (line,) = [line for line in job.lines(lambda: False) if line["what"] == "error"]
    assert said in line["message"]
    assert "Traceback" not in line["message"]


def test_events_are_told_in_the_words_of_ptychodus(plugin, monkeypatch, capsys):
    common = {"version": 1, "stage": "", "epoch": 0, "total": 0, "values": {}, "message": "", "path": ""}
    at = "2030-01-31T12:00:0{}.000+00:00"
    lines = [
        {"kind": "started", "time": at.format(0), "message": "20 patterns"},
        {"kind": "epoch", "time": at.format(1), "stage": "pie", "epoch": 1, "total": 1, "values": {"misfit": 0.3}},
        {"kind": "message", "time": at.format(1), "message": "a note"},
        {"kind": "epoch", "time": at.format(2), "stage": "joint", "epoch": 1, "total": 8, "values": {"loss": 7.0}},
        {"kind": "checkpoint", "time": at.format(2), "path": "last.ptycho"},
        {"kind": "finished", "time": at.format(3), "path": "out", "values": {"interrupted": True}},
        {"kind": "error", "time": at.format(4), "message": "No file.", "values": {"code": "data", "remedy": "Give one."}},
    ]
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(json.dumps(common | line) + "\n" for line in lines)))
    plugin[1].run()
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"event": "started", "message": "20 patterns"},
        {"event": "epoch", "epoch": 1, "num_epochs": 1, "loss": None, "elapsed_s": 1.0},
        {"event": "epoch", "epoch": 2, "num_epochs": 9, "loss": 7.0, "elapsed_s": 2.0},
        {"event": "checkpoint", "epoch": 2, "path": "last.ptycho"},
        {"event": "finished", "epoch": 2, "cancelled": True, "path": "out", "elapsed_s": 3.0},
        {"event": "error", "type": "data", "message": "No file. Give one.", "traceback": ""},
    ]


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
