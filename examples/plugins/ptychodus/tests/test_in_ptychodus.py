"""Jobs in the real ptychodus, and the same ones of the command line: equal bit by bit."""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from host_runs import HERE, ended, jobs, within

import ptycho_core

pytestmark = pytest.mark.long

SHORT = """
[Processing]
Algorithm = ptycho_{0}
[PtychoReconstruct]
epochs = 3
iterations = 4
threads = 1
[Ptychodus]
snapshot_seconds = 0
"""
FLAGS = ["--epochs", "3", "--iterations", "4", "--threads", "1", "--quiet"]
ENDLESS = SHORT.format("torch").replace("epochs = 3", "epochs = 100000\ntolerance = 1e-9")


@pytest.fixture
def ptycho(env, tmp_path):
    """Run the command line."""

    def run(*words):
        status, said = ended([sys.executable, "-m", "ptycho_core", *words], env, tmp_path)
        assert status == 0, said

    return run


@pytest.fixture
def look(host, env, tmp_path):
    """What ptychodus sees in a product."""

    def seen(path):
        status, said = ended([host / "python", HERE / "look.py", "seen.npz", path], env, tmp_path)
        assert status == 0, said
        return dict(np.load(tmp_path / "seen.npz"))

    return seen


def check_equal(found, ours, given):
    """A product and our result: the same arrays, and windows that lie in both where they did."""
    assert np.array_equal(found["object"][0], ours.object)
    assert np.array_equal(found["probe"][0], ours.probe)
    size = ours.probe.shape[-1]
    kept = np.isin(given["index"], found["index"])
    assert np.abs(found["metres"] - given["metres"][kept]).max() <= 1e-12 * np.abs(given["metres"]).max()
    middles = ours.positions + (size - 1) / 2
    assert np.abs(found["middles"] - middles).max() <= 1e-12 * np.abs(middles).max()
    center = given["metres"][kept][0] - (middles[0] - (np.array(ours.object.shape) - 1) / 2) * given["pixel"]
    assert np.abs(found["center"] - center).max() <= 1e-12 * np.abs(given["metres"]).max()
    assert found["photons"] == pytest.approx((np.abs(ours.probe) ** 2).sum(), rel=1e-6)
    assert found["told"].tolist() == given["told"].tolist()


@pytest.mark.parametrize("name", ["torch", "tensorflow"])
def test_a_fit_is_that_of_the_command_line(name, given, batch, ptycho, look, tmp_path):
    folder = given("plain", SHORT.format(name))
    status, said = batch("reconstruct", folder)
    assert status == 0, said
    results = folder.parent / "results"
    ptycho("reconstruct", folder, "-o", tmp_path / "ours", "--backend", name, *FLAGS)
    found = look(results / "product.h5")
    check_equal(found, ptycho_core.load_reconstruction(tmp_path / "ours"), look(folder / "product.h5"))
    assert found["index"].tolist() == list(range(5, 54))
    snapshots = sorted(results.glob("product.*.h5"))
    assert len(snapshots) == len(found["losses"]) >= 7
    assert np.array_equal(look(snapshots[-1])["object"], found["object"])
    early = look(snapshots[0])
    assert not np.array_equal(early["object"], found["object"])
    assert np.array_equal(early["metres"], found["metres"])  # a snapshot lies where the result does
    assert "good: R is" in said
    assert jobs() == []


