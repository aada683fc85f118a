import os
import sys

import pytest

from ptycho_core import backends
from ptycho_core.backends.known import known_backends
from ptycho_core.contract import BackendSpec, Device, Disposition, ExecutionPlan, OptionSpec, ProbeReport
from ptycho_core.hookspecs import hookimpl

OPTIONS = (
    OptionSpec("compile", "bool", False, "translate before running"),
    OptionSpec("streams", "int", 2, "copies in flight", minimum=1, maximum=8),
    OptionSpec("kernel", "str", "fast", "which kernel", choices=("fast", "exact")),
)


def acme_spec(**changes):
    said = {
        "name": "acme",
        "title": "Acme",
        "contract": (2, 0),
        "framework": None,
        "capabilities": ("reconstruct", "evaluate"),
        "accelerators": ("cpu", "cuda"),
        "precisions": ("float32", "float64"),
        "options": OPTIONS,
    }
    return BackendSpec(**{**said, **changes})


class Acme:
    """A complete small backend: applies what it is asked, but refuses the seed 13 and runs with at most two threads."""

    def __init__(self, spec):
        self.spec = spec
        self.requests = []
        self.forgets = ""

    @hookimpl
    def ptycho_backend_spec(self):
        return self.spec

    @hookimpl
    def ptycho_probe(self):
        return ProbeReport("1.0", (Device("cpu", "cpu"),), self.spec.precisions)

    @hookimpl
    def ptycho_plan(self, request, probe):
        self.requests.append(request)
        effective = dict(request.execution) | {"accelerator": "cpu", "threads": min(request.execution["threads"] or 2, 2)}
        answers = {name: self.answer(name, request, effective) for name in request.requested}
        effective.pop(self.forgets, None)
        return ExecutionPlan("cpu", effective, dict(request.options), answers)

    @staticmethod
    def answer(name, request, effective):
        if name == "seed" and request.execution["seed"] == 13:
            return Disposition("unsupported", None, "it is unlucky")
        if name == "threads" and effective["threads"] != request.execution["threads"]:
            return Disposition("adjusted", effective["threads"], "at most two")
        return Disposition("applied", effective.get(name))

    @hookimpl
    def ptycho_reconstruct(self, job, plan, events):
        raise AssertionError("nothing is computed here")

    @hookimpl
    def ptycho_train(self, job, plan, events):
        raise AssertionError("nothing is computed here")

    @hookimpl
    def ptycho_infer(self, job, plan, events):
        raise AssertionError("nothing is computed here")

    @hookimpl
    def ptycho_evaluate(self, job, plan):
        raise AssertionError("nothing is computed here")


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in list(os.environ):
        if name.startswith("PTYCHO_"):
            monkeypatch.delenv(name)


@pytest.fixture
def acme(monkeypatch):
    """Registers the backend, with changes to its manifest if called with some; under another name too."""
    for known in known_backends().values():  # other tests may have imported a framework; one a process is not the matter here
        monkeypatch.delitem(sys.modules, known.module, raising=False)
    made = []

    def register(**changes):
        plugin = Acme(acme_spec(**changes))
        backends.register(plugin.spec.name, plugin, plugin.spec)
        made.append(plugin)
        return plugin

    yield register
    for name in {plugin.spec.name for plugin in made}:
        backends.unregister(name)
