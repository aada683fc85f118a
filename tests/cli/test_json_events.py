"""``--json-events``: what a program that runs a job reads from its standard output."""

import json
import math
import os
import signal

import pytest

from ptycho_core.cli.json_events import VERSION, JsonEvents
from ptycho_core.cli.main import main
from ptycho_core.contract import Event

pytestmark = pytest.mark.usefixtures("only_the_backend_under_test", "undrawn")

KEYS = ["version", "kind", "time", "stage", "epoch", "total", "values", "message", "path"]


@pytest.fixture
def told(capsys):
    """Run a command with --json-events; its status, its events, and what it said to people."""

    def told(*words):
        status = main([*map(str, words), "--json-events"])
        out, err = capsys.readouterr()
        lines = [json.loads(line, parse_constant=pytest.fail) for line in out.splitlines()]
        assert all(list(line) == KEYS and line["version"] == VERSION for line in lines)
        return status, lines, err

    return told


def test_a_training_tells_its_start_epochs_and_end_and_the_line_for_people_goes_to_stderr(truth, scans, tmp_path, told):
    status, lines, err = told("train", scans[0], "-o", tmp_path / "run", "--backend", "truth", "--epochs", 2)
    assert status == 0
    assert [line["kind"] for line in lines] == ["started", "epoch", "epoch", "finished"]
    assert "60 patterns of 1 scan, backend truth" in lines[0]["message"]
    assert lines[0]["total"] == 2
    assert [(line["epoch"], line["total"], line["values"]["loss"]) for line in lines[1:3]] == [(1, 2, 0.5), (2, 2, 0.25)]
    assert (lines[-1]["path"], lines[-1]["message"]) == (str(tmp_path / "run"), "all epochs done")
    assert lines[-1]["values"] == {
        "epochs": 2, "interrupted": False, "model": "best.ptycho", "epoch": 2, "loss": 0.25, "misfit": 0.0625,
    }  # fmt: skip
    assert "2 epochs, best with loss 0.25" in err


def test_an_inference_and_a_reconstruction_tell_the_same_way(run, scans, tmp_path, told):
    words = [scans[1], "--backend", "truth", "-o"]
    status, lines, err = told("infer", *words, tmp_path / "inferred", "--model", run, "--inference-batch-size", 30)
    assert status == 0
    assert [line["kind"] for line in lines] == ["started", "step", "step", "finished"]
    assert lines[2]["values"]["frames"] == 60
    assert (lines[-1]["path"], lines[-1]["values"]["interrupted"]) == (str(tmp_path / "inferred"), False)
    assert f"R {lines[-1]['values']['misfit']:.4f}" in err
    status, lines, _ = told("reconstruct", *words, tmp_path / "fitted", "--epochs", 3, "--iterations", 4)
    assert status == 0
    assert [(line["kind"], line["total"]) for line in lines] == [("started", 7), ("finished", 0)]
    assert lines[-1]["path"] == str(tmp_path / "fitted")


def test_whatever_goes_wrong_is_one_event_with_code_status_and_remedy(truth, scans, tmp_path, told):
    out = ["-o", tmp_path / "run", "--backend", "truth"]
    cases = {
        "settings": (2, ["train", scans[0], *out, "--learning-rate", "nan"], "--learning-rate nan"),
        "usage": (2, ["train", scans[0], *out, "--learning-rat", "1"], "there is no flag --learning-rat"),
        "data": (5, ["infer", tmp_path / "none.npz", "--model", tmp_path, *out], ""),
        "backend.unknown": (2, ["reconstruct", scans[0], "-o", tmp_path / "run", "--backend", "nonesuch"], "nonesuch"),
    }
    for code, (status, words, part) in cases.items():
        found, lines, err = told(*words)
        assert (found, [line["kind"] for line in lines]) == (status, ["error"]), code
        assert (lines[0]["values"]["code"], lines[0]["values"]["exit_status"]) == (code, status)
        assert part in lines[0]["message"]
        assert err
    remedy = told("train", scans[0], *out, "--checkpoint-monitor", "val_loss")[1][0]["values"]
    assert remedy["source"] == "--checkpoint-monitor val_loss"
    assert "--validation" in remedy["remedy"]
    assert not (tmp_path / "run").exists()


