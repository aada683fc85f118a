"""Loading the one chosen backend, and calling its hooks so that whatever it does wrong is reported with its name."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from types import ModuleType
from typing import NoReturn, TypeVar

import pluggy

from ptycho_core import contract, hookspecs
from ptycho_core.backends.known import known_backends
from ptycho_core.backends.registry import backends_that, find_backends, registered_plugin
from ptycho_core.backends.states import BackendInfo, family, unusable
from ptycho_core.errors import BackendError, BackendUnusableError, CapabilityError, HookError, PtychoError, did_you_mean
from ptycho_core.failures import in_one_line

__all__ = ["NEUTRAL", "REQUIRED_HOOKS", "Backend", "load"]

NEUTRAL = frozenset(
    {"h5py", "matplotlib", "numpy", "packaging", "pluggy", "rich", "safetensors", "scipy", "skimage", "threadpoolctl", "tifffile"}
)
"""Modules that the core itself imports: they disturb no backend, even one that calls them its framework."""

REQUIRED_HOOKS = ("ptycho_backend_spec", "ptycho_probe", "ptycho_plan")
_Answer = TypeVar("_Answer")
_END = object()
_brought: dict[str, set[str]] = {}
"""Modules that came into this process while a backend of a framework worked: TensorFlow imports JAX where it is installed."""


def load(row: BackendInfo, *, allow_mixed_frameworks: bool = False, rows: Iterable[BackendInfo] | None = None) -> Backend:
    """Import the hook module of one backend, and only that, and check that it keeps the contract.

    The variables of its manifest's environment are set first, those that are not set already.

    Args:
        row: what ``choose`` returned.
        allow_mixed_frameworks: load it although another backend's framework is already imported in this process.
        rows: what ``find_backends`` gave, where a job has looked already.

    Raises:
        BackendUnusableError: its state is not ``ok``, or its import fails (state ``broken``).
        BackendError: another framework is already imported.
        HookError: it breaks the contract.
    """
    if row.state != "ok" or row.spec is None:
        raise unusable(row)
    if not allow_mixed_frameworks:
        _refuse_mixture(row, find_backends() if rows is None else rows)
    environment = {name: value for name, value in row.spec.environment.items() if name not in os.environ}
    os.environ.update(environment)
    framework = row.spec.framework.module if row.spec.framework else ""
    already = framework in sys.modules
    plugin = registered_plugin(row.name) if row.claim is None else _import_plugin(row)
    backend = Backend(row, plugin, environment)
    if framework and not already and framework in sys.modules:
        backend.violation(f"imports '{framework}' when it is loaded; only ptycho_probe and the verbs may")
    return backend


class Backend:
    """A loaded backend: its hooks as methods.

    Whatever a hook raises becomes a ``BackendError`` with type, reason and the line of the plugin, except ``PtychoError``,
    ``KeyboardInterrupt`` and ``MemoryError``, which pass unchanged. ``None`` or an answer of a wrong type is a ``HookError``.

    Attributes:
        name: the backend's name.
        spec: its manifest.
        source: the distribution and version that provide it.
        environment: variables that were set for it, because they were not set before.
    """

    def __init__(self, row: BackendInfo, plugin: object, environment: dict[str, str]) -> None:
        assert row.spec is not None
        self.name = row.name
        self.spec = row.spec
        self.source = row.source
        self.environment = environment
        self._top = (plugin.__name__ if isinstance(plugin, ModuleType) else type(plugin).__module__).partition(".")[0]
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._register(plugin)

    def probe(self) -> contract.ProbeReport:
        """Import the framework and report what it offers."""
        return self._call("ptycho_probe", contract.ProbeReport)

    def plan(self, request: contract.ExecutionRequest, probe: contract.ProbeReport) -> contract.ExecutionPlan:
        """Resolve how a job will run; each requested option is answered, and nothing else."""
        plan = self._call("ptycho_plan", contract.ExecutionPlan, request=request, probe=probe)
        answered = set(plan.dispositions)
        if answered != request.requested:
            forgotten, extra = request.requested - answered, answered - request.requested
            what = "leaves without a disposition" if forgotten else "answers unasked"
            self.violation(f"{what}: {', '.join(sorted(forgotten or extra))}", "ptycho_plan")
        answers: dict[str, object] = dict(plan.dispositions)
        for name, answer in answers.items():
            if not isinstance(answer, contract.Disposition) or answer.kind not in ("applied", "adjusted", "unsupported"):
                self.violation(f"gives '{name}' no disposition but {answer!r}", "ptycho_plan")
        return plan

    def train(self, job: contract.TrainJob, plan: contract.ExecutionPlan, events: contract.EventSink) -> contract.TrainResult:
        """Fit a network."""
        self._check("train", job)
        return self._call("ptycho_train", contract.TrainResult, job=job, plan=plan, events=events)

    def infer(
        self, job: contract.InferJob, plan: contract.ExecutionPlan, events: contract.EventSink
    ) -> Iterator[contract.InferBatch | contract.InferTile]:
        """Make the object of a scan in one pass; parts come as they are computed, an error in between names the backend too."""
        self._check("infer", job)
        batches = self._call("ptycho_infer", Iterator, job=job, plan=plan, events=events)  # type: ignore[type-abstract]
        return self._guarded(batches)

    def reconstruct(
        self, job: contract.ReconstructJob, plan: contract.ExecutionPlan, events: contract.EventSink
    ) -> contract.ReconstructResult:
        """Fit object, probe and, if asked, positions to one scan."""
        self._check("reconstruct", job)
        return self._call("ptycho_reconstruct", contract.ReconstructResult, job=job, plan=plan, events=events)

    def evaluate(
        self, job: contract.EvaluateJob | contract.EvaluateBatchJob, plan: contract.ExecutionPlan
    ) -> contract.EvaluateResult:
        """Forward model, loss terms and gradients of one batch."""
        self._check("evaluate", job)
        return self._call("ptycho_evaluate", contract.EvaluateResult, job=job, plan=plan)

    def violation(self, what: str, hook: str = "") -> NoReturn:
        """Raise the ``HookError`` that says which rule of the contract the backend breaks, and where to report it."""
        url = f": {self.spec.issues_url}" if self.spec.issues_url else ""
        where = f"{hook} of backend '{self.name}'" if hook else f"backend '{self.name}'"
        raise HookError(
            f"{where} ({self.source}) {what}{'' if what.endswith('?') else '.'}",
            remedy=f"This is a bug in the backend; please report it{url}",
            backend=self.name,
            distribution=self.source,
        )

    def _register(self, plugin: object) -> None:
        try:
            self._manager.register(plugin, self.name)
        except pluggy.PluginValidationError as error:  # a hook asks for an argument that its specification lacks
            self.violation(f"does not fit the contract: {' '.join(str(error).split())}")
        callers = self._manager.get_hookcallers(plugin) or []
        specified = {name for name in vars(hookspecs) if name.startswith("ptycho_")}
        try:
            self._manager.check_pending()
        except pluggy.PluginValidationError:
            unknown = sorted(caller.name for caller in callers if not caller.has_spec())
            hint = did_you_mean(unknown[0], specified)
            self.violation(f"has a hook '{unknown[0]}' that the contract does not know.{hint}".rstrip("."))
        present = {caller.name for caller in callers}
        for hook in REQUIRED_HOOKS:
            if hook not in present:
                self.violation(f"lacks the required hook {hook}")
        for verb in contract.VERBS:
            if verb in self.spec.capabilities and f"ptycho_{verb}" not in present:
                self.violation(f"claims '{verb}' but lacks the hook ptycho_{verb}")
        spec = self._call("ptycho_backend_spec", contract.BackendSpec)
        for field in fields(spec):
            said, declared = getattr(spec, field.name), getattr(self.spec, field.name)
            if said != declared:
                self.violation(f"says {field.name} = {said!r}, but its manifest says {declared!r}", "ptycho_backend_spec")

    def _check(self, verb: str, job: contract.Job) -> None:
        """That the backend provides the verb, and that the job can be done by any backend that does."""
        from ptycho_core.checks import check_job, in_near_field, with_bounds

        if verb not in self.spec.capabilities:
            offered = ", ".join(word for word in self.spec.capabilities if word in contract.VERBS)
            message = f"backend '{self.name}' does not provide '{verb}', only {offered}."
            remedy = backends_that(lambda other: verb in other.capabilities, is_verb=True)
            raise CapabilityError(message, remedy=remedy, backend=self.name)
        for word, what, so in (
            ("near-field", in_near_field(job), "is in the near field"),
            ("saturation", with_bounds(job), "has saturated pixels"),
        ):
            if what and word not in self.spec.capabilities:
                message = f"backend '{self.name}' does not provide '{word}', and {what} {so}."
                remedy = backends_that(lambda other, word=word: {verb, word} <= set(other.capabilities))  # type: ignore[misc]
                raise CapabilityError(message, remedy=remedy, backend=self.name)
        check_job(job)

    def _call(self, hook: str, wanted: type[_Answer], /, **arguments: object) -> _Answer:
        with self._blamed(hook):
            answer = getattr(self._manager.hook, hook)(**arguments)
        if not isinstance(answer, wanted):
            given = "None" if answer is None else type(answer).__name__
            article = "an" if wanted.__name__[0] in "AEIOU" else "a"
            self.violation(f"returned {given}; the contract requires {article} {wanted.__name__}", hook)
        return answer

    def _guarded(self, batches: Iterator[object]) -> Iterator[contract.InferBatch | contract.InferTile]:
        while True:
            with self._blamed("ptycho_infer"):
                batch = next(batches, _END)
            if batch is _END:
                return
            if not isinstance(batch, contract.InferBatch | contract.InferTile):
                text = f"yielded {type(batch).__name__}; the contract requires an InferBatch or an InferTile"
                self.violation(text, "ptycho_infer")
            yield batch

    @contextmanager
    def _blamed(self, hook: str) -> Iterator[None]:
        """Whatever a hook raises inside is the backend's failure, but for our own errors and a lack of memory."""
        before = set(sys.modules)
        try:
            yield
        except (PtychoError, KeyboardInterrupt, MemoryError):
            raise
        except BaseException as error:
            raise BackendError(
                f"backend '{self.name}' ({self.source}) failed in {hook}: {in_one_line(error, self._top)}.",
                remedy="Add --traceback to see the whole trace.",
                backend=self.name,
                distribution=self.source,
            ) from error
        finally:
            _brought.setdefault(family(self.spec), set()).update(sys.modules.keys() - before)


