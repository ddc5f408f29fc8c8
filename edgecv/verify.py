"""verify(): where does this machine first differ, from the card's golden tensors or between backends?

The stages follow the frame: blob, raw outputs, then candidates and detections, or the classes of a
classifier. A difference between numeric results a and b is max|a - b| / max|b|, for each tensor.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgecv import api, backends, boxes, child, image, image_reference, pipelines
from edgecv.card import ModelCard
from edgecv.errors import BackendUnavailableError, EdgeCVError, UnavailableError
from edgecv.lookup import golden as golden_files
from edgecv.masks import Masks
from edgecv.media.synthetic import synthetic_frame, synthetic_gray16
from edgecv.options import LoadOptions
from edgecv.types import Candidates, Detections, FloatArray

# Backends sum in different orders; what their outputs differ by on real models is about 1e-5.
OUTPUT_TOLERANCE = 1e-3
# What lies clearly over this threshold must be found by every backend, at the same place.
CONF = 0.01
CONFIDENCE_TOLERANCE = 0.003
MATCH_IOU = 0.95
# Keypoints lie at the same place where they are no further apart than this share of the box's diagonal, or
# than these pixels, however small it is.
KEYPOINT_TOLERANCE = 0.01
KEYPOINT_PIXELS = 0.5
# Pixels that masks may differ by, however small they are.
MASK_TOLERANCE = 4
# Matching takes the square of this; the most confident are compared.
MAX_MATCHED = 2000

# A library that takes longer has come to a halt.
CHILD_QUIET_S = 600.0

Array = NDArray[Any]


@dataclass(frozen=True)
class Check:
    """One comparison. status: "ok", "diverged", "skipped" or "error"; detail says of what."""

    stage: str
    subject: str
    against: str
    status: str
    difference: float | None = None
    tolerance: float | None = None
    detail: str = ""


@dataclass(frozen=True)
class VerifyReport:
    """All checks, in the order of the stages."""

    model: str
    frame: str
    checks: tuple[Check, ...]

    @property
    def first_divergence(self) -> Check | None:
        """The earliest stage that failed."""
        return next((c for c in self.checks if c.status in ("diverged", "error")), None)

    def as_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        first = self.first_divergence
        return {
            "model": self.model,
            "frame": self.frame,
            "checks": [asdict(check) for check in self.checks],
            "first_divergence": asdict(first) if first else None,
        }


@dataclass
class _Run:
    """What one backend made of the frame. found: by stage, what a detector found, or a classifier's
    probabilities."""

    name: str
    outputs: dict[str, Array]
    found: dict[str, _Found | FloatArray]


@dataclass(frozen=True)
class _Found:
    """tie_iou: from which overlap on one of a class drives out another; over 1 where none does.
    most: how many there can be. The columns as in `Detections`; masks of candidates are not made.
    """

    xyxy: FloatArray
    confidence: FloatArray
    class_id: NDArray[np.int32]
    tie_iou: float = 2.0
    most: float = math.inf
    keypoints: FloatArray | None = None
    xywhr: FloatArray | None = None
    masks: Masks | None = None

    @classmethod
    def of(cls, found: Candidates | Detections, tie_iou: float = 2.0, most: float = math.inf) -> _Found:
        masks = found.masks if isinstance(found, Detections) else None
        boxes, confidence, class_id = found.xyxy, found.confidence, found.class_id
        return cls(boxes, confidence, class_id, tie_iou, most, found.keypoints, found.xywhr, masks)

    def take(self, index: NDArray[np.int64]) -> _Found:
        """Some of them."""
        columns = ("xyxy", "confidence", "class_id", "keypoints", "xywhr", "masks")
        picked = {name: getattr(self, name)[index] for name in columns if getattr(self, name) is not None}
        return replace(self, **picked)

    def described(self, i: int) -> str:
        """One of them, for messages."""
        box = ", ".join(f"{value:.1f}" for value in self.xyxy[i])
        return f"class {self.class_id[i]} at ({box}) with {self.confidence[i]:.3f}"

    def clear(self) -> _Found:
        """The most confident that lie clearly over the threshold and have an area."""
        width, height = self.xyxy[:, 2] - self.xyxy[:, 0], self.xyxy[:, 3] - self.xyxy[:, 1]
        fit = (self.confidence > CONF + CONFIDENCE_TOLERANCE) & (width > 0) & (height > 0)
        if self.xywhr is not None:
            fit &= np.isfinite(self.xywhr).all(axis=1) & (self.xywhr[:, 2:4] > 0).all(axis=1)
        keep = np.flatnonzero(fit & np.isfinite(self.xyxy).all(axis=1))
        keep = keep[np.argsort(-self.confidence[keep], kind="stable")[:MAX_MATCHED]]
        return self.take(keep)


def verify(
    model: str | os.PathLike[str],
    options: LoadOptions | None = None,
    *,
    frame: NDArray[Any] | None = None,
    frame_name: str = "",
    progress: Callable[[str], None] = lambda _: None,
) -> VerifyReport:
    """Run the stages and compare.

    options: as for `edgecv.load`, but for the backend: names with commas, each by itself; None: every usable
    one. Threads are one unless they are given; libraries of others run in processes of their own. frame:
    uint8 (H, W, 3) BGR in place of the card's golden frame, whose tensors are then not compared.
    """
    options = options or LoadOptions()
    loaded = api.resolve(model, options)
    api.check_read(loaded)
    kind = pipelines.of_card(loaded.card)
    api.announce(loaded)
    card, golden = loaded.card, None
    if frame is None and card.golden is not None and loaded.folder is not None:
        golden = golden_files.read(card.golden, loaded.folder)
        frame, frame_name = golden["frame"], "the card's golden frame"
    elif frame is None:
        is_wide = card.image_input.bits == 16
        frame, frame_name = synthetic_gray16() if is_wide else synthetic_frame(), "synthetic"

    checks: list[Check] = []
    progress("blob")
    blob, reference = _blobs(card, frame, options.imgsz)
    checks.append(_compare_arrays("blob", "preprocessing", "NumPy reference", blob, reference, 0.0))
    checks.append(_check_golden_blob(card, blob, golden))

    runs: list[_Run] = []
    failed: list[EdgeCVError] = []
    asked = options.backend
    for name in backends.parse_names(asked) if asked else list(backends.BACKENDS):
        progress(name)
        reason = backends.BACKENDS[name].unavailable()
        if reason is not None:
            if asked:
                raise BackendUnavailableError(f"backend {name} is not usable here: {reason}")
            checks.append(Check("outputs", name, "", "skipped", detail=reason))
            continue
        try:
            if backends.BACKENDS[name].is_guest:
                runs.append(_run_in_child(model, loaded.card.name, name, options, frame))
            else:
                runs.append(_run(loaded, name, options, frame))
        except EdgeCVError as error:
            failed.append(error)
            checks.append(Check("outputs", name, "", "error", detail=str(error)))

    skipped = [check for check in checks if check.stage == "outputs" and check.status == "skipped"]
    if len(skipped) == len(backends.BACKENDS):
        reasons = "; ".join(f"{check.subject}: {check.detail}" for check in skipped)
        raise BackendUnavailableError(f"no backend is usable here: {reasons}")

    if failed and not runs and all(isinstance(error, UnavailableError) for error in failed):
        raise UnavailableError("; ".join(map(str, failed)))

    for run in runs:
        if golden is not None:
            checks.append(_check_golden_outputs(run, golden))
    for stage in ("outputs", *kind.COMPARED):
        if len(runs) < 2:
            alone = runs[0].name if runs else "no backend"
            checks.append(Check(stage, alone, "", "skipped", detail="no second backend to compare with"))
        checks += [_compare(stage, run, runs[0]) for run in runs[1:]]
    return VerifyReport(card.name, frame_name, tuple(checks))


def sampled(array: Array, step: int) -> Array:
    """The values of an array at flat indices 0, step, 2 * step, …"""
    return array.reshape(-1)[::step]


def _blobs(card: ModelCard, frame: NDArray[Any], size_wh: tuple[int, int] | None) -> tuple[Array, Array]:
    spec = card.image_input.blob_spec(size_wh)
    blob, _ = image.to_blob(frame, spec)
    reference = image_reference.to_blob(frame, spec)
    return blob, reference


def look(model: str | os.PathLike[str], name: str, options: LoadOptions, frame: NDArray[Any]) -> _Run:
    """What one backend makes of the frame, of a model that is looked up here."""
    return _run(api.resolve(model, options), name, options, frame)


def _run_in_child(
    model: str | os.PathLike[str], card: str, name: str, options: LoadOptions, frame: NDArray[Any]
) -> _Run:
    """Likewise, on a library of others, which may end its process."""
    try:
        run: _Run = child.call(
            "edgecv.verify:look",
            *(os.fspath(model), name, options, frame),
            doing=f"while {name} ran {card}",
            quiet_s=CHILD_QUIET_S,
        )
    except child.ChildEnded as error:
        raise child.ChildEnded(f"{name}: {error}") from error
    return run


def _run(loaded: api.Loaded, name: str, options: LoadOptions, frame: NDArray[Any]) -> _Run:
    kind = pipelines.of_card(loaded.card)
    settings = msgspec.structs.asdict(kind.Settings.for_comparison(CONF))
    one = msgspec.structs.replace(
        options,
        backend=name,
        threads=options.threads or 1,
        warmup=False,
        # All are compared here.
        check=False,
        # Of what was found already.
        weights=None,
        labels=None,
        mean=None,
    )
    with api.load_with(loaded, one, settings=settings) as pipeline:
        seen = pipeline.inspect(frame)
        return _Run(
            name,
            dict(seen.outputs),
            {stage: _found(value, pipeline.settings) for stage, value in seen.found.items()},
        )


def _found(value: Any, settings: Any) -> _Found | FloatArray:
    """What a stage found, with what may tell two backends apart without a fault."""
    if isinstance(value, Candidates):
        return _Found.of(value)
    if isinstance(value, Detections):
        return _Found.of(value, settings.iou, settings.max_det)
    array: FloatArray = value
    return array


def _compare(stage: str, run: _Run, reference: _Run) -> Check:
    if stage == "outputs":
        return _compare_outputs(run, reference)
    a, b = run.found[stage], reference.found[stage]
    if isinstance(a, _Found) and isinstance(b, _Found):
        return _compare_found(stage, run.name, reference.name, a, b)
    assert isinstance(a, np.ndarray)
    assert isinstance(b, np.ndarray)
    return _compare_arrays(stage, run.name, reference.name, a, b, CONFIDENCE_TOLERANCE, largest=1.0)


def _check_golden_blob(card: ModelCard, blob: Array, golden: Mapping[str, Array] | None) -> Check:
    if golden is None or card.golden is None:
        reason = "another frame was given" if card.golden else "the card has no golden tensors"
        return Check("blob", "preprocessing", "golden sha256", "skipped", detail=reason)
    digest = hashlib.sha256(blob.tobytes()).hexdigest()
    same = digest == card.golden.blob_sha256
    return Check(
        "blob",
        "preprocessing",
        "golden sha256",
        "ok" if same else "diverged",
        detail="" if same else f"expected {card.golden.blob_sha256[:16]}…, got {digest[:16]}…",
    )


def _check_golden_outputs(run: _Run, golden: Mapping[str, Array]) -> Check:
    worst = Check("outputs", run.name, "golden", "ok", 0.0, OUTPUT_TOLERANCE)
    for name, array in run.outputs.items():
        if not {name, f"{name}.step", f"{name}.largest"} <= golden.keys():
            return Check("outputs", run.name, "golden", "error", detail=f"no golden tensor for {name!r}")
        ours = sampled(array, int(golden[f"{name}.step"]))
        largest = float(golden[f"{name}.largest"])
        check = _compare_arrays(
            "outputs", run.name, "golden", ours, golden[name], OUTPUT_TOLERANCE, name, largest
        )
        worst = _worse(worst, check)
    return worst


def _compare_outputs(run: _Run, reference: _Run) -> Check:
    worst = Check("outputs", run.name, reference.name, "ok", 0.0, OUTPUT_TOLERANCE)
    for name, array in run.outputs.items():
        check = _compare_arrays(
            "outputs", run.name, reference.name, array, reference.outputs[name], OUTPUT_TOLERANCE, name
        )
        worst = _worse(worst, check)
    return worst


def _worse(a: Check, b: Check) -> Check:
    """A failed check before one that passed; else the one with the larger difference."""
    rank = lambda check: (check.status != "ok", check.difference or 0.0)  # noqa: E731
    return max(a, b, key=rank)


def _compare_arrays(
    stage: str,
    subject: str,
    against: str,
    a: Array,
    b: Array,
    tolerance: float,
    name: str = "",
    largest: float | None = None,
) -> Check:
    """largest: the magnitude that differences are measured by; None: the largest of b."""
    where = f"{name}: " if name else ""
    if a.shape != b.shape or a.dtype != b.dtype:
        detail = f"{where}{a.dtype} {a.shape} against {b.dtype} {b.shape}"
        return Check(stage, subject, against, "diverged", None, tolerance, detail)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return Check(stage, subject, against, "diverged", None, tolerance, f"{where}values are not finite")
    delta = np.abs(a.astype(np.float64) - b)
    if largest is None:
        largest = float(np.abs(b).max(initial=0.0))
    difference = float(delta.max(initial=0.0)) / (largest or 1.0)
    if difference <= tolerance:
        return Check(stage, subject, against, "ok", difference, tolerance)
    at = tuple(int(i) for i in np.unravel_index(int(delta.argmax()), delta.shape))
    detail = f"{where}at {at}: {a[at]:.6g} against {b[at]:.6g}"
    return Check(stage, subject, against, "diverged", difference, tolerance, detail)


def _compare_found(stage: str, name: str, reference_name: str, a: _Found, b: _Found) -> Check:
    """Match both ways: what is clearly over the threshold in one must be in the other.

    Where two that overlap are as good as each other, either may have driven out the other one; and of equals
    at the end of a full list either may have been cut off.
    """
    largest, compared, ties, missing = 0.0, 0, 0, []
    for label, one, other in ((reference_name, a, b), (name, b, a)):
        clear = one.clear()
        gaps = _gaps(clear, other)
        compared += len(gaps)
        lost = np.flatnonzero(gaps > CONFIDENCE_TOLERANCE)
        is_tie = _gaps(clear.take(lost), other, clear.tie_iou) <= CONFIDENCE_TOLERANCE
        if len(other.confidence) >= other.most:
            is_tie |= clear.confidence[lost] <= other.confidence.min() + CONFIDENCE_TOLERANCE
        ties, lost = ties + int(is_tie.sum()), lost[~is_tie]
        if len(lost):
            described = clear.described(int(lost[0]))
            missing.append(f"{len(lost)} of {len(gaps)} missing in {label}, such as {described}")
        unlike = _unlike(clear, other)
        if unlike:
            missing.append(
                f"{len(unlike)} of {len(gaps)} with other keypoints or another mask in {label}, such as "
                f"{clear.described(unlike[0])}"
            )
        largest = max(largest, float(gaps[gaps <= CONFIDENCE_TOLERANCE].max(initial=0.0)))
    return Check(
        stage,
        name,
        reference_name,
        "diverged" if missing else "ok",
        largest,
        CONFIDENCE_TOLERANCE,
        "; ".join(missing) or f"{compared - ties} matched" + (f", {ties} ties" if ties else ""),
    )


def _gaps(one: _Found, other: _Found, least_iou: float = MATCH_IOU) -> FloatArray:
    """For each object of `one`, the least confidence gap to one of `other` at its place; inf if none."""
    gaps = np.full(len(one.confidence), np.inf, np.float32)
    for mine, _, gap in _at_one_place(one, other, least_iou):
        gaps[mine] = gap.min(axis=1)
    return gaps


def _unlike(one: _Found, other: _Found) -> list[int]:
    """The objects of `one` that have their like in `other`, by place and confidence, and none of these has
    the same keypoints and mask.
    """
    unlike = []
    for mine, theirs, gap in _at_one_place(one, other, MATCH_IOU):
        for i, near in zip(mine.tolist(), gap <= CONFIDENCE_TOLERANCE, strict=True):
            like = theirs[near].tolist()
            if like and not any(_is_alike(one, i, other, j) for j in like):
                unlike.append(i)
    return sorted(unlike)


def _at_one_place(
    one: _Found, other: _Found, least_iou: float
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp], FloatArray]]:
    """By class: the objects of each, by index, and the gaps of their confidences, inf where they do not
    overlap by so much.
    """
    for class_id in np.unique(one.class_id):
        mine = np.flatnonzero(one.class_id == class_id)
        theirs = np.flatnonzero(other.class_id == class_id)
        if len(theirs):
            gap = np.abs(one.confidence[mine][:, None] - other.confidence[theirs][None, :])
            yield (
                mine,
                theirs,
                np.where(_overlap(one, mine, other, theirs, least_iou) >= least_iou, gap, np.inf),
            )


def _overlap(
    one: _Found, mine: NDArray[np.intp], other: _Found, theirs: NDArray[np.intp], least_iou: float
) -> FloatArray:
    """Overlap of every pair; of oriented boxes their IoU, or where duplicates are meant what NMS looks at."""
    if one.xywhr is not None and other.xywhr is not None:
        method: Literal["iou", "probiou"] = "iou" if least_iou == MATCH_IOU else "probiou"
        return boxes.iou_rotated(one.xywhr[mine], other.xywhr[theirs], method=method)
    return boxes.iou(one.xyxy[mine], other.xyxy[theirs])


def _is_alike(one: _Found, i: int, other: _Found, j: int) -> bool:
    """Whether keypoints and masks of two objects are the same but for rounding, where there are any."""
    if one.keypoints is not None and other.keypoints is not None:
        a, b = one.keypoints[i], other.keypoints[j]
        x0, y0, x1, y1 = one.xyxy[i]
        most = max(KEYPOINT_TOLERANCE * np.hypot(x1 - x0, y1 - y0), KEYPOINT_PIXELS)
        apart = np.hypot(*(a - b)[:, :2].T) > most
        unsure = np.abs(a - b)[:, 2] > CONFIDENCE_TOLERANCE
        # A point that hardly shows may lie anywhere.
        if unsure.any() or (apart & (b[:, 2] > CONF + CONFIDENCE_TOLERANCE)).any():
            return False
    if one.masks is not None and other.masks is not None:
        both, either = one.masks.overlap(i, other.masks, j)
        return either - both <= max((1 - MATCH_IOU) * either, MASK_TOLERANCE)
    return True


def golden_tensors(
    frame: NDArray[np.uint8], outputs: Mapping[str, Array], values: int = 4096
) -> dict[str, Array]:
    """What a card's golden file holds: the frame, and at most `values` samples of every output."""
    tensors: dict[str, Array] = {"frame": frame}
    for name, array in outputs.items():
        step = max(-(-array.size // values), 1)
        # A step that shares no factor with the row length visits every column.
        while step > 1 and np.gcd(step, array.shape[-1]) != 1:
            step += 1
        tensors[name] = sampled(array, step)
        tensors[f"{name}.step"] = np.array(step)
        tensors[f"{name}.largest"] = np.abs(array).max()
    return tensors
