"""The two backends can be read side by side: the same files, and in each the same public names in the same order."""

import ast
from pathlib import Path

import pytest

BACKENDS = Path(__file__).parents[2] / "backends"
TORCH, TENSORFLOW = BACKENDS / "torch" / "ptycho_backend_torch", BACKENDS / "tensorflow" / "ptycho_backend_tensorflow"
ALONE = {
    "starting.py",  # keeps what the library says at its start from the user
}
OTHERWISE = {"networks.py": {"as_used"}}
"""Names of PyTorch's without a counterpart: TensorFlow compiles all of it.  `ArrayOps` says what `arrays.py` has in both."""


def names(path: Path) -> list[str]:
    """Public functions, classes and their methods, in order."""
    found = []
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            found.append(node.name)
            inner = [one.name for one in ast.iter_child_nodes(node) if isinstance(one, ast.FunctionDef)]
            found += [f"{node.name}.{name}" for name in inner if isinstance(node, ast.ClassDef) and not name.startswith("_")]
    return found


def test_both_have_the_same_files() -> None:
    torch, tensorflow = ({path.name for path in folder.glob("*.py")} for folder in (TORCH, TENSORFLOW))
    assert torch >= {"plugin.py", "learner.py", "arrays.py"}
    assert torch == tensorflow - ALONE
    assert tensorflow >= ALONE


@pytest.mark.parametrize("path", sorted(set(TORCH.glob("*.py")) - {TORCH / "arrays.py"}), ids=lambda path: path.name)
def test_each_file_has_the_same_names_in_the_same_order(path: Path) -> None:
    torch, tensorflow = names(path), names(TENSORFLOW / path.name)
    assert set(torch) - set(tensorflow) == OTHERWISE.get(path.name, set())
    assert [name for name in torch if name in tensorflow] == [name for name in tensorflow if name in torch]
