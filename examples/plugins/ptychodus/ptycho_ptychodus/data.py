"""What goes over to a job, in ptychodus' own files, which ptycho reads as any scan; and what comes back, as its products."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from ptychodus.api.assemble import AssembledDiffractionData
from ptychodus.api.geometry import PixelGeometry
from ptychodus.api.io import StandardFileLayout, save_diffraction_data, save_product
from ptychodus.api.object import Object, ObjectCenter
from ptychodus.api.probe import ProbeSequence
from ptychodus.api.probe_positions import ProbePosition, ProbePositionSequence
from ptychodus.api.product import Product, ProductMetadata

import ptycho_core

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from ptychodus.api.product import LossValue
    from ptychodus.api.reconstruct import ReconstructInput

__all__ = ["hand_over", "placed", "stated_by", "taken_back"]


def hand_over(given: ReconstructInput, folder: Path) -> NDArray[np.float64]:
    """Write what ptychodus hands over as ``diffraction.h5`` and ``product.h5``, paired as they are: both are numbered 0, 1, 2 ….

    Args:
        given: patterns and positions, paired by ptychodus.
        folder: where the files go.

    Returns:
        (2,), float64, object pixels: the middle of a window in ptychodus less the position of the window in ptycho.

    Raises:
        DataError: they cannot be read as a scan.
    """
    product, numbers = given.product, np.arange(len(given.diffraction_patterns))
    points = [replace(one, index=number) for number, one in enumerate(product.probe_positions)]
    # The pitch of the detector is not known here: the object's pixel, energy and distance are in the product.
    data = AssembledDiffractionData(numbers, given.diffraction_patterns, PixelGeometry(0.0, 0.0), given.bad_pixels)
    save_diffraction_data(StandardFileLayout.DIFFRACTION.path(folder), data)
    save_product(StandardFileLayout.PRODUCT.path(folder), replace(product, probe_positions=ProbePositionSequence(points)))
    metres = np.array([(one.y_m, one.x_m) for one in points])
    shift: NDArray[np.float64] = (metres / _pixel(product) - ptycho_core.open_scan(folder).positions).mean(axis=0)
    return shift


def stated_by(product: Product, folder: Path) -> dict[str, Any]:
    """The settings that a product states: its object as start, unless it is flat, and as many modes as its probe has."""
    image, modes = product.object_.get_array(), product.probes.get_array().shape[1]
    flat = len(image) != 1 or bool((image == image.flat[0]).all())
    return ({} if flat else {"start": str(StandardFileLayout.PRODUCT.path(folder))}) | ({"modes": modes} if modes > 1 else {})


def taken_back(path: Path, given: Product, shift: NDArray[np.float64], losses: Sequence[LossValue]) -> Product:
    """A product of the arrays that a job wrote.

    Args:
        path: npz with ``object``, ``probe``, ``positions`` and ``origin`` of a `ptycho_core.Reconstruction`, and ``frames``, the
            numbers given by `hand_over`.
        given: what the job began with; its metadata and the numbers of its positions stay.
        shift: as `hand_over` gave it.
        losses: the course of the fit.
    """
    with np.load(path) as arrays:
        found = dict(arrays)
    power = float((np.abs(found["probe"]).astype(np.float64) ** 2).sum())
    points = [given.probe_positions[int(number)] for number in found.pop("frames")]
    return placed(**found, shift=shift, pixel=_pixel(given), points=points,
                  metadata=replace(given.metadata, probe_photon_count=power), losses=losses)  # fmt: skip


def placed(
    *, object: NDArray[Any], probe: NDArray[Any], positions: NDArray[np.float64], origin: NDArray[np.float64],  # noqa: A002
    shift: NDArray[np.float64] | float, pixel: float, points: Sequence[ProbePosition], metadata: ProductMetadata,
    losses: Sequence[LossValue] = (),
) -> Product:  # fmt: skip
    """A product in metres: in ptychodus the middles ``(N − 1) / 2`` of windows and ``(W − 1) / 2`` of the object have places.

    Args:
        object: (rows, columns), complex; the next three too as of a `ptycho_core.Reconstruction`.
        probe: (mode, N, N), complex, in counts.
        positions: (frame, 2), float64.
        origin: (2,), float64.
        shift: see `hand_over`.
        pixel: of the object, in metres.
        points: whose numbers and photon counts stay.
        metadata: of the product.
        losses: the course of the fit.
    """
    y, x = ((positions + origin + shift) * pixel).T
    row, column = (origin + shift + (np.array(object.shape) - probe.shape[-1]) / 2) * pixel
    moved = [replace(one, x_m=float(x[n]), y_m=float(y[n])) for n, one in enumerate(points)]
    square = PixelGeometry(pixel, pixel)
    return Product(
        metadata=metadata,
        probe_positions=ProbePositionSequence(moved),
        probes=ProbeSequence(array=probe, opr_weights=None, pixel_geometry=square),
        object_=Object(array=object, pixel_geometry=square, center=ObjectCenter(x_m=float(column), y_m=float(row))),
        losses=list(losses),
    )


def _pixel(product: Product) -> float:
    """The object's pixel in metres, as ptycho reads it."""
    return float(product.object_.get_pixel_geometry().width_m)
