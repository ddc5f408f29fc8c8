"""Every head against the literal definition of its network, on random, hostile and misshapen outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv import boxes, heads
from edgecv.errors import HeadError
from edgecv.heads.base import Query, join
from edgecv.types import Candidates
from tests.heads.literal_decode import CASES, Case, Found, Outputs, candidates

BLOBS = [(64, 64), (160, 64), (40, 104)]
HOSTILE = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-40, -1.0, 1e9], np.float32)

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)


def decode(case: Case, outputs: Outputs, query: Query) -> Candidates:
    module, params = heads.params_from({"type": case.type, **case.params})
    return module.decode(outputs, params, query)


def read_only(outputs: Outputs) -> Outputs:
    for array in outputs.values():
        array.flags.writeable = False
    return outputs


def assert_equal(got: Candidates, expected: list[Found]) -> None:
    assert got.class_id.tolist() == [found.class_id for found in expected]
    assert (got.xyxy.dtype, got.confidence.dtype, got.class_id.dtype) == (
        np.float32,
        np.float32,
        np.int32,
    )
    assert got.xyxy.shape == (len(expected), 4)
    np.testing.assert_allclose(got.confidence, [f.confidence for f in expected], rtol=2e-6)
    np.testing.assert_allclose(got.xyxy.reshape(-1), np.ravel([f.xyxy for f in expected]), 1e-4, 1e-3)
    if expected and expected[0].keypoints is not None:
        assert got.keypoints is not None
        assert got.keypoints.dtype == np.float32
        np.testing.assert_allclose(got.keypoints, [f.keypoints for f in expected], 1e-4, 1e-3)
    if expected and expected[0].xywhr is not None:
        assert got.xywhr is not None
        assert got.xywhr.dtype == np.float32
        np.testing.assert_allclose(got.xywhr, [f.xywhr for f in expected], 1e-4, 1e-3)


def thresholds(low: float, high: float, classes: int) -> NDArray[np.float32]:
    return np.linspace(low, high, classes, dtype=np.float32)


@each_case
@pytest.mark.parametrize("blob_wh", BLOBS, ids=str)
@pytest.mark.parametrize(
    ("confidence", "multi_label", "most"),
    [
        pytest.param(0.3, False, 30_000, id="best-class"),
        pytest.param(0.3, True, 30_000, id="multi-label"),
        pytest.param((0.2, 0.8), False, 30_000, id="best-class-per-class"),
        pytest.param((0.8, 0.1), True, 30_000, id="multi-label-per-class"),
        pytest.param(0.0, True, 30_000, id="all"),
        pytest.param(1.0, True, 30_000, id="none"),
        pytest.param(0.1, True, 7, id="capped"),
        pytest.param(0.1, False, 7, id="best-class-capped"),
    ],
)
def test_decode_follows_the_definition(
    case: Case, blob_wh: tuple[int, int], confidence: Any, multi_label: bool, most: int
) -> None:
    for classes in case.classes:
        outputs = read_only(case.make(np.random.default_rng(classes), blob_wh, classes))
        threshold = thresholds(*confidence, classes) if isinstance(confidence, tuple) else confidence
        query = Query(blob_wh, threshold, multi_label, most)
        wanted = (multi_label, most) if case.top is None else (True, min(case.top, most))
        expected = candidates(case.literal(outputs, case.params, blob_wh), threshold, *wanted)
        got = decode(case, outputs, query)
        assert_equal(got, expected)
        assert got.needs_nms == case.needs_nms


@each_case
def test_the_table_has_candidates(case: Case) -> None:
    """Were the random outputs all under the threshold, the comparison above would say nothing."""
    for classes in case.classes:
        outputs = case.make(np.random.default_rng(classes), (64, 64), classes)
        rows = case.literal(outputs, case.params, (64, 64))
        assert 0 < len(candidates(rows, 0.3, True, 30_000)) < len(rows) * classes


@each_case
@pytest.mark.parametrize("multi_label", [False, True], ids=["best-class", "multi-label"])
def test_hostile_values_neither_crash_nor_win(case: Case, multi_label: bool) -> None:
    classes = case.classes[-1]
    for seed in range(10):
        rng = np.random.default_rng(seed)
        outputs = case.make(rng, (64, 64), classes)
        for array in outputs.values():
            hit = rng.uniform(size=array.shape) < (0.02, 0.3)[seed % 2]
            array[hit] = rng.choice(HOSTILE, int(hit.sum()))
        for confidence in (0.1, thresholds(0.1, 0.4, classes)):
            got = decode(case, outputs, Query((64, 64), confidence, multi_label))
            assert np.isfinite(got.confidence).all()
            assert (got.confidence > 0.1).all()
            kept = got.xyxy[boxes.nms(got.xyxy, got.confidence, got.class_id)] if got.needs_nms else got.xyxy
            assert np.isfinite(kept).all()
            assert (kept[:, :2] < kept[:, 2:]).all()


@each_case
def test_outputs_of_nan_have_no_candidates(case: Case) -> None:
    outputs = case.make(np.random.default_rng(0), (64, 64), case.classes[0])
    outputs = {name: np.full_like(array, np.nan) for name, array in outputs.items()}
    for confidence in (0.0, thresholds(0, 0, case.classes[0])):
        for multi_label in (False, True):
            assert len(decode(case, outputs, Query((64, 64), confidence, multi_label))) == 0


@each_case
@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_precisions_are_converted(case: Case, dtype: type) -> None:
    outputs = case.make(np.random.default_rng(1), (64, 64), case.classes[0])
    given = {name: array.astype(dtype) for name, array in outputs.items()}
    same = {name: array.astype(np.float32) for name, array in given.items()}
    got, expected = (decode(case, each, Query((64, 64), 0.3)) for each in (given, same))
    np.testing.assert_array_equal(got.xyxy, expected.xyxy)
    np.testing.assert_array_equal(got.confidence, expected.confidence)


@pytest.mark.parametrize("case", [case for case in CASES if not case.is_free], ids=lambda case: case.id)
def test_misfits_are_head_errors_that_name_the_output(case: Case) -> None:
    outputs = case.make(np.random.default_rng(0), (64, 64), case.classes[0])
    kind = heads.params_from({"type": case.type, **case.params})[0].TYPE
    for name, array in outputs.items():
        others = {other: outputs[other] for other in outputs if other != name}
        leads = case.type in ("fastestdet", "yolo", "region", "detection", "detectnet")
        leads = leads or case.params.get("layout") == "channels-first"
        columns = 0 if leads or name in case.leading else -1
        for wrong in (
            array[None],
            array[0],
            array.take(range(3), axis=columns) if array.shape[columns] > 3 else array[:, :0],
            *([] if name in case.numbers else [array.astype(np.int32)]),
        ):
            with pytest.raises(HeadError, match=f"{kind} head: output '{name}' expected"):
                decode(case, {**others, name: wrong}, Query((64, 64), 0.3))
        with pytest.raises(HeadError, match=f"{kind} head: the model has no output '{name}'"):
            decode(case, {**others, "unrelated": array}, Query((64, 64), 0.3))


@pytest.mark.parametrize(
    "case",
    [
        case
        for case in CASES
        if case.type in ("nanodet", "fastestdet", "yunet", "distances", "heatmap", "grid")
        or case.id in ("yolox", "yolov5-raw")
    ],
    ids=lambda case: case.id,
)
def test_another_blob_size_is_a_head_error(case: Case) -> None:
    outputs = case.make(np.random.default_rng(0), (64, 64), case.classes[0])
    with pytest.raises(HeadError, match="do not fit this model"):
        decode(case, outputs, Query((128, 64), 0.3))


def test_end_to_end_rows_without_a_threshold_are_dropped() -> None:
    rows = np.array(
        [[1, 2, 3, 4, 0.9, 1], [1, 2, 3, 4, 0.8, 2], [1, 2, 3, 4, 0.7, -1], [1, 2, 3, 4, 0.6, 1e30]],
        np.float32,
    )
    module, params = heads.params_from({"type": "yolo_e2e"})
    per_class = module.decode({"output0": rows}, params, Query((8, 8), np.full(2, 0.5, np.float32)))
    assert per_class.class_id.tolist() == [1]
    assert module.decode({"output0": rows}, params, Query((8, 8), 0.5)).class_id.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("cls", "obj", "found"),
    [
        pytest.param(-5, -5, [], id="two-negatives"),
        pytest.param(4, 0.25, [], id="over-one-lifts-nothing"),
        pytest.param(4, 0.36, [0.6], id="over-one-counts-as-one"),
        pytest.param(0.5, 0.5, [], id="not-strictly-over"),
    ],
)
def test_yunet_clamps_scores_before_their_product(cls: float, obj: float, found: list[float]) -> None:
    roles = {"cls": (1, cls), "obj": (1, obj), "bbox": (4, 0), "kps": (10, 0)}
    outputs = {
        f"{role}_{stride}": np.full((1, columns), value if stride == 8 else 0, np.float32)
        for role, (columns, value) in roles.items()
        for stride in (8, 16, 32)
    }
    module, params = heads.params_from({"type": "yunet"})
    got = module.decode(outputs, params, Query((8, 8), 0.5))
    np.testing.assert_allclose(got.confidence, found, rtol=1e-6)


@pytest.mark.parametrize(
    ("levels", "most", "kept"),
    [
        pytest.param([[0.5, 0.9], [0.7]], 3, [0.5, 0.9, 0.7], id="all"),
        pytest.param([[0.5, 0.9], [0.7]], 2, [0.9, 0.7], id="best-in-order"),
        pytest.param([[0.5, 0.5], [0.5]], 2, [0.5, 0.5], id="ties-to-the-earlier"),
        pytest.param([[], []], 2, [], id="empty"),
        pytest.param([[0.5], []], 0, [], id="none"),
    ],
)
def test_join_keeps_the_best_in_order(levels: list[list[float]], most: int, kept: list[float]) -> None:
    parts = [(np.array(level), np.full(len(level), number)) for number, level in enumerate(levels)]
    confidence, level = join(parts, most)
    assert confidence.tolist() == kept
    assert level.tolist() == sorted(level.tolist())
    if len(set(kept)) == 1:
        assert level.tolist() == [0] * len(kept)
