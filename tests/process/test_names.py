"""Names of files that are no UTF-8, and consoles that cannot spell what is printed."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

import ptycho_core
from ptycho_core.cli.main import main
from ptycho_core.errors import DataError
from ptycho_core.formats.product import load_reconstruction
from ptycho_core.settings.groups import declarations
from ptycho_core.spelling import printable

LATIN = b"\xe9"  # é in Latin-1
SMALL = ["--backend", "reference", "--epochs", "1", "--iterations", "1", "--quiet"]


@pytest.fixture
def place(scan, tmp_path):
    """A folder whose name is no UTF-8, with a scan, mask, probe and settings whose names are none."""
    folder = tmp_path / os.fsdecode(b"f" + LATIN)
    folder.mkdir()
    name = str(folder / os.fsdecode(LATIN))
    Path(name + ".npz").write_bytes(scan.read_bytes())
    np.save(name + "mask.npy", np.ones((16, 16), bool))
    np.save(name + "probe.npy", ptycho_core.open_scan(scan).probe)
    Path(name + ".toml").write_text("[reconstruction]\nmodes = 1\n")
    return name


def test_every_kind_of_file_may_have_one_and_results_spell_it_one_way(place, capsys):
    words = ["reconstruct", place + ".npz", "--mask", place + "mask.npy", "--probe", place + "probe.npy", "-o", place + "out"]
    assert main([*words, "--config", place + ".toml", *SMALL]) == 0
    told = capsys.readouterr().out
    assert told.splitlines()[-2].endswith("out")
    assert r"f\udce9" in told
    settings = json.loads(Path(place + "out", "settings.json").read_text("ascii"))["settings"]
    assert settings["probe"]["value"] == place + "probe.npy"
    assert load_reconstruction(place + "out").settings["settings"]["mask"]["value"] == place + "mask.npy"
    assert main(["inspect", place + "none.npz"]) == 5
    assert r"\udce9none.npz does not exist" in capsys.readouterr().err


def test_what_cannot_be_the_name_of_a_file_is_refused_before_work(scan, tmp_path, capsys):
    settings = tmp_path / "settings.toml"
    settings.write_text('[data]\nprobe = "a\\u0000b.npz"\n')
    assert main(["reconstruct", str(scan), "-o", str(tmp_path / "out"), "--config", str(settings), *SMALL]) == 2
    assert "must be a name that a file can have here" in capsys.readouterr().err
    with pytest.raises(DataError, match="cannot be the name of a file"):
        ptycho_core.open_scan("a\0b.npz")
    assert not (tmp_path / "out").exists()
    assert declarations("reconstruct")["probe"].check(os.fsdecode(LATIN), "here") == os.fsdecode(LATIN)


def test_mlflow_which_cannot_write_to_such_a_folder_is_refused(place, capsys, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    words = ["reconstruct", place + ".npz", "--probe", place + "probe.npy", "-o", place + "out", "--logger", "mlflow", *SMALL]
    assert main(words) == 2
    assert "whose name is no UTF-8" in capsys.readouterr().err
    assert not Path(place + "out").exists()


def test_a_name_is_spelled_as_python_and_json_spell_it():
    assert printable(os.fsdecode("é".encode() + LATIN)) == r"é\udce9"
    assert json.dumps(os.fsdecode(LATIN)) == r'"\udce9"'


@pytest.mark.parametrize(
    ("environment", "name", "square"),
    [
        ({"PYTHONIOENCODING": "latin-1"}, rb"\u7ed3\udce9", b"\xb2"),
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, rb"\udce7\udcbb\udc93\udce9", rb"\xb2"),
    ],
)
def test_what_a_console_cannot_spell_is_written_as_python_spells_it(environment, name, square, scan, tmp_path, ptycho):
    path = tmp_path / os.fsdecode("结".encode() + LATIN)
    path.write_bytes(scan.read_bytes())
    done = ptycho("inspect", path, PYTHONWARNINGS="error", **environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert name in done.stdout
    assert b"px)" + square in done.stdout
