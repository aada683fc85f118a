"""What a scan format provides: a class that recognizes its files by their content and says what is in them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, NamedTuple

from ptycho_core.orientation import AS_STATED, Orientation

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from ptycho_core.formats.contents import Contents
    from ptycho_core.formats.source import Source
    from ptycho_core.scan.frames import Frames
    from ptycho_core.scan.scan import Steps

__all__ = ["FREQUENCY_STEP", "PIXEL_WIDTH", "Evidence", "RawResult", "RawScan", "ScanFormat", "Stated", "Strength", "Word"]


PIXEL_WIDTH: Final = "detector_pixel_width_m"
"""Of what a file states: pitch (m) of the detector from column to column, where it is not that from row to row."""

FREQUENCY_STEP: Final = "frequency_step"
"""In ``RawScan.stated``: the spatial frequency (1/m) between neighboring pixels of a frame, which gives the object's pixel."""


class Strength(IntEnum):
    """How sure a format is that it can read a file; the surest reads it."""

    NAMES = 1
    """It has keys that other programs use too."""
    LAYOUT = 2
    """Its keys together are those of this format alone."""
    STATED = 3
    """It says that it is of this format."""


class Evidence(NamedTuple):
    """That a file is of a format: how sure, and why, a clause that follows the name of the file."""

    strength: Strength
    reason: str


class Stated(NamedTuple):
    """A number that a file states, in the unit of its setting, and the key that states it."""

    value: float
    key: str


class Word(NamedTuple):
    """A word that a file states, and the key that states it."""

    value: str
    key: str


@dataclass(frozen=True, eq=False)
class RawScan:
    """What a file holds of a scan, in the file's own units; ``formats.assembly`` makes a `Scan` of it.

    Attributes:
        frames: (frame, row, column), as stored; not necessarily square.
        key: where they are, such as ``'entry/data'``, for messages.
        positions: (position, 2), float64, (row, column) of the frames as they are *turned*; not finite where there is none.
            None where the file has none and they must be given.
        position_key: where they are.
        unit: of the positions: ``px`` (object pixels), or a length as ``ptycho_core.units`` knows it.
        window: which point of a window a position is: its ``[0, 0]`` corner, its pixel ``N // 2`` (center), or ``(N − 1) / 2``
            (middle). It matters only together with an object.
        signal: ``counts`` or ``amplitude`` where the format says so, else None.
        signal_by: what says so, such as ``the format``, for notes.
        zero: where zero frequency is in a stored frame: ``center`` ``[N//2, N//2]``; ``corner`` ``[0, 0]``; ``shifted``: where
            ``fftshift`` brings it from the center; or the pixel (row, column).
        turning: how a stored frame is turned so that its rows and columns are those of the positions.
        stated: numbers by the name of their setting: ``photon_energy_ev``, ``detector_distance_m``, ``detector_pixel_size_m``,
            ``object_pixel_m`` of a whole frame, ``photons``, ``focus_to_sample_m``; or `FREQUENCY_STEP`, `PIXEL_WIDTH`; values
            need not make sense.
        regime: ``far`` or ``near``, with the key that says so, or None where the file does not say.
        propagator: of the near field, a word of ``ptycho_core.settings.data.PROPAGATORS``, with its key, or None.
        electrons: whether the energy is that of electrons.
        mask: (row, column) as a frame is stored, bool, True = good; or None.
        mask_key: where it is.
        flag: a value that marks bad pixels where it stands in the first frame, or several, or None.
        probe: (mode, N, N), complex, of the turned frames; or None.
        probe_key: where it is.
        probe_in_counts: whether ``Σ|probe|²`` is the mean number of counts of an empty object.
        object_guess: (rows, columns), complex; or None.
        object_center: the position (row, column), in their unit, of the middle ``(rows − 1) / 2`` of the object. None where
            positions are pixels of the object already.
        scan_index: (frame,), int64, which scan a frame belongs to; or None.
        flux: (frame,), the dose of each frame in any unit, from a monitor; or None.
        background: (row, column), counts of a stored frame that every pattern contains, or None.
        frame_numbers: (frame,), int, numbers by which frames and positions pair; None where they pair in order.
        position_numbers: (position,), int, the same of the positions.
        notes: what was decided and left aside, a sentence each.
        used: keys that were used, in the order in which a reader would look for them.
    """

    frames: Frames
    key: str
    positions: NDArray[np.float64] | None
    position_key: str = ""
    unit: str = "px"
    window: Literal["corner", "center", "middle"] = "corner"
    signal: str | None = None
    signal_by: str = "the format"
    zero: Literal["center", "corner", "shifted"] | tuple[float, float] = "center"
    turning: Orientation = AS_STATED
    stated: Mapping[str, Stated] = field(default_factory=dict)
    regime: Word | None = None
    propagator: Word | None = None
    electrons: bool = False
    mask: NDArray[np.bool_] | None = None
    mask_key: str = ""
    flag: float | tuple[float, ...] | None = None
    probe: NDArray[np.complexfloating[Any, Any]] | None = None
    probe_key: str = "the probe"
    probe_in_counts: bool = False
    object_guess: NDArray[np.complexfloating[Any, Any]] | None = None
    object_center: tuple[float, float] | None = None
    scan_index: NDArray[np.int64] | None = None
    flux: NDArray[Any] | None = None
    background: NDArray[Any] | None = None
    frame_numbers: NDArray[np.integer[Any]] | None = None
    position_numbers: NDArray[np.integer[Any]] | None = None
    notes: tuple[str, ...] = ()
    used: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class RawResult:
    """What the file of another program holds of a reconstruction; ``formats.product`` makes a `StoredObject` of it.

    Attributes:
        object: (rows, columns) or (layer, rows, columns), complex; None where it has a probe only.
        probe: (N, N), (mode, N, N) or (OPR mode, mode, N, N), complex, the zero of space in its middle; or None.
        positions: (frame, 2), float64, (row, column) of the windows' ``[0, 0]`` corners in pixels of the object; or None.
        pixel_size_m: object pixel (row, column) in metres, or None.
        notes: what was decided and left aside, a sentence each.
        photon_energy_ev: photon energy in eV, or None if the file does not state it.
    """

    object: NDArray[Any] | None
    probe: NDArray[Any] | None = None
    positions: NDArray[np.float64] | None = None
    pixel_size_m: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()
    photon_energy_ev: float | None = None


