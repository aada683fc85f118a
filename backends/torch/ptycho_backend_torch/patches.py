"""Object patches out of the channels of the network; ``specs/network.md`` defines both forms."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ptycho_backend_torch.compiled import Compiled
    from ptycho_backend_torch.estimate import Estimate
    from ptycho_backend_torch.networks import Network

__all__ = ["object_patches", "predict"]

SMALLEST = 1e-3
"""Least amplitude of an estimate that is taken through an activation, and its distance from 1 below a sigmoid."""


def predict(network: Network | Compiled, estimate: Estimate, description: Mapping[str, Any], *, mixed: bool) -> torch.Tensor:
    """The network's object patches: complex (group, C, N, N).

    Args:
        network: built from the description, as it is or compiled.
        estimate: what it corrects.
        description: of the network.
        mixed: compute the network in bfloat16 where PyTorch holds that to be safe; everything else stays as it is.
    """
    features = estimate.features()
    with torch.autocast(features.device.type, dtype=torch.bfloat16) if mixed else nullcontext():
        channels = network(features)
    return object_patches(channels.to(features.dtype), estimate.patches, description["output"])


def object_patches(channels: torch.Tensor, estimate: torch.Tensor, output: Mapping[str, Any]) -> torch.Tensor:
    """Patches from output channels (group, 2 C, N, N) and the estimate (group, C, N, N).

    Zeros give the estimate itself, but for amplitudes outside the activation's range.
    """
    first, second = channels.contiguous().chunk(2, 1)
    if output["form"] == "real-imaginary":
        return torch.complex(estimate.real + first, estimate.imag + second)
    modulus = estimate.abs()
    unit = estimate / modulus.clamp_min(SMALLEST)
    amplitude = _activated(modulus, first, str(output["activation"]))
    return amplitude * unit * torch.polar(torch.ones_like(second), second)


def _activated(modulus: torch.Tensor, change: torch.Tensor, activation: str) -> torch.Tensor:
    """``f(f⁻¹(modulus) + change)`` for the activation f."""
    if activation == "softplus":
        start = modulus.clamp_min(SMALLEST)
        return functional.softplus(start + torch.log(-torch.expm1(-start)) + change)
    if activation == "sigmoid":
        return torch.sigmoid(torch.logit(modulus.clamp(SMALLEST, 1 - SMALLEST)) + change)
    return modulus + change
