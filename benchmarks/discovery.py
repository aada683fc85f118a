"""What finding backends costs: CPU milliseconds of listing, resolving and help by number of distributions, and of a hook call."""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 7
CALLS = 20_000
ENTRY_POINTS = "[console_scripts]\nrun{0} = other{0}:main\n\n[pytest11]\nother{0} = other{0}.plugin\n"
MANIFEST = 'name = "{0}"\ncontract = "2.0"\ntitle = "{0}"\ncapabilities = ["evaluate"]\n'

STEPS = {
    "ptycho --help": "from ptycho_core.cli.main import main; main(['--help'])",
    "ptycho backends list": "from ptycho_core.cli.main import main; main(['backends', 'list'])",
    "scan of entry points": "from ptycho_core.backends.discovery import scan; scan()",
    "choose('reference')": "from ptycho_core.backends import choose; choose('reference')",
    "choose and load": "from ptycho_core.backends import choose, load; load(choose('reference'))",
}


def populate(folder, distributions, backends):
    """So many installed distributions, of which some provide a backend."""
    for number in range(distributions):
        info = folder / f"other{number}-1.0.dist-info"
        info.mkdir(parents=True)
        described = "Classifier: Topic :: Scientific/Engineering\n" * 20 + "\n" + "A description. " * 300
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: other{number}\nVersion: 1.0\n{described}")
        text = ENTRY_POINTS.format(number) if number % 2 else ""
        if number < backends:
            name = f"backend{number}"
            text += f"[ptycho.backends]\n{name} = {name}.plugin\n"
            (folder / name).mkdir()
            (folder / name / "__init__.py").write_text("")
            (folder / name / "ptycho-backend.toml").write_text(MANIFEST.format(name))
        (info / "entry_points.txt").write_text(text)


def cpu_seconds(code, folder):
    """CPU seconds of a fresh process that runs some code with a folder first on its path."""
    full = f"import os, sys; sys.stdout = open(os.devnull, 'w'); {code}"
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", full], env=environment, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def hook_overhead():
    """Microseconds of a checked hook call, and of the function behind it."""
    from ptycho_core import backends, contract, hookimpl

    answer = contract.ProbeReport("1", (contract.Device("cpu", "cpu"),), ("float32",))
    spec = contract.BackendSpec("measured", "Measured", (2, 0), None, ("evaluate",))

    class Plugin:
        @hookimpl
        def ptycho_backend_spec(self):
            return spec

        @hookimpl
        def ptycho_probe(self):
            return answer

        @hookimpl
        def ptycho_plan(self, request):
            return request

        @hookimpl
        def ptycho_evaluate(self, job):
            return job

    plugin = Plugin()
    backends.register("measured", plugin, spec)
    backend = backends.load(backends.choose("measured"))
    return [best_time(function) for function in (plugin.ptycho_probe, backend.probe)]


def best_time(function):
    """The least of several means, in microseconds."""
    means = []
    for _ in range(RUNS):
        began = time.process_time()
        for _ in range(CALLS):
            function()
        means.append((time.process_time() - began) / CALLS * 1e6)
    return min(means)


if __name__ == "__main__":
    print(f"CPU seconds of a fresh process, median of {RUNS}; distributions more than this environment has / backends among them")
    sizes = [(0, 0), (150, 5), (1000, 5), (1000, 100)]
    print(f"{'':24s}" + "".join(f"{f'{count} / {backends}':>12s}" for count, backends in sizes))
    with tempfile.TemporaryDirectory() as scratch:
        folders = [Path(scratch) / str(number) for number in range(len(sizes))]
        for folder, size in zip(folders, sizes, strict=True):
            populate(folder, *size)
        for name, code in {"python -c pass": "pass", **STEPS}.items():
            costs = [statistics.median(cpu_seconds(code, folder) for _ in range(RUNS)) for folder in folders]
            print(f"{name:24s}" + "".join(f"{cost:12.3f}" for cost in costs))
    direct, checked = hook_overhead()
    print(f"hook call: {checked:.2f} microseconds with its checks, {direct:.2f} the function alone")
