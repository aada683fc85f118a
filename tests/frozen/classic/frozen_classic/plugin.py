"""Every hook of contract 1.0 with all its arguments, as an object; every field of what it is given and of what it answers."""

from pathlib import Path

from ptycho_core import hookimpl
from ptycho_core.backends.manifest import read_manifest
from ptycho_core.contract import (
    BackendSpec,
    Device,
    Disposition,
    EvaluateBatchJob,
    EvaluateJob,
    EvaluateResult,
    Event,
    ExecutionPlan,
    ExecutionRequest,
    Framework,
    InferBatch,
    InferJob,
    OptionSpec,
    ProbeReport,
    ReconstructJob,
    ReconstructResult,
    ScanSource,
    TrainJob,
    TrainResult,
)
from ptycho_core.errors import DataError

IGNORED = ("object_alpha", "total_variation")
PRECISIONS = ("float32", "float64", "bf16-mixed")


class Classic:
    @hookimpl
    def ptycho_backend_spec(self):
        spec = read_manifest(Path(__file__).with_name("ptycho-backend.toml"), "frozen_classic")
        return BackendSpec(
            name=spec.name,
            title=spec.title,
            contract=spec.contract,
            framework=Framework(
                module=spec.framework.module,
                distributions=spec.framework.distributions,
                minimum=spec.framework.minimum,
                below=spec.framework.below,
            ),
            capabilities=spec.capabilities,
            accelerators=spec.accelerators,
            precisions=spec.precisions,
            options=tuple(
                OptionSpec(
                    name=one.name,
                    type=one.type,
                    default=one.default,
                    help=one.help,
                    choices=one.choices,
                    minimum=one.minimum,
                    maximum=one.maximum,
                )
                for one in spec.options
            ),
            environment=dict(spec.environment),
            issues_url=spec.issues_url,
            only_by_name=spec.only_by_name,
        )

    @hookimpl
    def ptycho_probe(self):
        import numpy

        return ProbeReport(
            framework_version=numpy.__version__,
            devices=(Device(accelerator="cpu", name="cpu:0", title="a processor"),),
            precisions=PRECISIONS,
            problems=("no graphics card is looked for",),
        )

    @hookimpl
    def ptycho_plan(self, request, probe):
        assert isinstance(request, ExecutionRequest)
        assert isinstance(probe, ProbeReport)
        assert request.verb in ("train", "infer", "reconstruct", "evaluate")
        assert set(request.options) == {"brightness", "sweeps", "mirror", "flavour", "remark"}
        everything = {name: value for group in request.settings.values() for name, value in group.items()}
        everything |= {f"frozen_classic.{name}": value for name, value in request.options.items()} | dict(request.execution)
        effective = dict(request.execution) | {"accelerator": "cpu", "threads": 1}
        answers = {}
        for name in request.requested:
            if name == "accelerator" and request.execution[name] not in ("auto", "cpu"):
                answers[name] = Disposition(kind="unsupported", value=None, why="there is a processor and nothing else")
            elif name == "threads" and request.execution[name] != 1:
                answers[name] = Disposition(kind="adjusted", value=1, why="one thread is enough")
            elif name in IGNORED:
                answers[name] = Disposition(kind="unsupported", value=None, why="it is not looked at")
            else:
                answers[name] = Disposition(kind="applied", value=everything[name])
        return ExecutionPlan(
            device=probe.devices[0].name,
            execution=effective,
            options=dict(request.options),
            dispositions=answers,
            notes=("it is as it was",),
        )

    @hookimpl
    def ptycho_train(self, job, plan, events):
        from dataclasses import replace

        import numpy as np

        from ptycho_core.model import TrainingState, load_model, save_model
        from ptycho_core.training.data import training_data

        assert isinstance(job, TrainJob)
        assert all(isinstance(source, ScanSource) for source in (*job.scans, *job.validation))
        assert set(job.settings) >= {"data", "model", "training", "execution"}
        data = training_data(job)
        model = load_model(job.model_path, training=job.resume)
        best, last = job.output_dir / "best.ptycho", job.output_dir / "last.ptycho"
        history = list(model.history)
        total = int(job.settings["training"]["epochs"])
        while len(history) < total:
            if events.stop_requested:
                return TrainResult(
                    model_path=best, last_path=last, history=history, stopped_by="asked to stop", interrupted=True, facts={}
                )
            epoch = len(history) + 1
            events.emit(Event(kind="step", stage="training", epoch=epoch, total=total, values={"loss": 0.5}))
            history.append({"epoch": epoch, "loss": 0.5**epoch, "seconds": 0.0})
            state = TrainingState({"step": np.full(1, epoch, np.float64)}, {"epoch": epoch})
            model = replace(model, history=tuple(history), training=state)
            for path in (best, last):
                save_model(path, model)
            events.emit(Event(kind="epoch", stage="training", epoch=epoch, total=total, values=history[-1]))
        return TrainResult(
            model_path=best,
            last_path=last,
            history=history,
            stopped_by="all epochs done",
            interrupted=False,
            facts={"device": plan.device, "scans": len(data.scans)},
        )

    @hookimpl
    def ptycho_infer(self, job, plan, events):
        import numpy as np

        from ptycho_core.inference.order import inference_order
        from ptycho_core.scan.opening import open_scan

        assert isinstance(job, InferJob)
        assert job.model_path.is_file()
        assert set(job.settings) >= {"data", "model", "execution"}
        with np.load(job.probe_path, allow_pickle=False) as stored:
            size = stored["probe"].shape[-1]
        scan = open_scan(job.scan.path, job.scan.settings)
        order = np.concatenate(inference_order(scan.positions, size))
        most = int(job.settings["execution"]["inference_batch_size"])
        for start in range(0, len(order), most):
            if events.stop_requested:
                return
            frames = order[start : start + most]
            patches = np.full((len(frames), size, size), plan.options["brightness"], np.complex64)
            yield InferBatch(frames=frames, patches=patches)

    @hookimpl
    def ptycho_reconstruct(self, job, plan, events):
        import os

        import numpy as np

        from ptycho_core.scan.opening import open_scan

        assert isinstance(job, ReconstructJob)
        if not job.scan.path.is_file():
            raise DataError(f"{job.scan.path} is no file.")
        scan = open_scan(job.scan.path, job.scan.settings)
        with np.load(job.start_path, allow_pickle=False) as stored:
            image, probe, positions = stored["object"], stored["probe"], stored["positions"]
        image = image * plan.options["brightness"]
        asked = job.settings["reconstruction"]
        history = []
        events.emit(Event(kind="started", stage="fit", message="it begins"))
        interrupted = False
        for epoch in range(1, int(plan.options["sweeps"]) + 1):
            interrupted = events.stop_requested
            if interrupted:
                break
            events.emit(Event(kind="step", stage="fit", epoch=epoch, total=plan.options["sweeps"], values={"frames": len(scan)}))
            row = {"stage": "fit", "epoch": epoch, "loss": 1.0 / epoch, "misfit": 1.0, "held_out": None, "seconds": 0.0}
            history.append(row)
            events.emit(Event(kind="epoch", stage="fit", epoch=epoch, total=plan.options["sweeps"], values=row))
        events.emit(Event(kind="message", stage="fit", message="it was quick"))
        events.emit(Event(kind="finished", stage="fit", message="it ends"))
        return ReconstructResult(
            object=image[::-1, ::-1] if plan.options["mirror"] else image,
            probe=probe,
            positions=positions + 0.25 if asked["refine_positions"] else positions,
            background=None if asked["background"] == "none" else np.full(probe.shape[-2:], 0.5),
            history=history,
            held_out=np.arange(2),
            stopped_by="all sweeps done",
            interrupted=interrupted,
            facts={
                "flavour": plan.options["flavour"],
                "remark": plan.options["remark"],
                "environment": os.environ["FROZEN_CLASSIC"],
                "device": plan.device,
            },
        )

    @hookimpl
    def ptycho_evaluate(self, job, plan):
        import numpy as np

        if isinstance(job, EvaluateBatchJob):
            size = 8
            return EvaluateResult(
                intensities=np.zeros((job.groups.size, size, size)),
                losses={"amplitude": float(job.scan)},
                gradients={"physics.log_scale": np.zeros(len(job.training.scans))} if job.gradients else {},
                patches=np.ones((job.groups.size, size, size), np.complex128),
            )
        assert isinstance(job, EvaluateJob)
        frames, size = job.counts.shape[0], job.counts.shape[-1]
        good = np.ones((size, size), bool) if job.mask is None else job.mask
        counts = job.counts if job.background is None else job.counts + job.background
        return EvaluateResult(
            intensities=counts.astype(np.float64),
            losses={name: float(weight) * good.mean() for name, weight in job.weights.items()},
            gradients={"object": np.zeros_like(job.object), "positions": np.zeros((frames, 2))} if job.gradients else {},
        )


backend = Classic()
