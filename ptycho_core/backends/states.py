"""In what state a backend is, and why: decided from metadata and manifest, without running its code."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from ptycho_core.backends.discovery import installed_version
from ptycho_core.backends.known import known_backends
from ptycho_core.backends.manifest import find_manifest
from ptycho_core.errors import BackendUnusableError
from ptycho_core.failures import in_one_line

if TYPE_CHECKING:
    from ptycho_core import contract
    from ptycho_core.backends.discovery import EntryPointClaim
    from ptycho_core.backends.lists import AccessLists

__all__ = ["NO_OTHER", "STATES", "BackendInfo", "absent", "examine_claim", "family", "framework_state", "unusable"]

STATES: Final = ("ok", "missing", "out-of-range", "incompatible", "conflict", "blocked", "undeclared", "broken")

NO_OTHER: Final = "no other installed"
"""How a backend was chosen that is taken without its name only where it is alone."""


@dataclass(frozen=True)
class BackendInfo:
    """One backend as it is listed.

    Attributes:
        name: the backend's name.
        title: what people call it; the name where there is no manifest.
        state: one of ``STATES``.
        reason: why it is not ``ok``, a clause without a full stop; empty if it is.
        remedy: what to do about it, if anything is known.
        distribution: installed distribution that provides it; empty for one registered in this process.
        version: version of that distribution.
        framework_version: version of the framework's distribution, from its metadata; empty if unknown.
        spec: content of the manifest, if it could be read.
        claim: the entry point; None for a backend registered in this process.
        chosen_by: set by ``choose``: ``named``, ``only installed``, or `NO_OTHER`.
    """

    name: str
    title: str
    state: str
    reason: str = ""
    remedy: str = ""
    distribution: str = ""
    version: str = ""
    framework_version: str = ""
    spec: contract.BackendSpec | None = None
    claim: EntryPointClaim | None = None
    chosen_by: str = ""

    @property
    def source(self) -> str:
        """Distribution and version, or where else the backend comes from."""
        return f"{self.distribution} {self.version}".strip() or "registered in this process"

    @property
    def framework(self) -> str:
        """Name and version of its framework; empty without one, or where the version is not known."""
        named = "" if self.spec is None or self.spec.framework is None else self.spec.framework.name
        return f"{named} {self.framework_version}" if named and self.framework_version else ""

    @property
    def address(self) -> str:
        """The name that means this row and no other: ``NAME@DISTRIBUTION`` if it is installed."""
        return self.name if self.claim is None else f"{self.name}@{self.claim.distribution}"

    @property
    def only_by_name(self) -> bool:
        """Whether it is never taken unless it is named."""
        return self.spec is not None and self.spec.only_by_name

    @property
    def only_alone(self) -> bool:
        """Whether it is taken without its name only where no other one is installed that may be."""
        return self.spec is not None and self.spec.only_alone

    @property
    def declared(self) -> contract.BackendSpec | None:
        """Content of the manifest, also of a blocked one, which has no `spec`; None where it cannot be read."""
        if self.spec is None and self.claim is not None:
            with suppress(Exception):  # whatever is wrong with it, it is said elsewhere or the backend is blocked
                return find_manifest(self.claim)
        return self.spec


def examine_claim(claim: EntryPointClaim, lists: AccessLists) -> BackendInfo:
    """The state of one entry point, conflicts with others aside. Runs no third-party code."""
    known = known_backends().get(claim.name)
    title = known.title if known else claim.name
    row = BackendInfo(claim.name, title, "ok", distribution=claim.distribution, version=claim.version, claim=claim)
    blocked = lists.refusal(claim.name, claim.distribution)
    if blocked:
        return replace(row, state="blocked", reason=blocked)
    try:
        spec = find_manifest(claim)
        state, reason, remedy, found = framework_state(spec)
    except BackendUnusableError as error:
        return replace(row, state=error.state, reason=error.message, remedy=error.remedy)
    except Exception as error:  # noqa: BLE001 - whatever one distribution has in its metadata, the others are listed
        return replace(row, state="broken", reason=f"it cannot be examined: {in_one_line(error, '')}")
    return replace(row, title=spec.title, state=state, reason=reason, remedy=remedy, framework_version=found, spec=spec)


def framework_state(spec: contract.BackendSpec) -> tuple[str, str, str, str]:
    """State, reason, remedy and version of the framework, from import machinery and metadata, without importing it."""
    framework = spec.framework
    if framework is None:
        return "ok", "", "", ""
    reason = absent(framework.module, framework.name)
    if reason:
        return "missing", reason, f"Install it: {_pip_line(framework)}", ""
    for text in framework.requires:
        state, reason = _required(text)
        if reason:
            return state, f"{framework.name} needs {text}, and {reason}", f"Install it: pip install '{text}'", ""
    for distribution in framework.distributions:
        found = installed_version(distribution)
        if found is None:
            continue
        if not found or _in_range(found, framework):
            return "ok", "", "", found
        reason = f"it accepts {_range(framework)}, and {distribution} {found} is installed"
        return "out-of-range", reason, f"Install another version: {_pip_line(framework)}", found
    return "ok", "", "", ""  # a framework built from source may have no metadata; the probe tells its version


def family(spec: contract.BackendSpec | None) -> str:
    """Module of the framework at the bottom: what two backends must have in common to share a process; empty without any."""
    framework = None if spec is None else spec.framework
    return "" if framework is None else framework.builds_on or framework.module


def unusable(row: BackendInfo) -> BackendUnusableError:
    """The error for choosing a backend whose state is not ``ok``."""
    return BackendUnusableError(
        f"{row.title} backend selected, but {row.reason}{'' if row.reason.endswith('?') else '.'}",
        state=row.state,
        remedy=row.remedy,
        backend=row.name,
        distribution=f"{row.distribution} {row.version}".strip(),
    )


def absent(module: str, title: str) -> str:
    """Why a framework cannot be imported, as a reason; empty if its package is there."""
    from importlib.util import find_spec

    top = module.partition(".")[0]
    reason = f"{title} (module '{top}') is not installed"
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):  # ValueError: a module in sys.modules without a specification
        return reason
    if spec is None:
        return reason
    if spec.origin is None:  # a namespace package: any folder of that name on the path, the working directory included
        places = list(spec.submodule_search_locations or [])
        return f"{reason} (the folder {places[0]} is not a package)" if places else reason
    return ""


def _required(text: str) -> tuple[str, str]:
    """State and reason where a required package is not there or of another version; empty where it is right."""
    from packaging.requirements import Requirement

    wanted = Requirement(text)
    found = installed_version(wanted.name)
    if found is None:
        return "missing", "it is not installed"
    if found and not wanted.specifier.contains(found, prereleases=True):
        return "out-of-range", f"{wanted.name} {found} is installed"
    return "ok", ""


def _in_range(version: str, framework: contract.Framework) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        found = Version(version)
    except InvalidVersion:
        return False
    if framework.minimum and found < Version(framework.minimum):
        return False
    return not (framework.below and found >= Version(framework.below))


def _range(framework: contract.Framework) -> str:
    bounds = [f">={framework.minimum}"] if framework.minimum else []
    bounds += [f"<{framework.below}"] if framework.below else []
    return framework.distributions[0] + ",".join(bounds)


def _pip_line(framework: contract.Framework) -> str:
    wanted = _range(framework)
    return f"pip install '{wanted}'" if wanted != framework.distributions[0] else f"pip install {wanted}"
