"""The batch mode of ptychodus with an algorithm of ptycho: nothing is passed over in silence, and a stop keeps the result."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any, Final

from ptychodus.api.exit_codes import ExitCode
from ptychodus.api.io import StandardFileLayout, save_product
from ptychodus.api.reconstruct import TrainableReconstructor

from ptycho_core.errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ptycho_ptychodus.library import Library

__all__ = ["execute"]

_TERM_SECONDS: Final = 8.0
"""SIGTERM leaves so long to end an epoch; a batch system kills what takes much longer."""


def execute(library: Library, core: Any, action: str, given: Path, results: Path, act: Callable[[], int]) -> int:  # noqa: ANN401
    """Check the settings, act, and write ``product.h5``; the exit status, as ptychodus has it.

    Args:
        library: of ptycho.
        core: ``ptychodus.model.ModelCore``.
        action: ``reconstruct`` or ``train``.
        given: the folder of the input.
        results: the folder of the results.
        act: the batch mode itself.

    Raises:
        SettingsError: a setting that cannot be, or an algorithm that is not there or does not do what is asked.
    """
    _check(library, core, action, StandardFileLayout.SETTINGS.path(given))
    if core.processing_core.algorithm_parameter.get_current_reconstructor() not in list(library):
        return act()

    def stop(number: int, _: object) -> None:
        library.stop.set()
        for one in before:
            signal.signal(one, signal.SIG_DFL)  # the second ends the process, and with it the job
        if number == signal.SIGTERM:
            timer = threading.Timer(_TERM_SECONDS, os._exit, [ExitCode.CANCELLED])
            timer.daemon = True
            timer.start()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        status = act()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if library.last is not None and status == ExitCode.SUCCESS:
        place = StandardFileLayout.PRODUCT.path(results)
        save_product(unfinished := place.with_suffix(".unfinished"), library.last)
        unfinished.replace(place)
    return ExitCode.CANCELLED if library.stop.is_set() else status


def _check(library: Library, core: Any, action: str, path: Path) -> None:  # noqa: ANN401
    """Open the settings, whose mistakes ptychodus passes over, and look at the algorithm."""
    asked = ""
    if path.is_file():
        asked = library.settings.check_file(path, list(core.settings_registry))
        try:
            core.settings_registry.open_settings(path)
        except ValueError as error:
            raise SettingsError(f"{path}: {error}.") from None
    chosen = core.processing_core.algorithm_parameter
    asked = asked or chosen.get_value()
    there = list(chosen.available_reconstructors())
    if asked not in there:
        raise SettingsError(f"{path}: there is no algorithm '{asked}'.{did_you_mean(asked, there)} There are {', '.join(there)}.")
    if action == "train" and not isinstance(chosen.get_current_reconstructor(), TrainableReconstructor):
        raise SettingsError(f"{path}: the algorithm '{asked}' does not train.{did_you_mean(f'{asked}-network', there)}")
