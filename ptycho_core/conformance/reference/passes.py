"""One pass of a batch from its counts to the loss, and the way back to all that learns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ptycho_core import physics
from ptycho_core.conformance.reference.batch import Held
from ptycho_core.conformance.reference.estimate import estimate, features, fitted_tile
from ptycho_core.conformance.reference.fourier import at_detector, from_detector, phase, shifted
from ptycho_core.conformance.reference.losses import intensity_slope, patch_slope, terms
from ptycho_core.conformance.reference.merging import merge, merge_back, phase_alignment
from ptycho_core.conformance.reference.network import channels, layer_results, weight_gradients
from ptycho_core.conformance.reference.output import output, output_back
from ptycho_core.networks import sees_canvas

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ptycho_core.conformance.reference.batch import Batch
    from ptycho_core.conformance.reference.tile_network import TileCanvas
    from ptycho_core.contract import Value

__all__ = [
    "TERMS",
    "Slopes",
    "before_merging",
    "gradients",
    "hold",
    "intensities",
    "losses",
    "merged",
    "picture_of",
    "slopes_to_labels",
    "weights_of",
]

TERMS = (*physics.TERMS, "realspace")


def weights_of(training: Mapping[str, Value]) -> dict[str, float]:
    """The weight of each loss term that has one above 0, from the *training* settings of a job."""
    weights = {name: float(str(training[f"{name}_weight"])) for name in TERMS}
    return {name: weight for name, weight in weights.items() if weight > 0}


@dataclass(frozen=True, eq=False)
class Slopes:
    """Gradients of the weighted loss, d/d Re + i d/d Im for complex arrays.

    Attributes:
        weights: of the network, by name.
        probe: complex (mode, N, N), with respect to the probe with the factor of the scale.
    """

    weights: Mapping[str, NDArray[np.float64]]
    probe: NDArray[np.complex128]


def hold(batch: Batch) -> Held:
    """The constants of the gradient as they are now."""
    if sees_canvas(batch.network):
        return _held_canvas(batch)
    estimated, step = estimate(batch)
    light = batch.illumination
    held = Held(estimated, step, light, (), np.ones(0, dtype=np.complex128))
    patches = before_merging(batch, held)
    held = replace(held, phase_alignment=phase_alignment(batch, patches, light))
    if batch.labels is None:
        return held
    patches = merge(batch, patches, light, held.phase_alignment)
    return replace(held, phases=phase((light * batch.true_patches() * patches.conj()).sum(axis=(1, 2))))


def _held_canvas(batch: Batch) -> Held:
    label = None
    if batch.labels is not None:
        corners = batch.corners[batch.frames]
        (row, column), (last, most) = corners.min(axis=0), corners.max(axis=0) + batch.size
        label = batch.labels[row:last, column:most]
    tile, nothing = fitted_tile(batch).canvas(label), np.ones(0, dtype=np.complex128)
    held = Held(nothing, nothing, batch.illumination, (), nothing, tile)
    return held if label is None else replace(held, phases=tile.held_phase(picture_of(batch, tile)))


def picture_of(batch: Batch, tile: TileCanvas) -> NDArray[np.complex128]:
    """The object of a tile as the network corrects it, complex (rows, columns)."""
    given = channels(batch.network, batch.weights, tile.features())
    found: NDArray[np.complex128] = output(given, tile.picture[None, None], batch.network["output"])[0, 0]
    return found


def slopes_to_labels(batch: Batch, tile: TileCanvas) -> tuple[float, dict[str, NDArray[np.float64]], NDArray[np.complex128]]:
    """Of a tile, turned or not, that is compared with its label alone: distance, gradients by the weights, picture."""
    values, asked = layer_results(batch.network, batch.weights, tile.features()), batch.network["output"]
    given, estimated = values[batch.network["layers"][-1]["name"]], tile.picture[None, None]
    picture = output(given, estimated, asked)[0, 0]
    factor = tile.held_phase(picture)
    of_channels = output_back(given, estimated, asked, tile.slope(picture, factor)[None, None])
    return tile.distance(picture, factor), weight_gradients(batch.network, batch.weights, values, of_channels), picture


def before_merging(batch: Batch, held: Held) -> NDArray[np.complex128]:
    """Patches of the network, complex (patch, N, N)."""
    if held.tile is not None:
        return held.tile.windows.cut(picture_of(batch, held.tile))
    given = channels(batch.network, batch.weights, _features(held))
    return output(given, held.estimate, batch.network["output"]).reshape(-1, batch.size, batch.size)


def merged(batch: Batch, held: Held) -> NDArray[np.complex128]:
    """Patches as the loss sees them, complex (patch, N, N)."""
    if held.tile is not None:
        return before_merging(batch, held)
    return merge(batch, before_merging(batch, held), held.illumination, held.phase_alignment)


def intensities(batch: Batch, patches: NDArray[np.complex128]) -> NDArray[np.float64]:
    """``I_j = Σ_m |D(P_jm M_j)|²`` of merged patches: (patch, N, N), counts, in the order of the FFT."""
    waves = at_detector(_probes(batch) * patches[:, None], batch.remainders, batch.way)
    found: NDArray[np.float64] = (np.abs(waves) ** 2).sum(axis=1)
    return found


def losses(batch: Batch, held: Held, names: tuple[str, ...] = TERMS) -> dict[str, float]:
    """The named terms, unweighted."""
    patches = merged(batch, held)
    return terms(batch, held, patches, intensities(batch, patches), names)


def gradients(batch: Batch, held: Held, weights: Mapping[str, float]) -> Slopes:
    """Gradient of the weighted sum of the loss terms with respect to the network's weights and the probe.

    Reverse accumulation, by hand: ``G_Ψ = 2 (dL/dI) Ψ``, ``G_ψ = D† G_Ψ``; to the merged patches ``Σ_m conj(P_jm) G_ψ``, to the
    probe ``Σ_j S_(-d_j) [conj(M_j) G_ψ]`` (``specs/forward-model.md``); then through merging, output form and layers.

    Args:
        batch: the batch.
        held: its constants.
        weights: of the loss terms by name.
    """
    values = layer_results(batch.network, batch.weights, _features(held))
    given = values[batch.network["layers"][-1]["name"]]
    asked, tile = batch.network["output"], held.tile
    estimated = held.estimate if tile is None else tile.picture[None, None]
    answer = output(given, estimated, asked)
    if tile is None:
        patches = merge(batch, answer.reshape(-1, batch.size, batch.size), held.illumination, held.phase_alignment)
    else:
        patches = tile.windows.cut(answer[0, 0])
    probes = _probes(batch)
    waves = at_detector(probes * patches[:, None], batch.remainders, batch.way)
    of_intensity = intensity_slope(batch, (np.abs(waves) ** 2).sum(axis=1), weights)
    of_exit = from_detector(2 * of_intensity[:, None] * waves, batch.remainders, batch.way)
    of_patches = (probes.conj() * of_exit).sum(axis=1) + patch_slope(batch, held, patches, weights)
    if tile is None:
        of_answer = merge_back(batch, of_patches, held.illumination, held.phase_alignment).reshape(answer.shape)
    else:
        of_answer = tile.windows.add(of_patches)[None, None]
        if weights.get("realspace", 0.0):
            of_answer = of_answer + weights["realspace"] * tile.slope(answer[0, 0], held.phases)
    of_channels = output_back(given, estimated, asked, of_answer)
    return Slopes(
        weights=weight_gradients(batch.network, batch.weights, values, of_channels),
        probe=_probe_slope(batch, patches[:, None].conj() * of_exit),
    )


def _features(held: Held) -> NDArray[np.float64]:
    return features(held.estimate, held.step, held.illumination) if held.tile is None else held.tile.features()


def _probes(batch: Batch) -> NDArray[np.complex128]:
    """The probes of all patches, (patch, mode, N, N)."""
    return np.stack([batch.shifted(frame) for frame in batch.frames])


def _probe_slope(batch: Batch, of_shifted: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """From the shifted probes (patch, mode, N, N) back to the one probe."""
    found = np.zeros_like(batch.probe)
    for slope, frame in zip(of_shifted, batch.frames, strict=True):
        found += shifted(slope, -batch.remainder(frame))
    return found
