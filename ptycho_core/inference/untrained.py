"""The model of an inference without one: a network without layers, which leaves the estimate of each tile as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ptycho_core.model import Model
from ptycho_core.networks import describe_bare
from ptycho_core.networks.bare import STEPS
from ptycho_core.reconstruction.schedule import likelihood_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ptycho_core.contract import Value
    from ptycho_core.inference.probe import ChosenProbe
    from ptycho_core.scan.scan import Scan

__all__ = ["untrained_model"]

_SLOWER = 2
"""Times the steps where pixels are saturated: what these counted is found by overlap, and slowly."""


def untrained_model(scan: Scan, chosen: ChosenProbe, asked: Mapping[str, Value]) -> Model:
    """The model that estimates the object of a scan.

    Args:
        scan: the scan.
        chosen: its probe; the counts of its patterns decide between the likelihoods.
        asked: the *model* settings.
    """
    if scan.saturation is not None and asked["update_steps"] is None:
        asked = {**asked, "update_steps": _SLOWER * STEPS}
    likelihood = likelihood_for(chosen.counts / max(int(scan.mask.sum()), 1))
    return Model(
        network=describe_bare(scan.size, asked, likelihood),
        weights={},
        physics={"probe": chosen.probe[None], "log_scale": np.zeros(1, dtype=np.float32)},
        facts={"size": scan.size, **asked, "modes": len(chosen.probe)},
    )
