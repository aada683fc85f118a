"""The same job through several backends: numbers that can be checked, and failures that cost one row."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from ptycho_core import load_reconstruction, score
from ptycho_core.cli.main import main
from ptycho_core.comparison.request import Request

CRASH = "os.kill(os.getpid(), 11)"
HANG = "time.sleep(600)"


def test_each_backend_is_judged_against_the_truth_and_the_first(fakes, scan_file, table):
    fakes.add("good")
    fakes.add("noisy", "sum(range(10**7)); print('noise on stdout')")
    options = ("--opt", "noisy.noise=0.1", "--opt", "good.noise=0.02")
    done = fakes.compare(scan_file, "--backends", "good,noisy", "-o", "out", *options, "--threads", 1)
    assert done.returncode == 0, done.stderr
    found = table(fakes.cwd / "out")
    good, noisy = found["entries"]["good"], found["entries"]["noisy"]
    assert (found["reference"], found["first"], found["job"]) == ("truth", "good", "reconstruct")
    assert 0.01 < good["quality"]["nrmse"] < 0.05
    assert good["agreement"] == {}
    assert 0.05 < noisy["quality"]["nrmse"] < 0.3
    out = fakes.cwd / "out"
    assert noisy["quality"]["nrmse"] == pytest.approx(score(out / "noisy", scan_file).nrmse, rel=1e-12)
    assert noisy["agreement"]["nrmse"] == pytest.approx(score(out / "noisy", out / "good").nrmse, rel=1e-12)
    for name, entry in found["entries"].items():
        assert entry["misfit"] == json.loads((out / name / "metrics.json").read_text())["misfit"]
        assert 0 < entry["first_step_seconds"] < entry["wall_seconds"]
        assert entry["cpu_seconds"] > 0.1
        assert 30 < entry["peak_mb"] < 1000
        assert load_reconstruction(out / name).facts["omp"] == "1"
    assert (out / "comparison.png").stat().st_size > 20_000
    lines = done.stdout.splitlines()
    assert lines[0].split()[:3] == ["NAME", "STATE", "NRMSE"]
    assert "NRMSE TO good" in lines[0]
    assert lines[2].split()[:3] == ["noisy", "ok", f"{noisy['quality']['nrmse']:.4g}"]
    assert "noise on stdout" not in done.stdout
    assert "good: 1 of 2" in done.stderr
    assert "noisy: it knows the truth" in done.stderr


def test_without_truth_the_first_result_is_what_others_are_compared_with(fakes, scan_file, table, tmp_path):
    blind = tmp_path / "blind.npz"
    with np.load(scan_file) as file:
        np.savez(blind, **{key: file[key] for key in file.files if not key.endswith("_true")}, truth=file["object_true"])
    fakes.add("one")
    fakes.add("two", "image = image * (1 + 0.2 * noise[0])")
    done = fakes.compare(blind, "--backends", "one,two", "-o", "out", "--quiet", "--no-figures")
    assert done.returncode == 0, done.stderr
    found = table(fakes.cwd / "out")
    assert found["reference"] is None
    assert all(entry["quality"] == {} for entry in found["entries"].values())
    assert found["entries"]["two"]["agreement"]["nrmse"] > 0.05
    assert "quality against the result of one" in done.stdout
    assert done.stderr == ""


def test_a_backend_that_fails_in_any_way_is_a_row_and_the_others_go_on(fakes, scan_file, table):
    fakes.add("crash", CRASH)
    fakes.add("exact")
    fakes.add("hang", HANG)
    fakes.add("raises", "print('last words', file=sys.stderr); 1 / 0")
    fakes.add("refuses", "raise DataError('a bad scan.')")
    fakes.add("absent", framework="[framework]\nmodule = 'no_such_framework'\ndistributions = ['no-such-framework']")
    fakes.add("other", capability="train")
    fakes.add("empty", "image[:] = np.nan")
    names = "crash,exact,hang,raises,refuses,absent,other,empty"
    done = fakes.compare(scan_file, "--backends", names, "-o", "out", "--timeout", 15)
    assert done.returncode == 3
    found = table(fakes.cwd / "out")
    assert list(found["entries"]) == names.split(",")
    reasons = {name: entry["reason"] for name, entry in found["entries"].items()}
    running = "while running ptycho_core.comparison.jobs:run_job"
    assert f"the process died with signal 11 (SIGSEGV) {running}" in reasons["crash"]
    assert f"no answer within 15 s {running}" in reasons["hang"]
    assert "failed in ptycho_reconstruct: ZeroDivisionError: division by zero (fake_raises/plugin.py:" in reasons["raises"]
    assert reasons["refuses"] == "a bad scan."
    assert "'no_such_framework') is not installed" in reasons["absent"]
    assert reasons["other"].startswith("backend 'other' does not provide 'reconstruct'; it provides train. Installed ones that")
    assert "not finite" in reasons["empty"]
    assert {name for name, entry in found["entries"].items() if entry["state"] == "failed"} == set(reasons) - {"exact"}
    assert found["entries"]["exact"]["quality"]["nrmse"] < 1e-5
    assert found["first"] == "exact"
    assert found["entries"]["crash"]["first_step_seconds"] > 0
    for name, reason in reasons.items():
        assert reason in done.stdout
        assert bool(reason) == (name != "exact")
    raises = (fakes.cwd / "out" / "raises" / "error.txt").read_text()
    assert "in ptycho_reconstruct" in raises
    assert str(Path("out") / "crash" / "error.txt") in reasons["crash"]
    assert [path.name for path in (fakes.cwd / "out" / "refuses").iterdir()] == ["log.csv"]  # of the epoch before it refused
    assert (fakes.cwd / "out" / "comparison.png").exists()


def test_if_all_fail_there_is_a_table_and_no_figure(fakes, scan_file, table):
    fakes.add("crash", CRASH)
    done = fakes.compare(scan_file, "--backends", "crash", "-o", "out")
    assert done.returncode == 3
    assert table(fakes.cwd / "out")["entries"]["crash"]["state"] == "failed"
    assert not (fakes.cwd / "out" / "comparison.png").exists()


def test_results_are_replaced_only_when_asked_and_old_ones_never_pass_for_new(fakes, scan_file, table):
    fakes.add("exact")
    assert fakes.compare(scan_file, "--backends", "exact", "-o", "out", "--quiet").returncode == 0
    again = fakes.compare(scan_file, "--backends", "exact", "-o", "out", "--quiet")
    assert again.returncode == 2
    assert "The output folder out is not empty. Use --overwrite" in again.stderr
    shutil.rmtree(fakes.folder)
    fakes.add("exact", CRASH)
    worse = fakes.compare(scan_file, "--backends", "exact", "-o", "out", "--overwrite", "--quiet")
    assert worse.returncode == 3
    assert table(fakes.cwd / "out")["entries"]["exact"]["state"] == "failed"
    assert not (fakes.cwd / "out" / "comparison.png").exists()
    assert not (fakes.cwd / "out" / "exact" / "reconstruction.h5").exists()


def test_ctrl_c_leaves_what_is_done_and_no_process(fakes, scan_file, table):
    pid_file = fakes.cwd / "pid"
    fakes.add("exact")
    fakes.add("hang", f"Path({str(pid_file)!r}).write_text(str(os.getpid())); {HANG}")
    fakes.add("last")
    with fakes.start(scan_file, "--backends", "exact,hang,last", "-o", "out") as process:
        until = time.monotonic() + 120
        while not (pid_file.exists() and pid_file.read_text()):
            assert time.monotonic() < until
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; what is done is in out" in err
    states = {name: entry["state"] for name, entry in table(fakes.cwd / "out")["entries"].items()}
    assert states == {"exact": "ok", "hang": "interrupted", "last": "not run"}
    assert re.search(r"^hang +interrupted", out, flags=re.MULTILINE)
    assert load_reconstruction(fakes.cwd / "out" / "exact").object.size
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (("--backends", "exact,exakt"), 2, "backend 'exakt' is not known. "),
        (("--backends", "exact,exact"), 2, "backend 'exact' is named twice."),
        ((), 2, "Name them with --backends NAME,NAME; usable: exact"),
        (("--backends", "exact", "--epoch", "3"), 2, "there is no flag --epoch (Did you mean '--epochs'?)"),
        (("--backends", "exact", "--backend", "exact"), 2, "there is no flag --backend"),
        (("--backends", "exact", "--epochs", "x"), 2, "--epochs"),
        (("--backends", "exact", "--gridsize", "2"), 2, "there is no flag --gridsize"),
        (("--backends", "exact", "--opt", "torch.x=1"), 2, "not among those that are compared: exact."),
        (("--backends", "exact", "--opt", "exact.nois=1"), 2, "Did you mean 'exact.noise'?"),
        (("--backends", "exact", "--timeout", "0"), 2, "--timeout"),
        (("--backends", "exact", "--model", "nothing"), 5, "nothing"),
        (("--backends", "exact", "--reference", "nothing.npz"), 5, "There is no file nothing.npz."),
        (("--backends", "exact", "--train", "--reconstruct"), 2, "not allowed with"),
    ],
)
def test_what_no_backend_could_do_is_refused_before_anything_is_started(fakes, scan_file, arguments, status, text):
    fakes.add("exact")
    done = fakes.compare(scan_file, *arguments, "-o", "out")
    assert (done.returncode, text in done.stderr) == (status, True), done.stderr
    assert done.stdout == ""
    assert not (fakes.cwd / "out").exists()


def test_a_scan_that_does_not_exist_is_refused(fakes):
    fakes.add("exact")
    done = fakes.compare("nothing.npz", "--backends", "exact", "-o", "out")
    assert (done.returncode, done.stderr) == (5, "ptycho: nothing.npz does not exist.\n")


def test_help_shows_the_settings_of_the_job(fakes):
    fakes.add("exact")
    assert "--iterations" in fakes.compare("--help").stdout
    train = fakes.compare("--train", "--backends", "exact", "--help").stdout
    assert "--gridsize" in train
    assert "--inference-batch-size" in train
    assert "exact.noise" in train
    assert "--iterations" not in train


def test_a_training_is_told_what_its_model_is_made_of_and_the_inference_only_the_rest(tmp_path):
    given = {"gridsize": 2, "epochs": 3, "probe": "p.h5", "inference_batch_size": 4, "one.noise": 0.1, "two.noise": 0.2}
    request = Request("train", "scan.npz", ("one", "two"), tmp_path, overrides=given)
    assert request.for_backend("two") == {
        "train": {
            "gridsize": 2,
            "epochs": 3,
            "probe": "p.h5",
            "inference_batch_size": 4,
            "two.noise": 0.2,
            "backend": "two",
        },
        "infer": {"probe": "p.h5", "inference_batch_size": 4, "two.noise": 0.2, "backend": "two"},
    }


def test_a_training_and_a_model_with_a_real_backend(fakes, scan_file, table):
    """One training; its model in another comparison gives what it gave in the first, and what ``ptycho infer`` gives."""
    quick = ("--threads", 1, "--no-figures")
    small = ("--network-width", 4, "--update-steps", 2, "--quiet", *quick)
    out, again = fakes.cwd / "out", fakes.cwd / "again"
    done = fakes.compare(scan_file, "--train", "--backends", "torch", "-o", out, "--epochs", 1, "--gridsize", 1, *small)
    assert done.returncode == 0, done.stderr
    entry = table(out)["entries"]["torch"]
    assert entry["facts"]["training"]["epochs"] == 1
    assert (out / "torch" / "run" / "best.ptycho").exists()
    done = fakes.compare(scan_file, "--model", out / "torch" / "run", "--backends", "torch", "-o", again, *quick)
    assert done.returncode == 0, done.stderr
    assert table(again)["entries"]["torch"]["quality"] == entry["quality"]
    assert main(["infer", str(scan_file), "--model", str(out / "torch" / "run"), "-o", str(out / "alone"), "--backend", "torch",
                 "--quiet", *map(str, quick)]) == 0  # fmt: skip
    one, two = load_reconstruction(out / "alone").object, load_reconstruction(again / "torch").object
    np.testing.assert_array_equal(one, two)
    refused = fakes.compare(scan_file, "--model", out / "torch" / "run", "--backends", "torch", "-o", "no", "--gridsize", 2)
    assert refused.returncode == 2
    assert "contradicts" in refused.stderr


def test_two_distributions_of_one_name_can_be_compared(fakes, scan_file, table):
    fakes.add("plain", provides="twin")
    fakes.add("noisy", provides="twin", then="image = image * (1 + 0.2 * noise[0])")
    out = fakes.cwd / "out"
    done = fakes.compare(scan_file, "--backends", "twin@fake-plain,twin@fake-noisy", "-o", out, "--no-figures")
    assert done.returncode == 0, done.stderr
    entries = table(out)["entries"]
    assert set(entries) == {"twin@fake-plain", "twin@fake-noisy"}
    assert entries["twin@fake-noisy"]["quality"]["nrmse"] > 10 * entries["twin@fake-plain"]["quality"]["nrmse"]
    refused = fakes.compare(scan_file, "--backends", "twin,reference", "-o", fakes.cwd / "out2")
    assert refused.returncode == 3
    assert "2 distributions provide it: fake-noisy 1.0, fake-plain 1.0" in refused.stdout + refused.stderr
    settings = fakes.cwd / "run.toml"
    settings.write_text('[execution]\nbackend = "reference"\n[backends]\nblock = ["twin@fake-noisy"]\n')
    chosen = fakes.compare(scan_file, "--backends", "twin", "--config", settings, "-o", fakes.cwd / "out3", "--no-figures")
    assert chosen.returncode == 0, chosen.stderr
    assert table(fakes.cwd / "out3")["entries"]["twin"]["quality"] == entries["twin@fake-plain"]["quality"]
