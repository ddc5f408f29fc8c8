"""What no network gives whose outputs are read rightly is an error, and not an empty picture."""

from __future__ import annotations

import numpy as np
import pytest

from edgecv.errors import HeadError
from edgecv.pipelines import selection
from edgecv.pipelines.detector import DetectorSettings
from edgecv.types import Candidates


def found(*confidence: float) -> Candidates:
    n = len(confidence)
    return Candidates(np.zeros((n, 4), np.float32), np.array(confidence, np.float32), np.zeros(n, np.int32))


FINE = np.zeros((3, 5), np.float32)
BROKEN = np.array([[0, np.inf, -np.inf], [0, np.nan, 0]], np.float32)


@pytest.mark.parametrize(
    ("confidence", "output"),
    [
        pytest.param([], FINE, id="nothing-there"),
        pytest.param([], BROKEN[:1], id="infinite"),
        pytest.param([], np.zeros((0, 5), np.float32), id="no-rows"),
        pytest.param([], np.array([7]), id="whole-numbers"),
        pytest.param([0.9, 1.0], FINE, id="probabilities"),
        pytest.param([1.005], FINE, id="half-precision"),
    ],
)
def test_what_a_network_can_give(confidence: list[float], output: np.ndarray) -> None:
    selection.check(found(*confidence), {"out": output}, "boxes")


@pytest.mark.parametrize(
    ("confidence", "output", "message"),
    [
        pytest.param([0.5, 315.0], FINE, "boxes head: a confidence of 315: expected 0 to 1", id="pixels"),
        pytest.param([0.5, 1.02], FINE, "a confidence of 1.02", id="a-little-over"),
        pytest.param([np.nan], FINE, "a confidence of nan", id="nan"),
        pytest.param([], BROKEN, "output 'out' has a NaN", id="nan-that-no-threshold-passes"),
        pytest.param([], BROKEN.astype(np.float16), "output 'out' has a NaN", id="nan-in-half"),
    ],
)
def test_what_it_cannot(confidence: list[float], output: np.ndarray, message: str) -> None:
    with pytest.raises(HeadError, match=message):
        selection.check(found(*confidence), {"out": output}, "boxes")


@pytest.mark.parametrize(("agnostic", "kept"), [(False, [0, 1]), (True, [0])], ids=["per-class", "agnostic"])
def test_duplicates_of_other_classes(agnostic: bool, kept: list[int]) -> None:
    box = np.array([[0, 0, 9, 9]] * 2, np.float32)
    twins = Candidates(box, np.array([0.9, 0.8], np.float32), np.array([0, 1], np.int32))
    settings = DetectorSettings(conf=0.1, iou=0.5, max_det=9, agnostic=agnostic)
    assert selection.suppress(twins, settings).tolist() == kept


@pytest.mark.parametrize(
    ("max_per_class", "max_det", "kept"),
    [
        pytest.param(None, 9, [0, 1, 2, 3, 4], id="any-number"),
        pytest.param(1, 9, [0, 2], id="best-of-each"),
        pytest.param(2, 9, [0, 1, 2, 4], id="two-of-each"),
        pytest.param(2, 3, [0, 1, 2], id="all-together-fewer"),
    ],
)
def test_so_many_of_a_class(max_per_class: int | None, max_det: int, kept: list[int]) -> None:
    corner = np.arange(0, 100, 20, dtype=np.float32)[:, None]
    apart = Candidates(
        np.concatenate([corner, corner, corner + 9, corner + 9], axis=1),
        np.array([0.9, 0.8, 0.7, 0.6, 0.5], np.float32),
        np.array([0, 0, 1, 0, 1], np.int32),
    )
    settings = DetectorSettings(conf=0.1, iou=0.5, max_det=max_det, max_per_class=max_per_class)
    assert selection.suppress(apart, settings).tolist() == kept
