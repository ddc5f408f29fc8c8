"""Opening COCO datasets, well formed and hostile."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecv.errors import DatasetError
from edgecv.evaluate import open_dataset

GOOD: dict[str, Any] = {
    "images": [
        {"id": 7, "file_name": "b.png", "width": 20, "height": 10},
        {"id": 3, "file_name": "a.png", "width": 8, "height": 8, "license": 1},
    ],
    "categories": [{"id": 5, "name": "dog", "supercategory": "animal"}, {"id": 2, "name": "cat"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 5, "bbox": [1, 2, 3, 4], "area": 9.5, "iscrowd": 0},
        {"id": 2, "image_id": 3, "category_id": 2, "bbox": [0.5, 0, 2, 2.5], "iscrowd": 1},
    ],
}


def write(root: Path, content: Any, name: str = "instances.json", images: str = "images") -> Path:
    """A dataset whose images are empty files: opening does not read them."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    for file in ("a.png", "b.png"):
        (root / images).mkdir(parents=True, exist_ok=True)
        (root / images / file).touch()
    return path


def test_columns(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    dataset = open_dataset(tmp_path)
    assert dataset.format == "coco"
    assert dataset.units == "pixels"
    assert [(image.id, image.path.name, image.width, image.height) for image in dataset.images] == [
        (3, "a.png", 8, 8),
        (7, "b.png", 20, 10),
    ]
    assert [(category.id, category.name) for category in dataset.categories] == [(2, "cat"), (5, "dog")]
    objects = dataset.annotations
    assert objects.image_id.tolist() == [7, 3]
    assert objects.category_id.tolist() == [5, 2]
    assert objects.xywh.tolist() == [[1, 2, 3, 4], [0.5, 0, 2, 2.5]]
    assert objects.area is not None
    assert objects.area.tolist() == [9.5, 5.0], "a missing area is the box's"
    assert objects.is_crowd.tolist() == [False, True]


@pytest.mark.parametrize(
    ("name", "images", "opened"),
    [
        pytest.param("instances.json", "images", ".", id="folder"),
        pytest.param("instances.json", "images", "instances.json", id="file"),
        pytest.param("instances.json", ".", ".", id="images beside the file"),
        pytest.param("any.json", "images", "any.json", id="any name"),
        pytest.param("annotations/instances_val2017.json", "val2017", ".", id="official"),
        pytest.param(
            "annotations/instances_val2017.json",
            "images/val2017",
            "annotations/instances_val2017.json",
            id="split below images",
        ),
        pytest.param("annotations/x.json", "images", ".", id="annotations and images"),
        pytest.param("annotations/x.json", "annotations/images", "annotations/x.json", id="beside"),
    ],
)
def test_layouts(tmp_path: Path, name: str, images: str, opened: str) -> None:
    write(tmp_path, GOOD, name, images)
    dataset = open_dataset(tmp_path / opened)
    assert [image.path.resolve() for image in dataset.images] == [
        (tmp_path / images / file).resolve() for file in ("a.png", "b.png")
    ]


def test_a_dataset_without_annotations(tmp_path: Path) -> None:
    write(tmp_path, {key: GOOD[key] for key in ("images", "categories")})
    dataset = open_dataset(str(tmp_path))
    assert len(dataset) == 2
    assert len(dataset.annotations) == 0
    assert dataset.annotations.xywh.shape == (0, 4)


def test_several_annotation_files(tmp_path: Path) -> None:
    write(tmp_path, GOOD, "annotations/instances_train.json")
    write(tmp_path, GOOD, "annotations/instances_val.json")
    with pytest.raises(DatasetError, match=r"instances_train.json, instances_val.json; give the one"):
        open_dataset(tmp_path)


def test_one_missing_image_is_left_to_the_evaluation(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    (tmp_path / "images/a.png").unlink()
    assert len(open_dataset(tmp_path)) == 2


def test_no_image_at_all(tmp_path: Path) -> None:
    write(tmp_path, GOOD, images="elsewhere")
    (tmp_path / "images").mkdir()
    with pytest.raises(DatasetError, match=r"none of its 2 images is there; looked in .*images"):
        open_dataset(tmp_path)


def changed(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(json.dumps(GOOD))
    change(content)
    return content


def with_box(*box: Any) -> dict[str, Any]:
    return changed(lambda c: c["annotations"][1].update(bbox=list(box)))


def with_file(name: str) -> dict[str, Any]:
    return changed(lambda c: c["images"][1].update(file_name=name))


HOSTILE = [
    pytest.param("", "expected COCO instances", id="empty"),
    pytest.param("{", "expected COCO instances", id="truncated"),
    pytest.param("[]", "Expected `object`", id="a list"),
    pytest.param("[" * 100_000, "Expected `object`", id="deep"),
    pytest.param('{"x":' + "[" * 100_000, "expected COCO instances", id="deep where it is skipped"),
    pytest.param("\ud800".encode("utf-8", "surrogatepass"), "expected COCO", id="not utf-8"),
    pytest.param(changed(lambda c: c.pop("images")), "`images`", id="no images key"),
    pytest.param(changed(lambda c: c.update(images=[])), "at least one image", id="no images"),
    pytest.param(changed(lambda c: c.update(categories=[])), "one category", id="no categories"),
    pytest.param(
        changed(lambda c: c["images"][0].update(id=3)),
        r"images\[1\]: id 3 comes twice",
        id="image twice",
    ),
    pytest.param(
        changed(lambda c: c["categories"][0].update(id=2)), r"categories\[1\]: id 2", id="category twice"
    ),
    pytest.param(
        changed(lambda c: c["annotations"][1].update(image_id=99)),
        r"annotations\[1\]: there is no image 99",
        id="unknown image",
    ),
    pytest.param(
        changed(lambda c: c["annotations"][1].update(category_id=99)),
        r"annotations\[1\]: there is no category 99",
        id="unknown category",
    ),
    pytest.param(changed(lambda c: c["annotations"][1].pop("bbox")), r"bbox.*annotations\[1\]", id="no box"),
    pytest.param(with_box(1, 2, 3), r"length 4.*annotations\[1\].bbox", id="short box"),
    pytest.param(with_box(1, 2, -3, 4), r"annotations\[1\].bbox\[2\]", id="negative width"),
    pytest.param(with_box(1, "2", 3, 4), r"annotations\[1\].bbox\[1\]", id="text in a box"),
    pytest.param(with_box(1e300, 2, 3, 4), r"annotations\[1\].bbox\[0\]", id="huge box"),
    pytest.param(with_box(1, 2, 3, float("nan")), "expected COCO instances", id="nan"),
    pytest.param(changed(lambda c: c["images"][1].update(width=0)), r"images\[1\].width", id="empty image"),
    pytest.param(
        changed(lambda c: c["images"][1].update(id=1 << 60)), r"images\[1\].id", id="id beyond float64"
    ),
    pytest.param(changed(lambda c: c["images"][1].update(id=-1)), r"images\[1\].id", id="negative id"),
    pytest.param(changed(lambda c: c["images"][1].update(id="3")), r"images\[1\].id", id="id as text"),
    pytest.param(with_file("../a.png"), r"images\[1\]: expected the name of a file below", id="above"),
    pytest.param(with_file("x/../../a.png"), r"images\[1\]: expected the name", id="above, later"),
    pytest.param(with_file("/etc/passwd"), r"images\[1\]: expected the name", id="absolute"),
    pytest.param(with_file("a\0.png"), r"images\[1\]: expected the name", id="nul"),
    pytest.param(with_file("a\n.png"), r"images\[1\]: expected the name", id="line feed"),
    pytest.param(with_file(""), r"images\[1\]: expected the name", id="no name"),
    pytest.param(with_file("."), r"images\[1\]: expected the name", id="the folder"),
]


@pytest.mark.parametrize(("content", "text"), HOSTILE)
def test_hostile_files_are_refused_in_one_line(tmp_path: Path, content: Any, text: str) -> None:
    path = write(tmp_path, content if not isinstance(content, bytes) else "")
    if isinstance(content, bytes):
        path.write_bytes(b'{"images": "' + content + b'"}')
    with pytest.raises(DatasetError, match=text) as caught:
        open_dataset(tmp_path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, GOOD)
    monkeypatch.setattr("edgecv.evaluate.coco.MAX_JSON_BYTES", path.stat().st_size)
    assert len(open_dataset(tmp_path)) == 2
    monkeypatch.setattr("edgecv.evaluate.coco.MAX_JSON_BYTES", path.stat().st_size - 1)
    with pytest.raises(DatasetError, match="expected a file of at most"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("missing", "no such file or folder", id="missing"),
        pytest.param("bad\0name", "not a usable file name|no such file", id="nul in the name"),
        pytest.param("empty", "not a dataset; expected a COCO", id="an empty folder"),
        pytest.param("note.txt", "not a dataset; expected a COCO", id="another file"),
    ],
)
def test_what_is_no_dataset(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "note.txt").touch()
    with pytest.raises(DatasetError, match=text):
        open_dataset(f"{tmp_path}/{name}")


def test_ids_survive_the_columns(tmp_path: Path) -> None:
    large = (1 << 53) - 1
    content = changed(lambda c: c["images"][1].update(id=large))
    content["annotations"][1]["image_id"] = large
    write(tmp_path, content)
    dataset = open_dataset(tmp_path)
    assert int(dataset.annotations.image_id[1]) == large
    assert int(np.float64(dataset.annotations.image_id[1])) == large
