"""The values that travel between the rooms of edgecv: frozen, and made of numpy only.

Coordinates are pixel edges: a frame of width W spans x from 0 to W, and the center of its first
pixel is at 0.5. Boxes are xyxy: left, top, right, bottom.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

import msgspec
import numpy as np

if TYPE_CHECKING:
    import supervision
    from numpy.typing import NDArray

    from edgecv.masks import Masks

# Text, since numpy.typing is long to import for what annotations alone use.
FloatArray: TypeAlias = "NDArray[np.float32]"
IntArray: TypeAlias = "NDArray[np.int32]"


class TensorSpec(msgspec.Struct, frozen=True):
    """Name, dtype and shape of a model's input or output.

    shape: one entry an axis; an int, the symbol of a dynamic axis, or None where even that is unknown.
    is_ranked: False where not even the number of axes is known, and `shape` is empty as a scalar's is.
    """

    name: str
    dtype: np.dtype
    shape: tuple[int | str | None, ...]
    is_ranked: bool = True

    @property
    def is_static(self) -> bool:
        """Whether every axis has a fixed size."""
        return self.is_ranked and all(isinstance(n, int) for n in self.shape)

    def of_any_shape(self) -> TensorSpec:
        """The same without its shape."""
        return msgspec.structs.replace(self, shape=(), is_ranked=False)

    def __str__(self) -> str:
        if not self.is_ranked:
            return f"{self.name}: {self.dtype} of any shape"
        axes = ", ".join("?" if n is None else str(n) for n in self.shape)
        return f"{self.name}: {self.dtype} ({axes})"


class ModelFacts(msgspec.Struct, frozen=True):
    """What a model file says about itself, for recognition.

    inputs, outputs: in the model's own order. metadata: the file's own key-value pairs.
    image_wh: width and height of the image input, pixels, or None where they are dynamic.
    operators: types of the graph's operators; empty where they are not known.
    ends: for each output the type of the operator that makes its values: one that only moves or renames them,
    as Reshape does, is passed over.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    metadata: Mapping[str, str] = msgspec.field(default_factory=dict)
    image_wh: tuple[int, int] | None = None
    operators: frozenset[str] = frozenset()
    ends: Mapping[str, str] = msgspec.field(default_factory=dict)


