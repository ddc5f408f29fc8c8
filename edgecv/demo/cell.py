"""The demo cell: a belt of known parts, every usable backend, accuracy against the truth, latency, a page.

Nothing is brought along or downloaded: the scenes are generated, the model is the one that comes with edgecv.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from edgecv import bench, child, evaluate, loop, scenes
from edgecv.api import load_with
from edgecv.backends import BACKENDS, usable
from edgecv.bench import BenchConfig, BenchReport, Measurement
from edgecv.demo.tally import Tally, tally
from edgecv.errors import (
    BackendError,
    BackendUnavailableError,
    InputError,
    MissingExtraError,
    UnavailableError,
)
from edgecv.evaluate import EvalReport
from edgecv.media import Failure, Frame, draw, open_sink, open_source
from edgecv.media.atomic import cannot_write
from edgecv.options import LoadOptions
from edgecv.types import Detections

MODEL = "parts-nano"
# The belt is easier than the scenes that the model was measured on (models/parts-nano), and larger parts lie
# on it. What falls under these is broken, not unlucky.
LEAST_AP = 0.7
LEAST_FOUND = 0.9
MOST_FALSE = 0.1
# The backends compute the same network; their figures differ by ties alone.
LARGEST_AP_DIFFERENCE = 0.005
BELT = scenes.BeltSpec(size_wh=(640, 480), step_mm=10.0)
MAX_FRAMES = 1000
# A library that takes longer for a frame has come to a halt.
CHILD_QUIET_S = 300.0

# What is done, how much of it, of how much; None where nobody knows.
Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class DemoConfig:
    """What to run.

    out: the folder that is written, made where it does not exist. frames: of the belt, 1 to 1000. seed:
    of its generator. backends: names; empty takes every usable one. options: of loading, but for the backend.
    seconds: longest measuring time of each backend.
    """

    out: Path
    frames: int = 24
    seed: int = 5
    backends: tuple[str, ...] = ()
    options: LoadOptions = field(default_factory=LoadOptions)
    seconds: float = 6.0

    def check(self) -> None:
        """Raises InputError that names the field."""
        if not 1 <= self.frames <= MAX_FRAMES:
            raise InputError(f"frames: expected 1 to {MAX_FRAMES}, got {self.frames}")
        if not 0 < self.seconds < float("inf"):
            raise InputError(f"seconds: expected more than 0, got {self.seconds}")


class BackendOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one backend found, or why it did not.

    found, missed, false: parts of the whole belt at the card's thresholds, as `tally.tally` counts them;
    None where it could not run. evaluation: COCO's figures; None without the extra `eval`. problem:
    what is wrong, in one line.
    """

    backend: str
    found: int | None = None
    missed: int | None = None
    false: int | None = None
    evaluation: EvalReport | None = None
    problem: str | None = None


