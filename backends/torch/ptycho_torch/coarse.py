"""A coarse start: the middle half of the detector shows the same object at half the resolution, four times cheaper.

Smooth phase, which converges slowest, is found there first; object and probe are then brought to full resolution by padding
their Fourier transforms with zeros.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from ptycho_torch.propagation import Model

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ptycho_torch.frames import Frames

__all__ = ["CoarseFrames", "coarse_model", "fine_model"]


def _crop_spectrum(spectrum: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """The lowest frequencies of an FFT-ordered (..., n, m) array as (..., rows, columns)."""
    centred = torch.fft.fftshift(spectrum, dim=(-2, -1))
    top = centred.shape[-2] // 2 - rows // 2
    left = centred.shape[-1] // 2 - columns // 2
    found: torch.Tensor = torch.fft.ifftshift(centred[..., top : top + rows, left : left + columns], dim=(-2, -1))
    return found


def _pad_spectrum(spectrum: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """The adjoint of `_crop_spectrum`."""
    centred = torch.fft.fftshift(spectrum, dim=(-2, -1))
    padded = torch.zeros((*spectrum.shape[:-2], rows, columns), dtype=spectrum.dtype, device=spectrum.device)
    top = rows // 2 - centred.shape[-2] // 2
    left = columns // 2 - centred.shape[-1] // 2
    padded[..., top : top + centred.shape[-2], left : left + centred.shape[-1]] = centred
    found: torch.Tensor = torch.fft.ifftshift(padded, dim=(-2, -1))
    return found


class CoarseFrames:
    """The middle half of every frame, with the attributes and the amplitudes of `frames.Frames`."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self.number, self.size = frames.number, frames.size // 2
        keep = np.fft.ifftshift(np.arange(self.size)) - self.size // 2
        self._keep = torch.as_tensor(keep % frames.size, device=frames.device)
        self.mask = None if frames.mask is None else self._crop(frames.mask)
        self._amplitudes: torch.Tensor | None = None
        if frames.cached:
            self._amplitudes = self._crop(frames.amplitudes(np.arange(frames.number)))
        self.amplitude_sums = frames.inner_amplitude_sums

    def amplitudes(self, frames: npt.NDArray[np.int64]) -> torch.Tensor:
        """Real (len(frames), N / 2, N / 2) in FFT order."""
        if self._amplitudes is not None:
            return self._amplitudes[torch.as_tensor(frames, device=self._amplitudes.device)]
        return self._crop(self._frames.amplitudes(frames))

    def in_turn(self, batches: Sequence[npt.NDArray[np.int64]]) -> Iterator[tuple[npt.NDArray[np.int64], torch.Tensor]]:
        """Batches of frames, each with its `amplitudes`."""
        if self._amplitudes is not None:
            yield from ((frames, self.amplitudes(frames)) for frames in batches)
            return
        for frames, amplitudes in self._frames.in_turn(batches):
            yield frames, self._crop(amplitudes)

    def _crop(self, fields: torch.Tensor) -> torch.Tensor:
        return fields[..., self._keep[:, None], self._keep]


def coarse_model(model: Model) -> Model:
    """Object and probe at half the resolution, positions halved; values of the object stay, power of the probe too."""
    size = model.probe.shape[-1] // 2
    probe = torch.fft.ifft2(_crop_spectrum(torch.fft.fft2(model.probe, norm="ortho"), size, size), norm="ortho")
    rows, columns = (2 * (length // 2) for length in model.object.shape)
    field = torch.fft.fft2(model.object[:rows, :columns])
    # One row and column more than half: windows at half a pixel may reach beyond the last whole one.
    small = torch.fft.ifft2(_crop_spectrum(field, rows // 2, columns // 2)) / 4
    small = torch.cat([small, small[-1:]], 0)
    small = torch.cat([small, small[:, -1:]], 1)
    return Model(small, probe, model.positions / 2, None)


def fine_model(coarse: Model, fine: Model) -> Model:
    """``fine`` with object and probe taken from ``coarse``."""
    size = fine.probe.shape[-1]
    probe = torch.fft.ifft2(_pad_spectrum(torch.fft.fft2(coarse.probe, norm="ortho"), size, size), norm="ortho")
    rows, columns = (2 * (length // 2) for length in fine.object.shape)
    spectrum = torch.fft.fft2(coarse.object[: rows // 2, : columns // 2])
    large = torch.fft.ifft2(_pad_spectrum(spectrum, rows, columns)) * 4
    result = fine.copy()
    result.object[:rows, :columns] = large
    result.probe = probe
    return result
