"""Cards with real weights: what a detector finds in photos, beside ONNX Runtime's outputs in plain loops."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import edgecv
from edgecv import zoo
from edgecv.graph.model import OnnxModel
from edgecv.importers import read_model
from edgecv.media import read_image
from edgecv.types import Detections, FrameTransform
from tests import boxes_reference
from tests.heads import literal_anchors, literal_boxes, literal_distances, literal_grids, literal_yolo
from tests.heads.literal import Outputs, Row, candidates

PHOTOS = ("data/photos/bus.jpg", "data/photos/dog.jpg", "data/coco80/images/000000064523.jpg")
Literal = Callable[[Outputs, Mapping[str, Any], tuple[int, int]], list[Row]]


def by_stride(literal: Literal, **roles: str) -> Literal:
    """roles: the literal's own name of an output, without its stride, by the role that the card gives it."""

    def rows(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
        strides = params.get("strides", (8, 16, 32))
        named = {
            f"{own}{stride}": outputs[name]
            for role, own in roles.items()
            for stride, name in zip(strides, params[role], strict=True)
        }
        return literal(named, params, blob_wh)

    return rows


def face_mask(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
    def priors(size_wh: tuple[int, int]) -> list[list[literal_anchors.Prior]]:
        return literal_anchors.face_mask(size_wh, literal_anchors.FACE_MASK)

    rows: list[Row] = literal_anchors.literal(priors, literal_anchors.JOINED)(outputs, params, blob_wh)
    return rows


# Card -> what its outputs mean. Photos have none of the parts that parts-nano finds.
LITERAL: dict[str, Literal] = {
    "yolox-nano-416": literal_yolo.yolox,
    "light-person-detector": literal_yolo.yolox,
    "nanodet-m-416": literal_grids.nanodet,
    "fastestdet-352": literal_grids.fastestdet,
    "yunet-n-640": literal_grids.yunet,
    "picodet-s-320": by_stride(literal_distances.picodet, scores="cls", boxes="reg"),
    "scrfd-500m-kps": by_stride(literal_distances.scrfd, scores="score", boxes="bbox", keypoints="kps"),
    "ultraface-rfb-320": literal_boxes.ssd_priors,
    "ultraface-rfb-640": literal_boxes.ssd,
    "face-mask-260": face_mask,
}


def test_every_detector_that_comes_with_edgecv_is_here() -> None:
    known = {one.card.name for one in zoo.entries().values() if one.card.task == "detect"}
    assert set(LITERAL) == known - {"parts-nano"}


def expected(
    rows: list[Row], settings: Any, transform: FrameTransform
) -> tuple[Any, Any, Any, list[Any] | None]:
    """Boxes in pixels of the frame, confidences, classes and keypoints, best first."""
    found = candidates(rows, settings.conf, multi_label=False, most=30_000)
    xyxy = np.array([one.xyxy for one in found], np.float32).reshape(-1, 4)
    confidence = np.array([one.confidence for one in found], np.float32)
    class_id = np.array([one.class_id for one in found], np.int32)
    groups = None if settings.agnostic else class_id
    keep = boxes_reference.nms(xyxy, confidence, groups, iou=settings.iou, max_det=settings.max_det)
    points = [found[i].keypoints for i in keep]
    on_frame = transform.boxes_to_frame(xyxy[keep])
    return on_frame, confidence[keep], class_id[keep], points if points and points[0] else None


def compare(
    got: Detections, wanted: tuple[Any, Any, Any, list[Any] | None], size_wh: tuple[int, int]
) -> None:
    xyxy, confidence, class_id, _ = wanted
    assert got.class_id.tolist() == class_id.tolist()
    np.testing.assert_allclose(got.confidence, confidence, atol=1e-4)
    np.testing.assert_allclose(got.xyxy, xyxy, atol=1e-3 * max(size_wh))


@pytest.mark.parametrize("name", LITERAL)
def test_finds_what_onnxruntime_and_the_formula_find(
    name: str, shared: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    ort = pytest.importorskip("onnxruntime", reason="the reference runs on ONNX Runtime")
    monkeypatch.setenv("EDGECV_MODELS", str(shared("models")))
    entry = zoo.find(name)
    model: OnnxModel = read_model(*zoo.files_of(entry))
    session = ort.InferenceSession(model.data, providers=["CPUExecutionProvider"])
    assert entry.card.head is not None
    params = stated(entry.folder / "model.json")
    names = [spec.name for spec in model.facts.outputs]
    count = 0
    with edgecv.load(name, backend="simd", threads=1) as detector:
        for photo in PHOTOS:
            frame = read_image(shared(photo))
            got = detector(frame)
            transform = detector.preprocess(frame)
            raw = session.run(names, {detector.eye.name: detector.eye.blob})
            outputs = {key: array[0] for key, array in zip(names, raw, strict=True)}
            rows = LITERAL[name](outputs, params, detector.blob_wh)
            wanted = expected(rows, detector.settings, transform)
            compare(got, wanted, transform.frame_wh)
            if wanted[3] is not None:
                assert got.keypoints is not None
                points = transform.points_to_frame(np.array(wanted[3], np.float32)[..., :2])
                np.testing.assert_allclose(
                    got.keypoints[..., :2], points, atol=1e-3 * max(transform.frame_wh)
                )
            count += len(got)
    assert count >= 2


def stated(path: Path) -> dict[str, Any]:
    """The fields of a card's head as it states them, tuples in place of lists."""

    def frozen(value: Any) -> Any:
        return tuple(map(frozen, value)) if isinstance(value, list) else value

    head = msgspec.json.decode(path.read_bytes())["head"]
    return {key: frozen(value) for key, value in head.items() if value is not None}