def test_a_bug_of_a_backend_is_an_event_too(truth, scans, tmp_path, told):
    truth.before_epoch = lambda epoch: 1 / 0
    status, lines, _ = told("train", scans[0], "-o", tmp_path / "run", "--backend", "truth")
    assert (status, [line["kind"] for line in lines]) == (3, ["started", "error"])
    assert "ZeroDivisionError" in lines[-1]["message"]


def test_the_first_ctrl_c_finishes_and_the_second_is_an_error(truth, scans, tmp_path, told):
    words = ["train", scans[0], "-o", tmp_path / "run", "--backend", "truth", "--epochs", 4]
    truth.before_epoch = lambda epoch: os.kill(os.getpid(), signal.SIGTERM) if epoch == 2 else None
    status, lines, err = told(*words)
    assert (status, lines[-1]["kind"], lines[-1]["values"]["interrupted"]) == (130, "finished", True)
    assert "--resume' continues from" in err

    def twice(epoch):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    truth.before_epoch = twice
    status, lines, _ = told(*words, "--resume")
    assert (status, lines[-1]["kind"], lines[-1]["values"]["code"]) == (130, "error", "interrupted")


def test_a_number_that_is_not_finite_is_null(tmp_path):
    with (tmp_path / "events").open("w") as file:
        JsonEvents(file)(Event("epoch", values={"loss": math.nan, "misfit": math.inf, "epoch": 1}))
    assert json.loads((tmp_path / "events").read_text())["values"] == {"loss": None, "misfit": None, "epoch": 1}


def test_a_dry_run_has_no_events(truth, scans, tmp_path, told):
    status, lines, _ = told("train", scans[0], "-o", tmp_path / "run", "--backend", "truth", "--dry-run")
    assert (status, lines[0]["values"]["code"]) == (2, "usage")


def test_in_a_process_of_its_own_nothing_but_events_is_on_stdout_and_sigterm_ends_it_in_good_order(scans, tmp_path, started):
    program = (
        "import os, sys\n"
        "from ptycho_core.jobs import observers\n"
        "from ptycho_core.cli.main import main\n"
        "def noisy(event):\n"
        "    os.write(1, b'a library')\n"
        "    print('an observer')\n"
        "observers.installed_observers = lambda: (noisy,)\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    small = ["--network-width", "4", "--update-steps", "2", "--threads", "1", "--epochs", "100000", "--quiet"]
    words = ["train", str(scans[0]), "-o", str(tmp_path / "run"), *small, "--checkpoint-save-top-k", "2", "--json-events"]
    running = started(*words, code=program)
    lines = []
    for line in running.process.stdout:
        lines.append(json.loads(line))
        if lines[-1]["kind"] == "checkpoint" and lines[-1]["epoch"] == 3:
            break
    running.process.send_signal(signal.SIGTERM)
    status, out, err = running.end()
    lines += map(json.loads, out.splitlines())
    assert status == 130, err
    assert "an observer" in err
    assert "a library" in err
    assert "ptycho: stopping after this epoch, which is then saved; press Ctrl-C again to stop at once" in err
    kinds = [line["kind"] for line in lines if line["kind"] not in ("step", "message")]
    assert (kinds[0], kinds[-1]) == ("started", "finished")
    saved = [line for line in lines if line["kind"] == "checkpoint" and line["epoch"] == 1]
    assert [line["path"] for line in saved] == [
        str(tmp_path / "run" / name) for name in ("last.ptycho", "best.ptycho", "checkpoints/epoch-0001.ptycho")
    ]
    epochs = [line["epoch"] for line in lines if line["kind"] == "epoch"]
    assert epochs == list(range(1, lines[-1]["values"]["epochs"] + 1))
    assert lines[-1]["values"]["interrupted"] is True
