"""The loss of the guide: it fits with every engine backend, alike; its settings are settings; other backends refuse it."""

import json
import sys
from dataclasses import fields
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ptycho_backend_torch.arrays import TorchArrays
from ptycho_core.engine.losses import BUILT_IN, Amplitude, Nll
from ptycho_core.formats.product import load_reconstruction

SHORT = ("--epochs", "1", "--iterations", "4", "--threads", "1", "--precision", "float64")


@pytest.fixture(scope="module")
def reconstructed(guide, scan, tmp_path_factory):
    """The results of each backend with the loss of the guide, with a large width, and with that of the amplitudes."""
    folder, found = tmp_path_factory.mktemp("results"), {}
    asked = {
        "log_cosh": ["--likelihood", "log_cosh"],
        "wide": ["--likelihood", "log_cosh", "--log-cosh-width", "1e6"],
        "amplitude": ["--likelihood", "amplitude"],
    }
    for backend in ("torch", "tensorflow"):
        places = {name: str(folder / backend / name) for name in asked}
        guide.all_done(backend, [["reconstruct", str(scan), "-o", places[name], *SHORT, *words] for name, words in asked.items()])
        found[backend] = SimpleNamespace(**{name: load_reconstruction(place) for name, place in places.items()})
    return found


@pytest.fixture
def log_cosh(guide, monkeypatch):
    """Its class, in this process."""
    monkeypatch.syspath_prepend(guide.folder)
    yield import_module("acme_losses").LogCosh
    del sys.modules["acme_losses"]


@pytest.mark.parametrize("name", ["nll", "amplitude", "mae", "log_cosh"])
def test_the_derivative_is_that_of_the_values(log_cosh, name):
    kind = next(kind for kind in (*BUILT_IN, log_cosh) if kind.name == name)
    loss, xp = kind(width=1.7) if "width" in [item.name for item in fields(kind)] else kind(), TorchArrays("cpu", torch.float64)
    random = np.random.default_rng(1)
    modelled, amplitudes = (torch.as_tensor(random.uniform(0.1, 9, (2, 5, 5))) for _ in range(2))
    step = 1e-6
    above, below = (loss.values(xp, modelled + sign * step, amplitudes) for sign in (1, -1))
    found = loss.derivative(xp, modelled, amplitudes)
    assert found.shape == above.shape == (2, 5, 5)
    np.testing.assert_allclose(found, (above - below) / (2 * step), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", [Amplitude, Nll])
def test_the_comparison_made_of_values_and_derivative_is_the_one_written_out(kind):
    class Plain(kind):
        compare = kind.__mro__[1].compare

    xp, random = TorchArrays("cpu", torch.float64), np.random.default_rng(2)
    intensity, counts = (torch.as_tensor(random.uniform(0, 9, (3, 6, 6))) for _ in range(2))
    measured = SimpleNamespace(amplitudes=counts.sqrt(), mask=torch.as_tensor(random.random((6, 6)) > 0.2, dtype=torch.float64))
    plain, written = Plain().compare(xp, intensity, measured), kind().compare(xp, intensity, measured)
    perfect = kind().compare(xp, counts, measured)
    offset = Plain().compare(xp, counts, measured).loss if kind is Nll else 0.0
    torch.testing.assert_close(plain.factor, written.factor)
    torch.testing.assert_close(plain.absolute, written.absolute)
    torch.testing.assert_close(plain.loss - offset, written.loss - perfect.loss * (kind is Nll))


def test_it_is_minimised_and_both_engine_backends_agree(reconstructed):
    one, other = (reconstructed[backend].log_cosh for backend in ("torch", "tensorflow"))
    np.testing.assert_allclose(one.object, other.object, rtol=0, atol=1e-9)
    losses = [row["loss"] for row in one.history if row["stage"] == "joint"]
    assert losses == sorted(losses, reverse=True)
    assert len(losses) == 4
    assert one.settings["settings"]["likelihood"]["disposition"]["kind"] == "applied"
    assert not np.allclose(one.object, reconstructed["torch"].amplitude.object, atol=1e-6)


@pytest.mark.parametrize("backend", ["torch", "tensorflow"])
def test_its_setting_acts(reconstructed, backend):
    found = reconstructed[backend]
    assert not np.allclose(found.wide.object, found.log_cosh.object, atol=1e-6)
    # So wide it is half the square of the misfit, and the fit is that of the amplitudes.
    assert np.linalg.norm(found.wide.object - found.amplitude.object) < 0.01 * np.linalg.norm(found.amplitude.object)


def test_its_settings_come_from_every_source(guide, tmp_path):
    def width(*words, **variables):
        explain = ("config", "explain", "reconstruct", "--backend", "torch", "--json")
        entry = json.loads(guide.done(*explain, *words, **variables))["settings"]["log_cosh_width"]
        return entry["value"], entry["origin"]

    file = tmp_path / "settings.toml"
    file.write_text(
        '[reconstruction]\nlikelihood = "log_cosh"\n\n[losses]\nlog_cosh_width = 2.0\n\n[training]\nlog_cosh_weight = 0.5\n'
    )
    assert width() == (1.0, "core default")
    assert width("--config", file) == (2.0, "file")
    assert width("--config", file, PTYCHO_LOG_COSH_WIDTH="3") == (3.0, "environment")
    assert width("--config", file, "--log-cosh-width", "4", PTYCHO_LOG_COSH_WIDTH="3") == (4.0, "override")
    assert "log_cosh_width" in guide.done("config", "explain", "train", "--backend", "torch")
    assert "[losses]" in guide.done("config", "init", "train")
    # A variable serves whichever verb runs, and one of other verbs only is not used.
    assert "log_cosh" not in guide.done("config", "explain", "infer", "--backend", "torch", PTYCHO_LOG_COSH_WEIGHT="1")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--log-cosh-width", "0"], "log_cosh_width = 0.0 must be above 0"),
        (["--likelihood", "log_cosh", "--log-cosh-width", "wide"], "must be a number"),
        (["--likelihood", "log_cos"], "Did you mean 'log_cosh'?"),
        (["--log-cosh-width", "2"], "log_cosh_width acts only with likelihood log_cosh, and likelihood is auto"),
        (["--log-cosh-weight", "2"], "there is no flag --log-cosh-weight"),
    ],
)
def test_what_is_wrong_with_a_setting_is_said(guide, scan, tmp_path, words, told):
    assert told in guide.refused("reconstruct", scan, "-o", tmp_path / "out", "--backend", "torch", *words)


