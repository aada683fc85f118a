"""Between a file and the libraries that read it: one sentence for whatever they raise, one limit on what a file declares."""

from __future__ import annotations

import math
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from ptycho_core.errors import DataError, PtychoError
from ptycho_core.files.memory import available_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["check_declared", "check_magnitude", "guarded", "in_double", "reason"]

SMALL: Final = 2**26
"""Bytes that an array may always take."""

DENSEST: Final = 500
"""A larger one must be stored in no less than one of so many bytes: noise does not compress, and gzip reaches 1000 on zeros."""

LARGEST_VALUE: Final = 1e18
"""Magnitude above which a probe or an object is no measurement: its square would leave single precision."""

_LONGEST_REASON = 200


@contextmanager
def guarded(what: str, remedy: str = "", *, kind: str = "") -> Iterator[None]:
    """Whatever reading a file raises inside is one `DataError`; what libraries warn of is dropped.

    Args:
        what: file and key, the subject of the sentence.
        remedy: what to do about it.
        kind: what it cannot be read as; empty where that goes without saying.
    """
    said = f"{what} cannot be read{f' as {kind}' if kind else ''}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except PtychoError:
        raise
    except MemoryError as error:
        raise DataError(f"{said}: it does not fit into memory.", remedy=remedy) from error
    except Exception as error:
        raise DataError(f"{said}: {reason(error)}.", remedy=remedy) from error


def reason(error: BaseException) -> str:
    """The first line of an exception's text, or its type, without a full stop at its end."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - a library's own exception may fail to describe itself
        text = ""
    first = (text.strip().splitlines() or [type(error).__name__])[0]
    return first[:_LONGEST_REASON].rstrip(".")


def check_declared(what: str, shape: tuple[int, ...], itemsize: int, stored: int | None) -> None:
    """Refuse an array before it is read: one much larger than what is stored of it, or larger than the memory there is.

    Args:
        what: file and key.
        shape: of the array.
        itemsize: bytes of a value.
        stored: bytes that the file holds of it; None where that is not known.

    Raises:
        DataError: it is too large.
    """
    size = math.prod(shape) * itemsize
    if size <= SMALL:
        return
    message = f"{what} of shape {shape} would take {size:.2g} bytes"
    if stored is not None and size > DENSEST * stored:
        remedy = "If it is right, store it without compression."
        raise DataError(f"{message}; the file does not hold them: it has {stored} bytes of it.", remedy=remedy)
    free = available_bytes()
    if size > free:
        raise DataError(f"{message}; {free:.2g} bytes of memory are free.", remedy="Use a machine with more memory.")


def in_double(what: str, values: NDArray[Any]) -> NDArray[Any]:
    """Real numbers as float64.

    Raises:
        DataError: one is not finite then.
    """
    import numpy as np

    with np.errstate(over="ignore"):
        found = values.astype(np.float64)
    if not np.isfinite(found).all():
        raise DataError(f"{what}, shape {values.shape}, holds values that are not finite in double precision.")
    return found


def check_magnitude(what: str, values: NDArray[Any]) -> None:
    """Refuse a probe or an object with values that no measurement has.

    Raises:
        DataError: a value is not finite, or its magnitude is above ``LARGEST_VALUE``.
    """
    import numpy as np

    if not np.isfinite(values).all():
        raise DataError(f"{what}, shape {values.shape}, holds values that are not finite.")
    parts = (values.real, values.imag) if np.iscomplexobj(values) else (values,)
    if any(part.size and max(abs(float(part.min())), abs(float(part.max()))) > LARGEST_VALUE for part in parts):
        raise DataError(
            f"{what}, shape {values.shape}, holds values above {LARGEST_VALUE:g}.",
            remedy="Divide it; its scale is free.",
        )
