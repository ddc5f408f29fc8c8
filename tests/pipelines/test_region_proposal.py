"""RegionProposal: two small networks end to end, against the definitions in NumPy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import edgecv
from edgecv import card as cards
from edgecv import image
from edgecv.backends import BACKENDS, Session
from edgecv.errors import BackendError, CardError, InputError, PlacementError, SessionBusyError
from edgecv.pipelines.detector import DetectorSettings
from edgecv.pipelines.region_proposal import RegionProposal
from edgecv.types import Detections
from tests import boxes_reference, rois_reference
from tests.networks import CLASSES, photo, tiny_roi, tiny_trunk

F32 = np.float32
ANCHORS = rois_reference.anchors(16, (0.5, 1, 2), (1, 2, 3))
HEAD: dict[str, Any] = {
    "type": "faster_rcnn",
    "features": "conv5",
    "anchors": ANCHORS.tolist(),
    "pre_nms": 150,
    "post_nms": 30,
    "min_size": 10.0,
    "pooled_wh": [3, 2],
}
INPUT: dict[str, Any] = {"name": "data", "size_wh": [96, 80], "resize": "stretch", "mean": [103, 116, 123]}
CARD: dict[str, Any] = {
    "schema": 2,
    "name": "tiny-faster-rcnn",
    "task": "detect",
    "format": "onnx",
    "inputs": [INPUT],
    "head": HEAD,
    "labels": ["nut", "bolt", "washer"],
}
SETTINGS = DetectorSettings(conf=0.3, iou=0.3, max_det=40)


def card_of(**changes: Any) -> cards.ModelCard:
    return cards.parse(json.dumps({**CARD, **changes}), origin="test")


@contextmanager
def pipeline(
    trunk: bytes | None = None,
    roi: bytes | None = None,
    *,
    backend: str = "onnxruntime",
    settings: DetectorSettings = SETTINGS,
    imgsz: tuple[int, int] | None = None,
    **changes: Any,
) -> Iterator[RegionProposal]:
    with (
        edgecv.compile(trunk or tiny_trunk(), backend=backend, threads=1) as first,
        edgecv.compile(roi or tiny_roi(), backend=backend, threads=1) as second,
        RegionProposal(
            {"trunk": first, "roi": second}, card_of(**changes), settings, imgsz=imgsz
        ) as detector,
    ):
        yield detector


def run(network: bytes, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    evaluator = ReferenceEvaluator(onnx.load_from_string(network))
    return dict(zip(evaluator.output_names, evaluator.run(None, dict(inputs)), strict=True))


def by_definition(
    frame: np.ndarray, trunk: bytes, roi: bytes, card: cards.ModelCard, asked: DetectorSettings
) -> Detections:
    """Every step in NumPy; `roi` takes any number of proposals."""
    assert card.head is not None
    params: Any = card.head.params
    settings = asked.for_card(card)
    assert settings.iou is not None
    assert settings.max_det is not None
    blob, place = image.to_blob(frame, card.image_input.blob_spec())
    first = {name: array[0] for name, array in run(trunk, {"data": blob}).items()}
    count = len(params.anchors)
    left, top = (max(offset, 0) for offset in place.offset_xy)
    proposals, _ = rois_reference.propose(
        first[params.rpn_scores][count:],
        first[params.rpn_deltas],
        np.array(params.anchors, F32),
        image_xyxy=(left, top, left + place.resized_wh[0], top + place.resized_wh[1]),
        stride=params.stride,
        min_wh=tuple(params.min_size * scale for scale in place.scale_xy),
        pre_nms=params.pre_nms,
        post_nms=params.post_nms,
        iou=params.nms_iou,
        inclusive=params.inclusive,
    )
    pooled = rois_reference.pool(first[params.features], proposals, params.pooled_wh, params.spatial_scale)
    found: list[tuple[np.ndarray, float, int]] = []
    extent = 1 if params.inclusive else 0
    whole = (0, 0, *place.blob_wh)
    second = run(roi, {"pool5": pooled})
    columns = second["bbox_pred"].shape[1] // 4
    boxes_of = second["bbox_pred"].reshape(-1, columns, 4)
    for proposal, scores, deltas in zip(proposals, second["cls_prob"], boxes_of, strict=True):
        for c in range(1, CLASSES + 1):
            delta = deltas[-1 if params.class_agnostic else c]
            delta = delta * np.array(params.stds, F32) + np.array(params.means, F32)
            box = rois_reference.decoded(proposal[None], delta[None], extent)
            box = rois_reference.clipped(box, whole, extent)[0]
            least = settings.conf if np.ndim(settings.conf) == 0 else np.asarray(settings.conf)[c - 1]
            wanted = settings.classes is None or c - 1 in settings.classes
            if scores[c] > least and wanted:
                found.append((box, float(scores[c]), c - 1))
    xyxy = np.array([box for box, _, _ in found], F32).reshape(-1, 4)
    confidence = np.array([score for _, score, _ in found], F32)
    class_id = np.array([number for _, _, number in found], np.int32)
    edges = xyxy + np.array([0, 0, extent, extent], F32)
    keep = boxes_reference.nms(edges, confidence, class_id, settings.iou, settings.max_det)
    return Detections(place.boxes_to_frame(xyxy[keep]), confidence[keep], class_id[keep])


def same(a: Detections, b: Detections, tolerance: float = 1e-3) -> None:
    np.testing.assert_array_equal(a.class_id, b.class_id)
    np.testing.assert_allclose(a.confidence, b.confidence, atol=1e-5)
    np.testing.assert_allclose(a.xyxy, b.xyxy, atol=tolerance)


CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}, {}),
    "exclusive": ({"inclusive": False}, {}, {}),
    "letterbox": ({}, {}, {"resize": "letterbox"}),
    "few-proposals": ({"post_nms": 7}, {}, {}),
    "more-than-at-once": ({"post_nms": 50, "nms_iou": 0.9}, {"rois": 16}, {}),
    "dynamic-roi": ({}, {"rois": "n"}, {}),
    "normalized-deltas": ({"means": [0.1, 0, 0, 0.2], "stds": [0.1, 0.1, 0.2, 0.2]}, {}, {}),
    "class-agnostic": ({"class_agnostic": True}, {"columns": 8}, {}),
    "one-box": ({"class_agnostic": True}, {"columns": 4}, {}),
    "other-bins": ({"pooled_wh": [2, 5], "spatial_scale": 0.05}, {"pooled_wh": (2, 5)}, {}),
    "smallest": ({"min_size": 40.0}, {}, {}),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_it_follows_the_definition(case: Any) -> None:
    head, second, blob = case
    frame = photo(150, 90)
    changes = {"head": {**HEAD, **head}, "inputs": [{**INPUT, **blob}]}
    roi = tiny_roi(**second)
    expected = by_definition(
        frame, tiny_trunk(), tiny_roi(**{**second, "rois": "n"}), card_of(**changes), SETTINGS
    )
    assert len(expected) > 2
    with pipeline(roi=roi, **changes) as detector:
        for _ in range(2):
            found = detector(frame)
            same(found, expected)
    assert found.names == ("nut", "bolt", "washer")
    assert found.timing is not None
    assert [stage for stage, ms in found.timing.stages if ms > 0] == list(RegionProposal.STAGES)
    assert found.placement == detector.placement


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(DetectorSettings(conf=0.05, iou=1.0, max_det=1000), id="all"),
        pytest.param(DetectorSettings(conf=0.05, iou=0.3, max_det=5), id="few"),
        pytest.param(DetectorSettings(conf=0.2, classes=(1,)), id="one-class"),
        pytest.param(DetectorSettings(conf=(0.1, 0.9, 0.3)), id="conf-per-class"),
        pytest.param(DetectorSettings(conf=0.999), id="none"),
    ],
)
def test_settings(settings: DetectorSettings) -> None:
    frame = photo(96, 80)
    expected = by_definition(frame, tiny_trunk(), tiny_roi(rois="n"), card_of(), settings)
    with pipeline(settings=settings) as detector:
        same(detector(frame), expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_and_a_batch(backend: str) -> None:
    reason = BACKENDS[backend].unavailable()
    if reason:
        pytest.skip(f"{backend}: {reason}")
    frames = [photo(150, 90, seed) for seed in range(3)] + [photo(60, 200)]
    with pipeline(backend=backend) as detector:
        detector.warm_up(1)
        singles = [detector(frame) for frame in frames]
        for single, of_batch in zip(singles, detector.batch(frames), strict=True):
            same(single, of_batch, 0)
        assert detector.batch([]) == []
        assert detector.placement.backend == backend
    for frame, single in zip(frames, singles, strict=True):
        expected = by_definition(frame, tiny_trunk(), tiny_roi(rois="n"), card_of(), SETTINGS)
        same(single, expected)


def test_what_a_frame_becomes_stage_by_stage() -> None:
    frame = photo(150, 90)
    with pipeline() as detector:
        seen = detector.inspect(frame)
        place = detector.eye.preprocess(frame)
        first = {name: array[0] for name, array in seen.outputs.items()}
        assert detector.propose(first, place).shape == (30, 4)
        assert detector(frame) == seen.found["detections"]
    assert set(seen.outputs) == {"conv5", "rpn_cls_prob_reshape", "rpn_bbox_pred"}
    assert list(seen.found) == list(RegionProposal.COMPARED)
    assert len(seen.found["candidates"]) >= len(seen.found["detections"])
    found = seen.found["detections"]
    same(found, by_definition(frame, tiny_trunk(), tiny_roi(rois="n"), card_of(), SETTINGS))


def test_no_proposals_are_no_detections() -> None:
    with pipeline(head={**HEAD, "min_size": 1e6}) as detector:
        assert len(detector(photo())) == 0


def test_a_dynamic_batch_of_the_trunk_is_one() -> None:
    with pipeline(tiny_trunk(batch="n")) as detector:
        assert detector.eye.blob.shape == (1, 3, 80, 96)
        assert len(detector.batch([photo(), photo()])) == 2


def test_another_size_of_the_blob() -> None:
    trunk = onnx.load_from_string(tiny_trunk(size_wh=(96, 80)))
    with (
        pytest.raises(InputError, match="got shape"),
        pipeline(trunk.SerializeToString(), imgsz=(64, 64)),
    ):
        pass


def test_memory_is_that_of_both() -> None:
    with pipeline() as detector:
        both = [detector.trunk.memory, detector.roi.memory]
        for part in ("weights", "arena"):
            values = [getattr(memory, part) for memory in both]
            assert getattr(detector.memory, part) == (None if None in values else sum(values))


def test_it_closes_both_sessions() -> None:
    with pipeline() as detector:
        detector.close()
        detector.close()
        for session in (detector.trunk, detector.roi):
            with pytest.raises(BackendError, match="closed"):
                session.empty_outputs()
        with pytest.raises(BackendError, match="this detector is closed"):
            detector(photo())


def test_one_thread_at_a_time() -> None:
    with pipeline() as detector, detector._exclusive, pytest.raises(SessionBusyError, match="detector"):
        detector(photo())


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "features": (
        {"head": {**HEAD, "features": "conv4"}},
        r"head\.features names 'conv4', and the outputs of trunk",
    ),
    "rpn_scores": ({"head": {**HEAD, "rpn_scores": "x"}}, r"head\.rpn_scores names 'x'"),
    "deltas": (
        {"head": {**HEAD, "deltas": "x"}},
        r"head\.deltas names 'x', and the outputs of roi are cls_prob",
    ),
    "bins": (
        {"head": {**HEAD, "pooled_wh": [7, 7]}},
        r"float32 \(proposals, 20, 7, 7\).*it has pool5: .*2, 3\)",
    ),
    "channels": (
        {"roi": tiny_roi(channels=21)},
        r"\(proposals, 20, 2, 3\) as conv5.*is pooled; it has pool5",
    ),
    "batch": ({"trunk": tiny_trunk(batch=2)}, "trunk takes 2 frames at once, expected one"),
    "head": (
        {"head": {"type": "yolov8", "output": "conv5"}},
        "with head boxes, which RegionProposal does not run",
    ),
    "input": ({"inputs": [{**INPUT, "name": "image"}]}, "names 'image'"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG)
def test_a_card_that_does_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CardError, match=message), pipeline(**changes):
        pass


def test_anchors_that_do_not_fit() -> None:
    with (
        pytest.raises(edgecv.errors.HeadError, match=r"'rpn_cls_prob_reshape' expected \(4, any, any\)"),
        pipeline(head={**HEAD, "anchors": ANCHORS[:2].tolist()}) as detector,
    ):
        detector(photo())


def test_stages_of_other_names() -> None:
    with edgecv.compile(tiny_trunk(), threads=1) as session, pytest.raises(CardError, match="got trunk"):
        RegionProposal({"trunk": session}, card_of(), SETTINGS)


def test_stages_that_run_apart() -> None:
    others = [name for name in BACKENDS if BACKENDS[name].unavailable() is None]
    if len(others) < 2:
        pytest.skip("one backend alone cannot run stages apart")
    with (
        edgecv.compile(tiny_trunk(), backend=others[0], threads=1) as first,
        edgecv.compile(tiny_roi(), backend=others[1], threads=1) as second,
    ):
        sessions: dict[str, Session[Any]] = {"trunk": first, "roi": second}
        with pytest.raises(PlacementError, match=r"would run apart, trunk with .*, roi with "):
            RegionProposal(sessions, card_of(), SETTINGS)


def test_a_card_with_stages_is_loaded(tmp_path: Path) -> None:
    stages: dict[str, dict[str, Any]] = {"trunk": {"inputs": [INPUT]}, "roi": {"head": HEAD}}
    for stage, network in {"trunk": tiny_trunk(), "roi": tiny_roi()}.items():
        path = tmp_path / f"tiny.{stage}.onnx"
        path.write_bytes(network)
        stages[stage]["files"] = [
            {"path": path.name, "sha256": hashlib.sha256(network).hexdigest(), "bytes": len(network)}
        ]
    whole = {field: value for field, value in CARD.items() if field not in ("inputs", "head")}
    card = {**whole, "stages": stages, "thresholds": {"conf": 0.3, "iou": 0.3}}
    (tmp_path / "model.json").write_bytes(msgspec.json.encode(card))
    frame = photo(150, 90)
    with edgecv.load(tmp_path / "model.json", backend="onnxruntime", threads=1) as detector:
        assert isinstance(detector, RegionProposal)
        found = detector(frame)
    same(found, by_definition(frame, tiny_trunk(), tiny_roi(rois="n"), card_of(), SETTINGS))
