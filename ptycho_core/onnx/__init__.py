"""Models in ONNX: the engine's own text, run once on arrays that write down what is done to them."""

from __future__ import annotations

from ptycho_core.onnx.export import export_model, inputs_of

__all__ = ["export_model", "inputs_of"]
