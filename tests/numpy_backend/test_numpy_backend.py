"""The backend that the core brings: its precision, its threads, its network, and how it is taken where it is alone."""

import importlib
from dataclasses import replace

import numpy as np
import pytest
from scipy import fft
from threadpoolctl import threadpool_info

from ptycho_core.backends import discovery, registry
from ptycho_core.cli.main import main
from ptycho_core.conformance.parity import relative_distance
from ptycho_core.conformance.reference.network import channels
from ptycho_core.conformance.suite.every_operation import EveryOperation
from ptycho_core.conformance.suite.inputs import perturbed_model
from ptycho_core.contract import ExecutionPlan
from ptycho_core.engine.network import Network
from ptycho_core.errors import CapabilityError
from ptycho_core.evaluation import evaluate
from ptycho_core.formats.product import load_reconstruction
from ptycho_core.networks import describe, initial_weights
from ptycho_core.numpy_backend.arrays import NumpyArrays
from ptycho_core.numpy_backend.devices import operations
from ptycho_core.numpy_backend.network import ChannelsLast, convolution, fold, unfold

pytestmark = pytest.mark.usefixtures("undrawn")
QUICK = ["--epochs", "2", "--iterations", "2", "--quiet", "--threads", "1"]


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """36 frames of 32 x 32."""
    path = tmp_path_factory.mktemp("scan") / "scan.npz"
    assert main(["simulate", str(path), "--size", "32", "--frames", "36", "--photons", "1e5", "--seed", "8"]) == 0
    return path


@pytest.fixture
def alone(monkeypatch):
    """Only what the core brings is installed."""
    own = tuple(claim for claim in discovery.scan() if claim.distribution == "ptycho-core")
    assert {claim.name for claim in own} == {"numpy", "reference"}
    monkeypatch.setattr(registry, "scan", lambda: own)


def plan(threads=1, precision="float32"):
    return ExecutionPlan("cpu", {"threads": threads, "precision": precision}, {}, {})


def test_alone_it_is_taken_and_the_last_line_says_so(alone, scan, tmp_path, capsys):
    assert main(["reconstruct", str(scan), "-o", str(tmp_path / "out"), *QUICK]) == 0
    told = capsys.readouterr()
    last = told.err.splitlines()[-1]
    assert last.startswith("Computed by backend 'numpy', as no other is installed. For a faster one: PyTorch: ")
    assert "pip install ./backends/torch" in last
    assert told.out.splitlines()[-1].startswith(("good:", "doubtful:", "unusable:")), "the verdict stays last on stdout"
    assert main(["reconstruct", str(scan), "-o", str(tmp_path / "named"), "--backend", "numpy", *QUICK]) == 0
    assert "Computed by" not in capsys.readouterr().err, "whoever names it knows"


def test_it_does_not_train_and_says_what_does(alone, scan, tmp_path, capsys):
    assert main(["train", str(scan), "-o", str(tmp_path / "run")]) == 4
    told = capsys.readouterr().err
    assert "backend 'numpy' does not provide 'train'; it provides infer, reconstruct, evaluate" in told
    assert "pip install torch==" in told
    assert not (tmp_path / "run").exists()


def test_no_array_of_a_float32_fit_is_of_double_precision(scan, tmp_path, monkeypatch):
    seen, devices = set(), importlib.import_module("ptycho_core.numpy_backend.devices")
    in_double = {"sum64", "mean64", "squares64", "frame_sums"}

    class Watched(NumpyArrays):
        def __getattribute__(self, name):
            found = super().__getattribute__(name)
            if name.startswith("_") or not callable(found) or name in in_double:
                return found

            def called(*arguments, **more):
                answer = found(*arguments, **more)
                if isinstance(answer, np.ndarray | np.generic):
                    seen.add(name)
                    assert answer.dtype in (np.float32, np.complex64), f"{name} gives {answer.dtype}"
                return answer

            return called

    monkeypatch.setattr(devices, "NumpyArrays", Watched)
    words = ["--modes", "2", "--background", "pixel", "--refine-positions", "--total-variation", "1", "--likelihood", "poisson"]
    assert main(["reconstruct", str(scan), "-o", str(tmp_path / "out"), "--backend", "numpy", *words, *QUICK]) == 0
    assert {"fft2_ortho", "abs2", "times_real", "scatter_add", "shift_ramps", "overlap_sum", "as_real"} <= seen


