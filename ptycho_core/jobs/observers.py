"""Observers that installed distributions bring to every job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptycho_core.backends.discovery import LOGGER, OBSERVERS, scan
from ptycho_core.events import warn
from ptycho_core.failures import in_one_line

if TYPE_CHECKING:
    from ptycho_core.contract import Observer

__all__ = ["installed_observers"]


def installed_observers() -> tuple[Observer, ...]:
    """Observers of the entry-point group ``ptycho.observers``: each entry names a callable without arguments that makes one.

    An entry ``logger.NAME`` is a logger, which takes part where it is chosen. One that cannot be loaded is a ``RuntimeWarning``
    and left out.
    """
    observers: list[Observer] = []
    for claim in scan(OBSERVERS):
        if claim.name.startswith(LOGGER):
            continue
        try:
            observers.append(claim.imported()())
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever a stranger's observer does, the run continues
            message = f"the observer '{claim.name}' ({claim.source}) cannot be loaded: {in_one_line(error, '')}"
            warn(message)
    return tuple(observers)
