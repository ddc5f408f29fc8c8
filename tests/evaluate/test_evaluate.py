"""The evaluation as a whole, with a detector that knows the answers."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv import evaluate
from edgecv.errors import DatasetError, HeadError, MissingExtraError
from edgecv.types import Detections, Placement, Seen, Timing

cv2 = pytest.importorskip("cv2")

# (left, top, right, bottom), class; the picture's first pixel tells which one it is.
OBJECTS: dict[int, list[tuple[tuple[float, float, float, float], int]]] = {
    10: [((2, 3, 22, 33), 0), ((30, 10, 60, 40), 1)],
    20: [((0, 0, 50, 20), 1)],
    30: [],
}
SIZES_WH = {10: (64, 48), 20: (50, 70), 30: (33, 31)}
NAMES = ("cat", "dog")
PLACEMENT = Placement("fake", "1", "cpu", "fp32", "fp32", 1, "none")


class FakeDetector:
    """Finds exactly what was drawn."""

    def __init__(self, names: tuple[str, ...] = NAMES, objects: Any = OBJECTS) -> None:
        self.names = names
        self.objects = objects
        self.settings = SimpleNamespace(conf=0.01, iou=0.6, max_det=100, multi_label=True)
        self.placement = PLACEMENT
        self.timing = Timing((("preprocess", 1), ("inference", 2), ("postprocess", 3)))
        self.seen: list[int] = []

    def __call__(self, frame: NDArray[np.uint8], captured_ns: int | None = None) -> Detections:
        assert frame.ndim == 3
        assert frame.dtype == np.uint8
        assert captured_ns is not None
        assert captured_ns <= time.monotonic_ns()
        number = int(frame[0, 0, 0])
        self.seen.append(number)
        found = self.objects[number]
        return Detections(
            xyxy=np.array([box for box, _ in found], np.float32).reshape(-1, 4),
            confidence=np.linspace(0.9, 0.5, len(found), dtype=np.float32),
            class_id=np.array([class_id for _, class_id in found], np.int32),
            names=self.names,
            seen=Seen(self.timing, PLACEMENT),
        )


def near(value: float | None, expected: float | None) -> bool:
    return value is not None and expected is not None and abs(value - expected) < 1e-9


def picture(path: Path, number: int) -> None:
    width, height = SIZES_WH[number]
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((height, width, 3), number, np.uint8))


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    for number in OBJECTS:
        picture(tmp_path / f"images/{number}.png", number)
    annotations = [
        {
            "image_id": number,
            "category_id": class_id + 1,
            "bbox": [left, top, right - left, bottom - top],
        }
        for number, objects in OBJECTS.items()
        for (left, top, right, bottom), class_id in objects
    ]
    content = {
        "images": [
            {"id": number, "file_name": f"{number}.png", "width": w, "height": h}
            for number, (w, h) in SIZES_WH.items()
        ],
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(NAMES)],
        "annotations": annotations,
    }
    (tmp_path / "instances.json").write_text(json.dumps(content))
    return tmp_path


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    (tmp_path / "labels").mkdir()
    (tmp_path / "classes.txt").write_text("\n".join(NAMES))
    for number, objects in OBJECTS.items():
        picture(tmp_path / f"images/{number}.png", number)
        width, height = SIZES_WH[number]
        lines = [
            f"{class_id} {(x1 + x2) / 2 / width} {(y1 + y2) / 2 / height} "
            f"{(x2 - x1) / width} {(y2 - y1) / height}"
            for (x1, y1, x2, y2), class_id in objects
        ]
        if lines:
            (tmp_path / f"labels/{number}.txt").write_text("\n".join(lines))
    return tmp_path


def change(folder: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / "instances.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("kind", ["coco", "yolo"])
def test_a_perfect_detector(kind: str, request: pytest.FixtureRequest) -> None:
    dataset = evaluate.open_dataset(request.getfixturevalue(kind))
    seen: list[tuple[int, int]] = []
    report = evaluate.evaluate(
        FakeDetector(), dataset, progress=lambda done, wanted: seen.append((done, wanted))
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert report.format == kind
    assert report.images == 3
    assert report.objects == 3
    assert near(report.AP, 1)
    assert near(report.AR1, 1)
    assert near(report.APs, 1)
    assert report.APl is None
    assert [(c.name, c.objects, round(c.AP or 0, 6)) for c in report.per_class] == [
        ("cat", 1, 1.0),
        ("dog", 2, 1.0),
    ]
    assert report.thresholds == evaluate.Thresholds(conf=0.01, iou=0.6, max_det=100, multi_label=True)
    assert report.timing_ms == {"preprocess": 1, "inference": 2, "postprocess": 3}
    assert report.class_mapping == "name"
    assert report.placement is not None
    assert report.placement["backend"] == "fake"
    assert report.scorer.startswith("hotcoco ")
    assert report.failures == ()
    assert report.exit_code == 0


def test_the_two_formats_agree(coco: Path, yolo: Path) -> None:
    shifted = {n: [((x1 + 2, y1, x2 + 2, y2), c) for (x1, y1, x2, y2), c in o] for n, o in OBJECTS.items()}
    detector = FakeDetector(objects=shifted)
    by_coco = evaluate.evaluate(detector, evaluate.open_dataset(coco / "instances.json"))
    (coco / "instances.json").unlink()
    by_yolo = evaluate.evaluate(detector, evaluate.open_dataset(yolo))
    assert near(by_coco.AP, by_yolo.AP)
    assert 0 < (by_coco.AP or 0) < 1


def test_boxes_are_clipped_to_the_image(coco: Path) -> None:
    objects = OBJECTS | {20: [((-400, -300, 50, 20), 1)]}
    report = evaluate.evaluate(FakeDetector(objects=objects), evaluate.open_dataset(coco))
    assert near(report.AP, 1)


def test_a_hundred_best_of_an_image_count(coco: Path) -> None:
    box, class_id = OBJECTS[20][0]
    far: list[Any] = [((40, 60, 41, 61), 0)] * 100
    for objects, hit in (([*far[:99], (box, class_id)], 1.0), ([*far, (box, class_id)], 0.5)):
        detector = FakeDetector(objects=OBJECTS | {20: objects})
        report = evaluate.evaluate(detector, evaluate.open_dataset(coco))
        assert near(report.per_class[1].AR100, hit)


def test_images_that_cannot_be_evaluated_are_reported(coco: Path) -> None:
    (coco / "images/10.png").write_bytes(b"not an image")
    picture(coco / "images/20.png", 30)
    detector = FakeDetector()
    progress: list[tuple[int, int | None]] = []
    report = evaluate.evaluate(
        detector,
        evaluate.open_dataset(coco),
        progress=lambda done, wanted: progress.append((done, wanted)),
    )
    assert progress == [(1, 3), (2, 3), (3, 3)], "each image is one, whatever came of it"
    assert report.exit_code == 1
    assert report.images == 1
    assert report.timing_ms == {"preprocess": 1, "inference": 2, "postprocess": 3}, "of those that were run"
    assert report.objects == 0, "their objects do not count either"
    assert report.AP is None
    assert detector.seen == [30]
    broken, wrong = report.failures
    assert (broken.image_id, Path(broken.path).name) == (10, "10.png")
    assert "10.png" in broken.error
    assert (wrong.image_id, Path(wrong.path).name) == (20, "20.png")
    assert "expected 50 x 70 pixels" in wrong.error
    assert str(coco) in wrong.error, "it says who states it"
    assert wrong.error.endswith("got 33 x 31")


def test_a_missing_image_is_reported(coco: Path) -> None:
    (coco / "images/10.png").unlink()
    report = evaluate.evaluate(FakeDetector(), evaluate.open_dataset(coco))
    assert [failure.image_id for failure in report.failures] == [10]
    assert near(report.AP, 1)


def test_failures_leave_the_other_images_in_their_places(coco: Path) -> None:
    """The figures are those of a dataset that never had the image."""
    (coco / "images/20.png").write_bytes(b"")
    shifted = {n: [((x1 + 2, y1, x2 + 2, y2), c) for (x1, y1, x2, y2), c in o] for n, o in OBJECTS.items()}
    detector = FakeDetector(objects=shifted)
    with_failure = evaluate.evaluate(detector, evaluate.open_dataset(coco))
    assert detector.seen == [10, 30]
    assert [failure.image_id for failure in with_failure.failures] == [20]
    change(
        coco,
        lambda content: content.update(
            images=[image for image in content["images"] if image["id"] != 20],
            annotations=[each for each in content["annotations"] if each["image_id"] != 20],
        ),
    )
    without = evaluate.evaluate(FakeDetector(objects=shifted), evaluate.open_dataset(coco))
    assert near(with_failure.AP, without.AP)
    assert 0 < (without.AP or 0) < 1
    assert (with_failure.images, with_failure.objects) == (without.images, without.objects) == (2, 2)


def test_no_image_that_can_be_read(coco: Path) -> None:
    for path in (coco / "images").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DatasetError, match=r"none of its 3 images can be evaluated; the first: .*10.png"):
        evaluate.evaluate(FakeDetector(), evaluate.open_dataset(coco))


def test_a_dataset_without_objects(coco: Path) -> None:
    change(coco, lambda content: content.update(annotations=[]))
    report = evaluate.evaluate(FakeDetector(), evaluate.open_dataset(coco))
    assert report.AP is None
    assert report.objects == 0
    assert report.exit_code == 0


def test_a_crowd_is_not_an_object(coco: Path) -> None:
    change(coco, lambda content: content["annotations"][1].update(iscrowd=1))
    report = evaluate.evaluate(FakeDetector(), evaluate.open_dataset(coco))
    assert report.objects == 2
    assert near(report.AP, 1)


def test_a_model_of_more_classes_than_the_dataset(coco: Path) -> None:
    change(
        coco,
        lambda content: content.update(
            categories=content["categories"][1:], annotations=content["annotations"][1:]
        ),
    )
    report = evaluate.evaluate(FakeDetector(), evaluate.open_dataset(coco))
    assert report.ignored_classes == ("cat",)
    assert [entry.name for entry in report.per_class] == ["dog"]
    assert near(report.AP, 1)


def test_a_model_of_fewer_classes_than_the_dataset(coco: Path) -> None:
    objects = {n: [(box, 0) for box, c in o if c == 1] for n, o in OBJECTS.items()}
    report = evaluate.evaluate(FakeDetector(("dog",), objects), evaluate.open_dataset(coco))
    assert [entry.name for entry in report.per_class] == ["dog"]
    assert report.objects == 2
    assert near(report.AP, 1), "a class that the model does not have costs nothing"


def test_classes_are_checked_before_the_first_image(coco: Path) -> None:
    detector = FakeDetector(("cow", "hen", "pig"))
    with pytest.raises(DatasetError, match="only in the model: cow, hen, pig"):
        evaluate.evaluate(detector, evaluate.open_dataset(coco))
    assert detector.seen == []


def test_a_class_beyond_the_names(coco: Path) -> None:
    objects = OBJECTS | {20: [((0, 0, 50, 20), 2)]}
    with pytest.raises(HeadError, match="expected detections of class 0 to 1, got 2 to 2"):
        evaluate.evaluate(FakeDetector((), objects), evaluate.open_dataset(coco))


def test_without_hotcoco_nothing_runs(coco: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hotcoco", None)
    detector = FakeDetector()
    with pytest.raises(MissingExtraError, match=r"pip install 'edgecv\[eval\]'"):
        evaluate.evaluate(detector, evaluate.open_dataset(coco))
    assert detector.seen == []


def test_a_detector_that_tells_little(coco: Path) -> None:
    class Silent(FakeDetector):
        def __init__(self) -> None:
            super().__init__()
            del self.settings, self.placement

        def __call__(self, frame: NDArray[np.uint8], captured_ns: int | None = None) -> Detections:
            return msgspec.structs.replace(super().__call__(frame, captured_ns), seen=None)

    report = evaluate.evaluate(Silent(), evaluate.open_dataset(coco))
    assert report.thresholds == evaluate.Thresholds(conf=None, iou=None, max_det=None, multi_label=None)
    assert report.placement is None
    assert report.timing_ms is None


def test_stages_of_another_pipeline_keep_their_names_and_order(coco: Path) -> None:
    class Staged(FakeDetector):
        def __call__(self, frame: NDArray[np.uint8], captured_ns: int | None = None) -> Detections:
            found = super().__call__(frame, captured_ns)
            again = (("again", 9.0),) if self.seen[-1] == 30 else ()
            stages = (("trunk", float(self.seen[-1])), ("proposals", 0.5), *again)
            return msgspec.structs.replace(found, seen=Seen(Timing(stages), PLACEMENT))

    report = evaluate.evaluate(Staged(), evaluate.open_dataset(coco))
    assert report.timing_ms is not None
    assert list(report.timing_ms.items()) == [("trunk", 20.0), ("proposals", 0.5), ("again", 3.0)]


def test_report_is_json_and_comes_back(coco: Path) -> None:
    (coco / "images/10.png").unlink()
    detector = FakeDetector()
    detector.settings.conf = (0.25, 0.5)
    report = evaluate.evaluate(detector, evaluate.open_dataset(coco))
    plain = report.as_dict()
    assert msgspec.convert(json.loads(json.dumps(plain)), evaluate.EvalReport) == report
    assert plain["thresholds"]["conf"] == [0.25, 0.5]
    assert plain["timing_ms"] == {"preprocess": 1, "inference": 2, "postprocess": 3}
    assert set(plain) >= {"AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100"}


def test_tables(coco: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    (coco / "images/20.png").unlink()
    report = evaluate.evaluate(FakeDetector(("[b]", "cat")), _renamed(evaluate.open_dataset(coco)))
    console = Console(width=160)
    console.print(evaluate.to_table(report))
    console.print(evaluate.to_class_table(report))
    out = capsys.readouterr().out
    for text in (
        "AP small",
        "1 images could not be evaluated",
        "2 images, 2 objects",
        "[b]",
        "paired by",
    ):
        assert text in out


def _renamed(dataset: evaluate.Dataset) -> evaluate.Dataset:
    first, second = dataset.categories
    return replace(dataset, categories=(replace(first, name="[b]"), replace(second, name="cat")))
