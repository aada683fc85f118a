"""Run in the worker process of a backend: steps of an optimizer with gradients that are given."""

from importlib import import_module

import numpy as np

from ptycho_core.contract import ExecutionPlan
from ptycho_core.engine.optimizer import Optimizer

__all__ = ["steps"]


def steps(backend, values, gradients, rates, settings, dtype):
    """The tensors after as many steps as there are ``rates``, each with the sum of two batches' gradients.

    ``values``: arrays by name, those of the network first; ``gradients``: by name, (step, batch, …).
    """
    plan = ExecutionPlan("cpu", {"precision": dtype, "threads": 1, "deterministic": "on"}, {}, {})
    with import_module(f"ptycho_backend_{backend}.devices").operations(plan) as xp:
        sizes = [value.size for value in values.values()]
        decaying = sum(value.size for name, value in values.items() if name.startswith("network."))
        vector = xp.from_numpy(np.concatenate([value.reshape(-1) for value in values.values()]))
        optimizer = Optimizer(xp, settings, sum(sizes), decaying)
        for number, rate in enumerate(rates):
            summed = [gradients[name][number].sum(axis=0).reshape(-1) for name in values]
            optimizer.add(xp.from_numpy(np.concatenate(summed)))
            vector = optimizer.step(vector, rate, next(iter(gradients.values())).shape[1])
        parts = np.split(xp.to_numpy(vector), np.cumsum(sizes)[:-1])
        return {name: part.reshape(value.shape) for part, (name, value) in zip(parts, values.items(), strict=True)}