def test_a_training_takes_its_setting_only_beside_its_weight(guide):
    words = ("config", "explain", "train", "--backend", "torch", "--log-cosh-width", "2")
    assert "log_cosh_width acts only with a log_cosh_weight above 0" in guide.refused(*words)
    assert "log_cosh_weight" in guide.done(*words, "--log-cosh-weight", "1", "--amplitude-weight", "0")
    assert "nll_weight, amplitude_weight, mae_weight, log_cosh_weight" in guide.refused(*words[:-2], "--amplitude-weight", "0")


def test_a_backend_with_an_engine_of_its_own_refuses_it(guide, scan, tmp_path):
    words = ("reconstruct", scan, "-o", tmp_path / "out", "--backend", "reference", "--likelihood", "log_cosh")
    told = guide.refused(*words, status=4)
    assert "likelihood = log_cosh: NumPy computes its own likelihoods, none that another distribution brings" in told
    guide.done(*words, "--allow-unsupported", "--epochs", "1", "--iterations", "1")
    assert load_reconstruction(tmp_path / "out").settings["settings"]["likelihood"]["disposition"]["kind"] == "unsupported"
    words = ("train", scan, "-o", tmp_path / "run", "--backend", "reference", "--log-cosh-weight", "1")
    assert "log_cosh_weight = 1.0: NumPy does not look at it" in guide.refused(*words, status=4)


def test_the_help_shows_it_without_loading_numpy_or_a_framework(guide):
    code = (
        "import sys\nfrom ptycho_core.cli.main import main\nmain(['reconstruct', '--help'])\n"
        "assert 'acme_losses' in sys.modules\nassert not {'numpy', 'torch', 'tensorflow'} & set(sys.modules)"
    )
    (guide.folder / "alone").mkdir(exist_ok=True)
    plain = (guide.folder / "acme_losses.py").read_text().partition("import numpy")[0]
    (guide.folder / "alone" / "acme_losses.py").write_text(plain)
    done = guide.python("-c", f"import sys\nsys.path.insert(0, {str(guide.folder / 'alone')!r})\n{code}")
    assert done.returncode == 0, done.stderr
    assert "{auto,amplitude,poisson,log_cosh}" in done.stdout
    assert "--log-cosh-width FLOAT" in done.stdout
