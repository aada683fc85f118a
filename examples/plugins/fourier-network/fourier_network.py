"""The network fourier: residual blocks that mix the lowest frequencies (Li et al., ICLR 2021) and each pixel's channels."""

from dataclasses import dataclass

from ptycho_core.networks import Architecture, Layers, Pictures
from ptycho_core.settings.declare import setting


@dataclass(frozen=True)
class Fourier(Architecture):
    """Works at half the size; a block sees the whole picture, of which a convolution sees three pixels."""

    name = "fourier"

    width: int = setting(16, minimum=4, maximum=256, help="channels. Wider learns more from many scans and takes longer.")
    modes: int = setting(8, minimum=1, maximum=64, help="lowest frequencies that are mixed. More for fine structure far apart.")
    blocks: int = setting(3, minimum=1, maximum=16, help="blocks, one after the other. More for many scans; each costs time.")

    def layers(self, pictures: Pictures) -> Layers:
        """Fold, blocks, unfold."""
        layer = Layers()
        value = layer.convolution("enter", layer("fold", "folded", "input"), self.width)
        for number in range(1, self.blocks + 1):
            value = self._block(layer, f"block_{number}", value)
        # The last weights are zero, so that an untrained network leaves the estimate as it is.
        layer.convolution("exit", layer("gelu", "exit_gelu", value), 4 * pictures.outputs, gain=0.0)
        layer("unfold", "unfolded", "exit")
        return layer

    def _block(self, layer: Layers, name: str, given: str) -> str:
        even = layer("layer_normalization", f"{name}_even", given)
        far = layer("spectral_convolution", f"{name}_far", even, channels=self.width, modes=self.modes, gain=0.5)
        near = layer.convolution(f"{name}_near", even, self.width, gain=0.5)
        bent = layer("gelu", f"{name}_bent", layer("add", f"{name}_both", far, near))
        return layer("add", name, given, layer.convolution(f"{name}_mixed", bent, self.width, kernel=1, gain=0.3))
