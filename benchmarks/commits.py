"""Two commits side by side: whether the same jobs leave the same bits, how far apart they are if not, and what they cost.

    python benchmarks/commits.py OLD NEW [--only PATTERN ...] [--pairs N] [--workdir DIR] [--json FILE] [--list]

OLD and NEW are commits, or folders with a checkout ('.' is the tree as it stands). The old commit makes the inputs. What a job
needs of another one, a model or a result, is the old commit's on both sides: so the new one reads, resumes, infers with and
refines what the old one left. Each command runs in a separate process, with one thread, in an environment in which only the
packages of its own checkout are found. Everything in the folders and on stdout is compared, times aside.

With ``--pairs`` the chosen jobs are then run so many times more, old and new in turn, and CPU seconds and memory are compared;
the jobs whose names begin with ``speed-`` are there for this and run only where ``--only`` names them.

Exit status: 0 all the same, 1 something differs, 2 something could not be run.
"""

import argparse
import json
import math
import shutil
import signal
import statistics
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from checkouts import CannotRunError, Cost, checkout
from commit_jobs import JOBS, make_inputs, runs
from differences import contents, differences

SIDES = ("old", "new")
SAME, DIFFERENT, FAILED = 0, 1, 2


class Comparison:
    """Runs jobs on both commits, and keeps what came of it.

    Args:
        place: empty folder for inputs and results.
        sides: the two checkouts by the names of ``SIDES``.
        rows: what was found by the label of a run, filled here: ``failed``, a sentence; or the number of things ``compared``, the
            ``differences``, the ``CPU s`` of each side, and of ``pairs`` the summary.
    """

    def __init__(self, place, sides, rows):
        self.place, self.sides, self.rows = place, sides, rows
        for name in ("inputs", *SIDES):
            (place / name).mkdir()

    def make_inputs(self, chosen):
        """Have the old commit simulate the scans that are needed."""
        folder = self.place / "inputs"
        make_inputs(folder, chosen, lambda words: self._command("old", words, folder, Path(words[2]).stem))
        for log in (*folder.glob("*.out"), *folder.glob("*.err")):
            log.unlink()

    def run(self, run, side, folder):
        """One run on one side, in a fresh folder; what its commands cost together."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        if run.job.continues:
            shutil.copytree(self.place / "old" / run.needed(run.job.continues).label / "run", folder / "run")
        lines = run.lines(self.place / "inputs", self.place / "old")
        costs = [self._command(side, words, folder, f"command {number}") for number, words in enumerate(lines, 1)]
        return Cost(0, sum(cost.cpu for cost in costs), max(cost.mb for cost in costs))

    def prepare(self, run):
        """Run on the old side alone what another run needs."""
        try:
            self.run(run, "old", self.place / "old" / run.label)
        except CannotRunError as error:
            self.rows[run.label] = {"failed": str(error)}

    def compare(self, run):
        """Run a job on both sides and compare what it left."""
        folders = {side: self.place / side / run.label for side in SIDES}
        try:
            costs = {side: self.run(run, side, folder) for side, folder in folders.items()}
        except CannotRunError as error:
            self.rows[run.label] = {"failed": str(error)}
            return
        held = [contents(folder) for folder in folders.values()]
        self.rows[run.label] = {
            "compared": len(held[0].keys() | held[1].keys()),
            "differences": [asdict(one) for one in differences(*held)],
            "CPU s": {side: round(cost.cpu, 2) for side, cost in costs.items()},
        }

    def time(self, run, pairs):
        """Run a job so many times on each side, in turn, and keep the ratios of what it cost."""
        if "failed" in self.rows[run.label]:
            return
        ratios = {"CPU s": [], "peak MB": []}
        for number in range(1, pairs + 1):
            order = SIDES if number % 2 else SIDES[::-1]
            costs = {side: self.run(run, side, self.place / "timed" / side) for side in order}
            ratios["CPU s"].append(costs["new"].cpu / costs["old"].cpu)
            ratios["peak MB"].append(costs["new"].mb / costs["old"].mb)
            report(f"{run.label}: pair {number} of {pairs}, CPU s {costs['old'].cpu:.2f} | {costs['new'].cpu:.2f}")
            self.rows[run.label]["pairs"] = {name: summary(values) for name, values in ratios.items()}

    def _command(self, side, words, folder, log):
        cost = self.sides[side].run(words, folder, log)
        if cost.status:
            said = (folder / f"{log}.err").read_text("utf-8", "replace").strip().splitlines() or ["it said nothing"]
            raise CannotRunError(f"{side}: exit status {cost.status} of {' '.join(words)}: {said[-1]}")
        return cost


def summary(ratios):
    """Median of ratios and the interval that holds the true median with 95 % (order statistics; none below 6 ratios)."""
    ordered, count = sorted(ratios), len(ratios)
    tail, rank = 0.0, 0
    while (tail := tail + math.comb(count, rank) / 2**count) <= 0.025:
        rank += 1
    interval = [ordered[rank - 1], ordered[count - rank]] if rank else None
    return {"median": statistics.median(ratios), "interval": interval, "ratios": ratios}


def line(label, row):
    """A run in one line, and each number that differs in one more."""
    if "failed" in row:
        return f"{label:38s} FAILED  {row['failed']}"
    found, cost = row["differences"], row["CPU s"]
    counted = {kind: sum(one["kind"] == kind for one in found) for kind in dict.fromkeys(one["kind"] for one in found)}
    word = "differs" if found else "equal"
    several = ", ".join(f"{count} {kind}" for kind, count in counted.items())
    head = f"{label:38s} {word:8s}{row['compared']:5d} compared, CPU s {cost['old']:.1f} | {cost['new']:.1f}  {several}"
    return "\n".join([head, *(f"    {one['name']}: {one['said']}" for one in found if one["kind"] == "value")])


def overview(rows):
    """How many runs there were, what differs by name over all of them, the kinds apart, and the ratios of what it cost."""
    done = [row for row in rows.values() if "failed" not in row]
    seconds = " | ".join(f"{sum(row['CPU s'][side] for row in done):.0f}" for side in SIDES)
    equal = sum(not row["differences"] for row in done)
    yield f"\n{len(rows)} runs: {equal} equal, {len(done) - equal} differ, {len(rows) - len(done)} failed; CPU s {seconds}"
    for kind in ("value", "picture", "text", "only old", "only new"):
        found = {}
        for label, row in rows.items():
            for one in row.get("differences", ()):
                if one["kind"] == kind:
                    size = math.inf if one["size"] is None else one["size"]
                    found.setdefault(one["name"], []).append((size, label, one["said"]))
        if found:
            yield f"\n{HEADINGS[kind]}"
        for name, many in found.items():
            _, label, said = max(many)
            yield f"  {name}: in {len(many)} run(s); {label}: {said}"
    timed = {label: row["pairs"] for label, row in rows.items() if "pairs" in row}
    if timed:
        yield "\nnew / old: median of the pairs [interval that holds the true one with 95 %]"
    for label, pairs in timed.items():
        yield f"  {label:38s} " + ", ".join(f"{name} {ratio(one)}" for name, one in pairs.items())


HEADINGS = {
    "value": "Numbers that differ: largest |new - old| over the largest |old|",
    "picture": "Pictures that differ",
    "text": "Texts that differ: old | new",
    "only old": "Only the old commit leaves",
    "only new": "Only the new commit leaves",
}


def ratio(one):
    """A median with its interval."""
    low_high = f" [{one['interval'][0]:.3f}, {one['interval'][1]:.3f}]" if one["interval"] else ""
    return f"{one['median']:.3f}{low_high} of {len(one['ratios'])}"


def compare(args, place, rows):
    """Compare the commits in a folder; ``rows`` are filled, and written, as they come, so that an interruption loses none."""
    with tempfile.TemporaryDirectory(prefix="commits-") as code, ExitStack() as stack:
        report("making the environments")
        sides = {side: stack.enter_context(checkout(getattr(args, side), Path(code) / side)) for side in SIDES}
        chosen, asked = runs(shared_backends(sides), args.only)
        if not asked:
            raise CannotRunError("No job is chosen; --list shows what --only can name.")
        comparison = Comparison(place, sides, rows)
        report("making the inputs")
        comparison.make_inputs(chosen)
        for run in chosen:
            (comparison.compare if run.label in asked else comparison.prepare)(run)
            keep(args, rows)
            if run.label in rows:
                print(line(run.label, rows[run.label]), flush=True)
        for run in chosen:
            if run.label in asked and args.pairs:
                comparison.time(run, args.pairs)
                keep(args, rows)


def shared_backends(sides):
    """Names of the backends that both commits have; of others it is said that they are left out."""
    old, new = (set(sides[side].backends) for side in SIDES)
    for side, names in (("old", old - new), ("new", new - old)):
        for name in sorted(names):
            report(f"backend {name} is left out: only the {side} commit has it")
    return old & new


def report(text):
    """Say on stderr what is being done."""
    print(f"- {text}", file=sys.stderr, flush=True)


def parsed(words):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", nargs="?", help="commit, or folder with a checkout")
    parser.add_argument("new", nargs="?", help="the same")
    parser.add_argument(
        "--only", action="append", default=[], metavar="PATTERN", help="jobs, or JOB.BACKEND.PRECISION; repeatable"
    )
    parser.add_argument("--pairs", type=int, default=0, help="so many timed runs on each side (default 0)")
    parser.add_argument("--workdir", type=Path, help="empty folder where inputs and results stay; else a temporary one")
    parser.add_argument("--json", type=Path, help="file for all that was found")
    parser.add_argument("--list", action="store_true", help="print the jobs and stop")
    args = parser.parse_args(words)
    if not args.list and (args.new is None or args.pairs < 0):
        parser.error("OLD and NEW are needed" if args.new is None else f"--pairs is {args.pairs}, but must be 0 or more")
    if args.json and not args.json.absolute().parent.is_dir():
        parser.error(f"--json {args.json}: there is no folder {args.json.absolute().parent}")
    if args.workdir and args.workdir.exists() and (not args.workdir.is_dir() or any(args.workdir.iterdir())):
        parser.error(f"--workdir {args.workdir} is not an empty folder")
    return args


def main(words=None):
    """Compare and print; the exit status."""
    args, rows, ended = parsed(words), {}, SAME
    if args.list:
        print("\n".join(f"{job.name:18s} {'; '.join(job.words)}" for job in JOBS))
        return SAME
    with tempfile.TemporaryDirectory(prefix="commits-") as scratch:
        place = (args.workdir or Path(scratch) / "runs").resolve()
        place.mkdir(parents=True, exist_ok=True)
        try:
            compare(args, place, rows)
        except KeyboardInterrupt:
            print("\ninterrupted; so far:", flush=True)
            ended = 130
        except CannotRunError as error:
            print(f"commits: {error}", file=sys.stderr)
            ended = FAILED
    print("\n".join(overview(rows)))
    return ended or verdict(rows)


def verdict(rows):
    """The exit status that the rows ask for."""
    if any("failed" in row for row in rows.values()):
        return FAILED
    return DIFFERENT if any(row["differences"] for row in rows.values()) else SAME


def keep(args, rows):
    """Write what was found so far."""
    if args.json:
        text = json.dumps({"old": args.old, "new": args.new, "runs": rows}, indent=1)
        part = args.json.with_name(args.json.name + ".part")
        part.write_text(text + "\n", encoding="utf-8")
        part.replace(args.json)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
