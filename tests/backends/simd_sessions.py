"""Small networks in ONNX's own textual form, and sessions of the simd backend on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecv.backends import CompileOptions, compile_model
from edgecv.backends.simd import SimdSession
from edgecv.graph.model import OnnxModel
from tests.engine import written

Array = NDArray[Any]


def compiled(network: OnnxModel, **options: Any) -> SimdSession:
    """A session; options as CompileOptions has them."""
    session = compile_model(network, "simd", CompileOptions(**options))
    assert isinstance(session, SimdSession)
    return session


@contextmanager
def opened(network: OnnxModel, **options: Any) -> Iterator[SimdSession]:
    """A session that is closed at the end."""
    session = compiled(network, **options)
    try:
        yield session
    finally:
        session.close()


def noise(*shape: int, seed: int = 0) -> Array:
    """Values of a standard normal distribution."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def truth(network: OnnxModel, inputs: dict[str, Array]) -> dict[str, Array]:
    """What `onnx.reference` makes of it."""
    names = [spec.name for spec in network.facts.outputs]
    return dict(zip(names, written.truth(network, inputs), strict=True))


def assert_right(network: OnnxModel, got: dict[str, Array], inputs: dict[str, Array]) -> None:
    """Raise AssertionError unless all outputs are those of `onnx.reference`."""
    expected = truth(network, inputs)
    assert list(got) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-5, atol=1e-5 * np.abs(value).max(), strict=True)
