"""What says how a scan lies in its file acts: the real commands, twice each, on a file in metres."""

import numpy as np
import pytest
from liveness_table import VERBS
from quick import QUICK
from reading_flags import READING, write_scan

from ptycho_core.cli.main import main
from ptycho_core.formats.product import load_reconstruction
from ptycho_core.model import load_model
from ptycho_core.scan.size import followed_probe

pytestmark = pytest.mark.usefixtures("undrawn")

SIZE = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory, train):
    """A scan in the keys of PtyLab, and in those of ptychodus with other positions; a table, a probe, a model of 32 pixels."""
    folder = tmp_path_factory.mktemp("reading")
    assert main(["simulate", str(folder / "scan.npz"), "--size", str(SIZE), "--frames", "36", "--seed", "8"]) == 0
    with np.load(folder / "scan.npz") as file:
        counts, pixels, probe = file["intensity"], file["positions_px"], file["probe_guess"]
    write_scan(folder, counts, pixels)
    np.savetxt(folder / "table.csv", 1.5 * pixels, delimiter=",", header="y,x")
    np.save(folder / "probe.npy", followed_probe(probe, SIZE, 32))
    words = ["--format", "ptylab", "--size", "32", "--probe", folder / "probe.npy"]
    train(folder / "scan.h5", "-o", folder / "model", *words, *QUICK["train"])
    return folder


@pytest.fixture(scope="module")
def done():
    """Results by verb and words: what many settings are compared with is run once."""
    return {}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", READING)
def test_what_says_how_a_scan_is_read_acts(verb, name, folder, backend, done, capsys):
    found = []
    for words in READING[name]:
        key = (verb, *words)
        if key not in done:
            place = folder / f"out-{len(done)}"
            given = [] if "--format" in words else ["--format", "ptylab"]
            given += [] if "--bin" in words else ["--size", "32"]
            given += ["--model", str(folder / "model")] if verb == "infer" else []
            common = [*QUICK[verb], "--probe", str(folder / "probe.npy"), "--backend", backend, "--quiet", "-o", str(place)]
            told = [word.format(folder=folder) for word in words]
            assert main([verb, str(folder / "scan.h5"), *given, *told, *common]) == 0, capsys.readouterr().err
            done[key] = weights(place) if verb == "train" else load_reconstruction(place).object
        found.append(done[key])
    assert found[0].shape != found[1].shape or not np.allclose(*found)


def weights(place):
    return np.concatenate([one.ravel() for one in load_model(place / "last.ptycho").weights.values()])