def test_what_ptychodus_pairs_averages_and_drops(given, batch, ptycho, look, tmp_path):
    """Unequal objects and centers, dropped and doubled indexes, two modes, OPR; the object is the start."""
    folder = given("start", SHORT.format("torch"))
    status, said = batch("reconstruct", folder)
    assert status == 0, said
    assert "OPR" in said
    found, before = look(folder.parent / "results/product.h5"), look(folder / "product.h5")
    product = folder / "product.h5"
    ptycho("reconstruct", folder, "-o", tmp_path / "ours", "--backend", "torch", "--start", product, "--modes", "2", *FLAGS)
    ours = ptycho_core.load_reconstruction(tmp_path / "ours")
    assert found["object"].shape[1:] == ours.object.shape
    assert found["probe"].shape == (1, *ours.probe.shape)
    assert len(found["index"]) == len(ours.positions) == 46
    assert sorted(found["index"]) == list(range(5, 51))
    order = [list(before["index"]).index(one) for one in found["index"]]
    moved = np.abs(found["metres"] - before["metres"][order]).max(axis=1)
    assert (moved > 1e-12 * np.abs(before["metres"]).max()).sum() == 1  # the one that is there twice
    assert moved.max() == pytest.approx(0.5e-9, rel=1e-3)


def test_a_network_is_trained_and_infers(given, batch, ptycho, look, tmp_path):
    settings = "[Processing]\nAlgorithm = ptycho_torch-network\n[PtychoTrain]\nepochs = 2\nnetwork_width = 4\nthreads = 1\n"
    folder = given("plain", settings + "[PtychoInfer]\nthreads = 1\n")
    status, said = batch("reconstruct", folder)
    assert status == 1
    assert "There is no model for torch-network. Train one, or load model.ptycho." in said
    assert "Traceback" not in said
    assert batch("train", folder)[0] == 0
    flags = ["--backend", "torch", "--threads", "1", "--quiet"]
    ptycho("train", folder, "-o", tmp_path / "run", "--epochs", "2", "--network-width", "4", *flags)
    model = folder.parent / "results/model.ptycho"
    theirs, ours = ptycho_core.load_model(model), ptycho_core.load_model(tmp_path / "run")
    assert theirs.weights.keys() == ours.weights.keys()
    assert all(np.array_equal(theirs.weights[name], ours.weights[name]) for name in ours.weights)
    model.rename(folder / "model.ptycho")
    assert batch("reconstruct", folder)[0] == 0
    ptycho("infer", folder, "-o", tmp_path / "ours", "--model", tmp_path / "run", *flags)
    check_equal(
        look(folder.parent / "results/product.h5"),
        ptycho_core.load_reconstruction(tmp_path / "ours"),
        look(folder / "product.h5"),
    )


def test_an_unknown_algorithm_is_refused_before_anything_is_read(given, batch):
    folder = given("plain", "[Processing]\nAlgorithm = ptycho_tortch\n")
    status, said = batch("reconstruct", folder)
    assert status == 2
    assert "there is no algorithm 'ptycho_tortch'. Did you mean 'ptycho_torch'? There are " in said
    assert "Traceback" not in said
    assert not list((folder.parent / "results").glob("*"))


REFUSED = {
    "[PtychoReconstrct]\nepochs = 3\n": "there is no section [PtychoReconstrct]. Did you mean 'PtychoReconstruct'?",
    "[PtychoReconstruct]\nepoch = 3\n": "[PtychoReconstruct] has no setting 'epoch'. Did you mean 'epochs'?",
    "[PtychoReconstruct]\nrefine_probe = ture\n": "refine_probe = 'ture' must be true or false",
    "[PtychoReconstruct]\nepochs = -3\n": "epochs = -3 must be at least 0",
    "[Globus]\nComputeEndpointID = 7\n": "is no settings file that can be used: badly formed hexadecimal UUID string.",
    "[Processing\n": "is no settings file",
    "": "there is no algorithm 'none_none'",
    SHORT.format("torch"): "the algorithm 'ptycho_torch' does not train. Did you mean 'ptycho_torch-network'?",
}


def test_settings_that_cannot_be_are_refused(given, host, env, tmp_path):
    folders = [given("plain", settings) for settings in REFUSED]
    status, said = ended([host / "python", HERE / "refused.py", *folders], env, tmp_path)
    assert status == 0, said
    lines = [line for line in said.splitlines() if line.startswith("refused: ")]
    assert len(lines) == len(REFUSED), said
    for line, expected in zip(lines, REFUSED.values(), strict=True):
        assert expected in line
    assert "Traceback" not in said


