"""COCO's figures from columns of objects and detections; the matching itself is hotcoco's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from edgecv import extras
from edgecv.evaluate.dataset import Annotations, Category
from edgecv.evaluate.report import Curve

# Positions in hotcoco's result arrays: area ranges all, small, medium, large; detections 1, 10, 100.
ALL, SMALL, MEDIUM, LARGE = range(4)
ONE, TEN, HUNDRED = range(3)
AT_50, AT_75 = 0, 5

MAX_CURVES = 10
COCO_POINTS = 17


@dataclass(frozen=True)
class ClassScore:
    """Figures of one category, None where it has no object."""

    AP: float | None
    AP50: float | None
    AR100: float | None


class Figures(TypedDict):
    """COCO's twelve figures of boxes and of masks, as `EvalReport` explains them."""

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


class KeypointScores(TypedDict):
    """COCO's ten figures of keypoints, as `KeypointFigures` explains them."""

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


@dataclass(frozen=True)
class Scores:
    """Of all categories, and of each in their order. curves: as `EvalReport` explains them.

    scorer: what computed them, with its version.
    """

    figures: Figures
    per_class: tuple[ClassScore, ...]
    curves: tuple[Curve, ...]
    scorer: str


def load_scorer() -> ModuleType:
    """hotcoco, or MissingExtraError."""
    return extras.require("hotcoco", "eval")


def score(
    image_ids: Sequence[int],
    categories: Sequence[Category],
    objects: Annotations,
    detections: NDArray[np.float64],
) -> Scores:
    """COCO's figures.

    categories: rising by id. objects: in pixels, of these images and categories alone. detections:
    float64 (n, 7): image id, left, top, width, height, confidence, category id.
    """
    hotcoco = load_scorer()
    truth = hotcoco.COCO.from_arrays(
        [{"id": number} for number in image_ids],
        [{"id": category.id, "name": category.name} for category in categories],
        objects.image_id,
        objects.category_id,
        objects.xywh,
        area=objects.area,
        iscrowd=objects.is_crowd,
    )
    precision, recall = _run(hotcoco.COCOeval(truth, truth.load_res(detections), "bbox"))
    return Scores(
        figures=_figures(precision, recall),
        per_class=tuple(
            ClassScore(
                AP=_mean(precision[:, :, k, ALL, HUNDRED]),
                AP50=_mean(precision[AT_50, :, k, ALL, HUNDRED]),
                AR100=_mean(recall[:, k, ALL, HUNDRED]),
            )
            for k in range(len(categories))
        ),
        curves=tuple(_curves(precision[:, :, :, ALL, HUNDRED], categories)),
        scorer=f"hotcoco {hotcoco.__version__}",
    )


def score_masks(
    sizes_wh: Mapping[int, tuple[int, int]],
    categories: Sequence[Category],
    objects: Annotations,
    outlines: Sequence[Any],
    detections: NDArray[np.float64],
    masks: Sequence[dict[str, Any]],
) -> Figures:
    """COCO's figures of masks. sizes_wh: of each image, pixels. categories, objects, detections: as for
    `score`. outlines, masks: of each object and detection its `segmentation`, as COCO has it.
    """
    hotcoco = load_scorer()
    truth = hotcoco.COCO.from_arrays(
        [{"id": number, "width": width, "height": height} for number, (width, height) in sizes_wh.items()],
        [{"id": category.id, "name": category.name} for category in categories],
        objects.image_id,
        objects.category_id,
        objects.xywh,
        area=objects.area,
        iscrowd=objects.is_crowd,
        segmentation=list(outlines),
    )
    found = truth.load_res(detections, segmentation=list(masks))
    return _figures(*_run(hotcoco.COCOeval(truth, found, "segm")))


