"""An evaluation's page, and the curves on it."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from edgecv import evaluate
from edgecv.evaluate import Category, ClassResult, Curve, EvalReport, ImageFailure, Thresholds
from edgecv.evaluate.page import to_page
from edgecv.report import Failures, to_html
from edgecv.types import Placement
from tests.report.html_reader import Reader, check_self_contained

XSS = "<script>alert(1)</script>"


def report(classes: int = 3, **changes: Any) -> EvalReport:
    """AP of class i is i / classes; the last class has no object."""
    scores = [None if i == classes - 1 else i / classes for i in range(classes)]
    values: dict[str, Any] = {
        **dict.fromkeys(evaluate.scoring.Figures.__annotations__, 0.25),
        "dataset": "data/coco80/instances.json",
        "format": "coco",
        "images": 80,
        "objects": 804,
        "seconds": 12.5,
        "per_class": tuple(
            ClassResult(id=i, name=f"class {i}", objects=i, AP=score, AP50=score, AR100=score)
            for i, score in enumerate(scores)
        ),
        "curves": (
            Curve(category=None, iou=0.5, precision=tuple(np.linspace(1, 0, 101).tolist())),
            Curve(category=None, iou=0.75, precision=(0.5,) * 101),
        ),
        "thresholds": Thresholds(conf=0.01, iou=0.6, max_det=100, multi_label=True),
        "class_mapping": "name",
        "ignored_classes": (),
        "placement": Placement("fake", "1.2", "cpu", "fp32", "fp32", 2, "none", (("b", "gone"),)).as_dict(),
        "timing_ms": {"preprocess": 1.0, "inference": 2.0, "postprocess": 3.0},
        "scorer": "hotcoco 1",
        "failures": (),
    }
    return EvalReport(**(values | changes))


def page(found: EvalReport, model: str = "net") -> Reader:
    return check_self_contained(to_html(to_page(found, model=model, command="edgecv eval net data")))


def texts(found: Reader, tag: str) -> list[str]:
    return [element.text.strip() for element in found.all(tag)]


def test_the_page_says_what_was_found_and_how() -> None:
    found = page(report(APl=None, AP=0.2192))
    body = found.all("body")[0].text
    for part in (
        "AP 0.2192, on 80 images with 804 objects of coco80/instances.json.",
        "edgecv eval net data",
        "fake 1.2 (none) on cpu, fp32, 2 threads; fell back from b: gone",
        "hotcoco 1",
        "preprocess 1.00 ms, inference 2.00 ms, postprocess 3.00 ms",
        "12.5 s",
    ):
        assert part in body
    figures = dict(zip(texts(found, "th")[3:15], texts(found, "td")[:24:2], strict=True))
    assert figures["AP"] == "0.2192"
    assert figures["AP large"] == "–"  # noqa: RUF001
    assert "Failures" not in texts(found, "h2")


def test_stages_of_another_pipeline_by_their_names_in_their_order() -> None:
    found = page(report(timing_ms={"trunk": 20.0, "proposals": 0.5, "roi": 3.25}))
    facts = dict(zip(texts(found, "dt"), texts(found, "dd"), strict=True))
    assert facts["Mean of a frame"] == "trunk 20.00 ms, proposals 0.50 ms, roi 3.25 ms"


def test_failures_are_shown_with_their_error() -> None:
    failure = ImageFailure(image_id=3, path="data/3.jpg", error=f"data/3.jpg: is damaged {XSS}")
    found = page(report(failures=(failure,)))
    assert texts(found, "p")[0].endswith("1 image could not be evaluated.")
    assert [each.text for each in found.all("p", "alert")] == ["1 failure"]
    (item,) = found.all("li")
    assert "3.jpg" in item.text
    assert f"is damaged {XSS}" in item.text


def test_names_of_others_are_text() -> None:
    entries = (ClassResult(id=0, name=XSS, objects=1, AP=0.5, AP50=0.5, AR100=0.5),)
    curves = tuple(Curve(category=XSS, iou=0.5, precision=(1.0,) * 101) for _ in range(2))
    found = page(
        report(per_class=entries, curves=curves, ignored_classes=(XSS,), dataset=XSS, scorer=XSS), XSS
    )
    assert XSS in found.all("h1")[0].text
    assert XSS in "".join(texts(found, "text"))


@pytest.mark.parametrize(
    ("classes", "captions"),
    [
        pytest.param(31, ["AP by class, with their objects"], id="all are drawn"),
        pytest.param(
            32,
            [
                "AP of the best 15 classes, with their objects",
                "AP of the worst 15 classes, with their objects",
            ],
            id="the ends are drawn",
        ),
    ],
)
def test_many_classes(classes: int, captions: list[str]) -> None:
    found = page(report(classes))
    drawn = [caption for caption in texts(found, "figcaption") if caption.startswith("AP ")]
    assert drawn == captions
    names = [name for name in texts(found, "th") if name.startswith("class ")]
    assert len(names) == classes, "the table has them all"
    assert names[0] == f"class {classes - 2}", "the best first"
    assert names[-1] == f"class {classes - 1}", "those without objects last"
    assert f"1 of {classes} classes" in found.all("p", "note")[0].text


def test_nothing_to_find() -> None:
    nothing = dict.fromkeys(evaluate.scoring.Figures.__annotations__)
    found = page(report(1, curves=(), objects=0, timing_ms=None, placement=None, **nothing))
    assert "there is no object to find" in texts(found, "p")[0]
    assert texts(found, "h2") == ["Accuracy", "Conditions", "Reproduce"]


def test_a_curve_for_each_class() -> None:
    curves = [Curve(category=f"class {i}", iou=0.5, precision=(0.5,) * 101) for i in range(10)]
    captions = texts(page(report(curves=(*report().curves, *curves))), "figcaption")
    assert "Precision over recall at IoU 0.50, by class" in captions
    captions = texts(page(report(curves=(*report().curves, curves[0]))), "figcaption")
    assert "Precision over recall at IoU 0.50, by class" not in captions, "one class is the mean"


def test_thresholds_of_each_class() -> None:
    limits = Thresholds(conf=[0.1, 0.2], iou=None, max_det=None, multi_label=None)
    assert "2 values, one a class" in texts(page(report(thresholds=limits)), "dd")


def test_failures_stand_near_the_top() -> None:
    failure = ImageFailure(image_id=3, path="3.jpg", error="damaged")
    sections = to_page(report(failures=(failure,)), model="net", command="").sections
    assert isinstance(sections[1].blocks[0], Failures)


@pytest.mark.parametrize(("classes", "own"), [(1, 1), (10, 10), (11, 0)])
def test_curves_carry_the_figures(classes: int, own: int) -> None:
    pytest.importorskip("hotcoco", reason="AP needs the extra eval")
    rng = np.random.default_rng(classes)
    categories = [Category(k + 1, f"class {k}") for k in range(classes + 1)]
    n = 40 * classes
    xywh = np.hstack([rng.uniform(0, 300, (n, 2)), rng.uniform(20, 60, (n, 2))])
    ids, image_ids = np.arange(n) % classes + 1, np.arange(n) % 7 + 1
    objects = evaluate.Annotations(image_ids, ids, xywh, xywh[:, 2] * xywh[:, 3], np.zeros(n, np.bool_))
    moved = xywh + rng.normal(0, 4, xywh.shape)
    found = np.column_stack([image_ids, moved, rng.uniform(0.1, 1, n), ids])
    scores = evaluate.scoring.score(list(range(1, 8)), categories, objects, found)
    means = {curve.iou: curve.precision for curve in scores.curves if curve.category is None}
    assert {iou: len(curve) for iou, curve in means.items()} == {0.5: 101, 0.75: 101}
    assert np.mean(means[0.5]) == pytest.approx(scores.figures["AP50"])
    assert np.mean(means[0.75]) == pytest.approx(scores.figures["AP75"])
    each = {curve.category: np.mean(curve.precision) for curve in scores.curves if curve.category}
    assert len(each) == own
    for category, figures in zip(categories, scores.per_class, strict=True):
        if category.name in each:
            assert each[category.name] == pytest.approx(figures.AP50)
    for curve in scores.curves:
        assert list(curve.precision) == sorted(curve.precision, reverse=True)


def test_curves_travel_in_json() -> None:
    found = report()
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(found.as_dict())), EvalReport) == found
