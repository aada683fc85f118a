"""Run in the worker process of a backend: steps of its optimiser with gradients that are given."""

from importlib import import_module

import numpy as np

__all__ = ["steps"]


def steps(backend, values, gradients, rates, settings, dtype):
    """The tensors after as many steps as there are ``rates``, each with the sum of two batches' gradients.

    ``values``: arrays by name; ``gradients``: by name, (step, batch, …).
    """
    module = import_module(f"ptycho_backend_{backend}.optimiser")
    return (_torch if backend == "torch" else _tensorflow)(module, values, gradients, rates, settings, dtype)


def _torch(module, values, gradients, rates, settings, dtype):
    import torch

    leaves = {name: torch.tensor(value.astype(dtype), requires_grad=True) for name, value in values.items()}
    optimiser = module.Optimiser(leaves, settings)
    for number, rate in enumerate(rates):
        for name, leaf in leaves.items():
            leaf.grad = torch.tensor(gradients[name][number].sum(axis=0).astype(dtype))
        optimiser.step(rate, next(iter(gradients.values())).shape[1])
    return {name: leaf.detach().numpy() for name, leaf in leaves.items()}


def _tensorflow(module, values, gradients, rates, settings, dtype):
    import tensorflow as tf

    leaves = {name: tf.Variable(value.astype(dtype)) for name, value in values.items()}
    optimiser = module.Optimiser(leaves, settings)
    for number, rate in enumerate(rates):
        summed = [gradients[name][number].sum(axis=0).astype(dtype).reshape(-1) for name in leaves]
        optimiser.add(tf.constant(np.concatenate(summed)))
        optimiser.step(rate, next(iter(gradients.values())).shape[1])
    return {name: leaf.numpy() for name, leaf in leaves.items()}
