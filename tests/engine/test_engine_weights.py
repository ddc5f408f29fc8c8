"""Weights that plans share."""

from __future__ import annotations

import numpy as np
import pytest

from edgecv import _isa
from edgecv.backends.base import CompileOptions
from edgecv.backends.simd import SimdBackend
from edgecv.engine.compile import compile_model
from edgecv.engine.weights import Weights
from edgecv.graph.model import OnnxModel
from tests.engine.drawing import Drawing


def any_size() -> OnnxModel:
    """Convolutions of a picture of any size."""
    d = Drawing("any_size", (1, 3, 32, 32))
    d.output(d.conv(d.conv("x", 40, 3, act="Relu"), 64, 3))
    model = d.model()
    proto = model.proto
    for value in (*proto.graph.input, *proto.graph.output):
        for axis, name in ((2, "h"), (3, "w")):
            value.type.tensor_type.shape.dim[axis].dim_param = name
    return OnnxModel(proto, "any_size")


def test_arrays_lie_aligned_and_once() -> None:
    weights = Weights()
    first, second = np.arange(2000, dtype=np.float32), np.ones(1030, np.float32)
    offsets = [weights.offset_of(a) for a in (first, second, first.copy())]
    assert offsets == [0, 8000 // 64 * 64, 0]
    data = weights.data()
    assert data.ctypes.data % 64 == 0
    assert np.array_equal(data[:8000].view(np.float32), first)
    assert np.array_equal(data[8000 : 8000 + 4120].view(np.float32), second)


def test_nothing_is_added_once_a_program_is_finished() -> None:
    weights = Weights()
    known = np.arange(2000, dtype=np.float32)
    weights.offset_of(known)
    data = weights.data()
    assert weights.offset_of(known + 1) is None
    assert weights.offset_of(known) == 0
    assert weights.data() is data


def test_plans_of_other_shapes_share_them() -> None:
    model, weights = any_size(), Weights()
    shapes = ({"x": (1, 3, 16, 24)}, {"x": (1, 3, 40, 32)})
    plans = [compile_model(model, s, isa=_isa.active(), weights=weights) for s in shapes]
    assert plans[0].encoded.weights is plans[1].encoded.weights
    assert len(plans[0].encoded.weights) > 64 * 40 * 9 * 4
    assert all(len(p.encoded.constants) < 64 * 40 * 9 * 4 / 2 for p in plans)


@pytest.mark.parametrize("count", [1, 4])
def test_a_session_of_many_shapes_holds_them_once(count: int) -> None:
    with SimdBackend().compile(any_size(), "cpu", CompileOptions()).open() as session:
        for i in range(count):
            session.prepare({"x": (1, 3, 16 + 8 * i, 24)})
        weights = session.memory.weights
    assert weights is not None
    packed = (48 * 27 + 64 * 40 * 9) * 4
    assert packed <= weights < 2 * packed