class ScanFormat(ABC):
    """A format of scan files: an entry point of the group ``ptycho.formats`` names a class derived from this one.

    Attributes:
        name: the word for ``--format``, that of the entry point: lower-case letters, digits, ``_``.
        title: its name in sentences.
        extensions: how its files are usually named; for the documentation only.
        reads: what it reads, and which other files belong to it, a sentence.
        conventions: units, axes, signs and what is left aside, a sentence each; the page of the format is made of them.
        recognized_by: what its files are recognized by, a few words.
        extra: the extra of ``ptycho-core`` that some of its files need, or empty.
        written_as: the word for ``convert --to``; empty where the format is not written.
        writes: what it writes and for whom, sentences; empty where it is not written.
        needs: fields of `Contents` without which nothing is written, such as ``patterns`` or ``detector_distance_m``.
        keeps: what a file of it has a place for, of the words in ``ptycho_core.formats.lost``; all else is said to be lost.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    extensions: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[str]
    conventions: ClassVar[tuple[str, ...]] = ()
    recognized_by: ClassVar[str] = "its keys"
    extra: ClassVar[str] = ""
    written_as: ClassVar[str] = ""
    writes: ClassVar[str] = ""
    needs: ClassVar[tuple[str, ...]] = ()
    keeps: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def recognize(self, source: Source) -> Evidence | None:
        """Whether the content of the source says that it is of this format: headers and names of keys, no arrays.

        It is asked of any file at all. What goes wrong inside counts as None.
        """

    @abstractmethod
    def read(self, source: Source) -> RawScan:
        """What the file holds, without reading frames.

        Raises:
            DataError: the file cannot be used; the message names file, key and shape.
        """

    def facts(self, source: Source) -> Mapping[str, Stated] | None:
        """What the file states about settings, where that can be found without `read`; None where it cannot."""
        del source
        return None

    def result(self, source: Source) -> RawResult | None:
        """The object and the probe of a result of the program, which serve as a start and are scored; None where it is none.

        It is asked of any file that holds an object or a probe under no name that is ours.

        Raises:
            DataError: it is a result of the program and cannot be used; the message names file, key and shape.
        """
        del source
        return None

    def write(self, contents: Contents, path: Path, progress: Steps | None = None) -> tuple[str, ...]:
        """Write a file, whole or not at all, patterns in pieces; asked only of a format that states ``written_as``.

        Args:
            contents: they have positions and what ``needs`` names.
            path: the file; an existing one is replaced.
            progress: called with how many of how many patterns are written.

        Returns:
            What the file holds that the source does not say, a sentence each.

        Raises:
            DataError: as ``Patterns.read``.
            OutputError: the file cannot be written; what was there before is untouched.
        """
        raise NotImplementedError(f"{self.name} is not written")
