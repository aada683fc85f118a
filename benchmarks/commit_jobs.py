"""The jobs that two commits are compared by: command lines, their inputs, and what they need of the old commit's results."""

import shlex
from dataclasses import dataclass
from fnmatch import fnmatch

import numpy as np

PRECISIONS = ("float32", "float64")

SIMULATED = {
    "scan": "--size 64 --frames 81 --photons 1e5 --modes 2 --position-error 0.5 --seed 3",
    "weak": "--size 64 --frames 81 --photons 1e3 --seed 4",
    "small": "--size 32 --frames 64 --photons 1e5 --seed 5",
    "other": "--size 32 --frames 64 --photons 1e5 --seed 6",
    "large": "--size 64 --frames 1024 --seed 7",
    "many": "--size 64 --frames 4096 --object random-field --seed 8",
}
"""Scans, and how ``ptycho simulate`` makes them."""

HOW = "--backend {backend} --precision {precision} --accelerator cpu --seed 5 --quiet --threads 1"
REFERENCE = "--backend {backend} --precision {precision} --seed 5 --quiet"
"""How every job is run. NumPy's threads are set by variables."""

NETWORK = "--network-width 4 --update-steps 3 --train-probe --train-scale"
STAGES = "--epochs 3 --iterations 6"


@dataclass(frozen=True)
class Job:
    """Something to run on both commits.

    Attributes:
        name: how it is called for.
        words: command lines. ``{scan}`` and so on are inputs, ``{NAME}`` with the name of a needed job the folder of its results
            by the old commit; ``{how}`` is how every job is run.
        needs: jobs whose results by the old commit are used by both.
        continues: needed job whose folder ``run`` is copied, to continue with it.
        reference: ``no``; ``too``: the NumPy reference does it as well; ``alone``: it alone, since no framework takes part.
        long: whether it is there for its speed, and run where it is named alone.
    """

    name: str
    words: tuple[str, ...]
    needs: tuple[str, ...] = ()
    continues: str = ""
    reference: str = "no"
    long: bool = False


JOBS = (
    Job(
        "modes",
        (f"ptycho reconstruct {{scan}} -o out --modes 2 --held-out 0.1 --no-coarse-start --batch-size 5 {STAGES} {{how}}",),
    ),
    Job("positions", (f"ptycho reconstruct {{scan}} -o out --refine-positions {STAGES} {{how}}",)),
    Job("background", (f"ptycho reconstruct {{scan}} -o out --background pixel --mask {{mask}} {STAGES} {{how}}",)),
    Job("total-variation", (f"ptycho reconstruct {{weak}} -o out {STAGES} {{how}}",)),
    Job("coarse-start", (f"ptycho reconstruct {{scan}} -o out --coarse-start --memory-gib 0 --batch-size 7 {STAGES} {{how}}",)),
    Job("poisson", (f"ptycho reconstruct {{scan}} -o out --likelihood poisson --no-refine-probe {STAGES} {{how}}",)),
    Job(
        "together",
        (
            "ptycho reconstruct {scan} -o out --modes 2 --mask {mask} --background constant --refine-positions --coarse-start "
            f"--total-variation 0.5 --likelihood poisson --held-out 0.1 {STAGES} {{how}}",
        ),
    ),
    Job(
        "fit",
        ("ptycho reconstruct {small} -o out --modes 2 --total-variation 1 --held-out 0.1 --epochs 2 --iterations 4 {how}",),
        reference="too",
    ),
    Job("train-1", (f"ptycho train {{small}} {{other}} -o run --epochs 2 {NETWORK} {{how}}",), reference="too"),
    Job(
        "train-2",
        (
            "ptycho train {small} --validation {other} -o run --gridsize 2 --modes 2 --merge group --mask {mask32} "
            "--optimizer sgd --momentum 0.5 --gradient-clip-val 1 --accumulate-grad-batches 2 "
            "--nll-weight 0.01 --mae-weight 1 --tv-weight 0.1 "
            f"--output-form amplitude-phase --epochs 2 --batch-size 9 --log-every 1 {NETWORK} {{how}}",
        ),
        reference="too",
    ),
    Job(
        "resume",
        (f"ptycho train {{small}} {{other}} -o run --resume --epochs 3 {NETWORK} {{how}}",),
        ("train-1",),
        continues="train-1",
        reference="too",
    ),
    Job(
        "infer",
        (
            "ptycho infer {other} --model {train-1}/run -o one {how}",
            "ptycho infer {other} --model {train-2}/run/last.ptycho -o two --inference-batch-size 5 {how}",
        ),
        ("train-1", "train-2"),
        reference="too",
    ),
    Job(
        "refine",
        (
            "ptycho reconstruct {small} -o model --start {train-1}/run --epochs 2 --iterations 4 {how}",
            "ptycho reconstruct {small} -o result --start {fit}/out --probe {fit}/out --modes 2 --epochs 1 --iterations 4 {how}",
        ),
        ("train-1", "fit"),
        reference="too",
    ),
    Job("score", ("ptycho score {fit}/out --reference {small} --scan {small} --json",), ("fit",), reference="alone"),
    Job("inspect", ("ptycho inspect {small} --json",), reference="alone"),
    Job(
        "compatibility",
        (
            "ptycho_train --train_data_file {pinn} --test_data_file {pinn} --output_dir run --nepochs 1 --gridsize 2 "
            f"--torch_loss_mode mae {NETWORK} {{how}}",
            "ptycho_inference --model_path run --test_data {pinn} --output_dir out --phase_vmin -1 --phase_vmax 1 {how}",
        ),
    ),
    Job("speed-reconstruct", ("ptycho reconstruct {large} -o out {how}",), long=True),
    Job("speed-modes", ("ptycho reconstruct sample:siemens-star -o out --modes 2 --epochs 3 --iterations 15 {how}",), long=True),
    Job("speed-train", ("ptycho train {large} -o run --epochs 4 --train-probe {how}",), long=True),
    Job("speed-infer", ("ptycho infer {many} --model {speed-train}/run -o out {how}",), ("speed-train",), long=True),
)


