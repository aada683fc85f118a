"""Which models of a run are kept, by which figure, and what of them is on disk while it runs."""

from __future__ import annotations

import json
import math
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ptycho_core.errors import DataError
from ptycho_core.files.names import CHECKPOINTS
from ptycho_core.files.whole import cannot_write
from ptycho_core.model import BEST, LAST, read_model_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

__all__ = ["AUTO", "BEST", "CHECKPOINTS", "LAST", "Checkpoints", "Monitor", "epoch_files", "keeps_checkpoints", "model_names"]

_EPOCH = re.compile(r"epoch-([0-9]{4,})\.ptycho")


class Monitor(NamedTuple):
    """The figure of the history that stopping, the ``plateau`` schedule and the best model go by.

    Attributes:
        name: column of the history; None is ``validation_loss``, or ``loss`` in a row without it.
        mode: ``min`` or ``max``: which is better.
    """

    name: str | None = None
    mode: str = "min"

    @classmethod
    def of(cls, execution: Mapping[str, Any]) -> Monitor:
        """As the *execution* settings say."""
        name = execution["checkpoint_monitor"]
        return cls(None if name is None else str(name), str(execution["checkpoint_mode"]))

    def value(self, row: Mapping[str, Any]) -> float:
        """The figure of a history row, negated in mode ``max``, so that lower is better; infinite where it is not finite."""
        found = row.get(self.name or "validation_loss")
        if found is None and self.name is None:
            found = row["loss"]
        value = math.nan if found is None else float(found)
        return (-value if self.mode == "max" else value) if math.isfinite(value) else math.inf


AUTO: Final = Monitor()
"""What models are compared by unless something else is asked for."""


def keeps_checkpoints(execution: Mapping[str, Any]) -> bool:
    """Whether the *execution* settings ask for any file while a training runs."""
    return bool(execution["enable_checkpointing"]) and execution["checkpoint_save_top_k"] != 0


def model_names(execution: Mapping[str, Any]) -> list[str]:
    """The models that the *execution* settings ask for, in the folder of the run."""
    several = [CHECKPOINTS + "/"] if execution["checkpoint_save_top_k"] not in (0, 1) else []
    return [BEST, LAST, *several] if keeps_checkpoints(execution) else [LAST]


def epoch_files(folder: Path) -> dict[int, Path]:
    """The kept epochs of a run's folder, by number."""
    found = ((_EPOCH.fullmatch(path.name), path) for path in sorted((folder / CHECKPOINTS).glob("epoch-*.ptycho")))
    return {int(match[1]): path for match, path in found if match}


class Checkpoints:
    """The model files in the folder of a run, as ``specs/training.md`` says.

    Args:
        folder: of the run.
        execution: the *execution* settings.
        history: of the epochs that the run continues after; what else is in the folder is not of this run, and is about to go.

    Attributes:
        on: whether anything is written while the run continues.
        monitor: what the models are compared by.

    Raises:
        DataError: the run continues, and its best model cannot be read.
    """

    def __init__(self, folder: Path, execution: Mapping[str, Any], history: Sequence[Mapping[str, Any]] = ()) -> None:
        self._folder = folder
        self._most = int(execution["checkpoint_save_top_k"])
        self.on, self.monitor = keeps_checkpoints(execution), Monitor.of(execution)
        self._best = _epochs_of(folder / BEST, history) if history and (folder / BEST).is_file() else None
        self._own = _own_epochs(folder, history)

    def after_epoch(self, history: Sequence[Mapping[str, Any]], save: Callable[[Path], None]) -> tuple[Path, ...]:
        """Save the model as it is wherever it belongs, and delete what is no longer among the best; the files written.

        Args:
            history: of all finished epochs.
            save: writes the model to a path, whole or not at all.

        Raises:
            OutputError: a file or the folder for them cannot be written.
        """
        if not self.on:
            return ()
        save(self._folder / LAST)
        return self._folder / LAST, *self._complete(history, save)

    def catch_up(self, history: Sequence[Mapping[str, Any]], save: Callable[[Path], None]) -> None:
        """Before a run continues: what is missing of its last epoch, cut off between two files or monitored otherwise.

        Raises:
            OutputError: a file or the folder for them cannot be written.
        """
        if self.on and history:
            self._complete(history, save)

    def at_end(self, history: Sequence[Mapping[str, Any]], save: Callable[[Path], None]) -> tuple[Path, ...]:
        """Where nothing was written on the way: save the last model, also as the best where an earlier call left a worse one."""
        if self.on:
            return ()
        better = self._best is not None and self._is_best(history)
        written = [self._folder / LAST, *([self._folder / BEST] if better else [])]
        for path in written:
            save(path)
        return tuple(written)

    def _complete(self, history: Sequence[Mapping[str, Any]], save: Callable[[Path], None]) -> list[Path]:
        """All of the last epoch but ``last.ptycho``, which is there: a run that is cut off in between continues from that."""
        now, written = len(history), []
        if self._is_best(history):
            written.append(self._folder / BEST)
        kept = self._kept(history)
        if now in kept - self._own:
            _make(self._folder / CHECKPOINTS)
            written.append(self._folder / CHECKPOINTS / f"epoch-{now:04d}.ptycho")
        for path in written:
            save(path)
        self._best = now if self._folder / BEST in written else self._best
        self._own = kept
        for epoch, path in epoch_files(self._folder).items():
            if epoch not in kept:
                path.unlink(missing_ok=True)
        return written

    def _is_best(self, history: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the last epoch is better than the one whose model is kept as the best."""
        best = math.inf if self._best is None else self.monitor.value(history[self._best - 1])
        return self.monitor.value(history[-1]) < best

    def _kept(self, history: Sequence[Mapping[str, Any]]) -> set[int]:
        """The epochs that have their own file from now on: the best of those that have one and of the last."""
        if self._most == 1:
            return set()
        known = self._own | {len(history)}
        if self._most < 0:
            return known
        values = {epoch: self.monitor.value(history[epoch - 1]) for epoch in known}
        finite = [epoch for epoch in known if math.isfinite(values[epoch])]
        return set(sorted(finite, key=lambda epoch: (values[epoch], epoch))[: self._most])


def _own_epochs(folder: Path, history: Sequence[Mapping[str, Any]]) -> set[int]:
    """The epochs of a run that have a file; not those of a run that was replaced, nor of epochs that will come again."""
    found = set()
    for epoch, path in epoch_files(folder).items() if history else ():
        with suppress(DataError):  # a damaged file is none
            if _epochs_of(path, history) == epoch:
                found.add(epoch)
    return found


def _epochs_of(path: Path, history: Sequence[Mapping[str, Any]]) -> int | None:
    """Number of epochs that the model in a file has behind it; None if they are not the first of this history."""
    rows = read_model_manifest(path)["history"]
    return len(rows) if rows and _same(rows, history[: len(rows)]) else None


def _same(rows: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]) -> bool:
    """Whether two histories are one: the seconds in it tell apart what else might be alike. A loss may be no number."""
    one, other = (json.dumps([dict(row) for row in some], sort_keys=True, default=str) for some in (rows, others))
    return one == other


def _make(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
