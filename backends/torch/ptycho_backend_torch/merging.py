"""Merging of overlapping object patches into one object, differentiable; ``specs/network.md`` defines it."""

from __future__ import annotations

from typing import Any

import torch

from ptycho_backend_torch.arrays import Corners, gather, scatter_add

__all__ = ["merge_patches"]

ALIGNMENTS = 4
"""Rounds in which the phases of the patches are turned towards their average."""

FLOOR = 1e-3
"""Added to the illumination as a weight, so that every pixel of a window has one."""


class _Gather(torch.autograd.Function):
    """`gather`, with `scatter_add` as its gradient: thousands of slices would each be a node of the graph otherwise."""

    @staticmethod
    def forward(ctx: Any, canvas: torch.Tensor, windows: Corners, size: int) -> torch.Tensor:  # noqa: ANN401
        ctx.windows, ctx.shape = windows, canvas.shape
        return gather(canvas, windows, size)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:  # noqa: ANN401
        canvas = torch.zeros(ctx.shape, dtype=gradients[0].dtype, device=gradients[0].device)
        scatter_add(canvas, gradients[0], ctx.windows)
        return canvas, None, None


class _Scatter(torch.autograd.Function):
    """A sum of patches on an empty canvas, with `gather` as its gradient."""

    @staticmethod
    def forward(ctx: Any, patches: torch.Tensor, windows: Corners, shape: tuple[int, int]) -> torch.Tensor:  # noqa: ANN401
        ctx.windows, ctx.size = windows, patches.shape[-1]
        canvas = torch.zeros(shape, dtype=patches.dtype, device=patches.device)
        scatter_add(canvas, patches, windows)
        return canvas

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:  # noqa: ANN401
        return gather(gradients[0], ctx.windows, ctx.size), None, None


def merge_patches(patches: torch.Tensor, weight: torch.Tensor, windows: Corners, shape: tuple[int, int]) -> torch.Tensor:
    """Average overlapping patches with weights, and cut the windows out again.

    One pattern says nothing of its patch's phase as a whole. So each patch is first turned towards the average of all, in a few
    rounds; the angles are taken as constants of the gradient.

    Args:
        patches: complex (frame, N, N).
        weight: real (N, N), intensity of the illumination, greatest 1.
        windows: of the patches on a canvas (or on several that are stacked).
        shape: of the canvas.

    Returns:
        Complex (frame, N, N).
    """
    size = patches.shape[-1]
    lit = (weight + FLOOR).to(patches.dtype)
    with torch.no_grad():
        total = torch.zeros(shape, dtype=weight.dtype, device=weight.device)
        scatter_add(total, (weight + FLOOR).expand(len(patches), size, size).contiguous(), windows)
        inverse = total.clamp_min_(FLOOR).reciprocal_().to(patches.dtype)
        turn = _aligned(patches.detach() * lit, inverse, windows, shape)
    merged = _Scatter.apply(patches * (lit * turn[:, None, None]), windows, shape) * inverse  # type: ignore[no-untyped-call]
    found: torch.Tensor = _Gather.apply(merged, windows, size)  # type: ignore[no-untyped-call]
    return found


def _aligned(weighted: torch.Tensor, inverse: torch.Tensor, windows: Corners, shape: tuple[int, int]) -> torch.Tensor:
    """Complex (frame,) of modulus one: what turns each weighted patch towards the average."""
    size = weighted.shape[-1]
    conjugate = weighted.conj().resolve_conj()
    turn = torch.ones(len(weighted), dtype=weighted.dtype, device=weighted.device)
    for _ in range(ALIGNMENTS):
        canvas = torch.zeros(shape, dtype=weighted.dtype, device=weighted.device)
        scatter_add(canvas, weighted * turn[:, None, None], windows)
        canvas *= inverse
        turn = (gather(canvas, windows, size) * conjugate).sum((1, 2))
        turn = turn / turn.abs().clamp_min(torch.finfo(turn.real.dtype).tiny)
    return turn
