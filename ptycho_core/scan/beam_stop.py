"""A beam stop: a mask that hides most of the direct beam.

The light of an object's frequency ``f`` is the far field of the probe, moved by ``f``.  So a mask lets pass of it the part

``T(f) = Σ_good pixels Σ_m |P̂_m(q − f)|² / Σ |P̂|²``,

which is also the share of its curvature that the patterns keep.  Where that is nothing no pattern depends on the frequency, and
the object keeps there what it began with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_core.scan.scan import empty_pattern, hidden_light

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptycho_core.scan.scan import Scan

__all__ = ["hides_beam", "is_stopped", "passed", "unseen_width", "windows_spectrum"]

_MOST: Final = 0.5
"""Part of the light of the probe which bad pixels hide, above which they are a beam stop: the object's mean is then found by
less light than its details."""

_SEEN: Final = 1.5
"""Times ``LEAST`` that ``T`` must be, on average over a ring, for its frequency to be seen."""

_WINDOWS: Final = 64
"""Windows of the object whose spectra are averaged."""

LEAST: Final = 0.01
"""Of ``T``: below it a frequency is not scaled further, and counts as hidden."""


def is_stopped(hidden: float) -> bool:
    """Whether a mask that hides this part of the light of the probe is a beam stop."""
    return hidden > _MOST


def hides_beam(scan: Scan) -> bool:
    """Whether the mask of a scan is one, as far as its probe says."""
    return scan.probe is not None and is_stopped(hidden_light(scan.probe, scan.mask, scan.propagation))


def passed(light: NDArray[np.float64], mask: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """``T`` at the frequencies of an object of ``shape``, (rows, columns) in FFT order; at least ``LEAST``.

    Probe and object change places with the spectrum of the object's windows for ``light``.

    Args:
        light: (N, N), the far field of the probe, zero frequency at ``[N//2, N//2]``; its scale does not matter.
        mask: (N, N), bool, True = good pixel, zero frequency at ``[N//2, N//2]``.
        shape: of the object, (rows, columns), N at least.
    """
    light, size = np.fft.ifftshift(light), len(mask)
    # A correlation on the detector is a product at the sample, which is put into the middle of the object: that interpolates.
    product = np.fft.fft2(np.fft.ifftshift(mask)) * np.conj(np.fft.fft2(light / light.sum()))
    wide = np.zeros(shape, dtype=np.complex128)
    top, left = (length // 2 - size // 2 for length in shape)
    wide[top : top + size, left : left + size] = np.fft.fftshift(product) / size**2
    found: NDArray[np.float64] = np.maximum(np.fft.fft2(np.fft.ifftshift(wide)).real, LEAST)
    return found


def unseen_width(probe: NDArray[Any], mask: NDArray[np.bool_]) -> float:
    """Half the period in pixels from which on a mask hides what an object scatters; 0 where it hides none but the mean.

    A frequency ``f`` is seen where ``T`` averaged over its directions is more than ``LEAST``.
    """
    size = len(mask)
    part = passed(empty_pattern(probe, None), mask, mask.shape)
    along = np.fft.fftfreq(size)
    ring = np.rint(np.hypot(along[:, None], along) * size).astype(np.int64).ravel()
    means = np.bincount(ring, part.ravel())[: size // 2] / np.bincount(ring)[: size // 2]
    hidden = np.flatnonzero(means < _SEEN * LEAST)
    last = int(hidden.max()) if len(hidden) else 0
    return size / (2 * last) if last else 0.0


def windows_spectrum(image: NDArray[Any], positions: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Mean power spectrum of windows of an object (rows, columns): (N, N), zero frequency at ``[N//2, N//2]``.

    Args:
        image: the object.
        positions: (frame, 2), corners of the windows; at most ``_WINDOWS`` of them, spread over the scan, are taken.
        size: N.
    """
    corners = np.floor(positions).astype(np.int64)
    total = np.zeros((size, size))
    for row, column in corners[np.unique(np.linspace(0, len(corners) - 1, _WINDOWS).astype(np.int64))]:
        total += np.abs(np.fft.fft2(image[row : row + size, column : column + size])) ** 2
    return np.fft.fftshift(total)
