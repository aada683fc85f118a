"""A coarse start: the middle half of the detector shows the same object at half the resolution, four times cheaper.

Smooth phase, which converges slowest, is found there first; object and probe are then brought to full resolution by padding
their Fourier transforms with zeros.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptycho_core.engine.state import State

if TYPE_CHECKING:
    from ptycho_core.engine.arrays import Array, ArrayOps

__all__ = ["coarse_state", "fine_state"]


def _crop_spectrum(xp: ArrayOps, spectrum: Array, rows: int, columns: int) -> Array:
    """The lowest frequencies of an FFT-ordered (mode, n, m) array as (mode, rows, columns)."""
    centered = xp.fftshift(spectrum)
    top = centered.shape[-2] // 2 - rows // 2
    left = centered.shape[-1] // 2 - columns // 2
    return xp.ifftshift(centered[:, top : top + rows, left : left + columns])


def _pad_spectrum(xp: ArrayOps, spectrum: Array, rows: int, columns: int) -> Array:
    """The adjoint of `_crop_spectrum`."""
    height, width = spectrum.shape[-2:]
    top, left = rows // 2 - height // 2, columns // 2 - width // 2
    return xp.ifftshift(xp.pad(xp.fftshift(spectrum), (top, rows - top - height), (left, columns - left - width)))


def coarse_state(state: State) -> State:
    """Object and probe at half the resolution, positions halved; values of the object stay, power of the probe too."""
    xp, size = state.xp, state.probe.shape[-1] // 2
    probe = xp.ifft2_ortho(_crop_spectrum(xp, xp.fft2_ortho(state.probe), size, size))
    rows, columns = (2 * (length // 2) for length in state.object.shape)
    field = xp.fft2(state.object[None, :rows, :columns])
    # One row and column more than half: windows at half a pixel may reach beyond the last whole one.
    small = xp.ifft2(_crop_spectrum(xp, field, rows // 2, columns // 2))[0] / 4
    small = xp.concat([small, small[-1:]], 0)
    small = xp.concat([small, small[:, -1:]], 1)
    return State(xp, small, probe, state.positions / 2, flux=state.flux)


def fine_state(coarse: State, fine: State) -> State:
    """``fine`` with object, probe and flux taken from ``coarse``."""
    xp, size = fine.xp, fine.probe.shape[-1]
    probe = xp.ifft2_ortho(_pad_spectrum(xp, xp.fft2_ortho(coarse.probe), size, size))
    rows, columns = (2 * (length // 2) for length in fine.object.shape)
    spectrum = xp.fft2(coarse.object[None, : rows // 2, : columns // 2])
    large = xp.ifft2(_pad_spectrum(xp, spectrum, rows, columns))[0] * 4
    wide = xp.concat([large, fine.object[:rows, columns:]], 1)
    found = fine.copy()
    found.flux = None if coarse.flux is None else coarse.flux.copy()
    found.object, found.probe = xp.concat([wide, fine.object[rows:]], 0), probe
    return found
