"""A batch of groups as the loss sees it, and what of it is a constant of the gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.conformance.reference.fourier import shifted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ptycho_core.conformance.reference.tile_network import TileCanvas
    from ptycho_core.physics.near_field import Propagation

__all__ = ["Batch", "Held"]


@dataclass(frozen=True, eq=False)
class Batch:
    """What the loss of a batch is made of.

    Attributes:
        network: description of the network.
        weights: its tensors by name, float64.
        probe: complex (mode, N, N), √counts, the factor of the scale included.
        positions: (frame, 2), (row, column), pixels; with labels, on their canvas.
        groups: (group, C), numbers of frames.
        roots: (frame, N, N), roots of the counts, zero at bad pixels.
        good: bool (N, N), True = good pixel.
        labels: complex (rows, columns), the true object, or None.
        merge: how patches are merged: ``none``, ``group`` or ``batch``.
        way: to the detector in the near field; None for the far field.
        ends: (frame,), counts from which on pixels of each frame are saturated, or None.
    """

    network: Mapping[str, Any]
    weights: Mapping[str, NDArray[np.float64]]
    probe: NDArray[np.complex128]
    positions: NDArray[np.float64]
    groups: NDArray[np.int64]
    roots: NDArray[np.float64]
    good: NDArray[np.bool_]
    labels: NDArray[np.complex128] | None
    merge: str
    way: Propagation | None = None
    ends: NDArray[np.float64] | None = None

    @property
    def size(self) -> int:
        """N."""
        return int(self.probe.shape[-1])

    @property
    def frames(self) -> NDArray[np.int64]:
        """The frames of all patches, in order: (patch,)."""
        return self.groups.reshape(-1)

    @property
    def corners(self) -> NDArray[np.int64]:
        """Whole-pixel corners of the windows of all frames: (frame, 2)."""
        return np.floor(self.positions).astype(np.int64)

    @property
    def illumination(self) -> NDArray[np.float64]:
        """W (N, N): the intensity of the unshifted probe, greatest 1."""
        light: NDArray[np.float64] = (np.abs(self.probe) ** 2).sum(axis=0)
        illumination: NDArray[np.float64] = light / light.max()
        return illumination

    def remainder(self, frame: int) -> NDArray[np.float64]:
        """What is left of a frame's position beyond whole pixels: (2,)."""
        left: NDArray[np.float64] = self.positions[frame] - self.corners[frame]
        return left

    @property
    def remainders(self) -> NDArray[np.float64]:
        """The remainders of the frames of all patches: (patch, 2)."""
        return np.stack([self.remainder(frame) for frame in self.frames])

    def shifted(self, frame: int) -> NDArray[np.complex128]:
        """The probe (mode, N, N) moved by what is left of a frame's position."""
        return shifted(self.probe, self.remainder(frame))

    @property
    def levels(self) -> NDArray[np.float64] | None:
        """The ends of the frames of all patches, (patch, 1, 1), or None."""
        return None if self.ends is None else self.ends[self.frames][:, None, None]

    def true_patches(self) -> NDArray[np.complex128]:
        """The labels in the windows of all patches: (patch, N, N). There must be labels."""
        assert self.labels is not None
        size, labels = self.size, self.labels
        return np.stack([labels[row : row + size, column : column + size] for row, column in self.corners[self.frames]])


@dataclass(frozen=True, eq=False)
class Held:
    """What is a constant of the gradient.

    Attributes:
        estimate: complex (group, C, N, N), estimates of the object.
        step: complex (group, C, N, N), the steps that would follow.
        illumination: W (N, N).
        turns: of each set of patches that are merged, complex (patch of the set,).
        phases: of the labels, complex (patch,), or (1,) on a canvas; empty without labels.
        tile: what a network that sees a canvas is given, else None: ``estimate`` and ``step`` are those of its windows.
    """

    estimate: NDArray[np.complex128]
    step: NDArray[np.complex128]
    illumination: NDArray[np.float64]
    phase_alignment: tuple[NDArray[np.complex128], ...]
    phases: NDArray[np.complex128]
    tile: TileCanvas | None = None
