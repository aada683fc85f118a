"""Settings of ptycho among those of ptychodus: a section for each verb, one for the options of each backend, and their pages."""

from __future__ import annotations

from configparser import ConfigParser, Error
from typing import TYPE_CHECKING, Any, Final

from ptycho_core.errors import SettingsError, did_you_mean
from ptycho_core.settings.declare import Declaration, option_declaration
from ptycho_core.settings.groups import declarations

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from PyQt5.QtWidgets import QWidget

    from ptycho_core.contract import BackendSpec, Value

__all__ = ["SNAPSHOT", "Settings"]

SNAPSHOT: Final = Declaration(
    "snapshot_seconds", "ptychodus", "float", False, 10.0, "how often a fit shows its object, a file in batch mode", "s", 0
)
_STATED: Final = ("backend", "start", "logger", "progress", "figures", "enable_checkpointing")
"""Settings that the host or this program states."""


def _taken(verb: str) -> dict[str, Declaration]:
    """The settings of a verb but for what the host states: the data are its. A model file seals those of its network."""
    sealed = ("data", "model", "inference") if verb == "infer" else ("data",)
    found = {name: one for name, one in declarations(verb).items() if name not in _STATED}
    return {name: one for name, one in found.items() if one.group not in sealed or name == "clip_negative"}


class Settings:
    """The parameters, texts all: ptychodus would clip a number to its range without a word, and read a misspelt truth as false.

    It is ptychodus' factory of the pages, too.

    Args:
        registry: ``ptychodus.api.settings.SettingsRegistry``.
        backends: the manifests of those that are offered.
    """

    name = "ptycho"

    def __init__(self, registry: Any, backends: Iterable[BackendSpec]) -> None:  # noqa: ANN401 - ptychodus need not be installed
        self.declared = {f"Ptycho{verb.capitalize()}": _taken(verb) for verb in ("reconstruct", "train", "infer")}
        for spec in backends:
            options = {one.name: option_declaration(spec.name, one) for one in spec.options}
            self.declared[f"PtychoOptions-{spec.name}"] = options
        self.declared["Ptychodus"] = {SNAPSHOT.name: SNAPSHOT}
        self._registry = registry
        for section, names in self.declared.items():
            group = registry.create_group(section)
            for name, one in names.items():
                group.create_string_parameter(name, one.show(one.default))

    def create_view_controller(self, reconstructor_name: str) -> QWidget:
        """The page of a reconstructor: choices as combo boxes, all else as texts that are checked when a job begins."""
        from ptychodus.controller.parameters import ParameterViewBuilder

        builder, backend = ParameterViewBuilder(), reconstructor_name.removesuffix("-network")
        verbs = ("reconstruct",) if reconstructor_name == backend else ("train", "infer")
        for section in dict.fromkeys(section for verb in verbs for section in self.sections(verb, backend)):
            for name, one in self.declared[section].items():
                parameter, label = self._registry[section].parameters()[name], name.replace("_", " ")
                title = f"{section}: {one.group}" if len(verbs) > 1 else one.group
                words = ("true", "false") if one.kind == "bool" else one.choices
                tip = f"{one.help} ({', '.join(filter(None, [one.unit, one.allowed, f'default {one.show(one.default)}']))})"
                if words:
                    builder.add_combo_box(parameter, [*(["auto"] * one.optional), *words], label, tool_tip=tip, group=title)
                else:
                    builder.add_line_edit(parameter, label, tool_tip=tip, group=title)
        return builder.build_widget()

    def sections(self, verb: str, backend: str) -> list[str]:
        """The sections that a job reads."""
        return [f"Ptycho{verb.capitalize()}", f"PtychoOptions-{backend}", "Ptychodus"]

    def asked(self, verb: str, backend: str) -> dict[str, Value]:
        """What differs from its default, by the names of the Python API: a default is no request.

        Raises:
            SettingsError: a value of a wrong type, or out of its range.
        """
        return {
            one.name: value
            for section in self.sections(verb, backend)
            for name, one in self.declared[section].items()
            if (value := self.value(section, name)) != one.default and verb in one.verbs and one is not SNAPSHOT
        }

    def value(self, section: str, name: str) -> Value:
        """The value of a parameter, checked."""
        text = self._registry[section].parameters()[name].get_value()
        return self.declared[section][name].parse(text.strip(), f"[{section}] {name}")

    def open_file(self, path: Path) -> str:
        """Open a settings file, but refuse what ptychodus would pass over: a misspelt section or key, a value that cannot be.

        Args:
            path: the file.

        Returns:
            The algorithm that it names, or an empty text.

        Raises:
            SettingsError: the file holds such a thing, or is none.
        """
        config = ConfigParser(interpolation=None)
        try:
            config.read(path, "utf-8")
            self._check(config, str(path))
            self._registry.open_settings(path)
        except (Error, ValueError) as error:
            raise SettingsError(f"{path} is no settings file that can be used: {' '.join(str(error).split())}.") from None
        return config.get("Processing", "Algorithm", fallback="").strip().casefold()

    def _check(self, config: ConfigParser, where: str) -> None:
        for section in config.sections():
            if section not in self._registry and (guess := did_you_mean(section, self.declared)):
                raise SettingsError(f"{where}: there is no section [{section}].{guess}")
            ours = self.declared.get(section, {})
            for key in set(config[section]) - set(config.defaults()) if ours else ():
                if key not in ours:
                    raise SettingsError(f"{where}: [{section}] has no setting '{key}'.{did_you_mean(key, ours)}")
                ours[key].parse(config[section][key].strip(), f"{where}: [{section}]")
