"""Models in ONNX: ONNX Runtime next to the reference, for any number of frames; what cannot be written is refused by name."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ptycho_core.cli.main import main
from ptycho_core.conformance.limits import EXPORTED
from ptycho_core.conformance.suite.every_operation import EveryOperation
from ptycho_core.errors import CapabilityError
from ptycho_core.model import Model, save_model
from ptycho_core.networks import describe, initial_weights

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from ptycho_core.conformance.exported import exported_distance  # noqa: E402 - needs what may be missing
from ptycho_core.onnx import export_model, inputs_of  # noqa: E402

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "onnx.md").read_text("utf-8")
CASES = {
    "compact": {},
    "two modes, amplitude and phase": {"modes": 2, "output_form": "amplitude-phase"},
    "sigmoid": {"output_form": "amplitude-phase", "amplitude_activation": "sigmoid"},
    "no activation": {"output_form": "amplitude-phase", "amplitude_activation": "none"},
    "deep, without steps": {"network": "deep", "network_depth": 1, "update_steps": 0},
    "every operation": {"architecture": EveryOperation()},
}
EACH = [
    *(pytest.param(name, 64, id=f"{name}, 64") for name in ("compact", "every operation")),
    *(pytest.param(name, 64, id=f"{name}, 64", marks=pytest.mark.long) for name in list(CASES)[1:-1]),
    *(pytest.param(name, 128, id=f"{name}, 128", marks=pytest.mark.long) for name in CASES),
    pytest.param("compact", 96, id="compact, 96", marks=pytest.mark.long),
]


def model(size=64, *, modes=1, architecture=None, **asked):
    """A model for 10⁶ counts whose weights are nowhere zero."""
    facts = {
        "model_type": "physics-informed", "gridsize": 1, "neighbor_count": None, "modes": modes, "merge": "batch",
        "network": "compact", "network_depth": 2, "network_width": 4, "probe_scale": 1.0, "update_steps": None,
        "estimate": "group",
        "output_form": "real-imaginary", "amplitude_activation": "softplus", "train_probe": True, "train_scale": True,
        "probe_mask_diameter": None, "probe_mask_edge": 2.0, "probe_smoothing": 0.0,
    } | asked  # fmt: skip
    random, network = np.random.default_rng(3), describe(size, facts, architecture=architecture)
    row, column = (np.mgrid[:size, :size] - size / 2 + 0.3) * 32 / size
    disc = 2000 / size / (1 + np.exp(2 * (np.hypot(row, column) - 8))) * np.exp(0.015j * (row**2 + 2 * column**2))
    weights = {name: one + random.normal(0, 0.04, one.shape) for name, one in initial_weights(network, 5).items()}
    return Model(
        network=network,
        weights={name: one.astype(np.float32) for name, one in weights.items()},
        physics={
            "probe": np.stack([disc, disc * column / 20])[None, :modes].astype(np.complex64),
            "log_scale": np.array([0.25], np.float32),
        },
        facts={"size": size, **facts},
    )


@pytest.mark.parametrize(("name", "size"), EACH)
def test_a_graph_gives_the_patches_of_the_reference(name, size, tmp_path):
    made = model(size, **CASES[name])
    graph = export_model(made)
    onnx.checker.check_model(graph, full_check=True)
    distance = exported_distance(graph, made, save_model(tmp_path / "a.ptycho", made))
    print(f"{name}, {size}: {distance:.2g}, limit {EXPORTED:g}")
    assert distance <= EXPORTED


def test_frames_go_through_in_any_number_and_another_probe_and_mask_act():
    session = onnxruntime.InferenceSession(export_model(model(32, network_width=4)).SerializeToString())
    random = np.random.default_rng(1)
    counts, mask = random.poisson(5.0, (5, 32, 32)), random.random((32, 32)) > 0.1
    given = inputs_of(counts, random.uniform(0, 9, (5, 2)), model(32).physics["probe"][0], mask)._asdict()

    def patches(**changed):
        return session.run(None, {name: value for name, value in (given | changed).items() if value is not None})[0]

    whole = patches()
    assert whole.shape == (5, 32, 32, 2)
    assert whole.dtype == np.float32
    parts = [patches(counts=given["counts"][one], remainders=given["remainders"][one]) for one in (slice(0, 1), slice(1, 5))]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=0, atol=1e-5)
    for changed in ({"probe": None}, {"mask": None}, {"probe": given["probe"] * 2}, {"remainders": 1 - given["remainders"]}):
        assert np.abs(patches(**changed) - whole).max() > 1e-3, changed
    hidden = np.where(mask, given["counts"], 1e4).astype(np.float32)
    np.testing.assert_allclose(patches(counts=hidden), whole, rtol=0, atol=1e-5)


def test_what_is_no_fixed_graph_is_refused_by_name(tmp_path, capsys):
    with pytest.raises(CapabilityError, match=r"groups of 4 frames \(gridsize 2\)"):
        export_model(model(32, gridsize=2))
    of_canvas = {"estimate": "tile", "network": "canvas"}
    for asked, remedy in (({"estimate": "tile"}, "--estimate group"), (of_canvas, "--network compact")):
        with pytest.raises(CapabilityError, match="estimate is that of a tile") as caught:
            export_model(model(32, **asked))
        assert f"Train with {remedy}, or use 'ptycho infer'." in str(caught.value.remedy)
    file = save_model(tmp_path / "a.ptycho", model(32, gridsize=2))
    assert main(["model", "export", str(file), "--to", "onnx"]) == 4
    assert "--gridsize 1, or use 'ptycho infer'" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.ptycho"]


def test_a_file_that_is_there_is_replaced_only_when_asked(tmp_path, capsys):
    file = save_model(tmp_path / "a.ptycho", model(32))
    words = ["model", "export", str(file), "--to", "onnx", "--quiet"]
    assert main(words) == 0
    assert re.search(
        r"a\.onnx: counts to patches of 32 x 32 pixels, .* from the reference \(limit 1e-05\)", capsys.readouterr().out
    )
    assert main(words) == 2
    assert "a.onnx exists" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.onnx", "a.ptycho"]


def test_a_graph_that_is_not_the_model_is_not_written(tmp_path, capsys, monkeypatch):
    """Its patches are looked at, not merely made: a graph of other weights is caught."""
    other = export_model(model(32, output_form="amplitude-phase"))
    monkeypatch.setattr("ptycho_core.onnx.export_model", lambda _: other)
    file = save_model(tmp_path / "a.ptycho", model(32))
    assert main(["model", "export", str(file), "--to", "onnx", "--quiet"]) == 5
    assert "from those of the reference, more than 1e-05. Nothing was written." in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.ptycho"]


@pytest.mark.long
def test_the_guide_is_run_as_it_stands(tmp_path):
    (shown,), (code,) = (re.findall(rf"```{language}\n(.*?)```", GUIDE, flags=re.DOTALL) for language in ("sh", "python"))
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PTYCHO_")}
    environment |= {"PTYCHO_BACKEND": "torch", "PTYCHO_THREADS": "1", "OMP_NUM_THREADS": "1", "PTYCHO_FIGURES": "false"}
    commands = [shlex.split(line)[1:] for line in shown.splitlines() if line.startswith("ptycho ")]
    assert len(commands) == 3
    every = "import sys\nfrom ptycho_core.cli.main import main\n" + "".join(f"assert main({words}) == 0\n" for words in commands)
    assert len([line for line in code.splitlines() if line and "import" not in line]) == 10
    for text in (every, code):
        done = subprocess.run(
            [sys.executable, "-c", text], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
    found, wanted = np.load(tmp_path / "object.npy"), np.load(tmp_path / "scan.npz")["object_true"]
    apart = [one[25:-25, 25:-25] - one[25:-25, 25:-25].mean() for one in (found, wanted)]
    likeness = abs(np.vdot(*apart)) / np.linalg.norm(apart[0]) / np.linalg.norm(apart[1])
    assert likeness > 0.5, "0.66 was measured; patches in wrong places give 0.1 and less"
