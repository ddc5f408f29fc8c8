"""Scenes come back from a COCO data set as they were."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
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
    CocoFolder,
    Scene,
    SceneSpec,
    coco,
    make_belt,
    make_scene,
    mask_to_rle,
    write_coco,
)

Written = tuple[Path, list[Scene], list[int]]

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
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp("coco") / "new" / "set"
    made = [make_scene(seed, SceneSpec(parts=(4, 9), defect_rate=0.5)) for seed in (3, 4)]
    made += list(make_belt(1, 2, BeltSpec((320, 240), 30.0)))
    counted: list[int] = []
    report = write_coco(folder, iter(made), progress=counted.append)
    return Path(report.annotations), made, counted


def test_the_folder_is_a_dataset(written: Written) -> None:
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
def test_annotations_hold_masks_and_poses(written: Written) -> None:
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


def test_the_report_counts_what_was_written(tmp_path: Path, written: Written) -> None:
    _, made, _ = written
    report = write_coco(tmp_path, made)
    parts = [part for scene in made for part in scene.parts]
    assert report.images == len(made)
    assert report.parts == {name: sum(part.name == name for part in parts) for name in CLASSES}
    assert report.hidden == sum(part.visible < 0.4 for part in parts) > 0
    assert report.as_dict()["annotations"] == str(tmp_path / "instances.json")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_no_scene_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="scenes: expected at least one"):
        write_coco(tmp_path / "new" / "set", [])
    assert names(tmp_path) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_what_breaks_off_leaves_what_was_there(
    tmp_path: Path, written: Written, error: type[BaseException]
) -> None:
    first, second = written[1][:2]
    write_coco(tmp_path / "set", [first, first])

    def failing() -> Iterator[Scene]:
        yield second
        raise error("the generator failed")

    before = {path.name: path.read_bytes() for path in (tmp_path / "set").iterdir()}
    with pytest.raises(error, match="the generator failed"):
        write_coco(tmp_path / "set", failing())
    assert {path.name: path.read_bytes() for path in (tmp_path / "set").iterdir()} == before
    with pytest.raises(error):
        write_coco(tmp_path / "new" / "set", failing())
    assert names(tmp_path) == ["set"]


def test_ctrl_c_completes_the_folder_with_what_is_finished(tmp_path: Path, written: Written) -> None:
    with contextlib.suppress(KeyboardInterrupt), CocoFolder(tmp_path / "set") as folder:
        folder.write(written[1][0])
        folder.write(written[1][1])
        raise KeyboardInterrupt
    assert names(tmp_path / "set") == ["000000.png", "000001.png", "instances.json"]
    assert len(open_dataset(tmp_path / "set")) == folder.report.images == 2


def test_ctrl_c_before_the_first_scene_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), CocoFolder(tmp_path / "set"):
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_a_scene_that_ctrl_c_cuts_off_is_left_out(
    tmp_path: Path, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = written[1][0]
    with contextlib.suppress(KeyboardInterrupt), CocoFolder(tmp_path) as folder:
        folder.write(scene)
        monkeypatch.setattr(coco, "_annotation", interrupted)
        folder.write(scene)
    assert names(tmp_path) == ["000000.png", "instances.json"]
    assert len(open_dataset(tmp_path)) == 1


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("at", range(6))
def test_a_second_ctrl_c_does_not_cost_the_dataset(
    tmp_path: Path, written: Written, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """The interruption comes at each of the files that are moved."""
    first, second = written[1][:2]
    write_coco(tmp_path, [first, first, first])
    moves = iter(range(99))
    replace = Path.replace

    def move(self: Path, target: Path) -> Path:
        if next(moves) == at:
            raise KeyboardInterrupt
        return replace(self, target)

    folder = CocoFolder(tmp_path)
    folder.write(second)
    folder.write(first)
    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(Path, "replace", move)
        folder.close()
    assert names(tmp_path) == ["000000.png", "000001.png", "instances.json"]
    images = open_dataset(tmp_path).images
    np.testing.assert_array_equal(cv2.imread(str(images[0].path)), second.image)
    np.testing.assert_array_equal(cv2.imread(str(images[1].path)), first.image)


def test_a_smaller_dataset_replaces_a_larger_one(tmp_path: Path, written: Written) -> None:
    write_coco(tmp_path, written[1])
    write_coco(tmp_path, written[1][:1])
    assert names(tmp_path) == ["000000.png", "instances.json"]


def test_what_cannot_be_written_is_told_and_leaves_nothing(
    tmp_path: Path, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, _: bytes) -> None:
        raise OutputError(f"{path}: no space left")

    monkeypatch.setattr(coco, "write_whole", full)
    with pytest.raises(OutputError, match="no space left"):
        write_coco(tmp_path / "set", written[1][:1])
    assert names(tmp_path) == []


def foreign_file(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")


def foreign_picture(folder: Path) -> None:
    (folder / "000007.png").write_bytes(b"mine")


def foreign_annotations(folder: Path) -> None:
    text = (folder / "instances.json").read_text()
    (folder / "instances.json").write_text(text.replace("generated scenes", "photographs"))


def damaged_annotations(folder: Path) -> None:
    (folder / "instances.json").write_text("[" * 100_000)


@pytest.mark.parametrize("change", [foreign_file, foreign_picture, foreign_annotations, damaged_annotations])
def test_a_folder_with_anything_else_is_left_alone(
    tmp_path: Path, written: Written, change: Callable[[Path], None]
) -> None:
    write_coco(tmp_path, written[1][:1])
    change(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(OutputError, match="expected an empty or new folder, or generated scenes") as caught:
        write_coco(tmp_path, written[1][:1])
    assert "\n" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file: cannot be written"):
        write_coco(tmp_path / "file", [])
    with pytest.raises(OutputError, match="cannot be written"):
        write_coco(tmp_path / "a\0b", [])
    assert names(tmp_path) == ["file"]
