"""The figures against pycocotools, on random and on awkward input."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecv.errors import MissingExtraError
from edgecv.evaluate import Annotations, Category, open_dataset
from edgecv.evaluate.scoring import Figures, Scores, score

FIGURES = tuple(Figures.__annotations__)


def truth(rows: list[tuple[int, int, tuple[float, ...], bool]]) -> Annotations:
    """rows: image, category, xywh, crowd."""
    xywh = np.array([row[2] for row in rows], np.float64).reshape(-1, 4)
    return Annotations(
        image_id=np.array([row[0] for row in rows], np.int64),
        category_id=np.array([row[1] for row in rows], np.int64),
        xywh=xywh,
        area=xywh[:, 2] * xywh[:, 3] * 0.8,
        is_crowd=np.array([row[3] for row in rows], np.bool_),
    )


def by_pycocotools(
    image_ids: list[int], categories: list[Category], objects: Annotations, detections: NDArray[Any]
) -> tuple[list[float | None], list[float | None]]:
    """(the twelve figures, AP of each category)."""
    coco = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    assert objects.area is not None
    content = {
        "images": [{"id": number} for number in image_ids],
        "categories": [{"id": category.id, "name": category.name} for category in categories],
        "annotations": [
            {
                "id": i + 1,
                "image_id": int(objects.image_id[i]),
                "category_id": int(objects.category_id[i]),
                "bbox": objects.xywh[i].tolist(),
                "area": float(objects.area[i]),
                "iscrowd": int(objects.is_crowd[i]),
            }
            for i in range(len(objects))
        ],
        "info": {},
    }
    results = [
        {
            "image_id": int(row[0]),
            "bbox": row[1:5].tolist(),
            "score": float(row[5]),
            "category_id": int(row[6]),
        }
        for row in detections
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        known = coco.COCO()
        known.dataset = content
        known.createIndex()
        evaluation = cocoeval.COCOeval(known, known.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"][:, :, :, 0, 2]
    per_class = [precision[:, :, k] for k in range(len(categories))]
    return (
        [None if value == -1 else float(value) for value in evaluation.stats],
        [float(p[p > -1].mean()) if (p > -1).any() else None for p in per_class],
    )


def close(found: list[float | None], expected: list[float | None]) -> None:
    assert [value is None for value in found] == [value is None for value in expected]
    for mine, theirs in zip(found, expected, strict=True):
        if mine is not None and theirs is not None:
            assert abs(mine - theirs) <= 1e-12


def compare(
    image_ids: list[int], categories: list[Category], objects: Annotations, detections: NDArray[Any]
) -> Scores:
    mine = score(image_ids, categories, objects, detections)
    figures, per_class = by_pycocotools(image_ids, categories, objects, detections)
    close([mine.figures[name] for name in FIGURES], figures)  # type: ignore[literal-required]
    close([entry.AP for entry in mine.per_class], per_class)
    return mine


@st.composite
def scenes(draw: st.DrawFn) -> tuple[list[int], list[Category], Annotations, NDArray[Any]]:
    """Few coordinates and confidences, so that ties in overlap and in order are common."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    image_ids = [int(n) for n in rng.permutation(50)[: draw(st.integers(1, 4))]]
    categories = [Category(int(n), f"c{n}") for n in sorted(rng.permutation(9)[: draw(st.integers(1, 3))])]

    def boxes(n: int) -> NDArray[Any]:
        corner = rng.integers(0, 8, (n, 2)) * rng.choice([3, 20])
        return np.concatenate([corner, rng.integers(0, 7, (n, 2)) * rng.choice([5, 30])], 1).astype(float)

    n = draw(st.integers(0, 30))
    rows = [
        (
            int(rng.choice(image_ids)),
            rng.choice([c.id for c in categories]),
            tuple(box),
            rng.random() < 0.15,
        )
        for box in boxes(n)
    ]
    objects = truth(rows)
    m = draw(st.integers(1, 200))
    chosen = objects.xywh[rng.integers(0, n, m)] + rng.integers(-1, 2, (m, 4)) if n else boxes(m)
    detections = np.column_stack(
        [
            rng.choice(image_ids, m),
            np.where(rng.random((m, 1)) < 0.6, np.maximum(chosen, 0), boxes(m)),
            rng.integers(1, 12, m) / 12,
            rng.choice([c.id for c in categories], m),
        ]
    )
    return image_ids, categories, objects, detections


@settings(max_examples=60)
@given(scenes())
def test_equals_pycocotools(scene: tuple[list[int], list[Category], Annotations, NDArray[Any]]) -> None:
    compare(*scene)


CATS = [Category(0, "a"), Category(4, "b")]
ONE = (1, 0, (10.0, 10.0, 40.0, 40.0), False)
HIT = [1, 10, 10, 40, 40, 0.9, 0]


def test_a_perfect_detector() -> None:
    scores = compare([1, 2], CATS, truth([ONE]), np.array([HIT]))
    assert scores.figures["AP"] == pytest.approx(1)
    assert scores.figures["APm"] == pytest.approx(1)
    assert scores.figures["APs"] is None, "no small object"
    assert scores.per_class[1].AP is None, "no object of the second category"


def test_a_crowd_takes_many_detections_and_owes_none() -> None:
    crowd = (1, 0, (100.0, 100.0, 200.0, 200.0), True)
    inside = [[1, 110 + 30 * i, 120, 20, 20, 0.95, 0] for i in range(5)]
    scores = compare([1], CATS, truth([ONE, crowd]), np.array([HIT, *inside]))
    assert scores.figures["AP"] == pytest.approx(1)


def test_no_object_at_all() -> None:
    scores = compare([1], CATS, truth([]), np.array([HIT]))
    assert set(scores.figures.values()) == {None}


def test_no_detection_at_all() -> None:
    scores = score([1], CATS, truth([ONE]), np.zeros((0, 7)))
    assert scores.figures["AP"] == 0
    assert scores.figures["APs"] is None


def test_more_than_a_hundred_detections() -> None:
    rows = [[1, i, 0, 10, 10, 0.99 - i / 1000, 0] for i in range(150)] + [[1, 10, 10, 40, 40, 0.5, 0]]
    scores = compare([1], CATS, truth([ONE]), np.array(rows, np.float64))
    assert scores.figures["AP"] == 0, "the hit is beyond the hundredth"


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    score([1], CATS, truth([ONE]), np.array([HIT]))
    assert capfd.readouterr() == ("", "")


def test_without_hotcoco(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hotcoco", None)
    with pytest.raises(MissingExtraError, match=r"install it with: pip install 'edgecv\[eval\]'$"):
        score([1], CATS, truth([ONE]), np.array([HIT]))


def test_perturbed_truth_of_coco_images_equals_pycocotools(shared: Callable[[str], Path]) -> None:
    dataset = open_dataset(shared("data/coco80"))
    rng = np.random.default_rng(5)
    every = dataset.annotations
    pick = rng.integers(0, len(every), 3000)
    xywh = np.maximum(every.xywh[pick] * rng.normal(1, 0.08, (3000, 4)), 0)
    category = np.where(rng.random(3000) < 0.8, every.category_id[pick], rng.choice(every.category_id, 3000))
    rows = np.column_stack([every.image_id[pick], xywh, rng.random(3000), category])
    scores = compare([image.id for image in dataset.images], list(dataset.categories), every, rows)
    assert 0.1 < (scores.figures["AP"] or 0) < 0.9
