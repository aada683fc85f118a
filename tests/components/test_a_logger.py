"""The logger of the guide takes the course of a run where it is chosen; one that fails is reported and harmless."""

import json

import pytest

from ptycho_core.backends.discovery import LOGGER, OBSERVERS, scan
from ptycho_core.settings.declare import declarations_of
from ptycho_core.settings.execution import ExecutionSettings

QUICK = ("--epochs", "2", "--iterations", "1", "--backend", "reference", "--no-figures")
HEAD = "from ptycho_core.loggers.logger import Logger\n"
FAILS = HEAD + (
    "class Poor(Logger):\n    name = 'poor'\n    def __init__(self, run):\n        {made}\n"
    "    def __call__(self, event):\n        raise ValueError('too dull')\n"
)


def test_it_is_listed_chosen_and_writes_the_course_of_the_run(guide, scan, tmp_path):
    help_page = guide.done("reconstruct", "--help")
    assert "{csv,mlflow,tensorboard,none,lines}" in help_page
    out = tmp_path / "out"
    guide.done("reconstruct", scan, "-o", out, *QUICK, "--logger", "lines")
    lines = (out / "course.txt").read_text().splitlines()
    assert [line.partition(":")[0] for line in lines] == ["epoch 1", "epoch 2", "epoch 1", "finished"]
    assert not (out / "log.csv").exists()
    planned = guide.done("reconstruct", scan, "-o", out, *QUICK, "--logger", "lines", "--overwrite", "--dry-run", "--json")
    assert any(name.endswith("course.txt") for name in json.loads(planned)["writes"])
    guide.done("reconstruct", scan, "-o", out, *QUICK, "--overwrite")
    assert (out / "log.csv").exists()
    assert not (out / "course.txt").exists()


def test_help_imports_no_logger_and_a_job_only_the_one_that_is_chosen(site, scan, tmp_path):
    for name in ("bad", "worse"):
        site.distribution(
            name, f"print('{name} is imported')\n" + FAILS.format(made="pass"), observers=f"logger.{name} = {name}:Poor"
        )
    assert "is imported" not in site.done("train", "--help") + site.done("backends", "list")
    assert "bad is imported" not in site.done("reconstruct", scan, "-o", tmp_path / "out", *QUICK)
    doctor = site.ptycho("backends", "doctor", PTYCHO_BACKENDS_ALLOW="reference").stdout
    assert "Logger 'bad' (bad 1.0) is left out: its entry point is called 'bad', and its class 'poor'." in doctor


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("raise RuntimeError('not today')", "it cannot be loaded: RuntimeError: not today"),
        (HEAD + "Poor = print", "poor:Poor is no class derived from ptycho_core.loggers.logger.Logger"),
        (HEAD + "class Poor(Logger):\n    name = 'poor'", "its class lacks __call__, __init__"),
        (FAILS.format(made="raise OSError('no room')"), "logger poor cannot be made: OSError: no room. (from --logger poor)"),
        (FAILS.format(made="pass") + "    requires = ['acme']", "its 'requires' is no mapping from a package"),
        (FAILS.format(made="pass") + "    def writes(cls, steps): pass", "its 'writes' fails: TypeError"),
        (
            FAILS.format(made="pass") + "    @classmethod\n    def writes(cls, *, steps):\n        return [1]",
            "something else than names",
        ),
        (FAILS.format(made="import no_such"), "logger poor cannot be made: No module named 'no_such'"),
        (
            FAILS.format(made="pass").replace("    def __init__", "    requires = {'no_such': 'acme-no-such'}\n    def __init__"),
            "acme-no-such is not installed. (from --logger poor) Install it with 'pip install acme-no-such'",
        ),
    ],
)
def test_one_that_cannot_be_had_is_refused_where_it_is_chosen(code, told, site, scan, tmp_path):
    site.distribution("poor", code, observers="logger.poor = poor:Poor")
    assert told in site.refused("reconstruct", scan, "-o", tmp_path / "out", *QUICK, "--logger", "poor")
    assert not (tmp_path / "out").exists()
    site.done("reconstruct", scan, "-o", tmp_path / "out", *QUICK)


def test_one_that_fails_while_the_job_runs_is_left_out_with_a_warning(site, scan, tmp_path):
    site.distribution("poor", FAILS.format(made="pass"), observers="logger.poor = poor:Poor")
    done = site.ptycho("reconstruct", scan, "-o", tmp_path / "out", *QUICK, "--logger", "poor")
    assert (done.returncode, (tmp_path / "out" / "metrics.json").exists()) == (0, True)
    assert "the observer Poor failed and is left out from now on: ValueError: too dull" in done.stderr


def test_the_loggers_of_ptycho_are_entry_points_like_others():
    ours = [claim.name.removeprefix(LOGGER) for claim in scan(OBSERVERS) if claim.distribution == "ptycho-core"]
    (setting,) = [one for one in declarations_of(ExecutionSettings) if one.name == "logger"]
    assert [*ours, "none"] == [*setting.choices]
