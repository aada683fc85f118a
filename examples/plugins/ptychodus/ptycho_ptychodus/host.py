"""The command ``ptycho-ptychodus``: ptychodus, unchanged, with ptycho's reconstructors and its pages of settings.

ptychodus has no door for a library. Three of its functions are wrapped, after a look at their signatures: the constructors that
get libraries and pages, and the batch mode, which would lose an unknown algorithm, the last product and the reason of a failure.
"""

from __future__ import annotations

import inspect
import os
import signal
import sys
import threading
from functools import wraps
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from ptycho_core.cli.main import INTERRUPTED
from ptycho_core.errors import PtychoError, SettingsError, UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ptycho_ptychodus.library import Library

__all__ = ["Host", "run"]

_TERM_SECONDS: Final = 8.0
"""SIGTERM leaves so long to end an epoch; a batch system kills what takes much longer."""

_VERSION: Final = "1.7"
_REMEDY: Final = f"Install the version that this was written for: pip install 'ptychodus=={_VERSION}.*'"
_LIBRARIES: Final = "task_manager settings_registry product_api algorithm_libraries"
_BATCH: Final = "action input_directory output_directory"
_PAGES: Final = (
    "algorithm_parameter processing_api product_repository product_table_model globus genesis view status_view"
    " file_dialog_factory view_controller_factories"
)


def run() -> int:
    """The console script; the exit status."""
    try:
        Host().install()
        from ptychodus.__main__ import main

        return int(main())
    except PtychoError as error:
        print(f"ptycho-ptychodus: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return INTERRUPTED


class Host:
    """ptychodus in this process."""

    library: Library

    def install(self) -> None:
        """Wrap what has to be.

        Raises:
            UsageError: ptychodus is not there, of another version, or not as it was.
        """
        try:
            found = metadata.version("ptychodus")
        except metadata.PackageNotFoundError:
            raise UsageError("ptychodus is not installed.", remedy=_REMEDY) from None
        if not found.startswith(f"{_VERSION}."):
            raise UsageError(f"ptychodus {found} is installed; this works with {_VERSION} alone.", remedy=_REMEDY)
        _wrap("model.processing.core:ProcessingCore.__init__", _LIBRARIES, self._with_library)
        _wrap("model.core:ModelCore.batch_mode_execute", _BATCH, self._in_batch)
        if find_spec("PyQt5") is not None:
            _wrap("controller.processing.core:ProcessingController.__init__", _PAGES, self._with_pages)

    def _with_library(self, original: Callable[..., None], core: Any, *arguments: Any) -> None:  # noqa: ANN401 - of ptychodus
        from ptycho_ptychodus.library import Library

        self.library = Library(arguments[1])
        original(core, *arguments[:-1], [*arguments[-1], self.library])
        self.library.monitor = core.processing_api.task_monitor

    def _with_pages(self, original: Callable[..., None], *arguments: Any) -> None:  # noqa: ANN401 - of ptychodus
        original(*arguments[:-1], [*arguments[-1], self.library.settings])

    def _in_batch(self, original: Callable[..., int], core: Any, action: str, given: Path, results: Path) -> int:  # noqa: ANN401
        """Check the settings, act, keep the result of a stop, and write ``product.h5``."""
        from ptychodus.api.io import StandardFileLayout, save_product

        self._check(core, action, StandardFileLayout.SETTINGS.path(given))
        if core.processing_core.algorithm_parameter.get_current_reconstructor() not in list(self.library):
            return original(core, action, given, results)
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            status = original(core, action, given, results)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if self.library.last is not None and not status:
            place = StandardFileLayout.PRODUCT.path(results)
            save_product(unfinished := place.with_suffix(".unfinished"), self.library.last)
            unfinished.replace(place)
        return INTERRUPTED if self.library.stopped else status

    def _stop(self, number: int, _: object) -> None:
        """Ask the job to stop; the second signal ends the process, and with it the job."""
        self.library.stopped = True
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, signal.SIG_DFL)
        if number == signal.SIGTERM:
            timer = threading.Timer(_TERM_SECONDS, os._exit, [INTERRUPTED])
            timer.daemon = True
            timer.start()

    def _check(self, core: Any, action: str, path: Path) -> None:  # noqa: ANN401 - of ptychodus
        """Open the settings, whose mistakes ptychodus passes over, and look at the algorithm.

        Raises:
            SettingsError: a setting that cannot be, or an algorithm that is not there or does not do what is asked.
        """
        asked = self.library.settings.open_file(path) if path.is_file() else ""
        asked = asked or core.processing_core.algorithm_parameter.get_value()
        processing = core.processing_core.processing_api
        there = list(processing.available_reconstructors())
        if asked not in there:
            guess = did_you_mean(asked, there)
            raise SettingsError(f"{path}: there is no algorithm '{asked}'.{guess} There are {', '.join(there)}.")
        if action == "train" and not processing.is_reconstructor_trainable():
            raise SettingsError(f"{path}: the algorithm '{asked}' does not train.{did_you_mean(f'{asked}-network', there)}")


def _wrap(place: str, names: str, act: Callable[..., Any]) -> None:
    """Put ``act`` around a method, which it gets first; ``names`` are those of the method's arguments."""
    module, _, path = place.partition(":")
    owner, name = path.split(".")
    there = getattr(import_module(f"ptychodus.{module}"), owner, None)
    original = getattr(there, name, None)
    if original is None or list(inspect.signature(original).parameters) != ["self", *names.split()]:
        raise UsageError(f"{path} of ptychodus does not take ({', '.join(names.split())}).", remedy=_REMEDY)

    @wraps(original)
    def around(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - of ptychodus
        return act(original, *inspect.signature(original).bind(*arguments, **named).args)

    setattr(there, name, around)
