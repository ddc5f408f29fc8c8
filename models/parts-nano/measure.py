"""Accuracy on generated scenes that training never sees, measured as a user would: with edgecv itself."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from data import workers

import edgecv
from edgecv import evaluate, scenes
from edgecv.evaluate import EvalReport
from edgecv.scenes import Scene, SceneSpec

CARD = Path(__file__).parent / "model.json"
# Far from each other and from the training's seeds, which count from 0.
VALIDATION_SEED = 1_000_000
HELD_OUT_SEED = 2_000_000
ROBUSTNESS_SEED = 3_000_000

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Condition:
    """A row of the robustness table. degrade: arguments of `scenes.degrade`."""

    name: str
    degrade: dict[str, float] = field(default_factory=dict)
    spec: SceneSpec = field(default_factory=SceneSpec)


CONDITIONS = (
    Condition("as generated"),
    Condition("noise, sigma 10", {"noise": 10}),
    Condition("noise, sigma 20", {"noise": 20}),
    Condition("blur, sigma 1 px", {"blur": 1}),
    Condition("blur, sigma 2 px", {"blur": 2}),
    Condition("darkness, 1/2 of the light", {"gain": 0.5}),
    Condition("darkness, 1/4 of the light", {"gain": 0.25}),
    Condition("scale, parts of 16 to 32 px", spec=SceneSpec(part_px=(16, 32))),
    Condition("scale, parts of 32 to 80 px", spec=SceneSpec(part_px=(32, 80))),
    Condition("scale, parts of 80 to 160 px", spec=SceneSpec(part_px=(80, 160), parts=(0, 5))),
    Condition("defective nuts", spec=SceneSpec(defect_rate=1.0)),
)


def accuracy(onnx: Path, dataset: Path, backend: str = "onnxruntime") -> EvalReport:
    """Figures of a network file under this folder's card."""
    with edgecv.load(CARD, weights=onnx, backend=backend, **evaluate.SETTINGS) as detector:
        return evaluate.evaluate(detector, evaluate.open_dataset(str(dataset)))


def dataset(
    folder: Path,
    first_seed: int,
    count: int,
    condition: Condition = CONDITIONS[0],
    progress: Progress | None = None,
) -> Path:
    """A COCO folder of generated scenes, made where it is not there yet."""
    if not (folder / "instances.json").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        scenes.write_coco(folder, _scenes(first_seed, count, condition, progress))
    return folder


def _scenes(first_seed: int, count: int, condition: Condition, progress: Progress | None) -> Iterator[Scene]:
    make, seeds = partial(_scene, condition), range(first_seed, first_seed + count)
    with contextlib.ExitStack() as stack:
        # A few are made sooner than processes start.
        made = (
            stack.enter_context(workers()).imap(make, seeds, chunksize=4) if count > 32 else map(make, seeds)
        )
        for done, scene in enumerate(made, 1):
            yield scene
            if progress is not None:
                progress(done, count)


def _scene(condition: Condition, seed: int) -> Scene:
    scene = scenes.make_scene(seed, condition.spec)
    if condition.degrade:
        scene = replace(scene, image=scenes.degrade(scene.image, seed=seed, **condition.degrade))
    return scene


def figures(report: EvalReport) -> dict[str, Any]:
    """What of a report is recorded."""
    names = ("images", "objects", "AP", "AP50", "AP75", "APs", "APm", "APl")
    return {name: getattr(report, name) for name in names}


def held_out(onnx: Path, work: Path, count: int, progress: Progress | None = None) -> dict[str, Any]:
    """Figures on scenes of the training's kind and of other seeds, and of each class."""
    folder = dataset(work / f"held_out_{count}", HELD_OUT_SEED, count, progress=progress)
    report = accuracy(onnx, folder)
    per_class = {c.name: {"objects": c.objects, "AP": c.AP, "AP50": c.AP50} for c in report.per_class}
    return {**figures(report), "per_class": per_class}


def robustness(onnx: Path, work: Path, count: int, progress: Progress | None = None) -> dict[str, Any]:
    """Figures of every condition, on the same scenes where the condition is one of the camera."""
    rows = {}
    for i, condition in enumerate(CONDITIONS):
        folder = dataset(work / f"robustness_{count}_{i}", ROBUSTNESS_SEED, count, condition)
        rows[condition.name] = figures(accuracy(onnx, folder))
        if progress is not None:
            progress(i + 1, len(CONDITIONS))
    return rows
