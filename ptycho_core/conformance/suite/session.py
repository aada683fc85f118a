"""The course of a session of the kit: what applies, in which order, what blocks what, and what counts as proven."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from ptycho_core.conformance.suite.exceptions import read_exceptions
from ptycho_core.conformance.suite.marks import CONTRACT, MARK, NOTHING, applies
from ptycho_core.errors import PtychoError
from ptycho_core.imaging.report import write_json

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence

    from ptycho_core.backends.states import BackendInfo
    from ptycho_core.contract import BackendSpec

__all__ = ["Session", "identity", "set_up"]

FOLDER: Final = Path(__file__).parent
_DONE: Final = ("passed", "failed", "xfailed")


def set_up(config: pytest.Config) -> None:
    """Register the session of the backend that ``--ptycho-backend`` names.

    Raises:
        pytest.UsageError: no such backend, a wrong file of expected failures, or no place for the report.
    """
    from ptycho_core.backends.registry import find_named

    name, file = str(config.getoption("--ptycho-backend")), config.getoption("--ptycho-xfails")
    try:
        row = find_named(name)[0]
        expected = {} if file is None else read_exceptions(Path(file))
    except PtychoError as error:
        raise pytest.UsageError(str(error)) from error
    if config.getoption("numprocesses", default=None):
        raise pytest.UsageError("What a test of the kit needs must have run before it: run it without -n.")
    report = config.getoption("--ptycho-report")
    if report is not None and (Path(report).is_dir() or not Path(report).absolute().parent.is_dir()):
        raise pytest.UsageError(f"--ptycho-report={report}: no file can be written there; name one in a folder that exists.")
    config.addinivalue_line("markers", f"{MARK}(claims, needs, since): for whom a test of the kit is, and what it needs")
    config.addinivalue_line("markers", f"{NOTHING}: a test of the kit for which the manifest leaves no case")
    config.pluginmanager.register(Session(row, expected, config), "ptycho-kit")


def identity(item: pytest.Item) -> str:
    """How a test of the kit is named in reports and files: ``test_module.py::test_name[parameters]``."""
    return f"{item.path.name}::{item.name}"


class Session:
    """A pytest plugin for one session.

    Attributes:
        row: the backend, in whatever state.
        outcomes: ``passed``, ``failed``, ``xfailed`` or ``blocked`` by test id.
    """

    def __init__(self, row: BackendInfo, expected: Mapping[str, str], config: pytest.Config) -> None:
        self.row, self.outcomes = row, dict[str, str]()
        self._expected, self._config = dict(expected), config
        self._items: dict[str, pytest.Item] = {}
        self._reasons: dict[str, str] = {}
        self._problems: list[str] = []
        self._seconds: dict[str, float] = {}
        self._began = time.perf_counter()

    @property
    def spec(self) -> BackendSpec | None:
        """The manifest, if it could be read."""
        return self.row.spec

    def pytest_report_header(self) -> str:
        """Say what is proven."""
        claims = "its manifest cannot be used" if self.spec is None else f"claims {', '.join(self.spec.capabilities)}"
        return f"ptycho: backend {self.row.name} ({self.row.source}), state {self.row.state}, {claims}"

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Parametrise by what the manifest claims and by what it does not."""
        from ptycho_core.conformance.suite.cases import CASES

        if FOLDER not in Path(metafunc.module.__file__ or "").parents:
            return
        for name in set(metafunc.fixturenames) & CASES.keys():
            found: Sequence[Any] = [] if self.spec is None else CASES[name](self.spec)
            nothing = [pytest.param(None, marks=getattr(pytest.mark, NOTHING))]
            metafunc.parametrize(name, found or nothing, ids=str)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Keep what applies, each test after those that it needs."""
        own = [item for item in items if FOLDER in item.path.parents]
        kept = [item for item in own if self._applies(item)]
        others = [item for item in items if FOLDER not in item.path.parents]
        dropped = [item for item in own if item not in kept]
        if dropped:
            config.hook.pytest_deselected(items=dropped)
        self._items = {identity(item): item for item in _sorted(kept)}
        items[:] = [*others, *self._items.values()]
        for name, reason in self._expected.items():
            if name in self._items:
                self._items[name].add_marker(pytest.mark.xfail(reason=reason, strict=True))
            else:
                self._problems.append(f"expected to fail, but no such test runs for this backend: {name}")

    def _applies(self, item: pytest.Item) -> bool:
        mark = item.get_closest_marker(MARK)
        if item.get_closest_marker(NOTHING) is not None:
            return False
        assert mark is not None, f"{identity(item)} does not say for whom it is"
        return applies(mark.kwargs["claims"], mark.kwargs["since"], self.spec)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Block a test for which something that it needs did not pass."""
        if self._items.get(identity(item)) is not item:
            return
        for name in item.get_closest_marker(MARK).kwargs["needs"]:  # type: ignore[union-attr]
            bad = [one for one in self._instances(name, item) if self.outcomes.get(one, "passed") != "passed"]
            if bad:
                self._reasons[identity(item)] = f"{bad[0]}: {self.outcomes[bad[0]]}"
                pytest.skip(f"blocked by {bad[0]}")

    def _instances(self, name: str, item: pytest.Item) -> list[str]:
        mine = _parameters(item)
        return [
            key
            for key, one in self._items.items()
            if _function(one) == name and all(mine.get(word, value) == value for word, value in _parameters(one).items())
        ]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Note what became of a test."""
        report = yield
        name = identity(item)
        if self._items.get(name) is not item:
            return report
        self._seconds[name] = self._seconds.get(name, 0.0) + call.duration
        outcome: str = report.outcome
        if outcome == "skipped":
            outcome = "xfailed" if hasattr(report, "wasxfail") else "blocked"
            if outcome == "blocked":
                report.blocked = self._reasons.setdefault(name, str(getattr(report, "longrepr", "")))  # type: ignore[attr-defined]
        if outcome != "passed":
            self.outcomes[name] = outcome
            if outcome == "failed":
                self._reasons[name] = _last_line(report)
        elif call.when == "call":
            self.outcomes.setdefault(name, outcome)
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> Any:  # noqa: ANN401 - as pytest takes it
        """A separate category for what is blocked."""
        if getattr(report, "blocked", None):
            return "blocked", "b", ("BLOCKED", {"yellow": True})
        return None

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """A session that proves nothing, or not all that is claimed, fails."""
        if self._config.option.collectonly:
            return
        self._problems += self._unproven()
        if self._problems and int(exitstatus) in (int(pytest.ExitCode.OK), int(pytest.ExitCode.NO_TESTS_COLLECTED)):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        target = self._config.getoption("--ptycho-report")
        if target is not None:
            write_json(Path(target), self._report())

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what is proven of each claim, and what is wrong with the session."""
        terminalreporter.section(f"backend {self.row.name}")
        for word, counts in self._counts().items():
            text = ", ".join(f"{number} {outcome}" for outcome, number in counts.items() if number)
            terminalreporter.line(f"{word:<14} {text or 'no test'}")
        for problem in self._problems:
            terminalreporter.line(f"NOT PROVEN: {problem}", red=True)

    def _claims(self) -> list[str]:
        return [CONTRACT, *([] if self.spec is None else [word for word in self.spec.capabilities if not word.startswith("x-")])]

    def _unproven(self) -> Iterable[str]:
        if not any(outcome in _DONE for outcome in self.outcomes.values()):
            yield "no test ran"
            return
        for word, counts in self._counts().items():
            if not counts["passed"] + counts["failed"]:
                yield f"'{word}' is claimed, but no test of it ran"

    def _counts(self) -> dict[str, dict[str, int]]:
        found = {word: dict.fromkeys(("passed", "failed", "xfailed", "blocked"), 0) for word in self._claims()}
        for name, outcome in self.outcomes.items():
            for word in self._items[name].get_closest_marker(MARK).kwargs["claims"]:  # type: ignore[union-attr]
                if word in found:
                    found[word][outcome] += 1
        return found

    def _report(self) -> dict[str, Any]:
        from ptycho_core.conformance.suite.report import report

        tests = [
            {
                "id": name,
                "claims": list(item.get_closest_marker(MARK).kwargs["claims"]),  # type: ignore[union-attr]
                "outcome": self.outcomes.get(name, "not run"),
                "reason": self._expected.get(name, self._reasons.get(name, "")),
                "seconds": round(self._seconds.get(name, 0.0), 3),
            }
            for name, item in self._items.items()
        ]
        spent = os.times()
        cost = {
            "seconds": round(time.perf_counter() - self._began, 1),
            "cpu_seconds": round(spent.user + spent.system + spent.children_user + spent.children_system, 1),
        }
        return report(self.row, tests, self._counts(), self._problems, str(self._config.getoption("--ptycho-device")), cost)


def _sorted(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """The tests in their order, but each after those that it needs."""
    by_function: dict[str, list[pytest.Item]] = {}
    for item in items:
        by_function.setdefault(_function(item), []).append(item)
    done: dict[str, None] = {}

    def put(function: str, above: tuple[str, ...]) -> None:
        assert function not in above, f"{' needs '.join([*above, function])}: a circle"
        for item in by_function.get(function, []) if function not in done else []:
            for name in item.get_closest_marker(MARK).kwargs["needs"]:  # type: ignore[union-attr]
                put(name, (*above, function))
        done.setdefault(function)

    for function in by_function:
        put(function, ())
    return [item for function in done for item in by_function.get(function, [])]


def _function(item: pytest.Item) -> str:
    return str(getattr(item, "originalname", item.name))


def _parameters(item: pytest.Item) -> dict[str, Any]:
    callspec = getattr(item, "callspec", None)
    return {} if callspec is None else dict(callspec.params)


def _last_line(report: pytest.TestReport) -> str:
    """What a failure says, in one line."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = str(report.longrepr) if crash is None else str(crash.message)
    return next((line.strip() for line in text.splitlines() if line.strip()), "")[:500]