def test_whatever_is_asked_it_gives_the_same_bits(scan, tmp_path):
    objects = []
    for number, words in enumerate((["--no-deterministic"], ["--deterministic", "strict"])):
        folder = tmp_path / str(number)
        assert main(["reconstruct", str(scan), "-o", str(folder), "--backend", "numpy", *words, *QUICK]) == 0
        objects.append(load_reconstruction(folder).object)
    assert np.array_equal(*objects)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_act_on_transforms_and_products_and_go_back(threads, monkeypatch):
    asked, transform = [], fft.fft2
    monkeypatch.setattr(fft, "fft2", lambda *given, **more: asked.append(more["workers"]) or transform(*given, **more))
    before = threadpool_info()
    with operations(plan(threads)) as xp:
        assert {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"} == {threads}
        xp.fft2(np.ones((2, 4, 4), np.complex64))
    assert asked == [threads]
    assert threadpool_info() == before


def slow(given, weight, bias, stride):
    """The convolution as ``specs/network.md`` has it: pictures (batch, channel, N, N), weights (out, in, kernel, kernel)."""
    kernel, padding = weight.shape[-1], 1 if weight.shape[-1] == 3 else 0
    given = np.pad(given, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    side = (given.shape[-1] - kernel) // stride + 1
    found = np.zeros((len(given), len(weight), side, side)) + bias[:, None, None]
    for row in range(side):
        for column in range(side):
            seen = given[:, :, stride * row : stride * row + kernel, stride * column : stride * column + kernel]
            found[:, :, row, column] += np.einsum("bcij,ocij->bo", seen, weight)
    return found


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (2, 2), (1, 1), (3, 2)])
def test_a_convolution_is_that_of_the_specification(kernel, stride, monkeypatch):
    random = np.random.default_rng(3)
    given, weight, bias = (random.standard_normal(shape) for shape in ((5, 6, 8, 8), (4, 6, kernel, kernel), (4,)))
    held, network = ChannelsLast(), importlib.import_module("ptycho_core.numpy_backend.network")
    native = held.native("", weight)
    assert np.array_equal(held.canonical("", native), weight)
    for at_once in (1, 1 << 22):  # picture by picture, and all at once
        monkeypatch.setattr(network, "_AT_ONCE", at_once)
        found = held.leave(convolution(held.enter(given), native, bias, stride))
        assert found == pytest.approx(slow(given, weight, bias, stride), rel=1e-12, abs=1e-12)


def test_folding_puts_the_four_pixels_of_a_channel_next_to_each_other():
    given, held = np.arange(2 * 3 * 4 * 4.0).reshape(2, 3, 4, 4), ChannelsLast()
    folded = fold(held.enter(given))
    assert held.leave(folded)[1, :, 1, 0].tolist() == given[1, :, 2:4, 0:2].reshape(-1).tolist()
    assert np.array_equal(held.leave(unfold(folded)), given)


def test_a_batch_of_a_training_is_evaluated_without_gradients(scan, tmp_path):
    recipe = perturbed_model(tmp_path / "model.ptycho", scan, modes=1, nll_weight=0.5)
    recipe = replace(recipe, groups=np.arange(3)[:, None], gradients=False)
    found, wanted = (evaluate(recipe, backend=name, precision="float64") for name in ("numpy", "reference"))
    assert found.losses == pytest.approx(wanted.losses, rel=1e-12)
    assert found.gradients == {}
    with pytest.raises(CapabilityError, match="needs automatic differentiation"):
        evaluate(replace(recipe, gradients=True), backend="numpy", precision="float64")


@pytest.mark.parametrize(("precision", "limit"), [("float64", 1e-13), ("float32", 2e-6)])
def test_a_network_of_every_operation_is_that_of_the_reference(precision, limit):
    asked = {"gridsize": 1, "update_steps": None, "output_form": "real-imaginary", "amplitude_activation": "none"}
    description, random = describe(32, asked, architecture=EveryOperation()), np.random.default_rng(3)
    weights = {name: one + random.normal(0, 0.1, one.shape) for name, one in initial_weights(description, 1).items()}
    given, xp = random.standard_normal((2, 5, 32, 32)), NumpyArrays(np.dtype(precision))
    layout = xp.layout(description)
    held = [xp.from_numpy(layout.native(name, one)) for name, one in weights.items()]
    found = Network(xp, description, layout, mixed=False)(held, xp.from_numpy(given))
    assert found.dtype == precision
    assert relative_distance(found, channels(description, weights, given)) < limit
