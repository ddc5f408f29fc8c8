"""From a loaded detector and a dataset to COCO's figures."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgecv import loop
from edgecv.errors import DatasetError, HeadError, MediaError
from edgecv.evaluate.classes import ClassMap, map_classes
from edgecv.evaluate.dataset import Annotations, Dataset, ImageEntry
from edgecv.evaluate.judges import Judges
from edgecv.evaluate.report import ClassResult, EvalReport, ImageFailure, Thresholds
from edgecv.evaluate.scoring import load_scorer, score
from edgecv.frame import Pixels
from edgecv.media import Failure, Frame, Item, Picture, Source, read_image
from edgecv.types import Detections

# The settings that the detector is loaded with, so that figures compare with published ones.
SETTINGS: dict[str, Any] = {"conf": 0.01, "iou": 0.6, "max_det": 100, "multi_label": True}
MAX_DETECTIONS = 100

Progress = loop.Progress


class Detector(Protocol):
    """What is evaluated. names: by class index, empty when the model has none."""

    @property
    def names(self) -> tuple[str, ...]: ...

    def __call__(self, frame: Pixels, captured_ns: int | None = None) -> Detections: ...


class DatasetSource(Source):
    """The images of a dataset as frames; `index` is an image's place among them."""

    kind = "images"

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(str(dataset.source), length=len(dataset))
        self._dataset = dataset

    def _items(self) -> Iterator[Item]:
        for index, image in enumerate(self._dataset.images):
            try:
                picture = self._read(image)
            except MediaError as error:
                yield Failure(str(image.path), index, error)
            else:
                yield Frame(picture, str(image.path), index, captured_ns=time.monotonic_ns())

    def _read(self, image: ImageEntry) -> Picture:
        picture = read_image(image.path)
        height, width = picture.shape[:2]
        if (image.width or width, image.height or height) != (width, height):
            raise MediaError(
                f"{image.path}: expected {image.width} x {image.height} pixels, as {self.name} "
                f"states, got {width} x {height}"
            )
        return picture


class _Collector:
    """What is collected over the images: sizes and rows for the scorer by image, and failures."""

    is_done = False

    def __init__(self, dataset: Dataset, classes: ClassMap) -> None:
        self._images, self._classes = dataset.images, classes
        self.sizes_wh: dict[int, tuple[int, int]] = {}
        self.detections: list[NDArray[np.float64]] = []
        self.failures: list[ImageFailure] = []
        self.judges = Judges(dataset)

    def result(self, frame: Frame, found: Detections) -> None:
        """One image's detections."""
        image = self._images[frame.index]
        self.sizes_wh[image.id] = frame.size_wh
        keep = _best(found, self._classes)
        rows = _rows(found, keep, image.id, frame.size_wh, self._classes)
        self.detections.append(rows)
        self.judges.add(found, keep, rows)

    def failure(self, failure: Failure) -> None:
        """One image that cannot count."""
        image = self._images[failure.index]
        self.failures.append(ImageFailure(image_id=image.id, path=str(image.path), error=str(failure.error)))


def evaluate(detector: Detector, dataset: Dataset, *, progress: Progress | None = None) -> EvalReport:
    """Run a detector over a dataset and score it as COCO does: its boxes, and its masks and keypoints
    where the dataset has them too.

    detector: loaded with `SETTINGS`. Its boxes are clipped to the image, and the 100 most confident
    of each image count. An image that cannot be read, or is not of the size that the dataset states,
    becomes a failure of the report and is left out of the figures, its objects too. progress: called
    with the images done and all.

    Raises DatasetError for classes that do not fit and when no image at all could be read, and
    MissingExtraError without hotcoco; both before the first inference.
    """
    load_scorer()
    classes = map_classes(detector.names, dataset, getattr(detector, "class_count", None))
    collected = _Collector(dataset, classes)
    started = time.perf_counter()
    tally = loop.run(detector, DatasetSource(dataset), [collected], progress=progress)
    seconds = time.perf_counter() - started
    if not collected.sizes_wh:
        raise DatasetError(
            f"{dataset.source}: none of its {len(dataset)} images can be evaluated; "
            f"the first: {collected.failures[0].error}"
        )
    return _report(detector, dataset, classes, collected, tally.means_ms, seconds)


