"""Pictures that become the amplitude and the phase of a simulated object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Picture: TypeAlias = NDArray[np.float64]
    Shape: TypeAlias = tuple[int, int]

__all__ = ["NATURAL", "OBJECTS", "make_object"]

NATURAL: Final = (
    "camera", "astronaut", "coins", "moon", "brick", "grass", "gravel", "chelsea", "coffee", "page", "text", "rocket",
)  # fmt: skip
"""Pictures of scikit-image that are part of its distribution; none is downloaded."""


def make_object(
    kind: str, shape: Shape, amplitude: tuple[float, float], phase: tuple[float, float], random: np.random.Generator
) -> NDArray[np.complex128]:
    """An object with contrast in amplitude and in phase.

    Two pictures ``u`` and ``v`` with values in [0, 1] give ``a(u) exp(i φ(v))``, both linear between the ends of their ranges.

    Args:
        kind: a key of ``OBJECTS``.
        shape: (rows, columns).
        amplitude: range of the amplitude.
        phase: range of the phase, rad.
        random: where chance comes from.

    Returns:
        ``shape``, complex128.
    """
    for_amplitude, for_phase = OBJECTS[kind](shape, random)
    modulus = amplitude[0] + (amplitude[1] - amplitude[0]) * for_amplitude
    angle = phase[0] + (phase[1] - phase[0]) * for_phase
    return np.asarray(modulus * np.exp(1j * angle), dtype=np.complex128)


def _natural(shape: Shape, random: np.random.Generator) -> tuple[Picture, Picture]:
    """Two different photographs, each turned by a random multiple of 90 degrees."""
    names = random.choice(NATURAL, size=2, replace=False)
    return _photograph(str(names[0]), shape, random), _photograph(str(names[1]), shape, random)


def _photograph(name: str, shape: Shape, random: np.random.Generator) -> Picture:
    import skimage.data
    from skimage.color import rgb2gray
    from skimage.transform import resize

    picture = getattr(skimage.data, name)()
    grey = rgb2gray(picture[..., :3]) if picture.ndim == 3 else picture.astype(np.float64)
    side = min(grey.shape)
    first, second = ((length - side) // 2 for length in grey.shape)
    square = np.rot90(grey[first : first + side, second : second + side], int(random.integers(4)))
    longest = max(shape)
    small = resize(square, (longest, longest), anti_aliasing=True)  # type: ignore[no-untyped-call]
    return _stretched(small[: shape[0], : shape[1]])


def _random_lines(shape: Shape, random: np.random.Generator) -> tuple[Picture, Picture]:
    """Straight lines at random places, angles, widths and strengths, brighter where they cross."""
    return _lines(shape, random), _lines(shape, random)


def _lines(shape: Shape, random: np.random.Generator) -> Picture:
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    picture = np.zeros(shape)
    for _ in range(max(12, sum(shape) // 6)):
        angle = random.uniform(0, np.pi)
        normal = np.cos(angle), np.sin(angle)
        through = random.uniform(0, shape[0]), random.uniform(0, shape[1])
        half = random.uniform(0.7, 3.5)
        distance = np.abs((rows - through[0]) * normal[0] + (columns - through[1]) * normal[1])
        picture += random.uniform(0.3, 1) * np.clip(half + 0.5 - distance, 0, 1)
    return np.clip(picture / 2, 0, 1)


def _siemens_star(shape: Shape, random: np.random.Generator) -> tuple[Picture, Picture]:
    """One star of 36 spokes inside a ring, in amplitude and phase alike, turned by a random angle; edges one pixel soft."""
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    row, column = rows - (shape[0] - 1) / 2, columns - (shape[1] - 1) / 2
    radius = np.hypot(row, column)
    turned = np.arctan2(row, column) + random.uniform(0, 2 * np.pi)
    spokes = 36
    outer = 0.46 * min(shape)
    # The distance to the next edge, in pixels, is the sine's value over its slope along the circle.
    star = np.clip(np.sin(spokes * turned) * radius / spokes + 0.5, 0, 1) * np.clip(outer - radius + 0.5, 0, 1)
    ring = np.clip(0.03 * min(shape) - np.abs(radius - outer) + 0.5, 0, 1)
    picture = 1 - np.maximum(star, ring)
    return picture, 1 - picture


def _dead_leaves(shape: Shape, random: np.random.Generator) -> tuple[Picture, Picture]:
    """Discs that cover one another, radii by an inverse cube as in natural scenes (Lee, Mumford & Huang, IJCV 41 (2001) 35)."""
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    pictures = np.full((2, *shape), 0.5)
    smallest, largest = 2.0, max(6.0, min(shape) / 5)
    for _ in range(max(400, shape[0] * shape[1] // 30)):
        # Inverse of the cumulative distribution of a density ~ r^-3 between the two radii.
        radius = (smallest**-2 - random.random() * (smallest**-2 - largest**-2)) ** -0.5
        row, column = random.uniform(-radius, shape[0] + radius), random.uniform(-radius, shape[1] + radius)
        grey = random.random(2)
        box = (
            slice(max(0, int(row - radius - 1)), max(0, int(row + radius + 2))),
            slice(max(0, int(column - radius - 1)), max(0, int(column + radius + 2))),
        )
        cover = np.clip(radius + 0.5 - np.hypot(rows[box] - row, columns[box] - column), 0, 1)
        pictures[:, *box] += cover * (grey[:, None, None] - pictures[:, *box])
    return pictures[0], pictures[1]


def _random_field(shape: Shape, random: np.random.Generator) -> tuple[Picture, Picture]:
    """Two independent Gaussian random fields whose power falls with the cube of the frequency, without edges."""
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1])[None, :])
    frequency[0, 0] = np.inf
    frequency = np.maximum(frequency, 1.5 / max(shape))
    fields = [np.fft.ifft2(np.fft.fft2(random.standard_normal(shape)) * frequency**-1.5).real for _ in range(2)]
    return _stretched(fields[0]), _stretched(fields[1])


def _stretched(picture: NDArray[Any]) -> Picture:
    low, high = np.percentile(picture, (0.5, 99.5))
    return np.asarray(np.clip((picture - low) / max(float(high - low), 1e-12), 0, 1), dtype=np.float64)


OBJECTS: Final[Mapping[str, Callable[[tuple[int, int], np.random.Generator], tuple[Picture, Picture]]]] = {
    "natural": _natural,
    "random-lines": _random_lines,
    "siemens-star": _siemens_star,
    "dead-leaves": _dead_leaves,
    "random-field": _random_field,
}
"""By name: the two pictures of an object of a given shape."""
