"""Judges of what detections have beside boxes: masks and keypoints, against a data set that has them too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecv.errors import DatasetError
from edgecv.evaluate.dataset import Annotations, Category, Dataset
from edgecv.evaluate.report import KeypointFigures, MaskFigures
from edgecv.evaluate.scoring import load_scorer, score_keypoints, score_masks
from edgecv.evaluate.shapes import has_any, read_keypoints, read_outlines
from edgecv.types import Detections

# Of an image and category, as COCO counts keypoints.
MAX_PERSONS = 20


class Judges:
    """The judges of what both the detections and the data set have; which these are shows with the first
    image. Raises DatasetError for entries of the data set that are wrong, when they are first needed.

    not_scored: what the detections have and no judge looks at, each with the reason.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._judges: dict[str, MaskJudge | KeypointJudge | None] = {}
        self.not_scored: list[str] = []

    def add(self, found: Detections, keep: NDArray[np.intp], rows: NDArray[np.float64]) -> None:
        """The detections of one image that count, as rows of `scoring.score`."""
        for kind in (MaskJudge, KeypointJudge):
            if getattr(found, kind.NAME) is None:
                continue
            if kind.NAME not in self._judges:
                self._judges[kind.NAME] = self._open(kind, found)
            judge = self._judges[kind.NAME]
            if judge is not None:
                judge.add(found, keep, rows)

    def figures(
        self,
        sizes_wh: dict[int, tuple[int, int]],
        categories: Sequence[Category],
        objects: Annotations,
        index: NDArray[np.intp],
    ) -> dict[str, Any]:
        """By name what each judge found. index: of these objects in the data set's annotations."""
        return {
            name: judge.figures(sizes_wh, categories, objects, index)
            for name, judge in self._judges.items()
            if judge is not None
        }

    def _open(
        self, kind: type[MaskJudge | KeypointJudge], found: Detections
    ) -> MaskJudge | KeypointJudge | None:
        if not has_any(getattr(self._dataset.annotations, kind.ENTRY)):
            self.not_scored.append(f"{kind.NAME}: the dataset has no {kind.ENTRY}")
            return None
        judge = kind(self._dataset)
        refusal = judge.refuses(found)
        if refusal:
            self.not_scored.append(f"{kind.NAME}: {refusal}")
        return None if refusal else judge


class MaskJudge:
    """Masks against COCO's segmentations."""

    NAME = "masks"
    ENTRY = "segmentation"

    def __init__(self, dataset: Dataset) -> None:
        self._outlines = read_outlines(dataset)
        self._source = dataset.source
        self._rows: list[NDArray[np.float64]] = []
        self._masks: list[dict[str, Any]] = []

    def refuses(self, found: Detections) -> str:
        """Why these detections cannot be judged; empty where they can."""
        return ""

    def add(self, found: Detections, keep: NDArray[np.intp], rows: NDArray[np.float64]) -> None:
        """One image's."""
        assert found.masks is not None
        width, height = found.masks.frame_wh
        pack = load_scorer().mask.fr_py_objects
        self._masks += [
            pack({"size": [height, width], "counts": found.masks.rle(i)}, height, width)
            for i in keep.tolist()
        ]
        self._rows.append(rows)

    def figures(
        self,
        sizes_wh: dict[int, tuple[int, int]],
        categories: Sequence[Category],
        objects: Annotations,
        index: NDArray[np.intp],
    ) -> MaskFigures:
        """COCO's figures over the objects that have an outline."""
        outlines = [self._outlines[i] for i in index.tolist()]
        for outline, image_id in zip(outlines, objects.image_id.tolist(), strict=True):
            if isinstance(outline, dict) and tuple(outline["size"][::-1]) != sizes_wh[image_id]:
                raise DatasetError(
                    f"{self._source}: expected segmentations of image {image_id} of "
                    f"{list(sizes_wh[image_id])} pixels, as it is, got {outline['size'][::-1]}"
                )
        has_outline = np.array([outline is not None for outline in outlines], np.bool_)
        figures = score_masks(
            sizes_wh,
            categories,
            objects.take(has_outline),
            [outline for outline in outlines if outline is not None],
            np.concatenate(self._rows),
            self._masks,
        )
        counted = int(np.count_nonzero(has_outline & ~objects.is_crowd))
        return MaskFigures(objects=counted, **figures)


class KeypointJudge:
    """Keypoints against COCO's, by object keypoint similarity."""

    NAME = "keypoints"
    ENTRY = "keypoints"

    def __init__(self, dataset: Dataset) -> None:
        self._truth = read_keypoints(dataset)
        self._found: list[dict[str, Any]] = []

    def refuses(self, found: Detections) -> str:
        """Why these detections cannot be judged; empty where they can."""
        assert found.keypoints is not None
        told, wanted = found.keypoints.shape[1], self._truth.shape[1]
        return "" if told == wanted else f"the model tells {told} of each object, the dataset {wanted}"

    def add(self, found: Detections, keep: NDArray[np.intp], rows: NDArray[np.float64]) -> None:
        """One image's, the best of each category."""
        assert found.keypoints is not None
        for category_id in np.unique(rows[:, 6]).tolist():
            of_category = np.flatnonzero(rows[:, 6] == category_id)[:MAX_PERSONS]
            self._found += [
                {
                    "image_id": int(rows[i, 0]),
                    "category_id": int(category_id),
                    "score": float(rows[i, 5]),
                    "keypoints": np.nan_to_num(found.keypoints[keep[i]].astype(np.float64)).ravel().tolist(),
                }
                for i in of_category.tolist()
            ]

    def figures(
        self,
        sizes_wh: dict[int, tuple[int, int]],
        categories: Sequence[Category],
        objects: Annotations,
        index: NDArray[np.intp],
    ) -> KeypointFigures:
        """COCO's figures over the categories that have keypoints. Objects without a labeled one count neither
        as missed nor what is found at their place as wrong.
        """
        truth = self._truth[index]
        is_labeled = (truth[..., 2] > 0).any(axis=1)
        of_these = np.unique(objects.category_id[is_labeled])
        concerned = np.isin(objects.category_id, of_these)
        figures, sigmas = score_keypoints(
            list(sizes_wh),
            [category for category in categories if category.id in of_these],
            objects.take(concerned),
            truth[concerned],
            [found for found in self._found if found["category_id"] in of_these],
        )
        counted = int(np.count_nonzero(is_labeled & ~objects.is_crowd))
        return KeypointFigures(objects=counted, points=truth.shape[1], sigmas=sigmas, **figures)
