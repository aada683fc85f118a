"""The eight ways in which rows and columns can lie: as they are, or swapped, then flipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["AS_STATED", "ORIENTATIONS", "Orientation"]


@dataclass(frozen=True)
class Orientation:
    """Rows and columns swapped or not, and then each flipped or not."""

    swap: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    def of_frames(self, values: NDArray[Any]) -> NDArray[Any]:
        """Frames (…, row, column), turned; a view of them."""
        turned = values.swapaxes(-2, -1) if self.swap else values
        return turned[..., :: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]

    def of_points(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points (n, 2), (row, column), turned about the origin."""
        turned = points[:, ::-1] if self.swap else points
        return turned * (-1.0 if self.flip_rows else 1.0, -1.0 if self.flip_columns else 1.0)

    def of_pixel(self, pixel: tuple[float, float], shape: tuple[int, int]) -> tuple[float, float]:
        """Where a pixel (row, column) of a frame of a shape (rows, columns) comes to lie in the turned frame."""
        (row, column), (rows, columns) = (pixel[::-1], shape[::-1]) if self.swap else (pixel, shape)
        return rows - 1 - row if self.flip_rows else row, columns - 1 - column if self.flip_columns else column

    def after(self, first: Orientation) -> Orientation:
        """What turns as ``first`` and then as this one does."""
        rows, columns = (first.flip_columns, first.flip_rows) if self.swap else (first.flip_rows, first.flip_columns)
        return Orientation(self.swap != first.swap, self.flip_rows != rows, self.flip_columns != columns)

    @property
    def mirrors(self) -> bool:
        """Whether it takes a right hand to a left one, so that an angle changes its sign."""
        return self.swap ^ self.flip_rows ^ self.flip_columns

    @property
    def name(self) -> str:
        """Its name among `ORIENTATIONS`."""
        return next(name for name, one in ORIENTATIONS.items() if one == self)

    @classmethod
    def of_code(cls, code: int) -> Orientation:
        """That of a code 0 to 7 of ptypy and PtyLab: 1 flips columns, 2 rows, 3 both, 4 swaps, 4 + i swaps and then does i."""
        return cls(bool(code & 4), bool(code & 2), bool(code & 1))


AS_STATED: Final = Orientation()

ORIENTATIONS: Final = {
    "as-stated": AS_STATED,
    "flip-rows": Orientation(flip_rows=True),
    "flip-columns": Orientation(flip_columns=True),
    "flip-both": Orientation(flip_rows=True, flip_columns=True),
    "swap": Orientation(swap=True),
    "swap-flip-rows": Orientation(swap=True, flip_rows=True),
    "swap-flip-columns": Orientation(swap=True, flip_columns=True),
    "swap-flip-both": Orientation(True, True, True),
}
"""All eight by name."""