def score_keypoints(
    image_ids: Sequence[int],
    categories: Sequence[Category],
    objects: Annotations,
    keypoints: NDArray[np.float64],
    detections: Sequence[dict[str, Any]],
) -> tuple[KeypointScores, list[float]]:
    """COCO's figures of keypoints, and the sigma of each point that they were computed with.

    categories, objects: as for `score`. keypoints: float64 (n, k, 3), of each object x, y and visibility.
    detections: as COCO's results have them. Sigmas: those that COCO measured where k is 17; else 1 / k for
    every point.
    """
    hotcoco = load_scorer()
    assert objects.area is not None
    annotations = [
        {
            "id": i + 1,
            "image_id": image_id,
            "category_id": category_id,
            "bbox": xywh,
            "area": area,
            "iscrowd": int(is_crowd),
            "keypoints": points.ravel().tolist(),
            "num_keypoints": int(np.count_nonzero(points[:, 2] > 0)),
        }
        for i, (image_id, category_id, xywh, area, is_crowd, points) in enumerate(
            zip(
                objects.image_id.tolist(),
                objects.category_id.tolist(),
                objects.xywh.tolist(),
                objects.area.tolist(),
                objects.is_crowd.tolist(),
                keypoints,
                strict=True,
            )
        )
    ]
    truth = hotcoco.COCO(
        {
            "images": [{"id": number} for number in image_ids],
            "categories": [{"id": category.id, "name": category.name} for category in categories],
            "annotations": annotations,
        }
    )
    evaluation = hotcoco.COCOeval(truth, truth.load_res(list(detections)), "keypoints")
    points = keypoints.shape[1]
    if points != COCO_POINTS:
        evaluation.params.kpt_oks_sigmas = [1 / points] * points
    precision, recall = _run(evaluation)
    every, medium, large = range(3)
    return {
        "AP": _mean(precision[:, :, :, every]),
        "AP50": _mean(precision[AT_50, :, :, every]),
        "AP75": _mean(precision[AT_75, :, :, every]),
        "APm": _mean(precision[:, :, :, medium]),
        "APl": _mean(precision[:, :, :, large]),
        "AR": _mean(recall[:, :, every]),
        "AR50": _mean(recall[AT_50, :, every]),
        "AR75": _mean(recall[AT_75, :, every]),
        "ARm": _mean(recall[:, :, medium]),
        "ARl": _mean(recall[:, :, large]),
    }, list(evaluation.params.kpt_oks_sigmas)


def _run(evaluation: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Precision (IoU, recall, category, area, detections) and recall (IoU, category, area, detections)."""
    # Not run(): its summary is printed to stdout.
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation.eval["precision"], evaluation.eval["recall"]


def _figures(precision: NDArray[Any], recall: NDArray[Any]) -> Figures:
    return {
        "AP": _mean(precision[:, :, :, ALL, HUNDRED]),
        "AP50": _mean(precision[AT_50, :, :, ALL, HUNDRED]),
        "AP75": _mean(precision[AT_75, :, :, ALL, HUNDRED]),
        "APs": _mean(precision[:, :, :, SMALL, HUNDRED]),
        "APm": _mean(precision[:, :, :, MEDIUM, HUNDRED]),
        "APl": _mean(precision[:, :, :, LARGE, HUNDRED]),
        "AR1": _mean(recall[:, :, ALL, ONE]),
        "AR10": _mean(recall[:, :, ALL, TEN]),
        "AR100": _mean(recall[:, :, ALL, HUNDRED]),
        "ARs": _mean(recall[:, :, SMALL, HUNDRED]),
        "ARm": _mean(recall[:, :, MEDIUM, HUNDRED]),
        "ARl": _mean(recall[:, :, LARGE, HUNDRED]),
    }


def _curves(precision: NDArray[Any], categories: Sequence[Category]) -> Iterator[Curve]:
    """precision: (IoU, recall, category), -1 in the whole column of a category without objects."""
    present = np.flatnonzero((precision[AT_50] > -1).all(axis=0))
    if not present.size:
        return
    for iou, at in ((0.5, AT_50), (0.75, AT_75)):
        yield Curve(category=None, iou=iou, precision=tuple(precision[at][:, present].mean(axis=1).tolist()))
    if present.size <= MAX_CURVES:
        for k in present.tolist():
            yield Curve(
                category=categories[k].name, iou=0.5, precision=tuple(precision[AT_50, :, k].tolist())
            )


def _mean(values: NDArray[Any]) -> float | None:
    """Mean of what could be computed: -1 marks a category without objects."""
    computed = values[values > -1]
    return float(computed.mean()) if computed.size else None
