"""The hooks of the TensorFlow backend: the engine's verbs on its array operations. Importing this module imports no framework."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptycho_core import hookimpl
from ptycho_core.engine import engine_hooks

if TYPE_CHECKING:
    from ptycho_core.contract import ProbeReport

(
    ptycho_backend_spec,
    _,
    ptycho_plan,
    ptycho_train,
    ptycho_infer,
    ptycho_reconstruct,
    ptycho_evaluate,
) = engine_hooks("tensorflow", __package__)


@hookimpl
def ptycho_probe() -> ProbeReport:
    """Import TensorFlow, without what it prints as it starts, and report its devices."""
    from ptycho_backend_tensorflow.starting import without_keras, without_start_messages

    with without_start_messages(), without_keras():
        from ptycho_backend_tensorflow.devices import probe

        return probe()
