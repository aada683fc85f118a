"""The hooks of the NumPy backend: the engine's verbs on its array operations. Importing this module does not import NumPy."""

from __future__ import annotations

from ptycho_core.engine import engine_hooks

(
    ptycho_backend_spec,
    ptycho_probe,
    ptycho_plan,
    _,  # training needs derivatives, which NumPy has not
    ptycho_infer,
    ptycho_reconstruct,
    ptycho_evaluate,
) = engine_hooks("numpy", __package__)
