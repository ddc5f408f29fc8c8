"""Random networks on the engine against `onnx.reference`: every instruction set, any number of threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecv import _isa, _simd
from edgecv.engine.compile import Compiled, compile_model
from tests.engine import random_operators, random_views
from tests.engine.random_graphs import CHANNELS, OPERATORS, PIXELS, Network, Refused, Sketch

Array = NDArray[Any]
# They have added themselves to OPERATORS.
_FAMILIES = (random_operators, random_views)
# Of the largest: sums in another order, through thirty layers.
TOLERANCE = 1e-4
# Generation takes as long as everything else, and shapes that fit are rare for some operators.
EXAMPLES = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@st.composite
def networks(draw: st.DrawFn, least: int = 10, most: int = 30) -> Network:
    """A network of about so many nodes on one or two pictures."""
    s = Sketch(draw)
    batch = s.one_of((1, 1, 2, 3))
    shape = (batch, s.one_of(CHANNELS), s.one_of(PIXELS), s.one_of(PIXELS))
    s.input("x", shape)
    if s.flag():
        s.input("y", shape if s.flag() else (batch, s.one_of(CHANNELS), *shape[2:]))
    wanted = s.number(least, most)
    for _ in range(3 * most):
        if len(s.nodes) >= wanted:
            break
        with suppress(Refused):
            OPERATORS[s.one_of(list(OPERATORS))](s)
    assume(s.nodes)
    return s.finish()


def compiled(network: Network, isa: str, threads: int = 1) -> Compiled:
    shapes = {name: array.shape for name, array in network.inputs.items()}
    return compile_model(network.model, shapes, isa=isa, threads=threads)


def run(plan: Compiled, inputs: Mapping[str, Array], pool: _simd.Pool) -> dict[str, Array]:
    outputs = [np.full(o.shape, 77, o.dtype) for o in plan.outputs]
    _simd.Context(plan.plan).run(pool, tuple(inputs.values()), tuple(outputs))
    return {o.name: array for o, array in zip(plan.outputs, outputs, strict=True)}


def assert_right(got: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
    assert list(got) == list(expected)
    for name, value in expected.items():
        assert (got[name].dtype, got[name].shape) == (value.dtype, value.shape), name
        if value.dtype == np.float32:
            worst = np.abs(got[name] - value).max()
            assert worst <= TOLERANCE * np.abs(value).max(), (
                f"{name}: {worst:.3g} of {np.abs(value).max():.3g}"
            )
        else:
            assert np.array_equal(got[name], value), name


def assert_same(got: Mapping[str, Array], expected: Mapping[str, Array], why: str) -> None:
    for name, value in expected.items():
        assert got[name].tobytes() == value.tobytes(), f"{name}: {why}"


def check(network: Network, isa: str, threads: Sequence[int] = (2, 3)) -> None:
    """One network on one instruction set: right, whatever was in memory before, by any number of threads."""
    pools = [_simd.Pool(count) for count in (1, *threads)]
    try:
        plan = compiled(network, isa)
        first = run(plan, network.inputs, pools[0])
        assert_right(first, network.expected)
        run(plan, {name: np.full_like(array, np.nan) for name, array in network.inputs.items()}, pools[0])
        assert_same(run(plan, network.inputs, pools[0]), first, "reads what another run has left")
        for pool in pools[1:]:
            shared = compiled(network, isa, pool.threads)
            assert_same(run(shared, network.inputs, pool), first, f"other bits by {pool.threads} threads")
    finally:
        for pool in pools:
            pool.close()


@settings(EXAMPLES, max_examples=min(20, EXAMPLES.max_examples))
@given(networks(), st.sampled_from(_isa.usable()))
def test_random_networks(network: Network, shared: str) -> None:
    """On every instruction set that this CPU has, on one of them by several threads too."""
    for isa in _isa.usable():
        check(network, isa, (2, 3) if isa == shared else ())


@settings(EXAMPLES)
@given(networks(least=1, most=4), st.sampled_from(_isa.usable()))
def test_random_operators(network: Network, isa: str) -> None:
    """A few operators at a time, which meet in more ways than in the middle of a network."""
    check(network, isa, (2,))
