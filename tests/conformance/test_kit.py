"""The session of the kit: what it counts as proven, known failures, and that it leaves other test runs alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ptycho_core.conformance.document import page, read_report
from ptycho_core.conformance.suite.exceptions import read_exceptions
from ptycho_core.errors import DataError, UsageError

ROOT = Path(__file__).parents[2]
NORM = "test_evaluate.py::test_no_counts_are_lost"
FINITE = "test_evaluate.py::test_gradients_are_given_only_where_they_are_wanted"


def kit(folder, *arguments, backend="reference"):
    """Run the kit for a backend; the process and its report."""
    report = folder / "report.json"
    command = [
        sys.executable, "-m", "pytest", "--pyargs", "ptycho_core.conformance", f"--ptycho-backend={backend}",
        f"--ptycho-report={report}", "-q", "-p", "no:cacheprovider", *arguments,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    return done, json.loads(report.read_text()) if report.exists() else None


def test_a_part_of_the_kit_is_no_proof(tmp_path):
    done, report = kit(tmp_path, "-k", "test_it_can_be_used or test_the_plugin_can_be_imported")
    assert {one["outcome"] for one in report["tests"]} == {"passed"}
    assert (done.returncode, report["proven"]) == (1, False)
    assert report["problems"] == [f"'{word}' is claimed, but no test of it ran" for word in report["claims"]["capabilities"]]
    assert "NOT PROVEN: 'train' is claimed" in done.stdout


def test_nothing_run_proves_nothing(tmp_path):
    done, report = kit(tmp_path, "-k", "no_such_test")
    assert (done.returncode, report["problems"]) == (1, ["no test ran"])


def test_a_report_that_has_no_place_is_refused_before_anything_runs(tmp_path):
    done, _ = kit(tmp_path, f"--ptycho-report={tmp_path}/missing/report.json")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "missing/report.json: no file can be written there" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_known_failures_are_strict_in_both_directions(tmp_path):
    known = tmp_path / "known.xfails"
    known.write_text(f"# comment\n\n{NORM} = not mended yet\n{FINITE} = it is mended\ntest_train.py::test_gone = no such test\n")
    some = f"{NORM.partition('::')[2]} or {FINITE.partition('::')[2]} or hooks_fit"
    done, report = kit(tmp_path, "-k", some, f"--ptycho-xfails={known}")
    outcomes = {one["id"]: one["outcome"] for one in report["tests"]}
    assert outcomes[NORM] == outcomes[FINITE] == "failed"  # the reference is right, so both are mended
    assert "XPASS(strict)" in done.stdout
    assert "expected to fail, but no such test runs for this backend: test_train.py::test_gone" in report["problems"]
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("text", "message"), [("a::b\n", "line 1: 'a::b' has no reason"), ("a = x\na = y\n", "line 2: 'a' stands")]
)
def test_a_file_of_known_failures_that_is_wrong_is_refused(text, message, tmp_path):
    (tmp_path / "known").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_exceptions(tmp_path / "known")
    with pytest.raises(UsageError, match="cannot be read"):
        read_exceptions(tmp_path / "missing")


def test_an_unknown_backend_is_a_usage_error(tmp_path):
    done, report = kit(tmp_path, backend="refrence")
    assert (done.returncode, report) == (4, None)
    assert "Did you mean 'reference'?" in done.stderr


def test_without_a_backend_nothing_of_it_is_collected():
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--collect-only",
        "ptycho_core/conformance",
        "tests/conformance/test_parity.py",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    assert "suite" not in done.stdout


def test_the_plugin_imports_nothing_and_costs_next_to_nothing():
    code = (
        "import pytest, sys, time\n"
        "before, began = set(sys.modules), time.process_time()\n"
        "from ptycho_core.conformance import pytest_plugin\n"
        "print(time.process_time() - began, *sorted(set(sys.modules) - before))"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() for _ in range(3)
    ]
    assert runs[0][1:] == ["ptycho_core", "ptycho_core.conformance", "ptycho_core.conformance.pytest_plugin"]
    assert min(float(run[0]) for run in runs) < 0.01


def report_of(name):
    """What the page in the repository says: a column of its tables by row."""
    text = (ROOT / "docs" / "backends.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")]
    place = rows[0].index(f"`{name}`")
    return {row[0]: row[place] for row in rows}, text


@pytest.mark.parametrize("name", ["reference", "numpy", "torch", "tensorflow"])
def test_the_page_says_what_the_manifest_claims(name):
    from ptycho_core.backends.registry import find_named

    spec, (found, text) = find_named(name)[0].spec, report_of(name)
    verbs = {"train": "`ptycho train`", "infer": "`ptycho infer`", "reconstruct": "`ptycho reconstruct`"}
    words = verbs | {"evaluate": "forward model, loss terms, gradients"}
    words |= {
        "positions": "`--refine-positions`",
        "position-search": "`--refine-positions=search` and `=affine`",
        "background": "`--background`",
        "flux": "`--refine-flux`",
        "saturation": "`--saturation`",
        "near-field": "`--regime near`",
    }
    assert {word for word, row in words.items() if found[row] != "–"} == set(spec.capabilities)
    assert {row[11:-1] for row, value in found.items() if row.startswith("precision") and value != "–"} == set(spec.precisions)
    assert {row[13:-1] for row, value in found.items() if row.startswith("accelerator") and value != "–"} == set(
        spec.accelerators
    )
    assert f"## `{name}`: {spec.title}" in text
    own = text.partition(f"## `{name}`")[2].partition("\n## ")[0]
    assert "proven on cpu: all that it claims" in own


def test_a_page_tells_what_failed(tmp_path):
    _, report = kit(tmp_path, "-k", "test_it_can_be_used or hooks_fit")
    report["tests"][0] |= {"outcome": "failed", "reason": "out of range"}
    text = page([report])
    assert "not all that it claims" in text
    assert f"failed: `{report['tests'][0]['id']}`: out of range" in text
    assert "'train' is claimed, but no test of it ran" in text
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(DataError, match="no report of the kit"):
        read_report(tmp_path / "other.json")
