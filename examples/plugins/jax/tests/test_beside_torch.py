"""Side by side with PyTorch: the same training, and a model of one continues in the other."""

import csv
import json
import shutil

import pytest

ALIKE = {"float32": 5e-6, "float64": 1e-12}
"""Relative difference of the losses of three epochs."""


def losses(folder):
    with (folder / "log.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


FOUR = ("--gridsize", "2", "--train-probe", "--train-scale")
"""Four frames at a time, and all learns: here roundings of float32 grow thirtyfold in the first epochs, in PyTorch too."""


@pytest.mark.parametrize(("precision", "asked"), [("float32", ()), ("float64", ()), ("float64", FOUR)])
def test_three_epochs_of_training_are_those_of_torch(precision, asked, trained) -> None:
    one, other = (losses(trained(backend, precision, *asked)) for backend in ("jax", "torch"))
    assert len(one) == len(other) == 3
    far = [abs(mine / theirs - 1) for mine, theirs in zip(one, other, strict=True)]
    print(f"losses, jax against torch, {precision}: {max(far):.1e}, limit {ALIKE[precision]:.0e}")
    assert max(far) <= ALIKE[precision]
    assert one[2] < one[0]


def test_a_model_of_torch_is_trained_further_inferred_with_and_refined_from(trained, scan, ptycho, metrics, tmp_path) -> None:
    for name, backend in (("further", "jax"), ("by-torch", "torch")):
        shutil.copytree(trained("torch", "float32"), tmp_path / name)
        ptycho("train", scan, "-o", tmp_path / name, "--resume", "--backend", backend, "--epochs", "5", "--quiet")
    one, other = (losses(tmp_path / name) for name in ("further", "by-torch"))
    assert len(one) == 5
    assert one == pytest.approx(other, rel=1e-5)

    for backend in ("jax", "torch"):
        ptycho(
            "infer",
            scan,
            "--model",
            tmp_path / "further",
            "-o",
            tmp_path / f"inferred-{backend}",
            "--backend",
            backend,
            "--quiet",
        )
    found = {backend: metrics(tmp_path / f"inferred-{backend}")["misfit"] for backend in ("jax", "torch")}
    assert found["jax"] == pytest.approx(found["torch"], rel=1e-4)

    quick = ["--epochs", "2", "--iterations", "2", "--quiet"]
    ptycho("reconstruct", scan, "--start", tmp_path / "further", "-o", tmp_path / "refined", "--backend", "jax", *quick)
    assert metrics(tmp_path / "refined")["misfit"] < found["jax"]


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_all_backends_give_the_same_for_a_model(precision, trained, ptycho) -> None:
    words = ["--backends", "torch,tensorflow,jax,numpy", "--precision", precision, "--json", "--quiet"]
    found = json.loads(ptycho("model", "verify", trained("torch", "float32", *FOUR), *words))
    assert (found["within"], found["complete"]) == (True, True)
    assert len(found["comparisons"]) == 4 + 6
    for one in found["comparisons"]:
        worst = max(one["differences"], key=lambda row: row["value"] / row["limit"])
        message = f"{worst['quantity']} {worst['value']:.1e}, limit {worst['limit']:.1e}"
        print(f"{precision}, {one['backend']} against {one['against']}: {message}")
