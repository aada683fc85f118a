"""A scan or a reconstruction in the format of another program: what is there, what the format needs, what it loses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ptycho_core.errors import DataError, PtychoError, SettingsError, did_you_mean
from ptycho_core.files.place import check_apart, check_file
from ptycho_core.formats.contents import SCALE, Contents, contents_of_result, contents_of_scan, joined
from ptycho_core.formats.lost import lost
from ptycho_core.formats.opening import MODEL_SUFFIX, ScanFile, opened, scan_path, stated
from ptycho_core.formats.plausible import plausible
from ptycho_core.formats.product import is_own_result, is_result_of_others, load_reconstruction, read_object
from ptycho_core.formats.registry import usable_formats
from ptycho_core.formats.result_scan import scan_of_result
from ptycho_core.model import BEST, LAST
from ptycho_core.settings.data import FILES, data_settings, file_of
from ptycho_core.spelling import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ptycho_core.formats.interface import ScanFormat
    from ptycho_core.formats.product import Reconstruction, StoredObject
    from ptycho_core.settings.data import DataSettings

__all__ = ["Conversion", "convert"]

_RECTANGULAR: Final = ("plain", "nexus", "cxi")
"""Words of the formats whose files state both pitches of a detector."""

_NEEDED: Final = {
    "patterns": ("holds no patterns", "Give the scan that it was made from with --scan FILE."),
    "positions": ("does not say where its windows lie on the object", "Give its scan as SCAN, or a result that does."),
    "object": ("holds no object", "Give a reconstruction as RESULT."),
    "probe": ("holds no probe", "Give one with --probe FILE."),
}
"""What is said where a format needs a part that is not there, and what to do."""

_ELSEWHERE: Final = "Convert the scan that it was made from."

_WORDS: Final = dict(zip(SCALE, ("the photon energy", "the distance", "the detector's pixel", "the object's pixel"), strict=True))


@dataclass(frozen=True)
class Conversion:
    """A file that was written in another format.

    Attributes:
        path: the file.
        format: that it was written in.
        patterns: shape (frame, N, N) of the patterns in it; None where it has none.
        lost: what the source has and the file does not, a sentence each.
        aside: keys of the source that were not read, the first of them.
        notes: what was decided on reading and writing, a sentence each.
    """

    path: Path
    format: ScanFormat
    patterns: tuple[int, int, int] | None
    lost: tuple[str, ...]
    aside: tuple[str, ...]
    notes: tuple[str, ...]


def convert(
    source: str | Path,
    output: str | Path,
    to: str,
    *,
    scan: str | Path | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
    **settings: Any,  # noqa: ANN401 - checked
) -> Conversion:
    """Write a scan or a reconstruction in the format of another program.

    Args:
        source: a scan in any format that is read, or a result: ours, its folder, or one of another program.
        output: the file to write; it appears when it is complete.
        to: what it is written as: ``plain``, ``pinn``, ``ptychodus``, ``cxi``, ``nexus``, ``ptypy``, or another of
            ``ptycho formats``.
        scan: the scan that one of our results was made from, whose patterns are written next to it.
        overwrite: replace a file that exists.
        progress: called with how many of how many patterns are written.
        **settings: the *data* settings, by which the scan is read; of a result alone only those of its scale.

    Raises:
        DataError: the source cannot be used, or lacks what the format needs; the message names it and the flag that gives it.
        OutputError: the file exists, is an input, or cannot be written.
        SettingsError: a setting is unknown, or there is no such format.
    """
    place, asked = Path(output), data_settings(settings)
    forms = _written_as(to)
    check_apart([place], [scan_path(source), scan, *(file_of(name, getattr(asked, name)) for name in FILES)])
    check_file(place, overwrite=overwrite)
    contents, aside, files = _contents(source, scan, settings)
    check_apart([place], files)
    form = _chosen(forms, contents)
    _check_regime(form, contents, str(source))
    _check_parts(form, contents, str(source))
    _check_square(form, contents, str(source))
    _check_scale(form, contents, str(source), lambda: _stated_by(source if scan is None else scan, asked))
    notes = form.write(contents, place, progress)
    shape = None if contents.patterns is None or "patterns" not in form.keeps else contents.patterns.shape
    return Conversion(place, form, shape, tuple(lost(contents, form)), aside, (*contents.notes, *notes))


def _written_as(word: str) -> list[ScanFormat]:
    """The formats that a word of ``--to`` stands for."""
    written = [form for form in usable_formats() if form.written_as]
    named = [form for form in written if form.name == word]
    if found := named or [form for form in written if form.written_as == word]:
        return found
    words = sorted({form.written_as for form in written})
    message = f"Written are {', '.join(words)}."
    if any(form.name == word for form in usable_formats()):
        raise SettingsError(f"--to {word}: this format is read, and not written.", remedy=message)
    raise SettingsError(f"--to {word:.60}: there is no such format.{did_you_mean(word, words)}", remedy=message)


def _refuse_model(path: Path) -> None:
    """Refuse a trained network, which is no picture.

    Raises:
        DataError: it is one.
    """
    if path.suffix == MODEL_SUFFIX or (path.is_dir() and any((path / name).exists() for name in (BEST, LAST))):
        remedy = f"Convert what it infers: ptycho infer SCAN --model {path} -o DIR, and then DIR."
        raise DataError(f"{path} is a trained network, which no format of another program holds.", remedy=remedy)


def _contents(
    source: str | Path, scan: str | Path | None, settings: Mapping[str, Any]
) -> tuple[Contents, tuple[str, ...], tuple[Path, ...]]:
    """What the source holds, the keys that were left aside, and further files that were read."""
    path = scan_path(source)
    ours = is_own_result(path)
    if scan is not None:
        if not ours:
            raise SettingsError(f"--scan belongs to a result of ptycho, and {path} is none.", remedy="Leave --scan out.")
        return _with_scan(path, Path(scan), settings), (), ()
    if ours:
        return _of_result(path, load_reconstruction(path), settings), (), ()
    _refuse_model(path)
    try:
        found = opened(source, {"margin": 0, **{name: one for name, one in settings.items() if one is not None}})
    except DataError:
        if not is_result_of_others(path):
            raise
        return _of_result(path, read_object(path), settings), (), ()
    return contents_of_scan(found.scan, printable(path.stem)), found.aside, found.files


def _of_result(path: Path, found: Reconstruction | StoredObject, settings: Mapping[str, Any]) -> Contents:
    """What a result alone holds; of the settings only those of its scale act on it."""
    for name, value in settings.items():
        if value is not None and name not in SCALE:
            flag = f"--{name.replace('_', '-')}"
            raise SettingsError(f"{flag} says how a scan is read, and {path} is a result.", remedy=f"Leave {flag} out.")
    return contents_of_result(found, getattr(found, "name", "") or printable(path.stem), str(path), data_settings(settings))


def _with_scan(path: Path, scan: Path, settings: Mapping[str, Any]) -> Contents:
    """A reconstruction with the patterns that it was made from."""
    found = load_reconstruction(path)
    frames = contents_of_scan(scan_of_result(found, path, scan_path(scan), settings), printable(scan.stem))
    scale = {name: value for name, value in settings.items() if name in SCALE}
    return joined(_of_result(path, found, scale), frames)


def _chosen(forms: list[ScanFormat], contents: Contents) -> ScanFormat:
    """Of formats of one word, such as a scan and a result of one program, that which holds patterns if there are any.

    Raises:
        SettingsError: there are several of them.
    """
    fitting = [form for form in forms if ("patterns" in form.keeps) == (contents.patterns is not None)] or forms
    if len(fitting) > 1:
        names = " and ".join(form.name for form in fitting)
        raise SettingsError(f"--to {fitting[0].written_as} could be {names}.", remedy=f"Choose with --to {fitting[0].name}.")
    return fitting[0]


def _check_regime(form: ScanFormat, contents: Contents, source: str) -> None:
    """Refuse patterns of the near field for a format whose readers would take them for those of the far field.

    Raises:
        DataError: the message names what can be written.
    """
    if contents.regime and "regime" not in form.keeps:
        message = f"{source} is of the near field, and a file of {form.title} would be read as one of the far field."
        raise DataError(message, remedy="Write it with --to plain.")


def _check_parts(form: ScanFormat, contents: Contents, source: str) -> None:
    """Refuse contents that lack a part that a format cannot be without.

    Raises:
        DataError: the message names it, and what gives it.
    """
    for name in form.needs:
        if name in _NEEDED and getattr(contents, name) is None:
            message, remedy = _NEEDED[name]
            remedy = _ELSEWHERE if name == "patterns" and not contents.record else remedy
            raise DataError(f"{source} {message}, which a file of {form.title} needs.", remedy=remedy)


def _check_scale(form: ScanFormat, contents: Contents, source: str, facts: Callable[[], set[str]]) -> None:
    """Refuse contents without the scale in metres that a format needs.

    Args:
        form: the format.
        contents: what is there.
        source: for messages.
        facts: gives the settings that the source states, though not all of them.

    Raises:
        DataError: the message names what is missing, and the flags that give it.
    """
    missing = [name for name in form.needs if name in SCALE and getattr(contents, name) is None]
    if not missing:
        _check_plausible(form, contents, source)
        return
    known = facts()
    missing = [name for name in missing if name not in known] or missing
    if contents.object_pixel_m is not None and "detector_distance_m" in missing:
        missing.remove("detector_pixel_size_m")  # it follows from the object's pixel
    words, flags = _listed([_WORDS[name] for name in missing]), _listed([f"--{name.replace('_', '-')}" for name in missing])
    message = f"{source} does not state {words}, and a file of {form.title} has its positions in metres."
    raise DataError(message, remedy=f"Give {flags}.")


def _check_square(form: ScanFormat, contents: Contents, source: str) -> None:
    """Refuse a detector whose pixels are not square where a format has one pitch.

    Raises:
        DataError: the message names both.
    """
    if contents.detector_pixel_width_m is None or form.written_as in _RECTANGULAR:
        return
    pitch = (
        f"{contents.detector_pixel_size_m:g} m from row to row and {contents.detector_pixel_width_m:g} m from column to column"
    )
    message = f"{source}: the detector's pixels are {pitch}, and a file of {form.title} takes square ones only."
    raise DataError(message, remedy=f"Convert to one of {', '.join(_RECTANGULAR)}.")


def _check_plausible(form: ScanFormat, contents: Contents, source: str) -> None:
    """Refuse lengths that a reader of the file would take to be in another unit, as a made-up distance gives them.

    Raises:
        DataError: the message names the flag.
    """
    for name in ("detector_distance_m", "detector_pixel_size_m"):
        value = getattr(contents, name)
        if name in form.needs and plausible(name, value, "m", source, []) != value:
            message = f"{source}: {_WORDS[name]} would be {value:.3g} m, which no reader takes for metres."
            raise DataError(message, remedy="Give another --detector-distance-m, or --detector-pixel-size-m.")


def _stated_by(source: str | Path, asked: DataSettings) -> set[str]:
    """The settings that a scan states; none of a result, whose `Contents` have them all."""
    try:
        return {*stated(ScanFile(source), asked), *(name for name in SCALE if getattr(asked, name) is not None)}
    except PtychoError:
        return set()


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