@dataclass(frozen=True)
class Run:
    """A job with a backend and a precision."""

    job: Job
    backend: str
    precision: str

    @property
    def label(self):
        """Its name, and that of its folder."""
        return f"{self.job.name}.{self.backend}.{self.precision}"

    def needed(self, name):
        """The run of a needed job with the same backend and precision."""
        return Run(next(job for job in JOBS if job.name == name), self.backend, self.precision)

    def lines(self, inputs, old):
        """The command lines, split into words, with the folders of the inputs and of the results by the old commit."""
        files = {path.stem: path for path in inputs.iterdir()}
        names = {"backend": self.backend, "precision": self.precision}
        places = {name: old / self.needed(name).label for name in self.job.needs}
        how = (REFERENCE if self.backend == "reference" else HOW).format(**names)
        lines = [shlex.split(line.replace("{how}", how)) for line in self.job.words]
        return [[word.format(**files, **places) for word in words] for words in lines]


def runs(backends, only):
    """The runs that are asked for, after those that they need; and the labels of those asked for.

    Args:
        backends: names of what both commits have.
        only: patterns as of a shell for names or labels; none for every job that is not long.
    """
    every = [
        Run(job, backend, precision)
        for job in JOBS
        for backend in sorted(backends)
        for precision in PRECISIONS
        if ((job.reference != "no" and precision == "float64") if backend == "reference" else job.reference != "alone")
    ]
    asked = {run.label for run in every if (wanted(run, only) if only else not run.job.long)}
    needed = {run.needed(name).label for run in every if run.label in asked for name in run.job.needs}
    return [run for run in every if run.label in asked | needed], asked


def wanted(run, only):
    """Whether a pattern fits the name or the label of a run."""
    return any(fnmatch(run.job.name, pattern) or fnmatch(run.label, pattern) for pattern in only)


def make_inputs(folder, chosen, simulate):
    """Write the inputs that the chosen runs name; ``simulate(words)`` runs ``ptycho`` of the old commit in the folder."""
    named = " ".join(line for run in chosen for line in run.job.words)
    for name, words in SIMULATED.items():
        if f"{{{name}}}" in named or (name == "other" and "{pinn}" in named):
            simulate(["ptycho", "simulate", f"{name}.npz", *words.split()])
    for name, size in (("mask", 64), ("mask32", 32)):
        good = np.ones((size, size), dtype=bool)
        good[size // 3, :], good[:, -2] = False, False
        np.save(folder / f"{name}.npy", good)
    if "{pinn}" in named:
        with np.load(folder / "other.npz", allow_pickle=False) as file:
            write_pinn(folder / "pinn.npz", file["intensity"], file["positions_px"], file["probe_guess"][0])


def write_pinn(path, counts, positions, probe):
    """A scan in the keys and units of PtychoPINN: amplitudes, and the places of the windows' centers."""
    centers = positions + counts.shape[-1] / 2
    np.savez(
        path, diff3d=np.sqrt(counts).astype(np.float32), xcoords=centers[:, 1], ycoords=centers[:, 0],
        probeGuess=probe / np.abs(probe).max(), objectGuess=np.ones((96, 96), np.complex64),
    )  # fmt: skip
