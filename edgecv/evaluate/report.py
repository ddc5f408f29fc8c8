"""The result of an evaluation: plain values, the same in Python and in JSON."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class _Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class ClassResult(_Struct, frozen=True, kw_only=True):
    """One category. objects: those annotated, without crowds. The rest as in `EvalReport`."""

    id: int
    name: str
    objects: int
    AP: float | None
    AP50: float | None
    AR100: float | None


class ImageFailure(_Struct, frozen=True, kw_only=True):
    """An image that was not evaluated, and why, in one line."""

    image_id: int
    path: str
    error: str


class Thresholds(_Struct, frozen=True, kw_only=True):
    """What counted as a detection, read back from the detector; None where it does not tell."""

    conf: float | list[float] | None
    iou: float | None
    max_det: int | None
    multi_label: bool | None


class Curve(_Struct, frozen=True, kw_only=True):
    """Precision at recall 0 to 1 in steps of 0.01: the best at that recall or a higher one, as COCO takes it.

    category: its name; None for the mean over categories that have objects. iou: of a match.
    """

    category: str | None
    iou: float
    precision: tuple[float, ...]


class MaskFigures(_Struct, frozen=True, kw_only=True):
    """COCO's twelve figures of masks, as those of boxes in `EvalReport`, by the IoU of pixels.

    objects: those with an outline, without crowds.
    """

    objects: int
    AP: float | None
    AP50: float | None
    AP75: float | None
    APs: float | None
    APm: float | None
    APl: float | None
    AR1: float | None
    AR10: float | None
    AR100: float | None
    ARs: float | None
    ARm: float | None
    ARl: float | None


class KeypointFigures(_Struct, frozen=True, kw_only=True):
    """COCO's ten figures of keypoints, by object keypoint similarity (OKS) in place of IoU.

    OKS is the mean over the labeled points of exp(-d² / (8 area sigma²)), d the distance in pixels and area
    the object's. AP, AP50, AP75, AR, AR50, AR75: mean over OKS 0.50 to 0.95, at 0.50, at 0.75, with 20
    detections a category and image; m, l: objects of 32² to 96² and over 96² pixels.

    objects: those with a labeled point, without crowds. points: of each object. sigmas: of each point; COCO's
    where there are 17, else 1 / points.
    """

    objects: int
    points: int
    sigmas: list[float]
    AP: float | None
    AP50: float | None
    AP75: float | None
    APm: float | None
    APl: float | None
    AR: float | None
    AR50: float | None
    AR75: float | None
    ARm: float | None
    ARl: float | None


class EvalReport(_Struct, frozen=True, kw_only=True):
    """COCO's twelve figures of boxes, 0 to 1, over the images that could be read.

    AP: mean over IoU 0.50 to 0.95 in steps of 0.05 and over categories; AP50, AP75 at one IoU; APs,
    APm, APl for objects under 32², under 96² and over 96² pixels. AR1, AR10, AR100: recall with so
    many detections a category and image; ARs, ARm, ARl at 100. None where there is no such object.

    images, objects: evaluated; objects without crowds. seconds: reading and detecting. class_mapping:
    how the model's classes were paired with the categories; ignored_classes: of the model, which
    the dataset lacks. curves: the means at IoU 0.50 and 0.75, and each category's at 0.50 where at
    most ten have objects; none without objects. scorer: what computed the figures, with its version.

    masks, keypoints: their figures where both the model and the dataset have them. not_scored: what the model
    has beside boxes and the dataset has not, each with the reason.
    """

    schema: int = 1
    dataset: str
    format: Literal["coco", "yolo"]
    images: int
    objects: int
    seconds: float
    AP: float | None
    AP50: float | None
    AP75: float | None
    APs: float | None
    APm: float | None
    APl: float | None
    AR1: float | None
    AR10: float | None
    AR100: float | None
    ARs: float | None
    ARm: float | None
    ARl: float | None
    per_class: tuple[ClassResult, ...]
    curves: tuple[Curve, ...]
    thresholds: Thresholds
    class_mapping: Literal["name", "order"]
    ignored_classes: tuple[str, ...]
    placement: dict[str, Any] | None
    timing_ms: dict[str, float] | None
    scorer: str
    failures: tuple[ImageFailure, ...]
    masks: MaskFigures | None = None
    keypoints: KeypointFigures | None = None
    not_scored: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 done; 1 when an image could not be evaluated."""
        return 1 if self.failures else 0

    def as_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain
