"""Forward models by name: from object, probe and positions to expected counts, and back along the adjoints.

A new one is a module here with a class that follows `model.ForwardModel`, and its line in `FORWARD_MODELS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ptycho_core.engine.forward.far_field import FarField

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ptycho_core.engine.forward.model import ForwardModel

__all__ = ["DEFAULT", "FORWARD_MODELS"]

FORWARD_MODELS: Final[Mapping[str, ForwardModel]] = {model.name: model for model in (FarField(),)}
"""The forward models there are."""

DEFAULT: Final[ForwardModel] = FORWARD_MODELS["far-field"]
"""The one that jobs compute with."""
