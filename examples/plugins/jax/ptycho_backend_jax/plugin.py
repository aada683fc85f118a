"""The hooks of the JAX backend: the engine's verbs on its array operations. Importing this module imports no framework."""

from __future__ import annotations

from ptycho_core.engine import engine_hooks

(
    ptycho_backend_spec,
    ptycho_probe,
    ptycho_plan,
    ptycho_train,
    ptycho_infer,
    ptycho_reconstruct,
    ptycho_evaluate,
) = engine_hooks("jax", __package__)
