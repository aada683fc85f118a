"""Functions compiled once for each kind of arguments, whatever the lengths of their axes."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Compiled", "compiling_for", "with_xla"]

P = ParamSpec("P")
R = TypeVar("R")

_TARGET: ContextVar[tuple[str, bool]] = ContextVar("target", default=("", False))
"""Device, and whether XLA compiles for it."""


@contextmanager
def compiling_for(device: str, *, jit: bool) -> Iterator[None]:
    """What is compiled in here is compiled for ``device`` and, with ``jit``, by XLA."""
    token = _TARGET.set((device, jit))
    try:
        yield
    finally:
        _TARGET.reset(token)


def with_xla() -> bool:
    """Whether XLA compiles what is compiled now."""
    return _TARGET.get()[1]


class Compiled(Generic[P, R]):
    """A function as TensorFlow graphs, one for each kind of arguments.

    Positional arguments are tensors, None, or tuples of them; a graph serves all lengths of all axes, so that another number of
    frames or another object does not cost a new one. Keyword arguments are plain values that a graph is made for.

    Attributes:
        traces: how many graphs were made.
    """

    def __init__(self, function: Callable[P, R]) -> None:
        self.__doc__ = function.__doc__
        self._function = function
        self._graphs: dict[Any, Callable[..., R]] = {}
        self.traces = 0

    def __call__(self, *arguments: P.args, **fixed: P.kwargs) -> R:
        """What the function returns, of tensors."""
        leaves = [item if item is None else tf.convert_to_tensor(item) for item in tf.nest.flatten(arguments)]
        kinds = tuple(None if item is None else (item.dtype, item.shape.rank) for item in leaves)
        key = (kinds, tuple(fixed.items()), _TARGET.get())
        graph = self._graphs.get(key)
        if graph is None:
            graph = self._graphs[key] = self._trace(arguments, kinds, fixed)
        return graph(*(item for item in leaves if item is not None))

    def _trace(self, arguments: tuple[Any, ...], kinds: tuple[Any, ...], fixed: dict[str, Any]) -> Callable[..., R]:
        def body(*tensors: Any) -> R:  # noqa: ANN401 - tensors
            given = iter(tensors)
            leaves = [None if kind is None else next(given) for kind in kinds]
            return self._function(*tf.nest.pack_sequence_as(arguments, leaves), **fixed)

        signature = [tf.TensorSpec([None] * kind[1], kind[0]) for kind in kinds if kind is not None]
        self.traces += 1
        function = tf.function(body, input_signature=signature, autograph=False, jit_compile=with_xla())
        graph: Callable[..., R] = function.get_concrete_function()
        return graph
