"""Neighboring pixels that become one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["averaged", "blocks"]

_Array = TypeVar("_Array", bound="NDArray[np.complexfloating[Any, Any]]")


def blocks(values: NDArray[Any], number: int) -> NDArray[Any]:
    """Values (…, rows, columns) as (…, row, in row, column, in column), what is beyond a multiple of ``number`` left out."""
    rows, columns = (length // number for length in values.shape[-2:])
    return values[..., : rows * number, : columns * number].reshape(*values.shape[:-2], rows, number, columns, number)


def averaged(values: _Array, number: int) -> _Array:
    """The mean of ``number`` x ``number`` neighbors on the last two axes."""
    return np.asarray(blocks(values, number).mean(axis=(-3, -1)), dtype=values.dtype)  # type: ignore[return-value]
