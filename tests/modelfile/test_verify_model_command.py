"""``ptycho model verify``: right backends pass, every wrong one is found, one that cannot run is a row, and files are checked."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from ptycho_core.backends.discovery import forget
from ptycho_core.cli.main import main
from ptycho_core.model import Model, load_model, save_model
from ptycho_core.networks import describe, initial_weights
from ptycho_core.simulation.probes import make_probe

MANIFEST = """
name = "{name}"
contract = "2.0"
title = "{name}"
capabilities = ["train", "evaluate"]
precisions = ["float64", "float32"]
"""

PLUGIN = """
import os, tempfile, time
from dataclasses import replace
from pathlib import Path
import numpy as np
from ptycho_core import hookimpl
from ptycho_core.backends.manifest import read_manifest
from ptycho_core.conformance.reference.evaluation import evaluate_batch
from ptycho_core.contract import Device, Disposition, ExecutionPlan, ProbeReport
from ptycho_core.model import load_model, save_model

@hookimpl
def ptycho_backend_spec():
    return read_manifest(Path(__file__).with_name("ptycho-backend.toml"), "{name}")

@hookimpl
def ptycho_probe():
    return ProbeReport("1", (Device("cpu", "cpu"),), ("float64", "float32"))

@hookimpl
def ptycho_plan(request, probe):
    answers = {{name: Disposition("applied") for name in request.requested}}
    return ExecutionPlan("cpu", request.execution, request.options, answers)

@hookimpl
def ptycho_train(job, plan, events):
    raise NotImplementedError

def other_weight(job):
    "The job with a model in which one number of one tensor is another."
    weights = {{name: value.copy() for name, value in job.model.weights.items()}}
    weights["half_up_a.weight"][0, 0, 1, 1] *= 1.001
    return replace(job, model=replace(job.model, weights=weights))

@hookimpl
def ptycho_evaluate(job, plan):
    assert plan.execution["accelerator"] == "cpu"
    {body}
"""

RIGHT = "return evaluate_batch(job)"
SINGLE = """
    found = evaluate_batch(job)
    if plan.execution["precision"] == "float64":
        return found
    rounded = {name: value * (1 + 1e-8) for name, value in found.gradients.items()}
    return replace(found, patches=found.patches.astype(np.complex64), gradients=rounded)