class FrameTransform(msgspec.Struct, frozen=True):
    """Where a frame lies in the blob that was made of it, and the exact way back.

    In pixel-edge coordinates, for each axis: blob = frame * resized / frame_size + offset.

    frame_wh: size of the frame, pixels.
    blob_wh: size of the blob, pixels.
    resized_wh: size of the whole frame after the resize, pixels.
    offset_xy: where the resized frame's left top corner lies in the blob, pixels; negative for a crop.
    """

    frame_wh: tuple[int, int]
    blob_wh: tuple[int, int]
    resized_wh: tuple[int, int]
    offset_xy: tuple[int, int]

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Resized over original size, per axis."""
        return (
            self.resized_wh[0] / self.frame_wh[0],
            self.resized_wh[1] / self.frame_wh[1],
        )

    def points_to_frame(self, points: FloatArray) -> FloatArray:
        """points: float32 (..., 2), blob pixels. Returns float32 (..., 2), frame pixels, not clipped."""
        offset = np.array(self.offset_xy, np.float64)
        with np.errstate(over="ignore"):
            mapped: FloatArray = ((points - offset) / np.array(self.scale_xy)).astype(np.float32)
        return mapped

    def keypoints_to_frame(self, keypoints: FloatArray) -> FloatArray:
        """keypoints: float32 (..., 3), blob pixels and confidence. Returns the same in frame pixels."""
        mapped = np.array(keypoints, np.float32)
        mapped[..., :2] = self.points_to_frame(keypoints[..., :2])
        return mapped

    def xywhr_to_frame(self, xywhr: FloatArray) -> FloatArray:
        """xywhr: float32 (n, 5) as `Candidates` has them, blob pixels. Returns float32 (n, 5), frame pixels.

        A resize that stretches makes a parallelogram of an oriented box: what is returned has its center, its
        area and the direction and length of its width.
        """
        x, y = self.scale_xy
        angle, width, height = xywhr[:, 4].astype(np.float64), xywhr[:, 2], xywhr[:, 3]
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            along = np.stack([np.cos(angle) / x, np.sin(angle) / y])
            growth = np.hypot(*along)
            sizes = [width * growth, height / (growth * x * y), np.arctan2(along[1], along[0])]
            mapped = np.column_stack([self.points_to_frame(xywhr[:, :2]), *sizes])
        return mapped.astype(np.float32)

    def points_to_blob(self, points: FloatArray) -> FloatArray:
        """points: float32 (..., 2), frame pixels. Returns float32 (..., 2), blob pixels."""
        offset = np.array(self.offset_xy, np.float64)
        mapped: FloatArray = (points * np.array(self.scale_xy) + offset).astype(np.float32)
        return mapped

    def boxes_to_frame(self, xyxy: FloatArray, *, clip: bool = True) -> FloatArray:
        """xyxy: float32 (n, 4), blob pixels. Returns float32 (n, 4), frame pixels, clipped to the frame."""
        boxes = self.points_to_frame(xyxy.reshape(-1, 2, 2))
        if clip:
            np.clip(boxes, 0, np.array(self.frame_wh, np.float32), out=boxes)
        return boxes.reshape(-1, 4)

    def boxes_to_blob(self, xyxy: FloatArray) -> FloatArray:
        """xyxy: float32 (n, 4), frame pixels. Returns float32 (n, 4), blob pixels."""
        return self.points_to_blob(xyxy.reshape(-1, 2, 2)).reshape(-1, 4)


class MaskSource(Protocol):
    """What the masks of candidates are made of, once it is known which of them stay."""

    def __getitem__(self, keep: NDArray[np.intp], /) -> MaskSource:
        """Of the candidates at these indices."""
        ...

    def to_frame(self, xyxy: FloatArray, transform: FrameTransform) -> Masks:
        """Masks of all candidates. xyxy: float32 (n, 4), their boxes in frame pixels, not clipped to it."""
        ...


class Candidates(msgspec.Struct, frozen=True):
    """What a head reads from the raw outputs of one image, before NMS.

    xyxy: float32 (n, 4), blob pixels; not clipped, and possibly degenerate.
    confidence: float32 (n,), 0 to 1.
    class_id: int32 (n,).
    needs_nms: False where the network has already suppressed duplicates.
    keypoints: float32 (n, k, 3), blob pixels and confidence, or None; 1 where the network tells none.
    xywhr: float32 (n, 5), center, width and height in blob pixels, and the angle from the x axis to the
    width, radians, growing from x to y; `xyxy` are the boxes around them. Or None.
    masks: what they are made of, or None.
    """

    xyxy: FloatArray
    confidence: FloatArray
    class_id: IntArray
    keypoints: FloatArray | None = None
    needs_nms: bool = True
    xywhr: FloatArray | None = None
    masks: MaskSource | None = None

    def __len__(self) -> int:
        return len(self.confidence)

    def take(self, keep: NDArray[np.intp]) -> Candidates:
        """The candidates at these indices."""
        columns = ("xyxy", "confidence", "class_id", "keypoints", "xywhr", "masks")
        picked = {name: getattr(self, name)[keep] for name in columns if getattr(self, name) is not None}
        return msgspec.structs.replace(self, **picked)


class Timing(msgspec.Struct, frozen=True):
    """Milliseconds that each stage of one frame took, on the monotonic clock, in the order of the stages.

    stages: (name, ms); of one network preprocess, inference, postprocess. In a batch every frame carries its
    share: the batch's time over the number of its frames.
    """

    stages: tuple[tuple[str, float], ...]

    @property
    def total_ms(self) -> float:
        """All stages."""
        return sum(ms for _, ms in self.stages)

    def __getitem__(self, stage: str) -> float:
        for name, ms in self.stages:
            if name == stage:
                return ms
        raise KeyError(f"{stage!r}: expected one of the stages {', '.join(name for name, _ in self.stages)}")

    def __getattr__(self, name: str) -> float:
        """`timing.inference_ms`, which is `timing["inference"]`."""
        stage, _, unit = name.rpartition("_")
        if unit == "ms" and stage in dict(self.stages):
            return self[stage]
        raise AttributeError(f"'Timing' has no attribute {name!r}")

    def as_dict(self) -> dict[str, float]:
        """Stage -> ms, in order."""
        return {name: round(ms, 4) for name, ms in self.stages}

    def __str__(self) -> str:
        return ", ".join(f"{name} {ms:.2f} ms" for name, ms in self.stages)


class Placement(msgspec.Struct, frozen=True):
    """What runs where, at which precision: read back from the backend, not repeated from the request.

    backend: its name. version: of the library behind it. device: "cpu" or "cuda:0". stored: what most
    weights of the network's file are, "fp32", "fp16", "bf16" or "int8". precision: what most of them are
    multiplied in. threads: those that one run uses, the caller included; 0 where the device does not count in
    threads. engine: the part of the backend that executes (execution provider, DNN engine and target).
    fallbacks: the backends that were asked for first, each with the reason why it does not run; empty when
    the first choice runs. tail: what of the network's file edgecv does in its place, in words, or "". check:
    of a library of others, "checked against" another backend or "unchecked" and why; else "".
    """

    backend: str
    version: str
    device: str
    stored: str
    precision: str
    threads: int
    engine: str
    fallbacks: tuple[tuple[str, str], ...] = ()
    tail: str = ""
    check: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain types, for JSON; `tail` and `check` where there is one."""
        return {
            "backend": self.backend,
            "version": self.version,
            "device": self.device,
            "stored": self.stored,
            "precision": self.precision,
            "threads": self.threads,
            "engine": self.engine,
            "fallbacks": [{"backend": name, "reason": why} for name, why in self.fallbacks],
            **({"tail": self.tail} if self.tail else {}),
            **({"check": self.check} if self.check else {}),
        }

    def __str__(self) -> str:
        threads = f", {self.threads} thread{'s' if self.threads != 1 else ''}" if self.threads else ""
        stored = "" if self.stored == self.precision else f" (stored {self.stored})"
        where = f"{self.backend} {self.version} ({self.engine}) on {self.device}"
        text = f"{where}, {self.precision}{stored}{threads}"
        for why, names in by_reason(self.fallbacks).items():
            text += f"; fell back from {', '.join(names)}: {why}"
        return "; ".join(filter(None, (text, self.check, self.tail)))