def test_the_near_field_is_refused_in_a_sentence(given, batch):
    folder = given("near", SHORT.format("torch"))
    status, said = batch("reconstruct", folder)
    assert status == 1
    assert "the scan is of the near field" in said
    assert "Traceback" not in said
    assert not list((folder.parent / "results").glob("*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_epoch_and_keeps_the_result(number, given, started, look):
    folder = given("plain", ENDLESS)
    process = started(folder)
    (job,) = jobs()
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    within(10, lambda: process.poll() is not None and not jobs())
    said = (folder.parent / "said.txt").read_text()
    assert process.returncode == 130, said
    assert "Traceback" not in said
    found = look(folder.parent / "results/product.h5")
    assert np.abs(found["object"] - 1).max() > 0.1
    assert not Path(f"/proc/{job}").exists()


def test_a_host_that_is_killed_leaves_nothing(given, started, env):
    process = started(given("plain", ENDLESS))
    place = set(Path("/tmp").glob("ptycho-*"))
    process.kill()
    within(10, lambda: not jobs())
    assert not [one for one in place if (one / "diffraction.h5").exists()]


def test_the_stop_button_keeps_the_result(given, host, env, tmp_path):
    status, said = ended([host / "python", HERE / "stop_button.py", given("plain", ENDLESS)], env, tmp_path)
    assert status == 0, said
    assert "stopped within" in said


@pytest.mark.parametrize("name", ["ptycho_torch", "ptycho_torch-network"])
def test_the_window_has_a_page_for_each_reconstructor(name, host, env, tmp_path):
    status, said = ended([host / "python", HERE / "window.py", tmp_path / "window.png", name], env, tmp_path)
    assert status == 0, said
    assert (tmp_path / "window.png").stat().st_size > 20_000


def test_plain_ptychodus_opens_our_files(host, env, given, tmp_path, ptycho, look):
    folder = given("plain", "")
    ptycho("reconstruct", folder, "-o", tmp_path / "ours", "--backend", "torch", *FLAGS)
    status, said = ended(
        [host / "python", HERE / "open_files.py", folder / "diffraction.h5", tmp_path / "ours/reconstruction.h5"], env, tmp_path
    )
    assert status == 0, said
    ours, found, again = (ptycho_core.load_reconstruction(tmp_path / "ours"), look(tmp_path / "read.h5"), tmp_path / "written.h5")
    assert np.array_equal(found["object"][0], ours.object)
    assert np.abs(found["middles"] - ours.positions - 15.5).max() < 1e-9
    assert np.array_equal(ptycho_core.load_reconstruction(again).object, ours.object)


def test_the_guide_does_what_it_says(host, env, tmp_path):
    """Its commands but for those that install, and the window."""
    text = (HERE.parent / "README.md").read_text()
    commands = text.partition("```\n")[2].partition("```")[0].splitlines()
    assert len(commands) == 10
    assert [one.split()[0] for one in commands[:3]] == ["pip"] * 3
    assert commands[-1] == "ptycho-ptychodus"
    own = env | {"PATH": os.pathsep.join([str(host), str(Path(sys.executable).parent), env["PATH"]])}
    for command in commands[3:-1]:
        status, said = ended(["bash", "-c", command], own, tmp_path)
        assert status == 0, said
    assert (tmp_path / "results/product.h5").is_file()


def test_another_signature_is_refused_by_name(host, env, tmp_path):
    changed = "from ptychodus.model.processing.core import ProcessingCore as it; it.__init__ = lambda self, other: None"
    run = "from ptycho_ptychodus.host import run; raise SystemExit(run())"
    status, said = ended([host / "python", "-c", f"{changed}\n{run}"], env, tmp_path)
    assert status == 2
    assert (
        "ProcessingCore.__init__ of ptychodus does not take (task_manager, settings_registry, product_api, algorithm_lib" in said
    )
    assert "pip install 'ptychodus==1.7.*'" in said
