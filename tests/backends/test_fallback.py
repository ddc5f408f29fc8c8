"""An ordered list of backends goes on, whatever keeps one of them from running; each reason is told once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import edgecv
from edgecv.backends import BACKENDS, CompileOptions, compile_model
from edgecv.backends.onnxruntime import OnnxRuntimeBackend
from edgecv.errors import (
    BackendError,
    BackendUnavailableError,
    CardError,
    EdgeCVError,
    InputError,
    ModelFileError,
    PlacementError,
    UnsupportedOperatorError,
)
from edgecv.importers import read_model
from tests.networks import tiny_yolov8

pytestmark = pytest.mark.skipif(
    BACKENDS["onnxruntime"].unavailable() is not None, reason=str(BACKENDS["onnxruntime"].unavailable())
)
ONE = CompileOptions(threads=1)
BLOB = np.zeros((1, 3, 64, 64), np.float32)


class Failing(OnnxRuntimeBackend):
    """A backend that compiles nothing."""

    def __init__(self, name: str, error: BaseException) -> None:
        self.name = name  # type: ignore[misc]
        self.error = error

    def compile(self, *_: Any) -> Any:
        raise self.error


@pytest.fixture
def first_fails() -> Iterator[Any]:
    """Registers backends that fail, before those that there are."""
    made: list[str] = []

    def register(*errors: BaseException) -> str:
        for number, error in enumerate(errors):
            made.append(f"failing{number}")
            BACKENDS[made[-1]] = Failing(made[-1], error)
        return ",".join(made)

    yield register
    for name in made:
        del BACKENDS[name]


REASONS: dict[str, tuple[BaseException, str]] = {
    "an operator": (UnsupportedOperatorError("node 'a' (B): not run"), "node 'a' (B): not run"),
    "an input": (InputError("input x: too small"), "input x: too small"),
    "the file": (ModelFileError("m: opset 99"), "m: opset 99"),
    "a card": (CardError("m: no such"), "m: no such"),
    "the placement": (PlacementError("failing0: int8 would run"), "int8 would run"),
    "the library": (BackendError("failing0: it\nfailed"), "it failed"),
    "what is not made yet": (NotImplementedError("no loops yet"), "no loops yet"),
    "what is not made yet, without a word": (NotImplementedError(), "NotImplementedError"),
    "memory": (MemoryError(), "not enough memory"),
    "so much memory": (MemoryError("8 GB"), "not enough memory: 8 GB"),
}


@pytest.mark.parametrize(("error", "why"), REASONS.values(), ids=REASONS)
def test_it_goes_on(first_fails: Any, error: BaseException, why: str) -> None:
    chain = f"{first_fails(error)},onnxruntime"
    with compile_model(read_model(tiny_yolov8()), chain, ONE) as session:
        assert session.placement.backend == "onnxruntime"
        assert session.placement.fallbacks == (("failing0", why),)
        assert f"; fell back from failing0: {why}" in str(session.placement)
        assert session.placement.as_dict()["fallbacks"] == [{"backend": "failing0", "reason": why}]
        session.run({"images": BLOB})


@pytest.mark.parametrize("error", [KeyboardInterrupt(), TypeError("a mistake of its own")], ids=repr)
def test_what_is_no_reason_is_raised(first_fails: Any, error: BaseException) -> None:
    with pytest.raises(type(error)):
        compile_model(read_model(tiny_yolov8()), f"{first_fails(error)},onnxruntime", ONE)


def test_each_reason_is_told_once(first_fails: Any) -> None:
    same, other = "node 'a' (B): not run", "needs another CPU"
    chain = first_fails(BackendError(same), PlacementError(other), UnsupportedOperatorError(same))
    model = read_model(tiny_yolov8())
    with compile_model(model, f"{chain},onnxruntime", ONE) as session:
        assert [name for name, _ in session.placement.fallbacks] == chain.split(",")
        text = str(session.placement)
    assert f"fell back from failing0, failing2: {same}; fell back from failing1: {other}" in text
    with pytest.raises(BackendUnavailableError) as caught:
        compile_model(model, chain, ONE)
    assert str(caught.value) == (
        "none of the backends failing0, failing1, failing2 can run this model: "
        f"failing0, failing2: {same}; failing1: {other}"
    )


WRONG: dict[str, tuple[dict[str, Any], type[EdgeCVError], str]] = {
    "threads": ({"threads": 0}, InputError, "threads: expected"),
    "precision": ({"precision": "fp64"}, InputError, "precision: expected fp32"),
    "device": ({"device": "a b"}, InputError, "device: expected a name"),
    "a backend": ({"backend": "simd,nothing"}, InputError, "backend: expected one of"),
    "twice": ({"backend": "simd,simd"}, InputError, "backend: 'simd,simd' names a backend twice"),
}


@pytest.mark.parametrize(("options", "error", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_for_all_is_one_error(
    options: dict[str, Any], error: type[EdgeCVError], message: str
) -> None:
    with pytest.raises(error, match=f"^{message}") as caught:
        edgecv.compile(tiny_yolov8(), **{"backend": "simd,onnxruntime", **options})
    assert str(caught.value).count(message.partition(":")[0]) <= 2


def test_a_shape_that_no_backend_takes_is_one_error() -> None:
    model = read_model(tiny_yolov8())
    for chain in ("simd,onnxruntime", None):
        with pytest.raises(InputError, match=r"^input images: .* got shape \(1, 3, 32, 32\)$"):
            compile_model(model, chain, ONE, {"images": (1, 3, 32, 32)})
