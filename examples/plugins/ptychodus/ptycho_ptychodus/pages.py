"""The pages of settings in the window of ptychodus, made by its own builder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptychodus.controller.parameters import ParameterViewBuilder
from ptychodus.controller.processing.core import ReconstructorViewControllerFactory

if TYPE_CHECKING:
    from PyQt5.QtWidgets import QWidget

    from ptycho_ptychodus.settings import Settings

__all__ = ["Pages"]


class Pages(ReconstructorViewControllerFactory):  # type: ignore[misc]
    """A page for each reconstructor: choices as combo boxes, all else as texts that are checked when a job begins."""

    name = "ptycho"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def create_view_controller(self, reconstructor_name: str) -> QWidget:
        """The page of a reconstructor."""
        builder = ParameterViewBuilder()
        backend = reconstructor_name.removesuffix("-network")
        verbs = ("train", "infer") if reconstructor_name != backend else ("reconstruct",)
        for section in dict.fromkeys(section for verb in verbs for section in self._settings.sections(verb, backend)):
            for name, one in self._settings.declared[section].items():
                parameter, label = self._settings.parameters[section][name], name.replace("_", " ")
                title = f"{section}: {one.group}" if len(verbs) > 1 else one.group
                words = ("true", "false") if one.kind == "bool" else one.choices
                tip = f"{one.help} ({', '.join(filter(None, [one.unit, one.allowed, f'default {one.show(one.default)}']))})"
                if words:
                    builder.add_combo_box(parameter, [*(["auto"] * one.optional), *words], label, tool_tip=tip, group=title)
                else:
                    builder.add_line_edit(parameter, label, tool_tip=tip, group=title)
        return builder.build_widget()
