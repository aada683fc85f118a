"""The console scripts ``ptycho_train`` and ``ptycho_inference``: ``ptycho train`` and ``ptycho infer`` in PtychoPINN's words."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ptycho_core.cli.streams import say
from ptycho_core.errors import BackendUnusableError, DataError, SettingsError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

    from ptycho_core.settings.sources import Typed

__all__ = ["inference", "main", "train"]

_ARCHIVE = "wts.h5.zip"
_NEEDED = {
    "train": {"scan": "--train_data_file, the scan to learn from"},
    "inference": {"scan": "--test_data, the scan", "model": "--model_path, the folder of a training run"},
}


def train() -> NoReturn:
    """The console script ``ptycho_train``."""
    from ptycho_core.cli.main import end_process

    end_process(partial(main, "train"))


def inference() -> NoReturn:
    """The console script ``ptycho_inference``."""
    from ptycho_core.cli.main import end_process

    end_process(partial(main, "inference"))


def main(command: str, argv: Sequence[str] | None = None) -> int:
    """Run ``train`` or ``inference`` in PtychoPINN's words; the exit status is that of our command."""
    from ptycho_core.cli.main import answer

    return answer(list(sys.argv[1:] if argv is None else argv), partial(parsed, command))


def parsed(command: str, words: list[str]) -> argparse.Namespace:
    """What a command line says, as ``ptycho train`` or ``ptycho infer`` would have it; ``func`` of it runs the job.

    Raises:
        UsageError: it cannot be understood, or something in it is refused.
        DataError: the model is PtychoPINN's.
        SystemExit: help was asked for, or one of our flags is wrong.
    """
    from ptycho_core.compatibility.parsing import read_words
    from ptycho_core.compatibility.translation import translate
    from ptycho_core.compatibility.yaml_file import read_yaml

    if {"-h", "--help"} & set(words):
        from ptycho_core.compatibility.document import help_page

        print(help_page(command))
        raise SystemExit(0)
    flags, rest = read_words(command, words)
    config = next((one for one in flags if one.entry.argument == "config"), None)
    job = translate(command, flags, [] if config is None else read_yaml(command, Path(config.text)))
    for sentence in job.deprecated:
        say(f"ptycho_{command}: {sentence}", error=True)
    args = _ours(command, job.arguments, rest)
    for name, item in job.typed.items():
        setattr(args, f"setting_{name}", [*getattr(args, f"setting_{name}", ()), item])
    args.config = job.lower
    if "backend" not in {**job.typed, **job.lower.file} and "PTYCHO_BACKEND" not in os.environ:
        args.func = partial(_with_default_named, command, args.func)
    return args


def _ours(command: str, arguments: Mapping[str, Typed], rest: list[str]) -> argparse.Namespace:
    """The arguments as our command parses them, so that it gets all that it knows."""
    from ptycho_core.cli.main import parse

    for name, argument in _NEEDED[command].items():
        if name not in arguments:
            raise UsageError(f"ptycho_{command} needs {argument}.")
    scan, output = str(arguments["scan"].value), str(arguments["output_dir"].value)
    if command == "train":
        judging = ["--validation", str(arguments["validation"].value)] if "validation" in arguments else []
        return parse(["train", scan, "--output-dir", output, *judging, *rest])
    model = str(arguments["model"].value)
    _refuse_archive(Path(model))
    args = parse(["infer", scan, "--output-dir", output, "--model", model, *rest])
    args.func = partial(_with_pictures, args.func, _phase_limits(arguments))
    return args


def _with_default_named(command: str, run: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    """Run the job; if its backend cannot be used, say that it was not asked for."""
    try:
        return run(args)
    except BackendUnusableError as error:
        error.remedy += f" It is the default of ptycho_{command}; --backend chooses another."
        raise


def _with_pictures(
    run: Callable[[argparse.Namespace], int], limits: tuple[float | None, float | None], args: argparse.Namespace
) -> int:
    """Run the inference, then draw the two pictures that PtychoPINN's command leaves."""
    from ptycho_core.compatibility.pictures import draw

    status = run(args)
    if status == 0 and not args.dry_run:
        for note in draw(Path(args.output_dir), limits):
            say(f"ptycho_inference: warning: {note}", error=True)
    return status


def _phase_limits(arguments: Mapping[str, Typed]) -> tuple[float | None, float | None]:
    """The phases at the ends of the colours, radians."""
    from math import isfinite

    found: list[float | None] = []
    for name in ("phase_vmin", "phase_vmax"):
        item = arguments.get(name)
        try:
            found.append(None if item is None else float(item.value))
        except ValueError:
            found.append(float("nan"))
        if item is not None and not isfinite(found[-1] or 0):
            raise SettingsError(f"{item.where}: {name} must be a number of radians.", source=item.where)
    low, high = found
    if low is not None and high is not None and low >= high:
        raise SettingsError(f"{arguments['phase_vmin'].where} is not below {arguments['phase_vmax'].where}.")
    return low, high


def _refuse_archive(model: Path) -> None:
    """PtychoPINN's models are pickles, which can run any code when they are read.

    Raises:
        DataError: it is one.
    """
    place = model / _ARCHIVE if model.is_dir() else model
    if place.name == _ARCHIVE and place.is_file():
        raise DataError(
            f"{place} is a model archive of PtychoPINN: it holds pickles, which can run any code when they are read, and another "
            "network.",
            remedy="Train again with ptycho_train, which takes the same scan, and give the folder of that run.",
        )