def _best(found: Detections, classes: ClassMap) -> NDArray[np.intp]:
    """Which of one image's detections count, best first."""
    known = len(classes.category_id)
    if len(found) and not 0 <= found.class_id.min() <= found.class_id.max() < known:
        raise HeadError(
            f"classes: expected detections of class 0 to {known - 1}, got {found.class_id.min()} to "
            f"{found.class_id.max()}: the model has more classes than names"
        )
    category_id = classes.category_id[found.class_id]
    best = np.argsort(-found.confidence, kind="stable")
    return best[category_id[best] >= 0][:MAX_DETECTIONS]


def _rows(
    found: Detections,
    keep: NDArray[np.intp],
    image_id: int,
    size_wh: tuple[int, int],
    classes: ClassMap,
) -> NDArray[np.float64]:
    """One image's best detections as rows for `score`."""
    xyxy = found.xyxy[keep].astype(np.float64)
    np.clip(xyxy, 0, [*size_wh, *size_wh], out=xyxy)
    rows = np.empty((len(keep), 7))
    rows[:, 0] = image_id
    rows[:, 1:3] = xyxy[:, :2]
    rows[:, 3:5] = xyxy[:, 2:] - xyxy[:, :2]
    rows[:, 5] = found.confidence[keep]
    rows[:, 6] = classes.category_id[found.class_id[keep]]
    return rows


def _objects(
    dataset: Dataset, classes: ClassMap, sizes_wh: dict[int, tuple[int, int]]
) -> tuple[Annotations, NDArray[np.intp]]:
    """The objects that count, in pixels: of the images that were read and the categories compared. Their
    indices in the dataset's annotations.
    """
    every = dataset.annotations
    keep = np.isin(every.image_id, list(sizes_wh))
    keep &= np.isin(every.category_id, [category.id for category in classes.categories])
    kept = every.take(keep)
    if dataset.units == "fractions":
        sides = np.array([sizes_wh[number] * 2 for number in kept.image_id.tolist()], np.float64)
        kept = replace(kept, xywh=kept.xywh * sides.reshape(-1, 4))
    if kept.area is None:
        kept = replace(kept, area=kept.xywh[:, 2] * kept.xywh[:, 3])
    return kept, np.flatnonzero(keep)


def _report(
    detector: Detector,
    dataset: Dataset,
    classes: ClassMap,
    collected: _Collector,
    timing_ms: dict[str, float],
    seconds: float,
) -> EvalReport:
    objects, index = _objects(dataset, classes, collected.sizes_wh)
    rows = np.concatenate(collected.detections)
    scores = score(list(collected.sizes_wh), classes.categories, objects, rows)
    counted = objects.category_id[~objects.is_crowd]
    placement = getattr(detector, "placement", None)
    return EvalReport(
        dataset=str(dataset.source),
        format=dataset.format,
        images=len(collected.sizes_wh),
        objects=len(counted),
        seconds=seconds,
        **scores.figures,
        per_class=tuple(
            ClassResult(
                id=category.id,
                name=category.name,
                objects=int(np.count_nonzero(counted == category.id)),
                AP=figures.AP,
                AP50=figures.AP50,
                AR100=figures.AR100,
            )
            for category, figures in zip(classes.categories, scores.per_class, strict=True)
        ),
        curves=scores.curves,
        thresholds=_thresholds(detector),
        class_mapping=classes.basis,
        ignored_classes=tuple(
            name for name, number in zip(detector.names, classes.category_id, strict=False) if number < 0
        ),
        placement=None if placement is None else placement.as_dict(),
        timing_ms=timing_ms or None,
        scorer=scores.scorer,
        failures=tuple(collected.failures),
        **collected.judges.figures(collected.sizes_wh, classes.categories, objects, index),
        not_scored=tuple(collected.judges.not_scored),
    )


def _thresholds(detector: Detector) -> Thresholds:
    settings = getattr(detector, "settings", None)
    conf = getattr(settings, "conf", None)
    return Thresholds(
        conf=list(conf) if isinstance(conf, tuple) else conf,
        iou=getattr(settings, "iou", None),
        max_det=getattr(settings, "max_det", None),
        multi_label=getattr(settings, "multi_label", None),
    )
