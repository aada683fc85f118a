"""One command resolves its settings in one pass, scans the manifests once, opens the scan once and reads each pattern once."""

from collections import Counter

import pytest

from ptycho_core.backends import loading, registry
from ptycho_core.cli.main import main
from ptycho_core.formats.npz import NpzFile
from ptycho_core.scan.patterns import ArrayPatterns
from ptycho_core.settings.resolution import Resolving

BACKEND = "torch"
QUICK = ["--backend", BACKEND, "--quiet", "--threads", "1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small scan, and a model trained with it."""
    place = tmp_path_factory.mktemp("once")
    assert main(["simulate", str(place / "scan.npz"), "--size", "32", "--frames", "36"]) == 0
    assert main(["train", str(place / "scan.npz"), "-o", str(place / "run"), *TRAIN, *QUICK]) == 0
    return place


TRAIN = ["--epochs", "1", "--network-width", "4"]
FIT = ["--epochs", "1", "--iterations", "1"]


@pytest.fixture
def counted(folder, monkeypatch):
    """How often each of these is called, and, under ``frames``, how many patterns are read."""
    found = Counter()

    def count(owner, name, key, amount=lambda *_: 1):
        original = getattr(owner, name)

        def call(*arguments, **rest):
            answer = original(*arguments, **rest)
            found[key] += amount(answer, *arguments)
            return answer

        monkeypatch.setattr(owner, name, call)

    count(Resolving, "__init__", "resolved")
    for module in (registry, loading):
        count(module, "find_backends", "manifests")
    count(NpzFile, "__init__", "opened", lambda _, file, path: path == folder / "scan.npz")
    count(ArrayPatterns, "read", "frames", lambda patterns, *_: len(patterns))
    return found


@pytest.mark.parametrize(
    ("words", "times"),
    [
        (["train", *TRAIN], 1),
        (["infer", "--model", "{folder}/run"], 1),
        (["reconstruct", *FIT], 1),
        (["reconstruct", *FIT, "--start", "{folder}/run"], 2),
    ],
    ids=["train", "infer", "reconstruct", "reconstruct from a model"],
)
def test_a_command_resolves_scans_and_opens_once(folder, counted, tmp_path, words, times):
    verb, *rest = (word.format(folder=folder) for word in words)
    assert main([verb, str(folder / "scan.npz"), "-o", str(tmp_path / "out"), *rest, *QUICK]) == 0
    assert counted["resolved"] == times  # an inference that a reconstruction starts with has its own settings
    assert counted["manifests"] == 1
    assert counted["opened"] == 1
    assert counted["frames"] == 36 * times
