"""``ptycho model export``: a model file as a graph that other programs run."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptycho_core.cli.streams import say

if TYPE_CHECKING:
    import argparse

__all__ = ["add_export"]

_NEEDED = ("onnx", "onnxruntime")


def add_export(actions: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the action ``export``."""
    parser = actions.add_parser(
        "export",
        help="write a model as a graph that other programs run",
        description="Write the estimate and the network of a model as one graph of ONNX, from counts to patches of the object, "
        "for any number of frames. Before the file is written, ONNX Runtime runs it on a scan made from the model, and its "
        "patches are held against those of the reference. A model whose estimate is of tiles or of several frames is refused.",
    )
    parser.add_argument("file", metavar="MODEL", help="model file (*.ptycho), or the folder of a training run for its best one")
    parser.add_argument("output", metavar="OUT", nargs="?", help="file to write; without it next to the model file, as NAME.onnx")
    parser.add_argument("--to", choices=("onnx",), required=True, help="format of the graph")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    parser.add_argument("--quiet", action="store_true", help="say nothing on stderr while it runs")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Write, check, say what is there."""
    from ptycho_core.errors import CapabilityError, DataError, OutputError
    from ptycho_core.files.whole import replace_file
    from ptycho_core.model import load_with_manifest, model_file

    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise CapabilityError(
            f"A model is exported with {' and '.join(missing)}, which this Python lacks.",
            remedy="Install them with pip install 'ptycho-core[onnx]'.",
        )
    file = model_file(args.file).absolute()
    output = file.with_suffix(".onnx") if args.output is None else Path(args.output)
    if output.exists() and not args.overwrite:
        raise OutputError(f"{output} exists.", remedy="Give another name, or --overwrite to replace it.")
    _, model = load_with_manifest(file, training=None)

    from ptycho_core.conformance.exported import exported_distance
    from ptycho_core.conformance.limits import EXPORTED
    from ptycho_core.onnx import export_model

    try:
        graph = export_model(model)
    except CapabilityError as error:
        raise CapabilityError(f"{file} cannot be exported. {error.message}", remedy=error.remedy) from None
    if not args.quiet:
        say(f"{len(graph.graph.node)} nodes; now a batch through ONNX Runtime and the reference", error=True)
    distance = exported_distance(graph, model, file)
    if not distance <= EXPORTED:
        message = f"the graph's patches are {distance:.1e} from those of the reference, more than {EXPORTED:g}"
        raise DataError(f"{file}: {message}. Nothing was written.")
    replace_file(output, lambda temporary: temporary.write_bytes(graph.SerializeToString()))
    kind = f"counts to patches of {model.size} x {model.size} pixels"
    say(f"{output}: {kind}, {distance:.1e} from the reference (limit {EXPORTED:g})")
    return 0
