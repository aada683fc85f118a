"""``--mask auto``: the pixels that measure no light, found in what is stored, before it is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.scan.evidence import floor_of, unit_of
from ptycho_core.scan.pixels import PixelTally, flawed_pixels, largest_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptycho_core.scan.patterns import ArrayPatterns

__all__ = ["auto_mask"]

_SAMPLE = 48


def auto_mask(
    patterns: ArrayPatterns, mask: NDArray[np.bool_], *, signal: str, where: str, empty: NDArray[np.float64] | None
) -> tuple[NDArray[np.bool_], str]:
    """The good pixels without those that are saturated, dead, hot, constant or not finite.

    Args:
        patterns: gone through once, as they are stored; negative flags of bad pixels are found, too.
        mask: (N, N), bool, pixels that are good so far.
        signal: ``counts`` or ``amplitude``, what is stored.
        where: file and key, for messages.
        empty: (N, N), the pattern of the probe without an object, or None.

    Returns:
        (N, N), bool, True = good pixel, and a sentence that says how many of each kind are masked.

    Raises:
        DataError: no good pixel is left, or the file is damaged.
    """
    tally, sampled = PixelTally((mask.shape[0], mask.shape[1])), []
    for counts in patterns.stored_counts():
        tally.add(np.where(mask, counts, 0))
        sampled.append(counts[:: max(1, len(patterns) // _SAMPLE)].astype(np.float64))
    sample = np.concatenate(sampled)
    sample = np.where(np.isfinite(sample), sample, 0)
    unit, largest = unit_of(sample, mask), largest_of(patterns.dtype)
    found = flawed_pixels(
        tally, mask, largest=largest**2 if largest and signal == "amplitude" else largest, unit=unit or 1.0,
        floor=floor_of(sample, mask), empty=empty,
    )  # fmt: skip
    good = mask & ~found.any
    if not good.any():
        raise DataError(f"{where}: --mask auto leaves no good pixel.", remedy="Give the mask with --mask FILE.")
    kinds = dict(found.kinds())
    numbers = [f"{int(kinds[name].sum()) if name in kinds else 0} {name}" for name in ("saturated", "dead", "hot", "constant")]
    if "infinite" in kinds:
        numbers.append(f"{int(kinds['infinite'].sum())} not finite")
    return good, f"Mask: auto masks {', '.join(numbers)} pixels of {mask.size}."
