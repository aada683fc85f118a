"""What is implausible about a scan is said by every job before its fit, and frames without counts are left out."""

import json

import numpy as np
import pytest
from spoiling import sound, written

from ptycho_core.cli.main import main
from ptycho_core.formats.product import load_reconstruction, read_object

pytestmark = pytest.mark.usefixtures("undrawn")

QUICK = {
    "train": ["--epochs", "1", "--network-width", "4", "--update-steps", "1"],
    "infer": ["--model", "{folder}/model"],
    "reconstruct": ["--epochs", "1", "--iterations", "1", "--no-coarse-start"],
}
EMPTY = [0, 13, 63]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, backend):
    """A sound scan, spoilt ones, and a model."""
    folder = tmp_path_factory.mktemp("doubts")
    arrays = sound()
    written(folder / "sound.npz", arrays)
    stuck, empty, astray = (arrays["intensity"].copy() for _ in range(3))
    stuck[:, 10:12, 5] = 33
    empty[EMPTY] = 0
    far = arrays["positions_px"].copy()
    far[21] += 3e6
    written(folder / "stuck.npz", arrays | {"intensity": stuck})
    written(folder / "empty.npz", arrays | {"intensity": empty})
    written(folder / "astray.npz", arrays | {"intensity": astray, "positions_px": far})
    words = ["--backend", backend, *QUICK["train"], "--quiet"]
    assert main(["train", str(folder / "sound.npz"), "-o", str(folder / "model"), *words]) == 0
    return folder


@pytest.fixture
def run(folder, backend, tmp_path, capsys):
    """Run a verb on a scan: its exit status, the events, the metrics, and what it said."""

    def run(verb, name, *words):
        capsys.readouterr()
        quick = [word.format(folder=folder) for word in QUICK[verb]]
        scans = [str(folder / one) for one in name.split()]
        out = tmp_path / f"{verb}-{name}"
        status = main([verb, *scans, "-o", str(out), "--backend", backend, "--json-events", *quick, *words])
        told, err = capsys.readouterr()
        metrics = out / "metrics.json"
        found = json.loads(metrics.read_text()) if metrics.exists() else None
        return status, [json.loads(line) for line in told.splitlines()], found, err

    return run


@pytest.mark.parametrize("verb", QUICK)
def test_quiet_is_no_progress_and_not_no_doubt(verb, folder, backend, tmp_path, capsys):
    quick = [word.format(folder=folder) for word in QUICK[verb]]
    words = ["-o", str(tmp_path / "out"), "--backend", backend, "--quiet", *quick]
    assert main([verb, str(folder / "stuck.npz"), *words]) == 0
    assert capsys.readouterr().err.count("2 pixels constant") == 1


@pytest.mark.parametrize("verb", QUICK)
@pytest.mark.parametrize(
    ("name", "kind", "words"), [("stuck", "constant", "2 pixels constant"), ("empty", "empty", "3 patterns")]
)
def test_a_doubt_is_said_before_the_fit_and_kept(verb, name, kind, words, run):
    status, events, metrics, err = run(verb, f"{name}.npz")
    assert status == 0, err
    about = [event for event in events if event["values"].get("doubt") == kind]
    assert [event["kind"] for event in about] == ["message"]
    assert words in about[0]["message"]
    assert about[0]["values"]["severity"] == "doubtful"
    assert events[0]["kind"] == "started"
    later = [number for number, event in enumerate(events) if event["kind"] in ("epoch", "step", "checkpoint")]
    assert events.index(about[0]) < later[0]
    assert about[0]["message"] in metrics["doubts"]


@pytest.mark.parametrize("verb", QUICK)
def test_nothing_is_said_of_a_sound_scan(verb, run):
    status, events, metrics, err = run(verb, "sound.npz")
    assert status == 0, err
    assert metrics["doubts"] == []
    assert not [event for event in events if "doubt" in event["values"]]


@pytest.mark.parametrize("verb", QUICK)
def test_a_mask_that_is_found_takes_the_doubt_away(verb, run):
    assert run(verb, "stuck.npz", "--mask", "auto")[2]["doubts"] == []


def test_the_doubts_of_several_scans_name_the_file(run, folder):
    _, _, metrics, err = run("train", "stuck.npz sound.npz", "--validation", f"{folder / 'empty.npz'}")
    assert metrics is not None, err
    first, second = metrics["doubts"]
    assert first.startswith("stuck.npz: 2 pixels constant")
    assert second.startswith("empty.npz: 3 patterns")


@pytest.mark.parametrize("verb", ["infer", "reconstruct"])
def test_frames_without_counts_are_left_out_and_the_result_keeps_the_numbers(verb, run, folder, tmp_path, capsys):
    assert run(verb, "empty.npz")[0] == 0
    place = tmp_path / f"{verb}-empty.npz"
    result, left = load_reconstruction(place), np.delete(np.arange(64), EMPTY)
    np.testing.assert_array_equal(result.frames, left)
    with np.load(folder / "empty.npz") as file:
        np.testing.assert_allclose(result.positions + result.origin, file["positions_px"][left], atol=1e-6)
    np.testing.assert_array_equal(read_object(place).frames, left)
    assert main(["score", str(place), "--reference", str(place), "--scan", str(folder / "empty.npz"), "--json"]) == 0
    metrics = json.loads((place / "metrics.json").read_text())
    if verb == "reconstruct":
        found = json.loads(capsys.readouterr().out)
        assert found["misfit"] == pytest.approx(metrics["misfit"], rel=0.05)


def test_a_result_of_all_frames_has_no_numbers_of_its_own(run, tmp_path):
    run("infer", "sound.npz")
    assert load_reconstruction(tmp_path / "infer-sound.npz").frames is None


@pytest.mark.parametrize("verb", QUICK)
def test_an_object_beyond_the_memory_is_refused_before_it_is_made(verb, run):
    status, events, _, err = run(verb, "astray.npz")
    assert status == 5
    message = events[-1]["message"]
    for words in ("pixels", "GiB", "frame 21 lies far off the rest"):
        assert words in message
    assert "Traceback" not in err


def test_inspect_says_the_doubts_and_refuses_what_a_job_would(folder, capsys):
    assert main(["inspect", str(folder / "stuck.npz"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["doubts"][0].startswith("2 pixels constant")
    assert facts["kinds_of_doubts"] == [{"kind": "constant", "severity": "doubtful"}]
    assert main(["inspect", str(folder / "stuck.npz"), "--mask", "auto", "--clip-negative", "--dark", "0"]) == 0
    told = capsys.readouterr().out
    assert "0 saturated, 0 dead, 0 hot, 2 constant" in told
    assert "\ndoubt" not in told
    assert main(["inspect", str(folder / "astray.npz")]) == 5
    assert "frame 21" in capsys.readouterr().err


def test_a_training_goes_on_with_a_scan_of_another_name(folder, backend, tmp_path, capsys):
    first, second = tmp_path / "first.npz", tmp_path / "second.npz"
    first.write_bytes((folder / "sound.npz").read_bytes())
    words = ["-o", str(tmp_path / "run"), "--backend", backend, *QUICK["train"][2:], "--quiet"]
    assert main(["train", str(first), *words, "--epochs", "1"]) == 0
    first.rename(second)
    assert main(["train", str(second), *words, "--epochs", "2", "--resume"]) == 0, capsys.readouterr().err
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["epochs"] == 2
