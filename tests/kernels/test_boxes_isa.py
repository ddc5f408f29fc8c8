"""Every kernel of ext/boxes on every built ISA: the same bits as brute force, around the lane counts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from edgecv import _boxes, _isa, boxes
from edgecv.errors import UnavailableError
from tests import boxes_reference as reference
from tests.kernels.isas import LANES, forced

F32, I32 = np.float32, np.int32


def lengths(isa: str) -> list[int]:
    lanes = LANES[isa]
    return [0, 1, lanes - 1, lanes, lanes + 1, 3 * lanes + 2, 4 * lanes, 5 * lanes + 3]


CASES = [(isa, n) for isa in _isa.built() for n in lengths(isa)]


@pytest.fixture
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """The kernels of one ISA, for one test."""
    yield from forced(_boxes, request.param)


each_isa = pytest.mark.parametrize("isa", _isa.built(), indirect=True)
each_length = pytest.mark.parametrize(
    ("isa", "n"), CASES, ids=[f"{isa}-n{n}" for isa, n in CASES], indirect=["isa"]
)


def hostile(rng: np.random.Generator, shape: Any, fraction: float) -> Any:
    """Numbers of 0 to 1 with few distinct values, some replaced by hostile ones."""
    values = (rng.integers(0, 64, shape) / 64).astype(F32)
    odd = rng.choice(np.array(reference.HOSTILE, F32), shape)
    return np.where(rng.random(shape) < fraction, odd, values).astype(F32)


def random_boxes(rng: np.random.Generator, n: int, fraction: float) -> Any:
    corner = rng.integers(0, 12, (n, 2))
    xyxy = np.concatenate([corner, corner + rng.integers(1, 9, (n, 2))], axis=1)
    odd = rng.choice(np.array([*reference.HOSTILE, 1e30, -1e30, 1e19], F32), (n, 4))
    return np.where(rng.random((n, 4)) < fraction, odd, xyxy).astype(F32)


def check_select(scores: Any, objectness: Any, thresholds: list[Any]) -> None:
    for threshold in thresholds:
        for multi_label in (False, True):
            expected = reference.select(scores, threshold, objectness, multi_label)
            for view in (scores, np.ascontiguousarray(scores.T).T):
                row, class_id, confidence = boxes.select(
                    view, threshold, objectness=objectness, multi_label=multi_label
                )
                got = list(zip(row.tolist(), class_id.tolist(), confidence.tolist(), strict=True))
                assert got == expected


@each_length
@pytest.mark.parametrize("fraction", [0.0, 0.1], ids=["plain", "hostile"])
def test_f32_select(isa: str, n: int, fraction: float) -> None:
    rng = np.random.default_rng(n)
    for rows, classes in ((n, 7), (9, max(n, 1)), (n, n)):
        scores = hostile(rng, (rows, classes), fraction)
        objectness = hostile(rng, rows, 3 * fraction)
        per_class = rng.choice(np.array([0.25, 0.5, 0.75], F32), classes)
        check_select(scores, None, [0.5, per_class])
        check_select(scores, objectness, [0.5, 0.0, -0.5, per_class])


@each_isa
def test_f32_select_ties_that_only_rounding_makes(isa: str) -> None:
    """Distinct scores whose products with the objectness round to one number: the lower class wins."""
    score = F32(0.9)
    scores = np.full((40, 40), score, F32)
    scores[:, 20] = np.nextafter(score, F32(1))
    objectness = np.full(40, 1.17, F32)
    while objectness[0] * score != objectness[0] * scores[0, 20]:
        objectness = np.nextafter(objectness, F32(2))
    check_select(scores, objectness, [0.5])


@each_isa
@pytest.mark.parametrize("objectness", [0.0, -0.0, -1.0, np.inf, np.nan, 3e38, -3e38], ids=str)
def test_f32_select_where_the_largest_score_tells_nothing(isa: str, objectness: float) -> None:
    """An infinite score in every lane, which hides the finite products of the other classes."""
    scores = np.full((40, 40), 0.5, F32)
    scores[:, :16] = np.inf
    check_select(scores, np.full(40, objectness, F32), [-0.75, 0.0, 0.25])


@each_isa
def test_f32_select_over_blocks(isa: str) -> None:
    """More rows than one block, an odd number, candidates at every position of a vector."""
    rng = np.random.default_rng(3)
    scores = (rng.random((2500, 5)) ** 30).astype(F32)
    for limit in (30_000, 40):
        expected = reference.select(scores, 0.3, None, True, limit)
        for view in (scores, np.ascontiguousarray(scores.T).T):
            row, class_id, confidence = boxes.select(view, 0.3, multi_label=True, max_candidates=limit)
            got = list(zip(row.tolist(), class_id.tolist(), confidence.tolist(), strict=True))
            assert got == expected


@each_length
@pytest.mark.parametrize("method", ["greedy", "diou"])
@pytest.mark.parametrize("fraction", [0.0, 0.05], ids=["plain", "hostile"])
def test_f32_any_over(isa: str, n: int, method: Any, fraction: float) -> None:
    rng = np.random.default_rng(n)
    for _ in range(4):
        xyxy, confidence = random_boxes(rng, n, fraction), hostile(rng, n, fraction)
        for iou in (0.0, 0.3, 0.7):
            kept = boxes.nms(xyxy, confidence, iou=iou, method=method)
            assert kept.tolist() == reference.nms(xyxy, confidence, iou=iou, method=method)


@each_length
@pytest.mark.parametrize("fraction", [0.0, 0.1], ids=["plain", "hostile"])
def test_f32_iou_row(isa: str, n: int, fraction: float) -> None:
    rng = np.random.default_rng(n)
    a, b = random_boxes(rng, 6, fraction), random_boxes(rng, n, fraction)
    np.testing.assert_array_equal(boxes.iou(a, b), reference.iou(a, b))


@each_length
def test_f32_soft_linear(isa: str, n: int) -> None:
    rng = np.random.default_rng(n)
    xyxy, confidence = random_boxes(rng, n, 0.05), hostile(rng, n, 0.1)
    index, decayed = boxes.soft_nms(xyxy, confidence, method="linear")
    expected = reference.soft_nms(xyxy, confidence, method="linear")
    assert list(zip(index.tolist(), decayed.tolist(), strict=True)) == expected


@each_length
@pytest.mark.parametrize("sigma", [0.5, 1e-3])
def test_f32_soft_gaussian(isa: str, n: int, sigma: float) -> None:
    """Each pair decays by exp(-IoU * IoU / sigma), to the rounding of the exponent; by exp(-87) to 0."""
    rng = np.random.default_rng(n)
    a, b = random_boxes(rng, n, 0.0), random_boxes(rng, n, 0.0)
    pairs = np.stack([a, b], axis=1)
    overlap = np.array([reference.iou(pair[:1], pair[1:])[0, 0] for pair in pairs])
    exponent = overlap.astype(float) ** 2 / sigma
    expected = 0.5 * np.exp(-exponent)
    confidence = np.tile(np.array([0.9, 0.5], F32), n)
    class_id = np.repeat(np.arange(n), 2).astype(I32)
    index, decayed = boxes.soft_nms(pairs.reshape(-1, 4), confidence, class_id, sigma=sigma, threshold=0)
    got = np.zeros(2 * n)
    got[index] = decayed
    np.testing.assert_array_equal(got[::2], confidence[::2])
    error = np.abs(got[1::2] - expected)
    is_zero = exponent > 87
    assert (error <= 2e-7 * (1 + exponent) * expected)[~is_zero].all()
    assert (got[1::2][is_zero] == 0).all()


@each_length
def test_a_nan_is_found_anywhere(isa: str, n: int) -> None:
    values = np.full(max(n, 1), np.inf, F32)
    assert not boxes.has_nan(values)
    for i in range(len(values)):
        values[i] = np.nan
        assert boxes.has_nan(values)
        values[i] = -np.inf


# SHA-256 of all results below, from the baseline code: the same on x86 and on ARM.
DIGEST = "a4c3560d3fed8425aebf477fb70678c9c0a970243d0da7780ebea1f78408679c"


@each_isa
def test_all_isas_give_the_same_bits(isa: str) -> None:
    """Gaussian decay too, whose exponential no other library rounds alike."""
    rng = np.random.default_rng(12)
    corner, size = rng.integers(0, 2000, (360, 2)), rng.integers(40, 900, (360, 2))
    xyxy = (np.concatenate([corner, corner + size], axis=1) / 7).astype(F32)
    confidence = (rng.integers(1, 1000, 360) / 1001).astype(F32)
    class_id = rng.integers(0, 3, 360).astype(I32)
    scores = (rng.integers(0, 1000, (300, 19)) / 1001).astype(F32)
    results = [
        *boxes.select(scores, 0.7, objectness=scores[:, 0], multi_label=True),
        *boxes.select(scores, 0.9),
        boxes.nms(xyxy, confidence, class_id),
        boxes.nms(xyxy, confidence, class_id, method="diou"),
        *boxes.soft_nms(xyxy, confidence, class_id),
        *boxes.soft_nms(xyxy, confidence, sigma=0.05),
        *boxes.soft_nms(xyxy, confidence, method="linear"),
        boxes.iou(xyxy, xyxy),
    ]
    assert all(len(result) > 20 for result in results)
    assert hashlib.sha256(b"".join(result.tobytes() for result in results)).hexdigest() == DIGEST


@pytest.mark.parametrize("label", _isa.built())
def test_edgecv_isa_chooses_the_kernels(label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _boxes.isa()
    monkeypatch.setenv("EDGECV_ISA", label)
    if label not in _isa.usable():
        with pytest.raises(UnavailableError, match=f"EDGECV_ISA={label}: not supported by this CPU"):
            _boxes.use_isa()
        return
    _boxes.use_isa()
    assert _boxes.isa() == label
    _boxes.use_isa(before)
