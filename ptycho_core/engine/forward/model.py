"""What a forward model is: the three steps from a sample to a pattern, and the adjoint of each.

The algorithms call only these, so that a new experiment is a new class. ``xp`` are the operations of a framework.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from ptycho_core.engine.arrays import Array, ArrayOps
    from ptycho_core.engine.state import Fields, Windows

__all__ = ["Exit", "ExitGradient", "ForwardModel"]


class Exit(NamedTuple):
    """A batch behind the sample.

    Attributes:
        wave: complex (frame, mode, N, N), the exit waves.
        probes: complex (frame, mode, N, N), the probe at each position; (1, mode, N, N) where it is the same at all.
        patches: complex (frame, N, N), the object in the windows.
        ramps: complex (frame, 1, N, N), what shifted the probe in Fourier space, or None where nothing did.
        roots: real (frame, 1, 1, 1), root of the flux of each frame, which ``probes`` hold already, or None where it is 1.
    """

    wave: Array
    probes: Array
    patches: Array
    ramps: Array | None
    roots: Array | None = None


class ExitGradient(NamedTuple):
    """Derivatives of a loss by what makes the exit waves; ``dL/d conj`` of complex ones.

    Attributes:
        patches: complex (frame, N, N), of the object in each window.
        probe: complex (mode, N, N), summed over the frames, or None where it was not asked for.
        positions: real (frame, 2), or None.
        flux: real (frame,), by its logarithm, or None.
    """

    patches: Array
    probe: Array | None
    positions: Array | None
    flux: Array | None = None


class ForwardModel(Protocol):
    """From object, probe and positions to expected counts, step by step, and back."""

    @property
    def name(self) -> str:
        """How it is asked for."""

    @property
    def folds(self) -> bool:
        """Whether every second pixel of the detector can be computed alone: `propagate` of an exit wave that is folded.

        Folded is ``(…, N/2, N/2)``, the sum of the four quadrants; what is propagated then has twice the amplitude.
        """

    @property
    def shows_smooth_phase(self) -> bool:
        """Whether a pattern shows smooth phase as it does rough; where not, the joint fit enlarges its steps."""

    def exit_wave(self, xp: ArrayOps, fields: Fields, windows: Windows) -> Exit:
        """The waves behind the sample."""

    def illuminate(self, xp: ArrayOps, probes: Array, patches: Array, ramps: Array | None, roots: Array | None = None) -> Exit:
        """The same, where probes (frame, mode, N, N) at each position and object patches (frame, N, N) are known.

        The probes are those times ``roots`` already.
        """

    def propagate(self, xp: ArrayOps, wave: Array, ramps: Array | None = None) -> Array:
        """Exit waves (…, frame, mode, N, N) at the detector, in the order of the FFT; ``ramps`` are those of `Exit`."""

    def measure(self, xp: ArrayOps, waves: Array, background: Array | None) -> Array:
        """Expected counts, real (frame, N, N), of waves (frame, mode, N, N) at the detector."""

    def measure_adjoint(self, xp: ArrayOps, factor: Array, waves: Array) -> Array:
        """``dL/d conj(waves)`` from real (frame, N, N) ``factor = dL/d counts``."""

    def propagate_adjoint(self, xp: ArrayOps, waves: Array, ramps: Array | None = None) -> Array:
        """The adjoint of `propagate`."""

    def unit(self, size: int) -> float:
        """What exit waves may be divided by beforehand, so that no factor is left for `transform`; ``size`` is N."""

    def transform(self, xp: ArrayOps, wave: Array, ramps: Array | None) -> Array:
        """`propagate` of exit waves times `unit`: for small patterns the memory traffic of a factor counts."""

    def transform_adjoint(self, xp: ArrayOps, waves: Array, ramps: Array | None) -> Array:
        """`propagate_adjoint` over `unit`."""

    def of_spectrum(self, xp: ArrayOps, spectrum: Array, ramps: Array | None) -> Array:
        """`transform` of what has the spectrum ``fft2`` that is given."""

    def exit_adjoint(
        self,
        xp: ArrayOps,
        exits: Exit,
        back: Array,
        probe: Array,
        *,
        with_probe: bool,
        with_positions: bool,
        with_flux: bool = False,
    ) -> ExitGradient:
        """What makes the exit waves, from ``back = dL/d conj(exit waves)``; only what is asked for is computed."""

    def position_derivative(self, xp: ArrayOps, exits: Exit, probe: Array) -> Array:
        """Derivative of the waves at the detector by row and column position: complex (2, frame, mode, N, N)."""