class Memory(msgspec.Struct, frozen=True):
    """Bytes that a session holds: weights, and the arena of intermediate tensors.

    None where the backend does not tell.
    """

    weights: int | None
    arena: int | None

    @classmethod
    def sum(cls, parts: Iterable[Memory]) -> Memory:
        """Of several sessions together; None where one of them does not tell."""
        weights, arenas = zip(*((part.weights, part.arena) for part in parts), strict=True)
        return cls(_sum(weights), _sum(arenas))


class Seen(msgspec.Struct, frozen=True):
    """How a result came to be: how long each stage took, what ran where, and how old its picture is.

    age_ms: from the frame's capture to the end of the last stage, or None when capture is unknown.
    """

    timing: Timing
    placement: Placement
    age_ms: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return {
            "timing_ms": self.timing.as_dict(),
            "age_ms": None if self.age_ms is None else round(self.age_ms, 3),
            "placement": self.placement.as_dict(),
        }


class Result(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """What every pipeline makes of a frame. names: class names, by class_id. seen: None where no model
    ran.
    """

    names: tuple[str, ...] = ()
    seen: Seen | None = None

    @property
    def timing(self) -> Timing | None:
        """How long each stage took."""
        return None if self.seen is None else self.seen.timing

    @property
    def placement(self) -> Placement | None:
        """What ran where."""
        return None if self.seen is None else self.seen.placement

    @property
    def age_ms(self) -> float | None:
        """From the frame's capture to the end of the last stage."""
        return None if self.seen is None else self.seen.age_ms

    def class_name(self, class_id: int) -> str:
        """The label of a class, or its number where the model has no label for it."""
        return self.names[class_id] if 0 <= class_id < len(self.names) else str(class_id)

    def as_dict(self) -> dict[str, Any]:
        """Plain types, for JSON: what was found, then how; `docs/schemas/` has the schema."""
        return {**self._found(), **(self.seen.as_dict() if self.seen is not None else {})}

    def _found(self) -> dict[str, Any]:
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        """Whether the same was found; how long it took and what ran does not count."""
        if type(other) is not type(self):
            return NotImplemented
        fields = (name for name in self.__struct_fields__ if name != "seen")
        return all(_equal(getattr(self, name), getattr(other, name)) for name in fields)

    __hash__ = None  # type: ignore[assignment]


R = TypeVar("R", bound=Result)


_COLUMNS = ("xyxy", "confidence", "class_id", "keypoints", "masks", "tracker_id", "xywhr")


class Detections(Result, frozen=True, eq=False):
    """Objects found in one frame, best first. An index, a slice or a mask picks some of them.

    xyxy: float32 (n, 4), frame pixels, inside the frame.
    confidence: float32 (n,), 0 to 1, falling.
    class_id: int32 (n,).
    keypoints: float32 (n, k, 3), frame pixels and confidence, or None; 1 where the network gives none.
    masks: or None. tracker_id: int32 (n,) or None.
    xywhr: float32 (n, 5), of oriented boxes: center, width, height in frame pixels, and the angle from the
    x axis to the width, radians, growing from x to y; or None. They may reach out of the frame.
    """

    xyxy: FloatArray
    confidence: FloatArray
    class_id: IntArray
    keypoints: FloatArray | None = None
    masks: Masks | None = None
    tracker_id: IntArray | None = None
    xywhr: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.confidence)

    def __iter__(self) -> Iterator[tuple[FloatArray, float, int]]:
        """Yields (xyxy, confidence, class_id) of each object."""
        for box, confidence, class_id in zip(self.xyxy, self.confidence, self.class_id, strict=True):
            yield box, float(confidence), int(class_id)

    def __getitem__(self, keep: int | slice | NDArray[Any]) -> Detections:
        """The objects that an index, a slice, an index array or a boolean mask of length n picks."""
        if isinstance(keep, (int, np.integer)):
            keep = np.array([range(len(self))[keep]])
        return msgspec.structs.replace(
            self,
            **{name: column[keep] for name in _COLUMNS if (column := getattr(self, name)) is not None},
        )

    def _found(self) -> dict[str, Any]:
        objects: list[dict[str, Any]] = []
        for i, (box, confidence, class_id) in enumerate(self):
            found: dict[str, Any] = {
                "xyxy": [round(float(v), 2) for v in box],
                "confidence": round(confidence, 5),
                "class_id": class_id,
                "class_name": self.class_name(class_id),
            }
            if self.keypoints is not None:
                found["keypoints"] = [
                    [round(x, 2), round(y, 2), round(confidence, 5)]
                    for x, y, confidence in self.keypoints[i].tolist()
                ]
            if self.masks is not None:
                found["mask"] = [ring.tolist() for ring in self.masks.outline(i)]
            if self.xywhr is not None:
                *place, angle = self.xywhr[i].tolist()
                found["xywhr"] = [*(round(v, 2) for v in place), round(angle, 5)]
            if self.tracker_id is not None:
                found["tracker_id"] = int(self.tracker_id[i])
            objects.append(found)
        return {"detections": objects}

    def to_supervision(self) -> supervision.Detections:
        """The same as a `supervision.Detections`; needs the supervision package.

        Masks become bool (n, H, W) of the whole frame. data has "class_name", "keypoints" as they are here,
        and "xyxyxyxy", float32 (n, 4, 2), the corners of oriented boxes, under which supervision draws them.
        """
        try:
            import supervision
        except ImportError as error:
            from edgecv.errors import MissingExtraError

            raise MissingExtraError(
                "supervision is not installed; install it with: pip install supervision"
            ) from error
        data: dict[str, Any] = {
            "class_name": np.array([self.class_name(int(c)) for c in self.class_id], dtype=object)
        }
        if self.keypoints is not None:
            data["keypoints"] = self.keypoints
        if self.xywhr is not None:
            data["xyxyxyxy"] = corners(self.xywhr)
        return supervision.Detections(
            xyxy=self.xyxy,
            confidence=self.confidence,
            class_id=self.class_id.astype(int),
            mask=None if self.masks is None else self.masks.whole(),
            tracker_id=self.tracker_id,
            data=data,
        )