"""


@pytest.fixture
def backend(tmp_path, monkeypatch):
    """``backend(name, body)``: a backend that is installed for this process and its children."""
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))

    def install(name, body=RIGHT):
        package, info = tmp_path / "site" / f"ptycho_{name}", tmp_path / "site" / f"ptycho_{name}-1.0.dist-info"
        package.mkdir(parents=True)
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: ptycho-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[ptycho.backends]\n{name} = ptycho_{name}.plugin\n")
        (package / "__init__.py").write_text("")
        (package / "plugin.py").write_text(PLUGIN.format(name=name, body=body.strip()))
        (package / "ptycho-backend.toml").write_text(MANIFEST.format(name=name))
        importlib.invalidate_caches()
        forget()

    yield install
    forget()


def model(*, gridsize=2, trained=True, **facts):
    random = np.random.default_rng(3)
    row, column = np.mgrid[:32, :32] - 15.7
    disc = 40 / (1 + np.exp(2 * (np.hypot(row, column) - 8))) * np.exp(0.015j * (row**2 + 2 * column**2))
    asked = {
        "model_type": "physics-informed", "gridsize": gridsize, "neighbor_count": None, "modes": 2, "merge": "batch",
        "network": "compact", "network_depth": 2, "probe_scale": 1.0,
        "update_steps": 2, "network_width": 4, "output_form": "real-imaginary", "amplitude_activation": "softplus",
        "train_probe": True, "train_scale": True, "probe_mask_diameter": None, "probe_mask_edge": 2.0, "probe_smoothing": 0.0,
    } | facts  # fmt: skip
    network = describe(32, asked)
    weights = initial_weights(network, 5)
    if trained:
        weights = {name: value + random.normal(0, 0.04, value.shape) for name, value in weights.items()}
    probe = np.stack([disc, disc * column / 20])[None, : asked["modes"]]
    return Model(
        network=network,
        weights={name: value.astype(np.float32) for name, value in weights.items()},
        physics={"probe": probe.astype(np.complex64), "log_scale": np.array([0.25], np.float32)},
        facts={"size": 32, **asked},
    )


@pytest.fixture
def file(tmp_path):
    return save_model(tmp_path / "a.ptycho", model())


def verify(capsys, *arguments):
    status = main(["model", "verify", *map(str, arguments)])
    return status, *capsys.readouterr()


def beyond(found, backend="acme", against="reference"):
    """Quantity and name of what is beyond its limit in a comparison."""
    one = next(one for one in found["comparisons"] if (one["backend"], one["against"]) == (backend, against))
    return [(row["quantity"], row["name"]) for row in one["differences"] if not row["within"]]


def test_a_backend_that_does_not_train_is_compared_without_gradients(file, capsys):
    status, out, _ = verify(capsys, file, "--backends", "numpy", "--json")
    found = json.loads(out)
    assert status == 0
    assert {row["quantity"] for row in found["comparisons"][0]["differences"]} == {"patches", "intensities", "loss"}
    assert found["notes"] == ["numpy does not train: of its answer no gradients are compared."]


@pytest.mark.parametrize("gridsize", [1, 2, 3])
def test_a_right_backend_is_within_every_limit(gridsize, tmp_path, backend, capsys):
    path = save_model(tmp_path / "a.ptycho", model(gridsize=gridsize, merge="batch" if gridsize == 2 else "group"))
    backend("acme")
    status, out, err = verify(capsys, path, "--backends", "acme")
    assert status == 0, out + err
    patches = {1: 16, 2: 16, 3: 27}[gridsize]
    assert f"{patches} patterns of 32 x 32 in groups of {gridsize**2} of a scan made from the model" in out
    for word in ("patches", "intensities", "nll", "amplitude", "mae", "tv", "realspace", "gradients"):
        assert f"  {word:<12}  0.0e+00  limit 1.0e-1" in out
    assert "worst: network." in out
    assert out.endswith("all within the limits\n")
    assert [line.partition(":")[0] for line in err.splitlines()] == ["reference", "reference", "acme"]


def after(change):
    """The right answer, then changed."""
    return f"found = evaluate_batch(job)\n    {change}\n    return found"


OTHER_WEIGHT = {("patches", ""), ("loss", "nll"), ("gradient", "network.exit.bias")}
WRONG = {
    "another weight": ("return evaluate_batch(other_weight(job))", OTHER_WEIGHT),
    "patches": (after("found = replace(found, patches=found.patches * np.exp(1e-9j))"), {("patches", "")}),
    "not centred": (after("found.intensities[:] = np.fft.fftshift(found.intensities, axes=(1, 2))"), {("intensities", "")}),
    "a loss": (after("found.losses['mae'] *= 1 + 1e-9"), {("loss", "mae")}),
    "a gradient": (after("found.gradients['network.exit.bias'][0] *= 1 + 1e-6"), {("gradient", "network.exit.bias")}),
    "conjugated": (after("found.gradients['physics.probe'].imag *= -1"), {("gradient", "physics.probe")}),
    "not a number": (after("found.gradients['network.enter.weight'][:] = np.nan"), {("gradient", "network.enter.weight")}),
    "nothing learns": ("return evaluate_batch(replace(job, gradients=False))", {("gradient", "physics.log_scale")}),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_backend_is_found_and_what_is_wrong_is_named(wrong, file, backend, capsys):
    body, expected = WRONG[wrong]
    backend("acme", body)
    status, out, err = verify(capsys, file, "--backends", "acme", "--json", "--quiet")
    assert status == 5, out + err
    assert err == ""
    found = json.loads(out)
    assert (found["within"], found["complete"]) == (False, True)
    assert expected <= set(beyond(found))
    if wrong not in ("another weight", "nothing learns"):
        assert set(beyond(found)) == expected


def test_in_text_the_worst_tensor_is_named_and_the_verdict_says_who(file, backend, capsys):
    backend("acme", WRONG["a gradient"][0])
    backend("beta")
    status, out, _ = verify(capsys, file, "--backends", "acme,beta")
    assert status == 5
    assert "BEYOND, 1 of 34 tensors  worst: network.exit.bias" in out
    assert out.splitlines()[-1] == "beyond the limits: acme against reference; acme against beta"


def test_backends_that_cannot_run_are_rows_and_the_others_go_on(file, backend, capsys):
    backend("acme")
    backend("dies", "os._exit(7)")
    backend("raises", "raise RuntimeError('no luck')")
    backend("hangs", "time.sleep(600)")
    status, out, _ = verify(capsys, file, "--backends", "dies,raises,hangs,acme", "--json", "--timeout", "12")
    found = json.loads(out)
    assert (status, found["within"], found["complete"]) == (3, True, False)
    reasons = {one["backend"]: one["reason"] for one in found["backends"]}
    assert list(reasons) == ["reference", "dies", "raises", "hangs", "acme"]
    assert reasons["reference"] == reasons["acme"] == ""
    assert "7" in reasons["dies"]
    assert "RuntimeError: no luck" in reasons["raises"]
    assert "12 s" in reasons["hangs"]
    assert [one["backend"] for one in found["comparisons"]] == ["acme"]


def test_a_backend_that_is_not_there_is_a_row_and_an_unknown_name_an_error(file, backend, capsys, monkeypatch):
    backend("acme")
    monkeypatch.setenv("PTYCHO_BACKENDS_BLOCK", "acme")
    status, out, _ = verify(capsys, file, "--backends", "acme")
    assert status == 3
    assert "failed: it is blocked by PTYCHO_BACKENDS_BLOCK=acme" in out
    assert out.endswith("nothing was compared; not compared: acme\n")
    status, out, err = verify(capsys, file, "--backends", "acne")
    assert (status, out) == (2, "")
    assert "Did you mean 'acme'?" in err
    for names in ("reference", "acme,,beta"):
        assert verify(capsys, file, "--backends", names)[0] == 2
    assert verify(capsys, file, "--precision", "float16")[0] == 2
    assert verify(capsys, file, "--timeout", "soon")[0] == 2


def test_without_names_all_that_are_usable_and_can_do_it_are_compared(file, backend, capsys, monkeypatch):
    backend("acme")
    backend("beta")
    monkeypatch.setenv("PTYCHO_BACKENDS_ALLOW", "acme,beta,reference")
    status, out, _ = verify(capsys, file, "--json")
    assert status == 0
    found = json.loads(out)
    assert [(one["backend"], one["against"]) for one in found["comparisons"]] == [
        ("acme", "reference"), ("beta", "reference"), ("acme", "beta"),
    ]  # fmt: skip
    monkeypatch.setenv("PTYCHO_BACKENDS_ALLOW", "reference")
    status, out, err = verify(capsys, file)
    assert (status, out) == (3, "")
    assert "There is no backend to compare with the reference." in err


def test_in_single_precision_the_limits_are_wider_and_no_tighter_than_rounding(file, backend, capsys):
    backend("acme", SINGLE)
    status, out, _ = verify(capsys, file, "--backends", "acme", "--precision", "float32", "--json")
    found = json.loads(out)
    assert status == 0, out
    assert {one["precision"] for one in found["backends"]} == {"float64", "float32"}
    values = {row["quantity"]: row for row in found["comparisons"][0]["differences"]}
    assert 1e-9 < values["patches"]["value"] < 1e-7
    assert values["patches"]["limit"] >= 1e-5
    backend("beta", WRONG["patches"][0].replace("1e-9j", "0.1j"))
    assert verify(capsys, file, "--backends", "beta", "--precision", "float32")[0] == 5


def test_where_rounding_leads_far_the_limits_are_raised_and_told(tmp_path, file, backend, capsys):
    backend("acme", WRONG["patches"][0].replace("1e-9j", "1.2e-12j"))
    assert verify(capsys, file, "--backends", "acme", "--quiet")[0] == 5
    steep = model(update_steps=16, modes=1)
    probe = make_probe("aperture", 32, 13, 1e12, 1).astype(np.complex64)[None]
    path = save_model(tmp_path / "b.ptycho", replace(steep, physics=steep.physics | {"probe": probe}))
    status, out, _ = verify(capsys, path, "--backends", "acme", "--quiet")
    assert status == 0, out
    assert "Rounding the model's numbers once moves the answer so far that the limits are raised to" in out
    assert verify(capsys, path, "--backends", "acme", "--quiet", "--json")[0] == 0


def test_an_untrained_network_is_told_of(tmp_path, backend, capsys):
    backend("acme")
    path = save_model(tmp_path / "new.ptycho", model(trained=False))
    status, out, _ = verify(capsys, path, "--backends", "acme")
    assert status == 0
    assert "30 of 34 gradients are zero" in out
    assert "as in a network that was never trained" in out


def test_the_batch_can_be_taken_from_a_scan(tmp_path, file, backend, capsys):
    backend("acme")
    for size, frames in ((32, 30), (48, 30), (32, 3)):
        arguments = ["simulate", tmp_path / f"{size}-{frames}.npz", "--size", size, "--frames", frames, "--seed", "1"]
        assert main(list(map(str, arguments))) == 0
    capsys.readouterr()
    status, out, _ = verify(capsys, file, "--backends", "acme", "--scan", tmp_path / "32-30.npz")
    assert status == 0
    assert "16 patterns of 32 x 32 in groups of 4\n" in out
    status, _, err = verify(capsys, file, "--backends", "acme", "--scan", tmp_path / "48-30.npz")
    assert status == 5
    assert "has patterns of 48 x 48 pixels" in err
    assert "was trained with 32 x 32" in err
    status, _, err = verify(capsys, file, "--backends", "acme", "--scan", tmp_path / "32-3.npz")
    assert (status, "has 3 frames" in err) == (5, True)
    assert verify(capsys, file, "--backends", "acme", "--scan", tmp_path / "none.npz")[0] == 5


def test_a_scan_without_an_object_leaves_one_term_out_and_says_so(tmp_path, file, backend, capsys):
    from ptycho_core.formats.plain_npz import write_plain_npz

    random = np.random.default_rng(2)
    counts, positions = random.poisson(5.0, (25, 32, 32)), random.uniform(0, 12, (25, 2))
    write_plain_npz(tmp_path / "bare.npz", {"intensity": counts.astype(np.uint16), "positions_px": positions})
    backend("acme")
    status, out, _ = verify(capsys, file, "--backends", "acme", "--scan", tmp_path / "bare.npz")
    assert status == 0
    assert "The term realspace is left out" in out
    assert "  realspace" not in out


def test_files_that_inspect_refuses_are_refused_before_anything_runs(tmp_path, file, tamper, backend, capsys):
    backend("acme", "raise RuntimeError('it ran')")
    members = tamper.members_of(file)
    tamper.rewrite(file, members | {"weights.safetensors": members["weights.safetensors"][:-4] + b"\0\0\0\0"}, hashed=False)
    for path in (file, tmp_path / "none.ptycho", tmp_path):
        refused = verify(capsys, path, "--backends", "acme")
        assert main(["model", "inspect", str(path)]) == 5
        assert refused == (5, "", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda one: {"physics": one.physics | {"probe": 0 * one.physics["probe"]}}, "the probe of scan 0 is dark"),
        (lambda one: {"facts": {name: one.facts[name] for name in one.facts if name != "merge"}}, "the fact 'merge' is missing"),
        (lambda one: {"weights": {name: value * np.float32(1e30) for name, value in one.weights.items()}}, "is not finite"),
    ],
)  # fmt: skip
def test_a_model_that_nothing_can_be_compared_with_is_refused_by_name(change, reason, file, backend, capsys):
    backend("acme")
    found = load_model(file)
    save_model(file, replace(found, **change(found)))
    status, out, err = verify(capsys, file, "--backends", "acme", "--quiet")
    assert (status, out) == (5, "")
    assert str(file) in err
    assert reason in err
    assert "Warning" not in err


def test_a_run_folder_stands_for_its_best_model(tmp_path, file, backend, capsys):
    backend("acme")
    run = tmp_path / "run"
    run.mkdir()
    (run / "best.ptycho").write_bytes(file.read_bytes())
    status, out, _ = verify(capsys, run, "--backends", "acme", "--quiet")
    assert status == 0
    assert str(run / "best.ptycho") in out


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_torch_is_within_the_limits(precision, file, capsys):
    pytest.importorskip("ptycho_backend_torch")
    status, out, err = verify(capsys, file, "--backends", "torch", "--precision", precision)
    print(out)
    assert status == 0, out + err


def test_the_help_loads_no_numpy():
    code = (
        "import sys\n"
        "from ptycho_core.cli.main import main\n"
        "assert main(['model', 'verify', '--help']) == 0\n"
        "assert not {'numpy', 'h5py', 'safetensors', 'pluggy'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "exit status 5" in " ".join(done.stdout.split()).lower()
