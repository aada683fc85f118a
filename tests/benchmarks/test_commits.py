"""The script that compares two commits finds nothing between a tree and itself, and finds and sizes what was changed."""

import importlib
import json
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def commits():
    """The script, its folder on the path as it is when it runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        return importlib.import_module("commits")


@pytest.fixture
def copied(tmp_path):
    """The core alone, with one constant of the fit 2 % larger."""
    place = tmp_path / "core"
    place.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, place / name)
    shutil.copytree(ROOT / "ptycho_core", place / "ptycho_core")
    constants = place / "ptycho_core" / "reconstruction" / "constants.py"
    text = constants.read_text("utf-8")
    assert "PROBE_ALPHA: Final = 0.5\n" in text
    constants.write_text(text.replace("PROBE_ALPHA: Final = 0.5\n", "PROBE_ALPHA: Final = 0.51\n"), "utf-8")
    return place


def test_what_a_changed_constant_does_is_found_and_sized_and_a_broken_command_named(commits, copied, tmp_path, capsys):
    (copied / "ptycho_core" / "cli" / "inspect.py").write_text("raise OSError('no inspection')\n", "utf-8")
    file = tmp_path / "found.json"
    assert commits.main([str(ROOT), str(copied), "--only", "fit.reference.*", "--only", "inspect", "--json", str(file)]) == 2
    out, err = capsys.readouterr()
    runs = json.loads(file.read_text())["runs"]
    assert "new: exit status 1 of ptycho inspect" in runs.pop("inspect.reference.float64")["failed"]
    assert list(runs) == ["fit.reference.float64"]
    assert commits.verdict(runs) == 1
    found = {one["name"]: one for one in runs["fit.reference.float64"]["differences"]}
    probe = found["out/reconstruction.h5:probe"]
    assert probe["kind"] == "value"
    assert 1e-6 < probe["size"] < 0.02
    assert f"out/reconstruction.h5:probe: {probe['size']:.1e}" in out
    assert "out/metrics.json:misfit" in found
    assert "out/reconstruction.h5:ptycho/positions_px" not in found
    assert {one["kind"] for one in found.values()} <= {"value", "picture", "text"}
    assert "2 runs: 0 equal, 1 differ, 1 failed" in out
    assert "backend torch is left out: only the old commit has it" in err


def test_a_tree_and_itself_are_equal_and_are_timed(commits, copied, tmp_path, capsys):
    place = tmp_path / "kept results"
    words = [str(copied), str(copied), "--only", "inspect", "--pairs", "1", "--workdir", str(place)]
    assert commits.main(words) == 0
    out = capsys.readouterr().out
    assert "1 runs: 1 equal, 0 differ, 0 failed" in out
    assert out.splitlines()[-1].endswith(" of 1")
    assert (place / "inputs" / "small.npz").is_file()
    assert (place / "new" / "inspect.reference.float64" / "command 1.out").stat().st_size > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["no-such-commit", ROOT], "'no-such-commit' is neither a folder nor a commit"),
        ([ROOT / "docs", ROOT], "docs holds no distribution"),
        ([ROOT], "OLD and NEW are needed"),
        ([ROOT, ROOT, "--workdir", ROOT], "is not an empty folder"),
        ([ROOT, ROOT, "--json", "/no/such/place.json"], "there is no folder /no/such"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_sentence(commits, words, said, capsys):
    try:
        status = commits.main([str(word) for word in words])
    except SystemExit as end:
        status = end.code
    assert status == 2
    assert said in capsys.readouterr().err
