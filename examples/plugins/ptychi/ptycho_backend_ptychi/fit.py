"""A task of pty-chi's for one scan: made, run epoch by epoch, read."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_backend_ptychi.conventions import Model, TheirModel, their_pixels
from ptycho_backend_ptychi.engines import Choices, task_options

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptycho_backend_ptychi.conventions import Convention
    from ptycho_core.contract import ExecutionPlan
    from ptycho_core.scan.scan import Scan

__all__ = ["Fit"]


class Fit:
    """pty-chi at work on the frames ``used`` of a scan; only within `surroundings`.

    Args:
        scan: its patterns are read, all at once.
        start: the model to start from.
        used: numbers of the frames that take part.
        choices: what the engine is to do.
        convention: how the model is written down for pty-chi.
        plan: device, precision, seed.
    """

    def __init__(
        self,
        scan: Scan,
        start: Model,
        used: NDArray[np.int64],
        choices: Choices,
        convention: Convention,
        plan: ExecutionPlan,
    ) -> None:
        self._start, self._used, self._convention = start, used, convention
        shown = replace(start, positions=start.positions[used])
        theirs = convention.theirs(shown)
        real = np.float64 if plan.execution["precision"] == "float64" else np.float32
        task = import_module("ptychi.api.task").PtychographyTask
        self._task: Any = task(
            task_options(choices, shown, plan),
            diffraction_data=their_pixels(scan.patterns.read(used)).astype(real),
            object_data=theirs.object,
            probe_data=theirs.probe,
            probe_position_x_px=theirs.columns,
            probe_position_y_px=theirs.rows,
            valid_pixel_mask=their_pixels(scan.mask),
        )
        # Its own seed reaches all but the order of frames, whose generator it leaves as PyTorch makes it.
        self._task.reconstructor.dataloader.generator.manual_seed(int(plan.execution["seed"] or 0))

    def epoch(self) -> float:
        """Run one epoch; the loss that the engine reports."""
        self._task.run(1)
        return float(self._task.reconstructor.loss_tracker.table["loss"].iloc[-1])

    def model(self) -> Model:
        """The model as it is now; positions of frames that take no part are those of the start."""

        def array(name: str) -> Any:  # noqa: ANN401 - complex or real
            return self._task.get_data_to_cpu(name, as_numpy=True)

        places = array("probe_positions").astype(np.float64)
        found = self._convention.ours(TheirModel(array("object"), array("probe"), places[:, 0], places[:, 1]))
        positions = self._start.positions.copy()
        positions[self._used] = found.positions
        return replace(found, positions=positions)
