"""The classification head: which outputs it takes, and the probabilities that it makes of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgecv import heads
from edgecv.errors import HeadError
from edgecv.heads import classify
from edgecv.heads.classify import Params, probabilities
from edgecv.types import ModelFacts, TensorSpec

SCORES = np.array([1.0, -2.0, 0.5], np.float32)


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores.astype(np.float64) - scores.max())
    return powers / powers.sum()


@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 1, 1)], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
def test_scores_become_probabilities(shape: tuple[int, ...], dtype: type) -> None:
    output = SCORES.astype(dtype).reshape(shape)
    output.flags.writeable = False
    got = probabilities({"prob": output}, Params(output="prob"))
    assert (got.shape, got.dtype) == ((3,), np.float32)
    np.testing.assert_allclose(got, softmax(SCORES), rtol=1e-6)


def test_probabilities_stay_as_they_are() -> None:
    output = np.array([0.25, 0.5, 0.125], np.float32)
    got = probabilities({"prob": output}, Params(output="prob", is_probability=True))
    np.testing.assert_array_equal(got, output)


MISFITS = {
    "a map of scores": ({"prob": np.zeros((3, 2, 2), np.float32)}, r"got \(3, 2, 2\)"),
    "a row of rows": ({"prob": np.zeros((1, 3), np.float32)}, r"got \(1, 3\)"),
    "one number": ({"prob": np.zeros((), np.float32)}, r"got \(\)"),
    "no class": ({"prob": np.zeros(0, np.float32)}, r"got \(0,\)"),
    "whole numbers": ({"prob": np.zeros(3, np.int64)}, "expected floating point, got int64"),
    "another output": ({"logits": SCORES}, "no output 'prob'; it has logits"),
}


@pytest.mark.parametrize(("outputs", "message"), MISFITS.values(), ids=MISFITS)
def test_other_outputs_are_refused(outputs: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(HeadError, match=message):
        probabilities(outputs, Params(output="prob"))


@pytest.mark.parametrize("is_probability", [False, True])
@given(scores=arrays(np.float32, st.integers(1, 9), elements=st.floats(width=32)))
def test_hostile_scores_stay_between_0_and_1(is_probability: bool, scores: np.ndarray) -> None:
    got = probabilities({"prob": scores}, Params(output="prob", is_probability=is_probability))
    assert got.shape == scores.shape
    assert ((got >= 0) & (got <= 1)).all()


def test_the_largest_of_huge_scores_wins() -> None:
    scores = np.array([3e38, np.inf, -np.inf, np.nan, -3e38], np.float32)
    got = probabilities({"prob": scores}, Params(output="prob"))
    np.testing.assert_allclose(got, [0, 1, 0, 0, 0], atol=0.51)
    assert got[1] >= got[0]
    assert got[2:].tolist() == [0, 0, 0]


def test_a_bare_network_is_never_taken_for_a_classifier() -> None:
    specs = (
        TensorSpec("data", np.dtype(np.float32), (1, 3, 8, 8)),
        TensorSpec("prob", np.dtype(np.float32), (1, 1000)),
    )
    assert classify.recognize(ModelFacts(specs[:1], specs[1:])) is None


def test_each_head_belongs_to_one_task() -> None:
    assert heads.that_do("classify") == ["classify"]
    assert set(heads.that_do("detect")) == set(heads.HEADS) - {"classify"}
