"""The values that travel between the rooms of edgecv: frozen, and made of numpy only.

Coordinates are pixel edges: a frame of width W spans x from 0 to W, and the centre of its first
pixel is at 0.5. Boxes are xyxy: left, top, right, bottom.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from edgecv.records import frozen

if TYPE_CHECKING:
    import supervision
    from numpy.typing import NDArray

# Text, since numpy.typing is long to import for what annotations alone use.
FloatArray: TypeAlias = "NDArray[np.float32]"
IntArray: TypeAlias = "NDArray[np.int32]"


@frozen
class TensorSpec:
    """Name, dtype and shape of a model's input or output.

    shape: one entry an axis; an int, the symbol of a dynamic axis, or None where even that is unknown.
    """

    name: str
    dtype: np.dtype
    shape: tuple[int | str | None, ...]

    @property
    def is_static(self) -> bool:
        """Whether every axis has a fixed size."""
        return all(isinstance(n, int) for n in self.shape)

    def __str__(self) -> str:
        axes = ", ".join("?" if n is None else str(n) for n in self.shape)
        return f"{self.name}: {self.dtype} ({axes})"


@frozen
class ModelFacts:
    """What a model file says about itself, for recognition.

    inputs, outputs: in the model's own order. metadata: the file's own key-value pairs.
    image_wh: width and height of the image input, pixels, or None where they are dynamic.
    operators: types of the graph's operators; empty where they are not known.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    image_wh: tuple[int, int] | None = None
    operators: frozenset[str] = frozenset()


@frozen
class FrameTransform:
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


@frozen
class Candidates:
    """What a head reads from the raw outputs of one image, before NMS.

    xyxy: float32 (n, 4), blob pixels; not clipped, and possibly degenerate.
    confidence: float32 (n,), 0 to 1.
    class_id: int32 (n,).
    keypoints: float32 (n, k, 2), blob pixels, or None.
    needs_nms: False where the network has already suppressed duplicates.
    """

    xyxy: FloatArray
    confidence: FloatArray
    class_id: IntArray
    keypoints: FloatArray | None = None
    needs_nms: bool = True

    def __len__(self) -> int:
        return len(self.confidence)


@frozen
class Timing:
    """Milliseconds that each stage of one frame took, on the monotonic clock.

    In a batch every frame carries its share: the batch's time over the number of its frames.
    """

    preprocess_ms: float
    inference_ms: float
    postprocess_ms: float

    @property
    def total_ms(self) -> float:
        """All three stages."""
        return self.preprocess_ms + self.inference_ms + self.postprocess_ms


@frozen
class Placement:
    """What runs where, at which precision: read back from the backend, not repeated from the request.

    backend: its name. version: of the library behind it. device: as asked for, "cpu" or "cuda:0".
    precision: "fp32", "fp16" or "int8". threads: those that one run uses, the caller included; 0
    where the device does not count in threads. engine: the part of the backend that executes
    (execution provider, DNN engine and target). fallbacks: the backends that were asked for first,
    each with the reason why it does not run; empty when the first choice runs.
    """

    backend: str
    version: str
    device: str
    precision: str
    threads: int
    engine: str
    fallbacks: tuple[tuple[str, str], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return {
            "backend": self.backend,
            "version": self.version,
            "device": self.device,
            "precision": self.precision,
            "threads": self.threads,
            "engine": self.engine,
            "fallbacks": [{"backend": name, "reason": why} for name, why in self.fallbacks],
        }

    def __str__(self) -> str:
        threads = f", {self.threads} thread{'s' if self.threads != 1 else ''}" if self.threads else ""
        text = f"{self.backend} {self.version} ({self.engine}) on {self.device}, {self.precision}{threads}"
        for name, why in self.fallbacks:
            text += f"; fell back from {name}: {why}"
        return text


@frozen
class Memory:
    """Bytes that a session holds: weights, and the arena of intermediate tensors.

    None where the backend does not tell.
    """

    weights: int | None
    arena: int | None


@frozen
class Detections:
    """Objects found in one frame, best first.

    xyxy: float32 (n, 4), frame pixels, inside the frame.
    confidence: float32 (n,), 0 to 1, falling.
    class_id: int32 (n,).
    names: class names, by class_id.
    keypoints: float32 (n, k, 2), frame pixels, or None. masks: bool (n, H, W) or None.
    tracker_id: int32 (n,) or None.
    timing, placement: how long it took and what ran; None for detections that no model made.
    age_ms: from the frame's capture to the end of postprocessing, or None when capture is unknown.
    """

    xyxy: FloatArray
    confidence: FloatArray
    class_id: IntArray
    names: tuple[str, ...] = ()
    keypoints: FloatArray | None = None
    masks: NDArray[np.bool_] | None = None
    tracker_id: IntArray | None = None
    timing: Timing | None = None
    placement: Placement | None = None
    age_ms: float | None = None

    def __len__(self) -> int:
        return len(self.confidence)

    def __iter__(self) -> Iterator[tuple[FloatArray, float, int]]:
        """Yields (xyxy, confidence, class_id) of each object."""
        for box, confidence, class_id in zip(self.xyxy, self.confidence, self.class_id, strict=True):
            yield box, float(confidence), int(class_id)

    def class_name(self, class_id: int) -> str:
        """The label of a class, or its number where the model has no label for it."""
        return class_name(self.names, class_id)

    def select(self, keep: NDArray[Any]) -> Detections:
        """The objects that an index array or a boolean mask of length n picks, in its order."""
        return replace(
            self,
            xyxy=self.xyxy[keep],
            confidence=self.confidence[keep],
            class_id=self.class_id[keep],
            keypoints=None if self.keypoints is None else self.keypoints[keep],
            masks=None if self.masks is None else self.masks[keep],
            tracker_id=None if self.tracker_id is None else self.tracker_id[keep],
        )

    def to_supervision(self) -> supervision.Detections:
        """The same as a `supervision.Detections`; needs the supervision package."""
        try:
            import supervision
        except ImportError as error:
            from edgecv.errors import MissingExtraError

            raise MissingExtraError(
                "supervision is not installed; install it with: pip install supervision"
            ) from error
        names = np.array([self.class_name(int(c)) for c in self.class_id], dtype=object)
        return supervision.Detections(
            xyxy=self.xyxy,
            confidence=self.confidence,
            class_id=self.class_id.astype(int),
            mask=self.masks,
            tracker_id=self.tracker_id,
            data={"class_name": names},
        )


@frozen
class Classification:
    """What one frame shows as a whole: its likeliest classes, best first.

    class_id: int32 (k,). confidence: float32 (k,), 0 to 1, falling; of equal ones the lower id is first.
    names: class names, by class_id.
    timing, placement: how long it took and what ran; None for a result that no model made.
    age_ms: from the frame's capture to the end of postprocessing, or None when capture is unknown.
    """

    class_id: IntArray
    confidence: FloatArray
    names: tuple[str, ...] = ()
    timing: Timing | None = None
    placement: Placement | None = None
    age_ms: float | None = None

    def __len__(self) -> int:
        return len(self.confidence)

    def __iter__(self) -> Iterator[tuple[float, int]]:
        """Yields (confidence, class_id) of each class."""
        for confidence, class_id in zip(self.confidence, self.class_id, strict=True):
            yield float(confidence), int(class_id)

    def class_name(self, class_id: int) -> str:
        """The label of a class, or its number where the model has no label for it."""
        return class_name(self.names, class_id)


def class_name(names: tuple[str, ...], class_id: int) -> str:
    """The label of a class, or its number where there is no label for it."""
    return names[class_id] if 0 <= class_id < len(names) else str(class_id)