def _import_plugin(row: BackendInfo) -> object:
    assert row.claim is not None
    try:
        plugin: object = row.claim.imported()
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:
        raise BackendUnusableError(
            f"backend '{row.name}' ({row.source}) cannot be loaded: {in_one_line(error, row.claim.module.partition('.')[0])}.",
            state="broken",
            remedy=f"Run 'ptycho backends doctor {row.name}' for the trace.",
            backend=row.name,
            distribution=row.source,
        ) from error
    return plugin


def _refuse_mixture(row: BackendInfo, rows: Iterable[BackendInfo]) -> None:
    if row.spec is None or row.spec.framework is None:  # a backend without a framework disturbs none
        return
    own = family(row.spec)
    frameworks = {known.module: (known.title, known.module) for known in known_backends().values()}
    for item in rows:
        if item.spec and item.spec.framework:
            frameworks[item.spec.framework.module] = item.spec.framework.name, family(item.spec)
    for module, (title, below) in sorted(frameworks.items()):
        if below != own and module in sys.modules and module not in {*NEUTRAL, *_brought.get(own, ())}:
            raise BackendError(
                f"{title} (module '{module}') is already imported in this process, and backend '{row.name}' uses another one.",
                remedy="Start it in a separate process, or set allow_mixed_frameworks.",
                backend=row.name,
                distribution=row.source,
            )
