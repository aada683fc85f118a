"""The commands of ``docs/migrating-from-ptychopinn.md`` are run: some work, some are refused for the reason told."""

import json
import re
import shlex
from pathlib import Path

import pytest

from ptycho_core.backends.known import normalise
from ptycho_core.cli.main import main as ptycho
from ptycho_core.compatibility.main import main
from ptycho_core.compatibility.table import setting_defaults

PAGE = (Path(__file__).parents[2] / "docs" / "migrating-from-ptychopinn.md").read_text("utf-8")
COMMAND = re.compile(r"ptycho_(train|inference) (.*)")
RUN = COMMAND.findall(re.search(r"```\n(ptycho_train.*?)```", PAGE, flags=re.DOTALL)[1])
REFUSED = re.findall(r"\| `ptycho_(train|inference) (.*?)` \| (.*?) \|", PAGE)
YAML = re.search(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)[1]


def backend_of(words):
    """The backend that a command line names, or the default of its command."""
    named = next((words[place + 1] for place, word in enumerate(words) if word == "--backend"), None)
    return setting_defaults("train", supervised=False)["backend"] if named is None else normalise(named)


@pytest.fixture(scope="module")
def workplace(pinn_scans, tmp_path_factory, backend):
    """A folder with the page's files, and with a run of one epoch in it: the folders that its commands write go elsewhere."""
    folder = tmp_path_factory.mktemp("page")
    for name in ("T.npz", "V.npz"):
        (folder / name).write_bytes((pinn_scans / name).read_bytes())
    (folder / "train.yaml").write_text(YAML)
    (folder / "wts.h5.zip").write_bytes(b"PK")
    words = ["--output-dir", str(folder / "RUN"), "--epochs", "1", "--threads", "1", "--quiet", "--backend", backend]
    assert ptycho(["train", str(folder / "T.npz"), *words]) == 0
    return folder


def test_the_page_shows_commands_of_both_kinds():
    assert len(RUN) >= 9
    assert len(REFUSED) >= 9
    assert {backend_of(words.split()) for _, words in RUN} == {"torch", "tensorflow"}


@pytest.mark.parametrize(("command", "words"), RUN, ids=[f"{command} {words}" for command, words in RUN])
def test_a_command_of_the_page_runs(command, words, workplace, backend, monkeypatch, tmp_path):
    given = shlex.split(words)
    if backend_of(given) != backend:
        pytest.skip(f"a process holds one framework, and this one has {backend}")
    for name in ("T.npz", "V.npz", "train.yaml", *(["RUN"] if command == "inference" else [])):
        (tmp_path / name).symlink_to(workplace / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PTYCHO_THREADS", "1")
    if not {"--nepochs", "--max_epochs"} & set(given):  # the 50 of the default are shown where settings are resolved
        monkeypatch.setenv("PTYCHO_EPOCHS", "1")
    assert main(command, given) == 0
    if command == "train":
        kept = json.loads((tmp_path / "RUN" / "settings.json").read_text())
        assert kept["backend"]["name"] == backend
        assert (tmp_path / "RUN" / "best.ptycho").is_file()
        assert (tmp_path / "RUN" / "log.csv").exists() == ("--torch-logger=none" not in given)
    else:
        folder = tmp_path / ("OUT" if "OUT" in given else "inference_outputs")
        for name in ("reconstructed_amplitude.png", "reconstructed_phase.png", "object.png"):
            assert (folder / name).stat().st_size > 1000


@pytest.mark.parametrize(("command", "words", "why"), REFUSED, ids=[words for _, words, _ in REFUSED])
def test_a_command_of_the_page_is_refused_for_the_reason_told(command, words, why, workplace, monkeypatch, capsys, backend):
    monkeypatch.chdir(workplace)
    monkeypatch.setenv("PTYCHO_BACKEND", backend)
    before = {path: path.stat().st_mtime_ns for path in workplace.rglob("*")}
    status = main(command, shlex.split(words))
    assert status == (5 if "wts.h5.zip" in words else 2)
    assert why in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in workplace.rglob("*")} == before


def test_settings_of_a_run_say_what_was_typed_there(workplace, tmp_path, monkeypatch, backend):
    """One training with what the page shows of a settings file, flags of several spellings, and two defaults."""
    monkeypatch.chdir(workplace)
    output = tmp_path / "run"
    words = f"--config train.yaml --output_dir {output} --backend {backend} --max_epochs=1 --torch-accelerator=cpu --seed 5"
    assert main("train", [*words.split(), "--learning_rate", "2e-3", "--quiet", "--threads", "1"]) == 0
    kept = json.loads((output / "settings.json").read_text())
    told = {name: (entry["effective"], entry["origin"], entry["where"]) for name, entry in kept["settings"].items()}
    assert told["epochs"] == (1, "override", "--max_epochs 1")
    assert told["merge"] == ("none", "file", "train.yaml: model.object_big: False")
    assert told["mae_weight"] == (0.5, "file", "train.yaml: mae_weight: 0.5")
    assert told["nll_weight"] == (1.0, "command default", "ptycho_train")
    assert told["accelerator"] == ("cpu", "override", "--torch-accelerator cpu")
    assert told["seed"] == (5, "override", "--seed 5")
    assert kept["settings"]["nll_weight"]["requested"] is False
    assert [one["part"] for one in kept["scans"]] == ["training", "validation"]
    assert len((output / "log.csv").read_text().splitlines()) == 2


def test_a_dry_run_tells_what_a_command_comes_to_and_writes_nothing(workplace, tmp_path, monkeypatch, backend, capsys):
    monkeypatch.chdir(workplace)
    given = f"--train_data_file T.npz --backend {backend} --object_big False --dry-run --output_dir {tmp_path / 'new'}"
    assert main("train", given.split()) == 0
    told = capsys.readouterr().out
    assert "--object_big False" in told
    _, heading, listed = told.partition("defaults of ptycho_train:\n")
    assert heading
    assert re.search(r"^  nll_weight +1\.0 +command default ptycho_train", listed, flags=re.MULTILINE), told
    given = f"--model_path RUN --test_data V.npz --backend {backend} --dry-run --output_dir {tmp_path / 'new'}"
    assert main("inference", given.split()) == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", ["--train_data_file nowhere.npz", "--train_data_file T.npz --test_data_file nowhere.npz"])
def test_a_scan_that_is_not_there_is_a_data_error(words, workplace, tmp_path, monkeypatch, backend, capsys):
    monkeypatch.chdir(workplace)
    assert main("train", [*words.split(), "--backend", backend, "--output_dir", str(tmp_path / "new")]) == 5
    assert "nowhere.npz" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_kind_of_device_that_the_backend_has_not_is_not_supported(workplace, tmp_path, monkeypatch, backend, capsys):
    monkeypatch.chdir(workplace)
    words = f"--train_data_file T.npz --backend {backend} --torch-accelerator=tpu --output_dir {tmp_path / 'new'}"
    assert main("train", words.split()) == 4
    assert "tpu" in capsys.readouterr().err
