"""The metric of the guide stands next to the built-in ones; one that fails is reported and harmless."""

import json

import numpy as np
import pytest

from ptycho_core.cli.main import main

HEAD = "from ptycho_core.imaging.metrics import Metric\n"
FAILS = HEAD + (
    "class Poor(Metric):\n    name, better = 'poor', 'higher'\n"
    "    def of(self, result, reference):\n        result[:] = reference[:] = 0\n        raise ValueError('too flat')\n"
)


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    """Two objects whose phases differ by noise of 0.1."""
    folder, random = tmp_path_factory.mktemp("objects"), np.random.default_rng(0)
    reference = np.exp(1j * random.normal(0, 0.5, (64, 64)))
    names = folder / "result.npy", folder / "reference.npy"
    np.save(names[0], reference * np.exp(1j * random.normal(0, 0.1, (64, 64))))
    np.save(names[1], reference)
    return names


def test_it_is_printed_below_the_others_and_written_with_them(guide, objects, tmp_path, capsys):
    result, reference = objects
    words = ("score", result, "--reference", reference)
    lines = guide.done(*words, "-o", tmp_path).splitlines()
    assert main([*map(str, words)]) == 0
    plain = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith("phase_error")] == plain
    (line,) = [line for line in lines if line.startswith("phase_error (rad, lower is better)")]
    found = json.loads((tmp_path / "score.json").read_text())
    assert found["phase_error"] == pytest.approx(0.1, rel=0.1)
    assert line.split()[-1] == format(found["phase_error"], ".5g")
    assert lines.index(line) == max(number for number, line in enumerate(lines) if not line.startswith(("removed", "area")))


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (FAILS, "Metric 'poor' (bad 1.0) failed: ValueError: too flat (site/bad.py:6)."),
        ("1 / 0", "Metric 'poor' (bad 1.0) is left out: it cannot be loaded: ZeroDivisionError"),
        (FAILS.replace("'higher'", "'much'"), 'is left out: its class states no \'better\', "lower" or "higher".'),
        (FAILS.replace("def of", "def off"), "is left out: its class lacks of."),
        (FAILS.replace("'poor',", "'rich',"), "is left out: its entry point is called 'poor', and its class 'rich'."),
    ],
)
def test_one_that_fails_is_told_and_changes_nothing(site, objects, capsys, code, told):
    words = ["score", str(objects[0]), "--reference", str(objects[1])]
    assert main(words) == 0
    plain = capsys.readouterr().out
    site.distribution("bad", code, metrics="poor = bad:Poor")
    with site.here():
        assert main(words) == 0
    found = capsys.readouterr()
    assert "ptycho: warning: Metric 'poor'" in found.err
    assert told in found.err
    assert found.out == plain


@pytest.mark.parametrize("name", ["nrmse", "misfit", "frc_half_half_period_m", "registration"])
def test_one_with_the_name_of_another_is_left_out(site, name):
    site.distribution("bad", FAILS.replace("'poor'", f"'{name}'"), metrics=f"{name} = bad:Poor")
    assert site.reasons() == {name: "ptycho itself has a metric of that name"}