class Classification(Result, frozen=True, eq=False):
    """What one frame shows as a whole: its likeliest classes, best first.

    class_id: int32 (k,). confidence: float32 (k,), 0 to 1, falling; of equal ones the lower id is first.
    """

    class_id: IntArray
    confidence: FloatArray

    def __len__(self) -> int:
        return len(self.confidence)

    def __iter__(self) -> Iterator[tuple[float, int]]:
        """Yields (confidence, class_id) of each class."""
        for confidence, class_id in zip(self.confidence, self.class_id, strict=True):
            yield float(confidence), int(class_id)

    def _found(self) -> dict[str, Any]:
        return {
            "classes": [
                {
                    "confidence": round(confidence, 5),
                    "class_id": class_id,
                    "class_name": self.class_name(class_id),
                }
                for confidence, class_id in self
            ]
        }


def by_reason(failures: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Each reason once, with the names of all that have it, in their order."""
    found: dict[str, list[str]] = {}
    for name, why in failures:
        found.setdefault(why, []).append(name)
    return found


def corners(xywhr: FloatArray) -> FloatArray:
    """The corners of oriented boxes, float32 (n, 4, 2), in turn; xywhr: float32 (n, 5) as in `Detections`."""
    with np.errstate(invalid="ignore", over="ignore"):
        x, y, width, height, angle = xywhr.astype(np.float64).T[..., None]
        along, across = width / 2 * [-1, 1, 1, -1], height / 2 * [-1, -1, 1, 1]
        cosine, sine = np.cos(angle), np.sin(angle)
        places = [x + along * cosine - across * sine, y + along * sine + across * cosine]
        return np.stack(places, axis=-1).astype(np.float32)


def _equal(a: Any, b: Any) -> bool:
    """Whether two columns, or their absences, are alike."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.shape == b.shape and a.dtype == b.dtype and bool((a == b).all())
    return not isinstance(a, np.ndarray) and not isinstance(b, np.ndarray) and bool(a == b)


def _sum(sizes: tuple[int | None, ...]) -> int | None:
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None
