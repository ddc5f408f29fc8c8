"""Scenes come back from a COCO data set as they were."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask

from edgecv.errors import InputError, OutputError
from edgecv.evaluate import open_dataset
from edgecv.scenes import (
    CLASSES,
    BeltSpec,
    Scene,
    SceneSpec,
    make_belt,
    make_scene,
    mask_to_rle,
    write_coco,
)

# Its compiled code converts its own arrays in the way of NumPy 1.
PYCOCOTOOLS_AND_NUMPY_2 = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 12))


@PYCOCOTOOLS_AND_NUMPY_2
@settings(max_examples=40)
@given(mask=SHAPES.flatmap(lambda shape: arrays(bool, shape)))
def test_run_lengths_round_trip(mask: np.ndarray) -> None:
    rle = mask_to_rle(mask)
    assert sum(rle["counts"]) == mask.size
    packed = coco_mask.frPyObjects(rle, *mask.shape)
    np.testing.assert_array_equal(coco_mask.decode(packed), mask)
    assert coco_mask.area(packed) == mask.sum()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Scene], list[int]]:
    folder = tmp_path_factory.mktemp("coco") / "new" / "set"
    made = [make_scene(seed, SceneSpec(parts=(4, 9), defect_rate=0.5)) for seed in (3, 4)]
    made += list(make_belt(1, 2, BeltSpec((320, 240), 30.0)))
    counted: list[int] = []
    path = write_coco(folder, iter(made), progress=counted.append)
    return path, made, counted


def test_the_folder_is_a_dataset(written: tuple[Path, list[Scene], list[int]]) -> None:
    path, made, counted = written
    assert counted == [1, 2, 3, 4]
    assert sorted(p.name for p in path.parent.iterdir()) == [f"{n:06d}.png" for n in range(4)] + [path.name]
    dataset = open_dataset(path.parent)
    assert [category.name for category in dataset.categories] == list(CLASSES)
    assert [category.id for category in dataset.categories] == [1, 2, 3]
    parts = [(n, part) for n, scene in enumerate(made) for part in scene.parts]
    found = dataset.annotations
    assert len(found) == len(parts) > 10
    boxes = np.array([part.xyxy for _, part in parts])
    np.testing.assert_array_equal(found.xywh[:, :2], boxes[:, :2])
    np.testing.assert_array_equal(found.xywh[:, 2:], boxes[:, 2:] - boxes[:, :2])
    np.testing.assert_array_equal(found.category_id, [part.class_id + 1 for _, part in parts])
    np.testing.assert_array_equal(found.area, [part.mask.sum() for _, part in parts])
    ids = [image.id for image in dataset.images]
    np.testing.assert_array_equal(found.image_id, [ids[n] for n, _ in parts])
    np.testing.assert_array_equal(found.is_crowd, [part.visible < 0.4 for _, part in parts])
    assert found.is_crowd.any()
    for image, scene in zip(dataset.images, made, strict=True):
        np.testing.assert_array_equal(cv2.imread(str(image.path)), scene.image)


@PYCOCOTOOLS_AND_NUMPY_2
def test_annotations_hold_masks_and_poses(written: tuple[Path, list[Scene], list[int]]) -> None:
    path, made, _ = written
    document = json.loads(path.read_text())
    annotations = iter(document["annotations"])
    for image, scene in zip(document["images"], made, strict=True):
        assert (image["width"], image["height"]) == (scene.image.shape[1], scene.image.shape[0])
        for part in scene.parts:
            one = next(annotations)
            packed = coco_mask.frPyObjects(one["segmentation"], *part.mask.shape)
            np.testing.assert_array_equal(coco_mask.decode(packed), part.mask)
            attributes = one["attributes"]
            assert (attributes["face"], attributes["defect"]) == (part.face, part.defect)
            assert attributes["visible"] == pytest.approx(part.visible, abs=1e-6)
            np.testing.assert_array_equal(attributes["pose"]["rotation"], part.pose.rotation)
            x, y, width, height = attributes["amodal_bbox"]
            assert (x, y, x + width, y + height) == part.amodal_xyxy


def test_no_scene_is_an_empty_dataset(tmp_path: Path) -> None:
    document = json.loads(write_coco(tmp_path, []).read_text())
    assert document["images"] == document["annotations"] == []


def test_what_breaks_off_leaves_no_annotations(
    tmp_path: Path, written: tuple[Path, list[Scene], list[int]]
) -> None:
    scene = written[1][0]
    write_coco(tmp_path, [scene])

    def failing() -> Iterator[Scene]:
        yield scene
        raise RuntimeError("the generator failed")

    with pytest.raises(RuntimeError, match="the generator failed"):
        write_coco(tmp_path, failing())
    assert [p.name for p in tmp_path.iterdir()] == ["000000.png"]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file: cannot be written"):
        write_coco(tmp_path / "file", [])
    with pytest.raises(InputError, match=r"name: expected a file name ending in \.json"):
        write_coco(tmp_path, [], name="../a.json")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
