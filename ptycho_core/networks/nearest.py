"""Names that networks have in other programs, and what is nearest to each here."""

from __future__ import annotations

from typing import Final

__all__ = ["NEAREST"]

_COMPACT: Final = "--network compact is the nearest, a convolutional network; deep is a larger one"
_U_NET: Final = "--network compact is a U-Net, deep a larger one, and canvas one that sees a whole tile"
_PACKAGE: Final = "fourier of the package in examples/plugins/fourier-network"
_FOURIER: Final = f"ptycho train --network {_PACKAGE} is the nearest"
_BOTH: Final = (
    f"it joins a Fourier encoder to a convolutional decoder; nearest are --network compact and, by ptycho train, {_PACKAGE}"
)
_ATTENTION: Final = "there is an operation for it, attention; docs/writing-a-network.md says how a network of it is added"

NEAREST: Final[dict[str, str]] = {
    **dict.fromkeys(("cnn", "resnet", "autoencoder", "ptychonn", "ptychopinn"), _COMPACT),
    **dict.fromkeys(("unet", "u-net", "u_net", "UNet", "U-Net"), _U_NET),
    **dict.fromkeys(("fno", "ffno", "fno_vanilla", "tfno", "uno", "neuralop_uno"), _FOURIER),
    **dict.fromkeys(("hybrid", "hybrid_resnet", "stable_hybrid"), _BOTH),
    **dict.fromkeys(("transformer", "vit", "swin"), _ATTENTION),
}
"""By name, a clause without a full stop. An installed network of such a name is that network."""
