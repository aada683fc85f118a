"""The probe that a network works with: without noise and stray light if so asked, and in counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.scan.scan import empty_counts, mean_counts, scaled_probe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ptycho_core.contract import Value
    from ptycho_core.scan.scan import Scan

__all__ = ["probe_in_counts", "shaped_probe"]


def probe_in_counts(scan: Scan, asked: Mapping[str, Value]) -> tuple[NDArray[np.complex128], float]:
    """The probe of a scan, shaped and in counts, and the mean counts of its patterns, which are read once.

    Where the file states its probe in counts, the power stays as stated: what a mask cuts off was no light. Any other probe is
    scaled so that an empty object gives the mean counts.

    Args:
        scan: a scan with a probe.
        asked: the *model* settings, for mask and smoothing.

    Returns:
        (mode, N, N), complex128, and the mean counts in good pixels.

    Raises:
        DataError: there is no probe, it is dark, or the patterns hold no counts.
    """
    if scan.probe is None or not scan.probe_scaled:
        probe, _ = scaled_probe(scan, None if scan.probe is None else shaped_probe(scan.probe, asked))
        return np.asarray(probe, dtype=np.complex128), empty_counts(scan, probe)  # to which it was scaled
    shaped = shaped_probe(scan.probe, asked)
    power = float((np.abs(shaped) ** 2).sum())
    if not power > 0:
        raise DataError(f"{scan.source}: nothing of the probe is left inside the probe mask.")
    counts = mean_counts(scan)
    if not counts > 0:
        raise DataError(f"The patterns of {scan.source}, shape {scan.patterns.shape}, hold no counts at all.")
    return shaped * np.sqrt(float((np.abs(scan.probe) ** 2).sum()) / power), counts


def shaped_probe(probe: NDArray[np.complexfloating[Any, Any]], asked: Mapping[str, Value]) -> NDArray[np.complex128]:
    """A probe without its noise and without light where none is.

    First a Gaussian, cyclic as the Fourier transform is; then a disc around the centre of intensity, whose edge falls from 1 to 0
    as a half period of a cosine.

    Args:
        probe: (mode, N, N), complex.
        asked: the *model* settings: ``probe_smoothing``, sigma of the Gaussian, 0 for none; ``probe_mask_diameter`` of the disc,
            to the middle of its edge, None for none; ``probe_mask_edge``, width of the edge; all in pixels.

    Raises:
        DataError: the Gaussian is wider than the probe.
    """
    smoothing, diameter, edge = (asked[f"probe_{name}"] for name in ("smoothing", "mask_diameter", "mask_edge"))
    smoothing, edge = float(smoothing or 0), float(edge or 0)
    shaped: NDArray[np.complex128] = np.array(probe, dtype=np.complex128)
    if smoothing > probe.shape[-1]:
        raise DataError(f"The probe cannot be smoothed over {smoothing:g} px: it is {probe.shape[-1]} px wide.")
    if smoothing > 0:
        from scipy.ndimage import gaussian_filter

        parts = [gaussian_filter(part, (0, smoothing, smoothing), mode="wrap") for part in (shaped.real, shaped.imag)]
        shaped = parts[0] + 1j * parts[1]
    if diameter is not None:
        intensity = (np.abs(shaped) ** 2).sum(axis=0)
        rows, columns = np.indices(intensity.shape, dtype=np.float64)
        power = max(float(intensity.sum()), np.finfo(np.float64).tiny)
        distance = np.hypot(rows - (intensity * rows).sum() / power, columns - (intensity * columns).sum() / power)
        beyond = distance - float(diameter) / 2  # negative inside
        fall = np.clip(beyond / edge + 0.5, 0, 1) if edge > 0 else beyond > 0
        shaped = shaped * (0.5 + 0.5 * np.cos(np.pi * fall))
    return shaped
