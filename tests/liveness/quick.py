"""Jobs as small as they can be, the scan and the model that they take, and what is seen of a job from outside."""

from ptycho_core.cli.main import main

QUICK = {
    "train": ["--epochs", "1", "--network-width", "4", "--update-steps", "1"],
    "infer": [],
    "reconstruct": ["--epochs", "1", "--iterations", "1", "--no-coarse-start"],
}


def scan_and_model(folder, train):
    """Write ``scan.npz``, 36 frames of 32 pixels, and ``model``, the run of a network that was trained with it."""
    assert main(["simulate", str(folder / "scan.npz"), "--size", "32", "--frames", "36", "--seed", "8"]) == 0
    train(folder / "scan.npz", "-o", folder / "model", *QUICK["train"])


def quiet(run):
    """Whether a run said nothing, but that it had to take the backend that is taken for want of another."""
    return all(line.startswith("Computed by backend") for line in run.stderr.splitlines())
