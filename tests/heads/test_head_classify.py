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
from edgecv.heads.brands import classifier
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


def network(
    *outputs: tuple[int | None, ...], classes: int = 0, task: str | None = "classify", end: str = "Gemm"
) -> ModelFacts:
    """A network of a picture; with metadata as Ultralytics writes it where classes are given."""
    said = {"names": str({i: f"class{i}" for i in range(classes)}), "stride": "1"}
    if task is not None:
        said["task"] = task
    return ModelFacts(
        (TensorSpec("data", np.dtype(np.float32), (1, 3, 224, 224)),),
        tuple(TensorSpec(f"out{i}", np.dtype(np.float32), shape) for i, shape in enumerate(outputs)),
        said if classes else {},
        (224, 224),
        ends={"out0": end},
    )


CLASSIFIERS: dict[str, tuple[ModelFacts, bool, tuple[float, ...] | None]] = {
    "torchvision": (network((1, 1000)), False, (123.675, 116.28, 103.53)),
    "torchvision-softmax": (network((1, 1000), end="Softmax"), True, (123.675, 116.28, 103.53)),
    "open-batch": (network((None, 1000)), False, (123.675, 116.28, 103.53)),
    "pooled": (network((1, 1000, 1, 1)), False, (123.675, 116.28, 103.53)),
    "yolov5": (network((1, 3), classes=3, task=None), False, (123.675, 116.28, 103.53)),
    "ultralytics": (network((1, 3), classes=3, end="Softmax"), True, None),
    "ultralytics-open": (network((1, None), classes=3, end="Softmax"), True, None),
}


@pytest.mark.parametrize(("facts", "is_probability", "mean"), CLASSIFIERS.values(), ids=CLASSIFIERS)
def test_bare_classifiers_are_recognized(
    facts: ModelFacts, is_probability: bool, mean: tuple[float, ...] | None
) -> None:
    (reading,) = heads.recognize(facts)
    assert (reading.type, reading.params) == ("classify", Params("out0", is_probability))
    assert reading.input is not None
    assert (reading.input["resize"], reading.input.get("mean")) == ("crop", mean)


NO_CLASSIFIERS = {
    "another-number": network((1, 512)),
    "a-map": network((1, 1000, 7, 7)),
    "two-outputs": network((1, 1000), (1, 10)),
    "other-names": network((1, 4), classes=3),
    "another-task": network((1, 3), classes=3, task="segment"),
}


@pytest.mark.parametrize("facts", NO_CLASSIFIERS.values(), ids=NO_CLASSIFIERS)
def test_other_rows_of_numbers_are_left_alone(facts: ModelFacts) -> None:
    assert not [reading for reading in heads.recognize(facts) if reading.type == "classify"]


def test_who_says_that_it_classifies_is_believed() -> None:
    assert classifier.bare(network((1, 7))).params == Params("out0")
    with pytest.raises(HeadError, match=r"expected one of \(batch, classes\)"):
        classifier.bare(network((1, 7, 3)))


def test_a_draft_takes_the_first_row_of_scores() -> None:
    assert classify.draft(network((1, 4, 4), (1, 9))) == Params("out1")
    with pytest.raises(HeadError, match="one score a class"):
        classify.draft(network((1, 4, 4)))


def test_each_head_belongs_to_one_task() -> None:
    assert heads.that_do("classify") == ["classify"]
    assert set(heads.that_do("detect")) == set(heads.HEADS) - {"classify"}
