"""The line that ends a job whose backend was taken because no other is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptycho_core.cli.streams import say

if TYPE_CHECKING:
    from ptycho_core.settings.payload import Payload

__all__ = ["say_taken"]


def say_taken(payload: Payload) -> None:
    """Say on stderr which backend computed and what a faster one needs, where the user named none and got the last resort."""
    from ptycho_core.backends.known import how_to_install
    from ptycho_core.backends.states import NO_OTHER

    backend = payload.audit["backend"]
    if backend["chosen_by"] == NO_OTHER:
        say(
            f"Computed by backend '{backend['name']}', as no other is installed. For a faster one: {how_to_install()}", error=True
        )
