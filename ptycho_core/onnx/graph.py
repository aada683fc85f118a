"""A graph of ONNX that grows node by node, and keeps each constant once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["OPSET", "Graph"]

OPSET: Final = 18
"""Of the operators: the first in which all sums take their axes alike.  ONNX Runtime 1.14 and later has it."""

_FORMAT: Final = 8
"""Version of the file's own format that came with these operators."""

_DTYPES: Final = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "int64": TensorProto.INT64}


class Graph:
    """Nodes, constants, inputs and outputs; a value is known by its name."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: dict[str, NDArray[Any]] = {}
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._number = 0

    def node(self, operator: str, *given: str, outputs: int = 1, **attributes: Any) -> list[str]:  # noqa: ANN401 - of ONNX
        """Add a node; the names of what it gives."""
        self._number += 1
        names = [f"{operator.lower()}_{self._number}" + (f"_{place}" if outputs > 1 else "") for place in range(outputs)]
        self._nodes.append(helper.make_node(operator, list(given), names, name=f"node_{self._number}", **attributes))
        return names

    def one(self, operator: str, *given: str, **attributes: Any) -> str:  # noqa: ANN401 - of ONNX
        """Add a node that gives one value; its name."""
        return self.node(operator, *given, **attributes)[0]

    def constant(self, values: NDArray[Any], name: str = "") -> str:
        """The name of a constant, the same for the same numbers unless a name is given."""
        values = np.asarray(values, order="C")
        key = (str(values.dtype), values.shape, values.tobytes())
        if name:
            self._constants[name] = values
            return name
        if key not in self._known:
            self._known[key] = f"constant_{len(self._known)}"
            self._constants[self._known[key]] = values
        return self._known[key]

    def numbers(self, *values: int) -> str:
        """The name of whole numbers."""
        return self.constant(np.array(values, dtype=np.int64))

    def input(self, name: str, shape: Sequence[int | str], description: str, default: NDArray[np.float32] | None = None) -> str:
        """An input of float32; a side that is a word is free. With a default it may be left out."""
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape), description))
        return name if default is None else self.constant(default, name)

    def output(self, name: str, value: str, shape: Sequence[int | str], description: str) -> None:
        """An output of float32."""
        self._nodes.append(helper.make_node("Identity", [value], [name], name=f"gives_{name}"))
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape), description))

    def model(self, name: str, description: str, facts: Mapping[str, str]) -> ModelProto:
        """The whole, with facts by name."""
        constants = [numpy_helper.from_array(values, key) for key, values in self._constants.items()]
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, constants, description)
        found = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_FORMAT, doc_string=description
        )
        found.producer_name = "ptycho"
        helper.set_model_props(found, dict(facts))
        return found

    def cast(self, value: str, dtype: str) -> str:
        """A value in another type of number."""
        return self.one("Cast", value, to=_DTYPES[dtype])
