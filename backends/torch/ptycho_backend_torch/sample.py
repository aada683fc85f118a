"""A scan on the device: its amplitudes, and what is remembered of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from ptycho_backend_torch.arrays import TorchArrays, squared_modulus
from ptycho_backend_torch.estimate import Estimate, Illumination, estimate_object
from ptycho_core.engine.patterns import DevicePatterns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ptycho_core.scan.reading import Readers
    from ptycho_core.training.data import TrainingScan

__all__ = ["Sample"]

BLOCK = 16
"""Frames whose estimates are made together to be remembered."""

ESTIMATE_BYTES = 1 << 28
"""Estimates of a scan are remembered up to this size, and made again for each batch beyond it."""

FRAMES_BYTES = 1 << 30
"""Amplitudes of a scan are kept on the device up to this size, and read again for each batch beyond it."""


class Sample:
    """A scan on the device.

    Attributes:
        frames: its amplitudes.
        positions: float64 (frame, 2), of the windows' corners on the scan's canvas.
        labels: complex (rows, columns), the true object on that canvas, or None.
        good: bool (N, N) in the order of the FFT, or None where all pixels are.
    """

    def __init__(self, scan: TrainingScan, device: torch.device, dtype: torch.dtype, readers: Readers | None = None) -> None:
        self.frames = DevicePatterns(TorchArrays(device, dtype), scan.scan.patterns, scan.scan.mask, FRAMES_BYTES, readers)
        self.positions = scan.positions
        self.corners = np.floor(scan.positions).astype(np.int64)
        self.labels: torch.Tensor | None = None
        if scan.labels is not None:
            self.labels = torch.as_tensor(scan.labels, device=device).to(dtype.to_complex())
        self.good = None if self.frames.mask is None else self.frames.mask > 0
        self._known = np.zeros(-(-len(scan.positions) // BLOCK), dtype=bool)
        self._memory: tuple[torch.Tensor, torch.Tensor] | None = None
        self._complex_bytes = 2 * dtype.itemsize

    def remembers(self) -> bool:
        """Whether the estimates of all frames fit into memory."""
        return 2 * self.frames.number * self.frames.size**2 * self._complex_bytes <= ESTIMATE_BYTES

    def remembered(self, frames: npt.NDArray[np.int64], probe: torch.Tensor, description: Mapping[str, Any]) -> Estimate:
        """The estimates of single frames for a probe that never changes.

        They are made in blocks of frames that follow one another, so that they do not depend on which batch asks first.
        """
        shape = (self.frames.number, self.frames.size, self.frames.size)
        if self._memory is None:
            self._memory = torch.empty(shape, dtype=probe.dtype), torch.empty(shape, dtype=probe.dtype)
        patches, steps = self._memory
        for block in np.unique(frames // BLOCK):
            if not self._known[block]:
                own = np.arange(block * BLOCK, min((block + 1) * BLOCK, self.frames.number))
                light = Illumination.at(probe, self.positions[own] - self.corners[own], self.frames.mask)
                made = estimate_object(self.frames.amplitudes(own), self.corners[own, None], light, self.frames.mask, description)
                patches[own], steps[own] = made.patches[:, 0].cpu(), made.step[:, 0].cpu()
                self._known[block] = True
        weight = squared_modulus(probe).sum(0)
        chosen = torch.as_tensor(frames)
        found, step = (one[chosen].to(probe.device)[:, None] for one in (patches, steps))
        return Estimate(found, step, weight / weight.max())
