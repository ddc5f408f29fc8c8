"""Masks and keypoints: scored where both sides have them, by figures that one can count by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecv import evaluate
from edgecv.errors import DatasetError
from edgecv.evaluate.page import to_page
from edgecv.evaluate.shapes import _counts
from edgecv.masks import Masks
from edgecv.report import to_html
from edgecv.types import Detections

cv2 = pytest.importorskip("cv2")
pytest.importorskip("hotcoco")

WIDTH, HEIGHT = 64, 48
SIGMA_OF_NOSE = 0.026
AREA = 400.0


def square(left: float, top: float, size: float) -> list[float]:
    return [left, top, left + size, top, left + size, top + size, left, top + size]


def points(count: int, *labeled: tuple[int, float, float]) -> list[float]:
    """Keypoints of an annotation, of which these are labeled: number, x, y."""
    values = np.zeros((count, 3))
    for number, x, y in labeled:
        values[number] = x, y, 2
    return list(map(float, values.ravel()))


ONE: dict[str, Any] = {"image_id": 1, "category_id": 3, "bbox": [10, 10, 20, 20], "area": AREA}


def dataset(folder: Path, *annotations: dict[str, Any], names: tuple[str, ...] = ("person",)) -> Any:
    """One gray picture, and what is on it."""
    (folder / "images").mkdir(exist_ok=True)
    assert cv2.imwrite(str(folder / "images/a.png"), np.full((HEIGHT, WIDTH, 3), 9, np.uint8))
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}],
        "categories": [{"id": 3 + i, "name": name} for i, name in enumerate(names)],
        "annotations": annotations,
    }
    (folder / "instances.json").write_text(json.dumps(content))
    return evaluate.open_dataset(folder)


class Finds:
    """A detector that finds the same in every picture."""

    def __init__(self, names: tuple[str, ...] = ("person",), **columns: Any) -> None:
        self.names = names
        n = max(len(column) for column in columns.values())
        self.found = Detections(
            **{
                "xyxy": np.tile(np.array([[10, 10, 30, 30]], np.float32), (n, 1)),
                "confidence": np.linspace(0.9, 0.5, n, dtype=np.float32),
                "class_id": np.zeros(n, np.int32),
                "names": names,
                **columns,
            }
        )

    def __call__(self, frame: NDArray[np.uint8], captured_ns: int | None = None) -> Detections:
        return self.found


def mask_of(rows: int, more: int = 0) -> Masks:
    """In the square that is annotated, the first rows and some pixels of the next one."""
    crop = np.zeros((20, 20), bool)
    crop[:rows] = True
    crop[rows, :more] = True
    return Masks((crop,), np.array([[10, 10]], np.int32), (WIDTH, HEIGHT))


def runs_of(masks: Masks) -> dict[str, Any]:
    return {"size": [HEIGHT, WIDTH], "counts": masks.rle(0)}


OUTLINES = {
    "polygon": lambda: [square(10, 10, 20)],
    "two polygons": lambda: [[10, 10, 30, 10, 30, 20, 10, 20], [10, 20, 30, 20, 30, 30, 10, 30]],
    "run lengths": lambda: runs_of(mask_of(19, 20)),
    "packed run lengths": lambda: packed(runs_of(mask_of(19, 20))),
}


def packed(runs: dict[str, Any]) -> dict[str, Any]:
    mask = pytest.importorskip("pycocotools.mask")
    return {"size": runs["size"], "counts": mask.frPyObjects(runs, *runs["size"])["counts"].decode()}


@pytest.mark.parametrize("outline", OUTLINES.values(), ids=OUTLINES.keys())
@pytest.mark.parametrize(
    ("rows", "more", "ap"),
    [
        pytest.param(19, 20, 1.0, id="all of it"),
        pytest.param(16, 8, 0.7, id="IoU 0.82 is over 7 of 10"),
        pytest.param(9, 19, 0.0, id="IoU under 0.5"),
    ],
)
def test_masks(tmp_path: Path, outline: Callable[[], Any], rows: int, more: int, ap: float) -> None:
    annotated = dataset(tmp_path, {**ONE, "segmentation": outline()})
    report = evaluate.evaluate(Finds(masks=mask_of(rows, more)), annotated)
    assert pytest.approx(1) == report.AP, "the boxes are the same"
    assert report.masks is not None
    assert pytest.approx(ap) == report.masks.AP
    assert pytest.approx(float(ap > 0)) == report.masks.AP50
    assert (report.masks.objects, report.keypoints, report.not_scored) == (1, None, ())


def oks_shift(oks: float, sigma: float) -> float:
    """How far one labeled point lies from where it was found, for this similarity."""
    return math.sqrt(-math.log(oks) * 2 * AREA * (2 * sigma) ** 2)


@pytest.mark.parametrize(
    ("count", "sigma"), [pytest.param(17, SIGMA_OF_NOSE, id="COCO"), pytest.param(5, 0.2, id="uniform")]
)
@pytest.mark.parametrize(
    ("oks", "ap"), [pytest.param(1.0, 1.0), pytest.param(0.72, 0.5), pytest.param(0.45, 0.0)]
)
def test_keypoints(tmp_path: Path, count: int, sigma: float, oks: float, ap: float) -> None:
    annotated = dataset(tmp_path, {**ONE, "keypoints": points(count, (0, 15, 15)), "num_keypoints": 1})
    found = np.full((1, count, 3), 40, np.float32)
    found[0, 0, :2] = 15 + oks_shift(oks, sigma), 15
    report = evaluate.evaluate(Finds(keypoints=found), annotated)
    assert report.keypoints is not None
    assert pytest.approx(ap) == report.keypoints.AP
    assert pytest.approx(ap) == report.keypoints.AR
    assert (report.keypoints.points, report.keypoints.objects) == (count, 1)
    assert report.keypoints.sigmas[0] == sigma
    assert report.masks is None


def test_an_object_without_labeled_points_costs_nothing(tmp_path: Path) -> None:
    bare = {**ONE, "bbox": [40, 20, 10, 10], "area": 100, "keypoints": points(5)}
    annotated = dataset(tmp_path, {**ONE, "keypoints": points(5, (0, 15, 15))}, bare)
    found = np.zeros((2, 5, 3), np.float32)
    found[0, :, :2], found[1, :, :2] = (45, 25), (15, 15)
    report = evaluate.evaluate(Finds(keypoints=found), annotated)
    assert report.keypoints is not None
    assert pytest.approx(1) == report.keypoints.AP, "the better one lies on the object that has none"
    assert report.keypoints.objects == 1


def test_only_categories_that_have_keypoints_count(tmp_path: Path) -> None:
    names = ("person", "dog")
    dog = {**ONE, "category_id": 4, "bbox": [40, 20, 10, 10], "area": 100}
    annotated = dataset(tmp_path, {**ONE, "keypoints": points(5, (0, 15, 15))}, dog, names=names)
    found = np.full((2, 5, 3), 15, np.float32)
    detector = Finds(names, keypoints=found, class_id=np.array([0, 1], np.int32))
    report = evaluate.evaluate(detector, annotated)
    assert report.keypoints is not None
    assert pytest.approx(1) == report.keypoints.AP
    assert report.keypoints.objects == 1
    assert report.objects == 2


def test_masks_and_keypoints_together(tmp_path: Path) -> None:
    entry = {**ONE, "segmentation": [square(10, 10, 20)], "keypoints": points(5, (0, 15, 15))}
    found = np.full((1, 5, 3), 15, np.float32)
    report = evaluate.evaluate(Finds(masks=mask_of(16, 8), keypoints=found), dataset(tmp_path, entry))
    assert report.masks is not None
    assert report.keypoints is not None
    assert (pytest.approx(0.7), pytest.approx(1)) == (report.masks.AP, report.keypoints.AP)
    plain = report.as_dict()
    assert plain["masks"]["AP"] == pytest.approx(0.7)
    assert plain["keypoints"]["sigmas"] == [0.2] * 5
    html = to_html(to_page(report, model="m", command="c"))
    five = "5 keypoints of 1 object, sigma 0.2 for each"
    for expected in ("masks of 1 object", five, "boxes, masks, keypoints"):
        assert expected in html
    titles = [str(table.title) for table in evaluate.to_other_tables(report)]
    assert titles == ["masks of 1 object", five]


FIVE = np.full((1, 5, 3), 15, np.float32)
NOT_SCORED = {
    "no segmentation": ({"masks": mask_of(9)}, {}, "masks: the dataset has no segmentation"),
    "an empty one": ({"masks": mask_of(9)}, {"segmentation": []}, "masks: the dataset has no segmentation"),
    "no keypoints": ({"keypoints": FIVE}, {"keypoints": None}, "keypoints: the dataset has no keypoints"),
    "another number": (
        {"keypoints": FIVE},
        {"keypoints": points(17, (0, 1, 1))},
        "keypoints: the model tells 5 of each object, the dataset 17",
    ),
}


@pytest.mark.parametrize(("columns", "entry", "reason"), NOT_SCORED.values(), ids=NOT_SCORED.keys())
def test_what_is_not_scored_is_said(
    tmp_path: Path, columns: dict[str, Any], entry: dict[str, Any], reason: str
) -> None:
    report = evaluate.evaluate(Finds(**columns), dataset(tmp_path, {**ONE, **entry}))
    assert report.not_scored == (reason,)
    assert (report.masks, report.keypoints) == (None, None)
    assert pytest.approx(1) == report.AP
    assert reason in str(evaluate.to_table(report).caption)
    assert reason in to_html(to_page(report, model="m", command="c"))


def test_boxes_alone_are_scored_as_before(tmp_path: Path) -> None:
    """Entries that no one compares are not even read."""
    report = evaluate.evaluate(
        Finds(class_id=np.zeros(1, np.int32)), dataset(tmp_path, {**ONE, "segmentation": 7, "keypoints": "x"})
    )
    assert pytest.approx(1) == report.AP
    assert (report.masks, report.keypoints, report.not_scored) == (None, None, ())


def test_nothing_found_has_no_precision(tmp_path: Path) -> None:
    entry = {**ONE, "segmentation": [square(10, 10, 20)], "keypoints": points(5, (0, 15, 15))}
    detector = Finds(masks=mask_of(9), keypoints=FIVE)
    detector.found = detector.found[:0]
    report = evaluate.evaluate(detector, dataset(tmp_path, entry))
    assert report.masks is not None
    assert report.keypoints is not None
    assert (report.AP, report.masks.AP, report.keypoints.AP) == (0, 0, 0)


WRONG = {
    "a flat polygon": ({"segmentation": square(0, 0, 5)}, r"annotations\[0\].segmentation: .*Expected"),
    "two corners": ({"segmentation": [[1, 2, 3, 4]]}, r"annotations\[0\].segmentation: .*length >= 6"),
    "an odd number": ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "x and y in turn, got 7 numbers"),
    "a huge corner": ({"segmentation": [[1, 2, 3, 4, 5, 1e300]]}, r"\.segmentation: "),
    "another size": ({"segmentation": {"size": [5, 5], "counts": [25]}}, "the image's size"),
    "too few pixels": (
        {"segmentation": {"size": [HEIGHT, WIDTH], "counts": [25]}},
        "run lengths of 3072 pixels, got 25",
    ),
    "a negative run": (
        {"segmentation": {"size": [HEIGHT, WIDTH], "counts": [-1, 3073]}},
        r"\.segmentation: ",
    ),
    "no packed runs": ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": "é"}}, "run lengths as text"),
    "a run that does not end": ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": "P"}}, "as text"),
    "two numbers a point": (
        {"keypoints": [1, 2]},
        r"\.keypoints: expected x, y and visibility",
    ),
    "text": ({"keypoints": ["a"]}, r"annotations\[0\].keypoints: "),
}


@pytest.mark.parametrize(("entry", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_entries_are_named_with_the_first_image(
    tmp_path: Path, entry: dict[str, Any], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        evaluate.evaluate(Finds(masks=mask_of(9), keypoints=FIVE), dataset(tmp_path, {**ONE, **entry}))


def test_objects_of_different_numbers_of_points(tmp_path: Path) -> None:
    annotated = dataset(tmp_path, {**ONE, "keypoints": points(5)}, {**ONE, "keypoints": points(17)})
    with pytest.raises(DatasetError, match=r"annotations\[1\].keypoints: .* 15 numbers; got 51"):
        evaluate.evaluate(Finds(keypoints=FIVE), annotated)


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=9))
def test_packed_run_lengths_are_those_of_pycocotools(counts: list[int]) -> None:
    mask = pytest.importorskip("pycocotools.mask")
    text = mask.frPyObjects({"size": [sum(counts), 1], "counts": counts}, sum(counts), 1)["counts"].decode()
    assert _counts(text, "here") == counts
