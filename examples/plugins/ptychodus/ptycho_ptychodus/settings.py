"""Settings of ptycho among those of ptychodus: one section for each verb, and one for the options of each backend."""

from __future__ import annotations

from configparser import ConfigParser, Error
from typing import TYPE_CHECKING, Any, Final

from ptycho_core.errors import SettingsError, did_you_mean
from ptycho_core.settings.declare import Declaration, option_declaration
from ptycho_core.settings.groups import declarations

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from ptycho_core.contract import BackendSpec, Value

__all__ = ["SNAPSHOT", "VERBS", "Settings"]

VERBS: Final = ("reconstruct", "train", "infer")
SNAPSHOT: Final = Declaration(
    "snapshot_seconds", "ptychodus", "float", False, 10.0, "how often a running fit shows its object, a file in batch mode",
    unit="s", minimum=0,
)  # fmt: skip
_STATED: Final = ("backend", "start", "logger", "progress", "figures", "enable_checkpointing")
"""Settings that the host or this program states."""


def _taken(verb: str) -> dict[str, Declaration]:
    """The settings of a verb but for what the host states: the data are its. A model file seals those of its network."""
    sealed = ("data", "model", "inference") if verb == "infer" else ("data",)
    found = {name: one for name, one in declarations(verb).items() if name not in _STATED}
    return {name: one for name, one in found.items() if one.group not in sealed or name == "clip_negative"}


class Settings:
    """The parameters, texts all: ptychodus would clip a number to its range without a word, and read a misspelt truth as false.

    Args:
        registry: ``ptychodus.api.settings.SettingsRegistry``.
        backends: the manifests of those that are offered.
    """

    def __init__(self, registry: Any, backends: Iterable[BackendSpec]) -> None:  # noqa: ANN401 - ptychodus need not be installed
        self.declared = {f"Ptycho{verb.capitalize()}": _taken(verb) for verb in VERBS}
        for spec in backends:
            if spec.options:
                options = {one.name: option_declaration(spec.name, one) for one in spec.options}
                self.declared[_own(spec.name)] = options
        self.declared["Ptychodus"] = {SNAPSHOT.name: SNAPSHOT}
        self.parameters: dict[str, dict[str, Any]] = {}
        for section, names in self.declared.items():
            group = registry.create_group(section)
            self.parameters[section] = {
                name: group.create_string_parameter(name, one.show(one.default)) for name, one in names.items()
            }

    def sections(self, verb: str, backend: str) -> list[str]:
        """The sections that a job reads."""
        return [one for one in (f"Ptycho{verb.capitalize()}", _own(backend), "Ptychodus") if one in self.declared]

    def asked(self, verb: str, backend: str) -> dict[str, Value]:
        """What differs from its default, by the names of the Python API: a default is no request.

        Raises:
            SettingsError: a value of a wrong type, or out of its range.
        """
        found = {}
        for section in self.sections(verb, backend):
            for name, one in self.declared[section].items():
                value = self.value(section, name)
                if value != one.default and verb in one.verbs and one is not SNAPSHOT:
                    found[one.name] = value
        return found

    def value(self, section: str, name: str) -> Value:
        """The value of a parameter, checked."""
        return self.declared[section][name].parse(self.parameters[section][name].get_value().strip(), f"[{section}] {name}")

    def check_file(self, path: Path, known: Collection[str]) -> str:
        """Refuse what ptychodus would pass over in a settings file: a misspelt section or key of ours, a value that cannot be.

        Args:
            path: the file.
            known: all sections that there are.

        Returns:
            The algorithm that it names, or an empty text.

        Raises:
            SettingsError: the file holds such a thing, or is none.
        """
        config = ConfigParser(interpolation=None)
        try:
            config.read(path, "utf-8")
        except (Error, UnicodeDecodeError) as error:
            raise SettingsError(f"{path} is no settings file: {' '.join(str(error).split())}.") from None
        for section in config.sections():
            if section not in known and (guess := did_you_mean(section, self.declared)):
                raise SettingsError(f"{path}: there is no section [{section}].{guess}")
            for key in set(config[section]) - set(config.defaults()) if section in self.declared else ():
                if (one := self.declared[section].get(key)) is None:
                    raise SettingsError(f"{path}: [{section}] has no setting '{key}'.{did_you_mean(key, self.declared[section])}")
                one.parse(config[section][key].strip(), f"{path}: [{section}]")
        return config.get("Processing", "Algorithm", fallback="").strip().casefold()


def _own(backend: str) -> str:
    """The section of a backend's options."""
    return f"PtychoOptions-{backend}"
