"""Probes of a simulated scan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MODE_DECAY", "PROBES", "make_probe"]

PROBES: Final = ("aperture", "disk", "diffuser")
MODE_DECAY: Final = 0.2
"""Each further mode has this part of the power of the mode before it."""

_GRAIN: Final = 6.0
"""Correlation length of a diffuser, pixels: several to a window, and wide enough for the pixels to show it."""

_ROUGHNESS: Final = (0.35, 1.0)
"""Standard deviation of a diffuser's amplitude, about 1, and of its phase, rad."""

_DARKEST: Final = 0.2
"""Least amplitude of a diffuser; where no light falls nothing is seen."""

_FREQUENCY_RADIUS: Final = 1 / 6
"""Radius of the aperture in the far field, as a part of the pattern's width: its diameter is a third of the pattern."""


def make_probe(
    kind: str,
    size: int,
    width: float,
    photons: float,
    modes: int = 1,
    defocus: float = 1.0,
    random: np.random.Generator | None = None,
) -> NDArray[np.complex128]:
    """A probe in counts.

    ``aperture``: a round aperture of radius N/6 in the far field, out of focus by a phase ``c (q / q_max)²`` such that geometric
    optics gives a disc of ``width`` pixels at the sample, ``c = π q_max width / (2 N)`` with q in pixels of the pattern;
    diffraction makes it a little wider and adds rings. ``disk``: a flat disc of ``width`` pixels. Edges are one pixel soft.
    ``diffuser``: a wide beam behind a diffuser, of random smooth amplitude and phase, that fills the window.

    Further modes are the first one times row, column, row · column … about the middle, made orthogonal one after the other, with
    powers that fall by ``MODE_DECAY``.

    Args:
        kind: a word of ``PROBES``.
        size: N.
        width: diameter at the sample, pixels.
        photons: ``Σ_m Σ|P_m|²``, the mean counts of an empty-object pattern.
        modes: number of modes.
        defocus: this part of the defocus; of the diameter, for a disk; a diffuser has none.
        random: where the chance of a diffuser comes from.

    Returns:
        (mode, N, N), complex128, strongest first.
    """
    if kind == "diffuser":
        first = _diffuser(size, np.random.default_rng(0) if random is None else random)
    elif kind == "aperture":
        first = _aperture(size, width * defocus)
    else:
        first = np.clip(width * defocus / 2 - _radius(size) + 0.5, 0, 1).astype(np.complex128)
    result = [first / np.linalg.norm(first)]
    row, column = np.meshgrid(*2 * [np.linspace(-1, 1, size)], indexing="ij")
    factors = ((p, order - p) for order in range(1, modes + 1) for p in range(order + 1))
    while len(result) < modes:
        p, q = next(factors)
        mode = result[0] * row**p * column**q
        for _ in range(2):  # twice is enough for orthogonality to rounding
            for other in result:
                mode = mode - np.vdot(other, mode) * other
        result.append(mode / np.linalg.norm(mode))
    powers = MODE_DECAY ** np.arange(modes)
    amplitudes = np.sqrt(photons * powers / powers.sum())
    return np.asarray(np.stack(result) * amplitudes[:, None, None], dtype=np.complex128)


def _aperture(size: int, width: float) -> NDArray[np.complex128]:
    q = _radius(size)
    edge = size * _FREQUENCY_RADIUS
    pupil = np.clip(edge - q + 0.5, 0, 1) * np.exp(1j * np.pi * edge * width / (2 * size) * (q / edge) ** 2)
    return np.asarray(np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(pupil), norm="ortho")), dtype=np.complex128)


def _diffuser(size: int, random: np.random.Generator) -> NDArray[np.complex128]:
    """Two Gaussian random fields, periodic so that they have no edge, as amplitude about 1 and as phase."""
    squared = np.fft.fftfreq(size)[:, None] ** 2 + np.fft.fftfreq(size)[None, :] ** 2
    smooth = np.exp(-((np.pi * _GRAIN) ** 2) * squared / 2)
    fields = [np.fft.ifft2(np.fft.fft2(random.standard_normal((size, size))) * smooth).real for _ in range(2)]
    amplitude, phase = (rough * field / field.std() for rough, field in zip(_ROUGHNESS, fields, strict=True))
    return np.asarray(np.maximum(1 + amplitude, _DARKEST) * np.exp(1j * phase), dtype=np.complex128)


def _radius(size: int) -> NDArray[np.float64]:
    along = np.arange(size) - size // 2
    return np.hypot(along[:, None], along[None, :])
