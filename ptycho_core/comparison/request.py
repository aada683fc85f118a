"""What is to be compared, and what is wrong with it before anything is started."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final

from ptycho_core.errors import BackendUnusableError, SettingsError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ptycho_core.backends.states import BackendInfo
    from ptycho_core.contract import Value
    from ptycho_core.formats.opening import ScanFile
    from ptycho_core.settings.resolution import Facts, Resolved

__all__ = ["VERBS", "Candidate", "Request"]

VERBS: Final[Mapping[str, tuple[str, ...]]] = {
    "reconstruct": ("reconstruct",),
    "infer": ("infer",),
    "train": ("train", "infer"),
}
"""The verbs whose settings a job takes."""


@dataclass(frozen=True)
class Candidate:
    """A backend that takes part: its name as it was given, normalised; or why it cannot."""

    name: str
    row: BackendInfo | None
    reason: str = ""


@dataclass(frozen=True)
class Request:
    """The same job for several backends.

    Attributes:
        verb: ``reconstruct``, ``infer`` with ``model``, or ``train``, which trains and then infers the same scan.
        scan: path of the scan.
        backends: names, the first being the one that others are compared with.
        folder: for the comparison; the result of each backend is put into a folder of its name inside it.
        model: a model file, or the folder of a run.
        reference: file with the true object; without it that which the scan's file holds, if any.
        overrides: explicit settings by name, options as ``BACKEND.NAME``, which reach that backend only.
        config: settings in TOML.
        timeout: seconds for each backend; None for no limit.
        overwrite: whether the results in ``folder`` may be replaced.
        allow_unsupported: continue without the options that a backend does not support.
    """

    verb: str
    scan: str
    backends: tuple[str, ...]
    folder: Path
    model: Path | None = None
    reference: Path | None = None
    overrides: Mapping[str, object] = field(default_factory=dict)
    config: Path | None = None
    timeout: float | None = None
    overwrite: bool = False
    allow_unsupported: bool = False

    @property
    def figures(self) -> bool:
        """Whether figures are drawn, of the comparison too.

        Raises:
            SettingsError: as `resolved`.
        """
        return bool(self.resolved(VERBS[self.verb][0]).values["figures"].value)

    def check(self) -> tuple[Candidate, ...]:
        """The backends that take part, with what is known of them without running any.

        Raises:
            UsageError: no backend, or one twice.
            UnknownBackendError: there is no such backend.
            SettingsError: a setting is wrong whatever the backend.
            DataError: scan, model or reference cannot be used.
        """
        from ptycho_core.comparison.scoring import find_reference
        from ptycho_core.formats.opening import open_scan
        from ptycho_core.model import model_file
        from ptycho_core.settings.planning import resolve_for

        candidates = self._candidates()
        self._check_names({one.name.partition("@")[0] for one in candidates})
        place = self._file.path
        if self.model is not None:
            model_file(self.model)
        for verb in VERBS[self.verb]:
            self.resolved(verb)
            for one in candidates:
                if not one.reason:
                    resolve_for(verb, self._sources(verb, one.name), partial(self._facts, verb))
        open_scan(self._file, self.resolved(VERBS[self.verb][0]).groups()["data"])
        find_reference(place, self.reference)
        return candidates

    def for_backend(self, name: str) -> dict[str, dict[str, object]]:
        """The overrides of each verb for one backend: what the verb takes of the settings, the backend's options, its name."""
        from ptycho_core.settings.groups import declarations

        found = {}
        for verb in VERBS[self.verb]:
            known = declarations(verb)
            # What a training makes its model of, the model states; to say it again could only contradict it.
            sealed = (
                {one.name for one in known.values() if one.group == "model"} if self.verb == "train" and verb == "infer" else ()
            )
            own = {key: value for key, value in self.overrides.items() if key in known and key not in sealed}
            found[verb] = own
            if name:
                options = {key: value for key, value in self.overrides.items() if _owner(key) == name.partition("@")[0]}
                found[verb] = own | options | {"backend": name}
        return found

    def resolved(self, verb: str) -> Resolved:
        """Every setting of a verb as far as it is known without a backend.

        Raises:
            SettingsError: as the verb would.
            DataError: scan or model cannot be used.
        """
        from ptycho_core.settings.resolution import resolve

        return resolve(verb, **self._sources(verb, ""), facts=partial(self._facts, verb))

    @cached_property
    def _file(self) -> ScanFile:
        from ptycho_core.formats.opening import ScanFile

        return ScanFile(self.scan)

    def _sources(self, verb: str, name: str) -> dict[str, Any]:
        return {"overrides": self.for_backend(name)[verb], "environment": os.environ, "file": self.config}

    def _facts(self, verb: str, data: Mapping[str, Value]) -> Facts:
        """What the files state for a verb; of a model that is yet to be trained, nothing."""
        from ptycho_core.settings.facts import inference_facts, scan_facts
        from ptycho_core.settings.resolution import Facts

        if verb == "train":
            return Facts()
        return Facts(scan_facts(self._file, data)) if self.model is None else inference_facts(self._file, self.model, data)

    def _candidates(self) -> tuple[Candidate, ...]:
        from ptycho_core.backends.lists import NO_LISTS
        from ptycho_core.backends.registry import find_named
        from ptycho_core.backends.states import unusable
        from ptycho_core.settings.sources import SettingsFile

        found = []
        lists = NO_LISTS if self.config is None else SettingsFile(self.config).lists()
        for given in self.backends:
            try:
                row = find_named(given, lists)[0]
            except BackendUnusableError as error:  # known, but not installed: a row of the table
                found.append(Candidate(error.backend or given, None, str(error)))
                continue
            name = row.name + (f"@{given.partition('@')[2]}" if "@" in given else "")
            found.append(Candidate(name, row, "" if row.state == "ok" else str(unusable(row))))
        names = [one.name for one in found]
        if not names:
            raise UsageError("there is no backend to compare.", remedy="Name them with --backends NAME,NAME.")
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"backend '{name}' is named twice.", source="--backends")
        return tuple(found)

    def _check_names(self, backends: set[str]) -> None:
        """Refuse settings that no verb of the job knows, and options of backends that do not take part."""
        from ptycho_core.settings.groups import declarations
        from ptycho_core.settings.sources import check_name

        known = [name for verb in VERBS[self.verb] for name in declarations(verb)]
        for key, value in self.overrides.items():
            owner, where = _owner(key), getattr(value, "where", f"override '{key}'")
            if not owner:
                check_name(key, known, where)
            elif owner not in backends:
                message = f"'{key}' is an option of backend '{owner}', which is not among those that are compared"
                raise SettingsError(f"{where}: {message}: {', '.join(sorted(backends))}.", source=where)


def _owner(key: str) -> str:
    """The backend whose option a name is; empty for a setting."""
    from ptycho_core.backends.known import normalise

    owner, dot, _ = key.partition(".")
    return normalise(owner) if dot else ""