class DemoReport(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run. unusable: backends that cannot run here, and why. no_AP: why there is no AP, where there
    is none. files: what was written."""

    schema: int = 1
    model: str = MODEL
    out: str
    frames: int
    least_AP: float = LEAST_AP  # noqa: N815 - as in EvalReport
    outcomes: tuple[BackendOutcome, ...]
    unusable: dict[str, str]
    no_AP: str | None  # noqa: N815 - as in EvalReport
    latency: BenchReport
    files: dict[str, str]

    @property
    def exit_code(self) -> int:
        """0 done; 1 a backend failed, or found something else than the truth or the other backends; where
        none ran, as `edgecv bench` has it."""
        if all(outcome.found is None for outcome in self.outcomes):
            return self.latency.exit_code or 1
        failed = any(outcome.problem for outcome in self.outcomes)
        return 1 if failed or self.latency.exit_code else 0

    def as_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


@dataclass(frozen=True)
class Demo:
    """A report, and the measurement that its latency comes from, samples included."""

    report: DemoReport
    measurement: Measurement


def run(config: DemoConfig, *, progress: Progress | None = None) -> Demo:
    """Run the demo and write its folder: `belt/` (a COCO data set), `annotated/`.

    Pictures of an earlier demo in these two are removed; other files stay.

    Raises InputError for a config that makes no sense, BackendUnavailableError where no backend is
    usable, OutputError where the folder cannot be written.
    """
    config.check()
    step = progress or (lambda what, done, total: None)
    names = list(config.backends) or usable()
    unusable = {name: reason for name, b in BACKENDS.items() if (reason := b.unavailable()) is not None}
    if not names:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in unusable.items())
        raise BackendUnavailableError(f"no backend is usable here: {reasons}")
    belt = config.out / "belt"
    _remove_pictures(config.out / "annotated")
    written = scenes.write_coco(
        belt,
        scenes.make_belt(config.seed, config.frames, BELT),
        progress=lambda done: step("rendering the belt", done, config.frames),
    )
    missing = _why_no_ap()
    outcomes: list[BackendOutcome] = []
    for name in names:
        is_drawn = any(outcome.found is not None for outcome in outcomes)
        look = _look_in_child if BACKENDS[name].is_guest else outcome_of
        outcomes.append(look(name, config, not is_drawn, missing is None, step))
    measurement = bench.measure(
        BenchConfig(
            models=(MODEL,),
            backends=tuple(names),
            threads=(config.options.threads,),
            options=msgspec.structs.replace(config.options, threads=None),
            source=str(belt),
            frames=400,
            seconds=config.seconds,
            twin=False,
        ),
        progress=lambda done, total: step("measuring", done, total),
    )
    report = DemoReport(
        out=str(config.out),
        frames=config.frames,
        outcomes=compared(outcomes),
        unusable=unusable,
        no_AP=missing,
        latency=measurement.report,
        files={"dataset": written.annotations, "annotated": str(config.out / "annotated")},
    )
    return Demo(report, measurement)


def _remove_pictures(folder: Path) -> None:
    """What an earlier demo left, by the names that a demo gives: 000000.png to 000999.png.

    Raises OutputError.
    """
    for index in range(MAX_FRAMES):
        path = folder / f"{index:06d}.png"
        try:
            path.unlink(missing_ok=True)
        except NotADirectoryError:
            return  # writing says what is wrong
        except OSError as error:
            raise cannot_write(path, error) from error


def _why_no_ap() -> str | None:
    try:
        evaluate.load_scorer()
    except MissingExtraError as error:
        return str(error)
    return None


def outcome_of(name: str, config: DemoConfig, draws: bool, scores: bool, tell: Progress) -> BackendOutcome:
    """What one backend finds on the belt that was written.

    draws: whether the frames are written with what it found. scores: whether there are COCO's figures.
    """
    dataset = evaluate.open_dataset(str(config.out / "belt" / "instances.json"))
    try:
        count = _look(name, dataset, config, tell, draws=draws)
        report = None
        if scores:
            with load_with(MODEL, _on(name, config), settings=evaluate.SETTINGS) as detector:
                report = evaluate.evaluate(detector, dataset, progress=lambda d, t: tell("scoring", d, t))
    except (UnavailableError, BackendError) as error:
        return BackendOutcome(backend=name, problem=str(error))
    return BackendOutcome(
        backend=name, found=count.found, missed=count.missed, false=count.false, evaluation=report
    )


def _look_in_child(
    name: str, config: DemoConfig, draws: bool, scores: bool, tell: Progress
) -> BackendOutcome:
    """Likewise, on a library of others, which may end its process."""
    try:
        outcome: BackendOutcome = child.call(
            "edgecv.demo.cell:outcome_of",
            *(name, config, draws, scores),
            doing=f"while {name} looked at the belt",
            quiet_s=CHILD_QUIET_S,
            heard=tell,
        )
    except child.ChildEnded as error:
        return BackendOutcome(backend=name, problem=f"{name}: {error}")
    return outcome


def _look(name: str, dataset: evaluate.Dataset, config: DemoConfig, step: Progress, *, draws: bool) -> Tally:
    """Every frame at the card's thresholds, and the frames with what was found drawn in."""
    with ExitStack() as stack:
        frames = stack.enter_context(open_source(str(config.out / "belt"), limit=config.frames))
        sink = None
        if draws:
            sink = stack.enter_context(open_sink(f"{config.out / 'annotated'}/", kind=frames.kind))
        detector = stack.enter_context(load_with(MODEL, _on(name, config)))
        counter = _Counter(dataset)
        receivers: list[Any] = [counter]
        if sink is not None:
            receivers.append(loop.ToPictures(draw, frames, sink=sink))
        loop.run(detector, frames, receivers, progress=lambda done, _: step("detecting", done, config.frames))
    return counter.tally


def _on(backend: str, config: DemoConfig) -> LoadOptions:
    return msgspec.structs.replace(config.options, backend=backend)


class _Counter:
    """Counts what was found against what is there."""

    is_done = False

    def __init__(self, dataset: evaluate.Dataset) -> None:
        self._dataset = dataset
        self.tally = Tally()

    def result(self, frame: Frame, found: Detections) -> None:
        """Counts one frame."""
        image = self._dataset.images[frame.index]
        self.tally += tally(found, image.id, self._dataset.annotations, self._dataset.categories)

    def failure(self, failure: Failure) -> None:
        """A frame of the belt that cannot be read ends the demo."""
        raise failure.error


def compared(outcomes: list[BackendOutcome]) -> tuple[BackendOutcome, ...]:
    """With the problems of the figures: too low, or unlike those of the first backend that has any."""
    first = next((o.evaluation.AP for o in outcomes if o.evaluation and o.evaluation.AP is not None), None)
    return tuple(msgspec.structs.replace(o, problem=o.problem or _problem(o, first)) for o in outcomes)


def _problem(outcome: BackendOutcome, first: float | None) -> str | None:
    found, missed, false = outcome.found or 0, outcome.missed or 0, outcome.false or 0
    if not found + missed:
        return "the belt carried no part: take another seed or more frames"
    if found < LEAST_FOUND * (found + missed):
        return f"parts: expected at least {LEAST_FOUND:.0%} found, got {found} of {found + missed}"
    if false > MOST_FALSE * (found + false):
        return f"parts: expected at most {MOST_FALSE:.0%} false, got {false} of {found + false} detections"
    report = outcome.evaluation
    if report is None or report.AP is None or first is None:
        return None
    if report.failures:
        return report.failures[0].error
    if report.AP < LEAST_AP:
        return f"AP: expected at least {LEAST_AP} on this belt, got {report.AP:.4f}"
    if abs(report.AP - first) > LARGEST_AP_DIFFERENCE:
        return f"AP: expected {first:.4f}, as the first backend has, got {report.AP:.4f}"
    return None
