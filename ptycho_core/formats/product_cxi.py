"""A product of ptychodus in CXI, read under the names that its other files have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ptycho_core.formats.product_hdf5 import Reader
from ptycho_core.units import ENERGIES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["OWN_GROUP", "CxiReader"]

OWN_GROUP: Final = "entry_1/ptychodus"
"""The group in which ptychodus writes what CXI has no place for."""

_TRANSLATION: Final = "entry_1/sample_1/geometry_1/translation"
_ENERGY: Final = "entry_1/instrument_1/source_1/energy"
_PLACES: Final = {
    "object": "entry_1/image_2/data", "probe": "entry_1/image_1/data",
    "detector_object_distance_m": "entry_1/instrument_1/detector_1/distance",
}  # fmt: skip
_COLUMNS: Final = {"probe_position_x_m": 0, "probe_position_y_m": 1}


class CxiReader(Reader):
    """Reads the product: object and probe lie in images, positions are the columns of a translation."""

    def __contains__(self, key: str) -> bool:
        """Whether the file has something of that name."""
        return super().__contains__(self._place(key))

    def array(self, key: str, dimensions: Iterable[int]) -> NDArray[Any]:
        """See `Hdf5File.array`."""
        if key in _COLUMNS:
            values: NDArray[Any] = super().array(_TRANSLATION, [2])[:, _COLUMNS[key]]
            return values
        return super().array(self._place(key), dimensions)

    def shape(self, key: str) -> tuple[int, ...]:
        """See `Hdf5File.shape`."""
        return super().shape(self._place(key))

    def number(self, key: str) -> float | None:
        """See `Hdf5File.number`."""
        if key == "photon_energy_eV":
            energy = super().number(_ENERGY) if super().__contains__(_ENERGY) else None
            return None if energy is None else energy * ENERGIES["J"]
        place = self._place(key)
        return super().number(place) if super().__contains__(place) else None

    def _place(self, key: str) -> str:
        if key in _COLUMNS:
            return _TRANSLATION
        return _PLACES.get(key, key if "/" in key else f"{OWN_GROUP}/{key}")
