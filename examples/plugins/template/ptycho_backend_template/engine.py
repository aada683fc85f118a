"""The verb ``reconstruct``: rPIE (Maiden, Johnson & Li, Optica 4 (2017) 736) with one probe mode, in NumPy.

Put your framework in place of NumPy here; the arrays that come in and go out stay NumPy's.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_core.contract import Event, ReconstructResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ptycho_core.contract import EventSink, ExecutionPlan, ReconstructJob
    from ptycho_core.scan.scan import Scan

    Complex = NDArray[np.complex128]
    Real = NDArray[np.float64]
    Frames = NDArray[np.int64]

EPOCHS: Final = 30
"""Epochs where a user leaves it to the backend."""

PROBE_ALPHA: Final = 0.1
TINY: Final = 1e-30
AXES: Final = (-2, -1)


def reconstruct(job: ReconstructJob, plan: ExecutionPlan, events: EventSink) -> ReconstructResult:
    """Fit object and probe: epochs in random batches, then iterations with all frames at once.

    Raises:
        DataError: the scan cannot be used; what opens and reads it says why.
    """
    scan = job.scan  # opened, whatever the format of the file
    asked: Mapping[str, Any] = job.settings["reconstruction"]
    epochs = EPOCHS if asked["epochs"] is None else asked["epochs"]
    stages = (("rpie", epochs, asked["batch_size"]), ("all frames", asked["iterations"], len(scan)))
    seed: Any = plan.execution["seed"]
    random = np.random.default_rng(seed)  # its own: the global one belongs to the user
    fit = Fit(job, plan, scan)
    history: list[dict[str, Any]] = []
    began = time.perf_counter()
    for stage, number, size in stages:
        for epoch in range(1, number + 1):
            loss = difference = 0.0
            for frames in np.array_split(random.permutation(len(scan)), -(-len(scan) // size)):
                if events.stop_requested:  # at each batch: who asks to stop does not want to wait
                    return fit.result(history, "asked to stop", interrupted=True)
                residual = fit.update(frames)
                loss += float((residual**2).sum())
                difference += float(np.abs(residual).sum())
            misfit = difference / fit.roots[:, fit.good].sum()
            row = {"stage": stage, "epoch": epoch, "loss": loss / len(scan), "misfit": float(misfit), "held_out": None}
            history.append(row | {"seconds": time.perf_counter() - began})
            events.emit(Event("epoch", stage, epoch, number, history[-1]))
    return fit.result(history, "all epochs done")


class Fit:
    """Object, probe and what they are fitted to. Patterns are kept with zero frequency at ``[0, 0]``, as the FFT has it."""

    def __init__(self, job: ReconstructJob, plan: ExecutionPlan, scan: Scan) -> None:
        asked: Mapping[str, Any] = job.settings["reconstruction"]
        options: Mapping[str, Any] = plan.options
        self.object: Complex = job.object.astype(np.complex128)  # flat, or what --start names
        self.probe: Complex = job.probe[0].astype(np.complex128)
        self.positions: Real = np.array(job.positions)
        counts = np.fft.ifftshift(scan.patterns.read(np.arange(len(scan))), axes=AXES)
        self.roots: Real = np.sqrt(counts.astype(np.float64))
        self.good = np.fft.ifftshift(scan.mask)  # True: a good pixel
        self.alpha, self.refine_probe = asked["object_alpha"], asked["refine_probe"]
        self.momentum, self.device = options["momentum"], plan.device
        self.change = np.zeros_like(self.object)

    def update(self, frames: Frames) -> Real:
        """Move object and probe by what a batch asks for; returns √n − √I (frame, N, N) before, zero at bad pixels."""
        corners = np.floor(self.positions[frames]).astype(int)
        rest = self.positions[frames] - corners
        rows, columns = windows(corners, self.probe.shape[-1])
        patches, probes = self.object[rows, columns], shift(self.probe, rest)
        waves = np.fft.fft2(probes * patches, norm="ortho")
        modelled = np.sqrt(np.abs(waves) ** 2 + TINY)
        residual = np.where(self.good, self.roots[frames] - modelled, 0.0)
        asked = np.fft.ifft2(residual / modelled * waves, norm="ortho")

        power = np.abs(probes) ** 2
        light, step = np.zeros(self.object.shape), np.zeros_like(self.object)
        np.add.at(light, (rows, columns), power)  # not +=: windows of a batch overlap
        np.add.at(step, (rows, columns), probes.conj() * asked)
        step /= (1 - self.alpha) * light + self.alpha * power.max() + TINY
        self.change = self.momentum * self.change + step
        self.object = self.object + self.change
        if self.refine_probe:
            seen = (np.abs(patches) ** 2).sum(axis=0)
            pull = shift(patches.conj() * asked, -rest).sum(axis=0)
            self.probe = self.probe + pull / ((1 - PROBE_ALPHA) * seen + PROBE_ALPHA * seen.max() + TINY)
        return residual

    def result(self, history: list[dict[str, Any]], why: str, *, interrupted: bool = False) -> ReconstructResult:
        """What goes back to the core."""
        return ReconstructResult(
            object=self.object,
            probe=self.probe[None],
            positions=self.positions,
            background=None,
            history=history,
            held_out=np.zeros(0, dtype=np.int64),
            stopped_by=why,
            interrupted=interrupted,
            facts={"device": self.device},
        )


def windows(corners: Frames, size: int) -> tuple[Frames, Frames]:
    """Rows (frame, N, 1) and columns (frame, 1, N) of the windows whose first pixels are at ``corners`` (frame, 2)."""
    steps = np.arange(size)
    return (corners[:, 0, None] + steps)[:, :, None], (corners[:, 1, None] + steps)[:, None, :]


def shift(field: Complex, by: Real) -> Complex:
    """Move fields (..., N, N) by fractions of a pixel ``by`` (frame, 2), in Fourier space."""
    row, column = np.fft.fftfreq(field.shape[-2])[:, None], np.fft.fftfreq(field.shape[-1])[None, :]
    ramps = np.exp(-2j * np.pi * (by[:, 0, None, None] * row + by[:, 1, None, None] * column))
    return np.fft.ifft2(ramps * np.fft.fft2(field))
