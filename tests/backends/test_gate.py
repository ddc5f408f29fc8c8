"""The gate: what came out of a backend is what was asked for, whatever the backend."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
import pytest

from edgecv.backends import BACKENDS, CompileOptions, compile_model, gate, probe, usable
from edgecv.backends.base import Backend, Compiled
from edgecv.errors import BackendUnavailableError, PlacementError
from edgecv.importers import read_model
from edgecv.types import Placement
from tests.networks import quantized, tiny_yolov8

PLACED = Placement("b", "1", "cuda:0", "fp16", "fp16", 2, "engine")

# What came out, what was asked for, and what the error says; None where it is let through.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str | None]] = {
    "as asked": ({}, {"precision": "fp16"}, None),
    "nothing asked": ({}, {}, None),
    "another backend": ({"backend": "c"}, {}, "b: backend b was asked for, and c would run"),
    "another device": ({"device": "cpu"}, {}, "device cuda:0 was asked for, and cpu would run"),
    "another index": ({"device": "cuda:1"}, {}, "device cuda:0 was asked for, and cuda:1 would run"),
    "other threads": ({"threads": 4}, {}, "threads 2 was asked for, and 4 would run"),
    "no count of threads": ({"threads": 0}, {}, None),
    "more precise, asked for less": (
        {"precision": "fp32"},
        {"precision": "fp16"},
        "precision fp16 was asked for, and fp32 would run: the model stores fp16",
    ),
    "less precise, asked for more": ({}, {"precision": "fp32"}, "precision fp32 was asked for, and fp16"),
    "fp32 of fp16": ({"precision": "fp32"}, {}, None),
    "fp32 of int8": ({"stored": "int8", "precision": "fp32"}, {}, None),
    "fp16 of int8": ({"stored": "int8"}, {}, None),
    "int8 of int8": ({"stored": "int8", "precision": "int8"}, {"precision": "int8"}, None),
    "fp16 of fp32": (
        {"stored": "fp32"},
        {},
        "stores fp32, and fp16 would be computed, which is less precise",
    ),
    "int8 of fp32": ({"stored": "fp32", "precision": "int8"}, {}, "less precise; ask for precision=int8"),
    "int8 of fp16": ({"precision": "int8"}, {}, "stores fp16, and int8 would be computed"),
    "bf16 of fp16": ({"precision": "bf16"}, {}, "stores fp16, and bf16 would be computed"),
    "fp16 of bf16": ({"stored": "bf16"}, {}, "stores bf16, and fp16 would be computed"),
    "less precise, asked for": ({"stored": "fp32"}, {"precision": "fp16"}, None),
}


@pytest.mark.parametrize(("placed", "asked", "message"), CASES.values(), ids=CASES)
def test_the_gate(placed: dict[str, Any], asked: dict[str, Any], message: str | None) -> None:
    placement = msgspec.structs.replace(PLACED, **placed)
    options = CompileOptions(device="cuda:0", threads=2, **asked)
    if message is None:
        gate.check(placement, "b", "cuda:0", options)
        return
    with pytest.raises(PlacementError, match=message) as caught:
        gate.check(placement, "b", "cuda:0", options)
    assert "\n" not in str(caught.value)


class FakeBackend(Backend):
    """Compiles anything, to what a test says."""

    name = "simd"
    placed: ClassVar[dict[str, Any]] = {}

    def unavailable(self) -> str | None:
        return None

    def version(self) -> str:
        return "1"

    def devices(self) -> tuple[str, ...]:
        return ("cpu",)

    def compile(self, model: Any, device: str, options: CompileOptions) -> Compiled:
        threads = options.threads
        placement = Placement("simd", "1", device, model.precision, model.precision, threads, "fake")
        return FakeCompiled(model.facts, msgspec.structs.replace(placement, **self.placed))


class FakeCompiled(Compiled):
    def open(self, pool: Any = None) -> Any:
        raise AssertionError("what does not pass the gate is not opened")


@pytest.mark.parametrize(
    "placed", [{"device": "gpu"}, {"threads": 7}, {"backend": "x"}, {"precision": "int8"}]
)
def test_every_backend_goes_through_it(placed: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeBackend, "placed", placed)
    monkeypatch.setitem(BACKENDS, "simd", FakeBackend())
    monkeypatch.setattr(probe, "that_compile", lambda *_: ["another"])
    model = read_model(tiny_yolov8())
    with pytest.raises(PlacementError, match=r"simd: .*; backends that can: another"):
        compile_model(model, "simd", CompileOptions(threads=1))
    others = [name for name in usable() if name != "simd"]
    if others:
        with compile_model(model, f"simd,{others[0]}", CompileOptions(threads=1)) as session:
            ((name, reason),) = session.placement.fallbacks
            assert name == "simd"
            assert str(next(iter(placed.values()))) in reason


# ---- a quantized model on the real backends


@pytest.mark.parametrize("weights_only", [False, True], ids=["QDQ", "weights only"])
@pytest.mark.parametrize("name", BACKENDS)
def test_a_quantized_model_says_what_is_stored_and_what_is_computed(name: str, weights_only: bool) -> None:
    reason = BACKENDS[name].unavailable()
    if reason:
        pytest.skip(f"{name}: {reason}")
    model = read_model(quantized(weights_only=weights_only))
    assert model.precision == "int8"
    with compile_model(model, name, CompileOptions(threads=1)) as session:
        placement = session.placement
    assert placement.stored == "int8"
    if name == "simd" or weights_only:
        assert placement.precision == "fp32"
    others = {"fp32": "int8", "int8": "fp32"}[placement.precision]
    with pytest.raises(PlacementError, match=f"{name}: precision {others} was asked for"):
        compile_model(model, name, CompileOptions(threads=1, precision=others))
    with compile_model(model, name, CompileOptions(threads=1, precision=placement.precision)) as session:
        assert session.placement == placement


def test_int8_on_simd_is_refused_with_those_that_can() -> None:
    able = [name for name in usable() if name != "simd" and compile_on_precision(name) == "int8"]
    with pytest.raises(
        PlacementError, match="the engine computes in fp32 alone; backends that can: "
    ) as caught:
        compile_model(read_model(quantized()), "simd", CompileOptions(threads=1, precision="int8"))
    named = str(caught.value).rpartition("backends that can: ")[2]
    assert named == (", ".join(able) or "none of the others that are usable here")


def compile_on_precision(name: str) -> str:
    with compile_model(read_model(quantized()), name, CompileOptions(threads=1)) as session:
        return session.placement.precision


def test_int8_without_a_name_runs_where_it_can() -> None:
    able = [name for name in usable() if name != "simd" and compile_on_precision(name) == "int8"]
    options = CompileOptions(threads=1, precision="int8")
    if not able:
        with pytest.raises(BackendUnavailableError, match="precision int8 was asked for"):
            compile_model(read_model(quantized()), None, options)
        return
    with compile_model(read_model(quantized()), None, options) as session:
        assert session.placement.backend == able[0]
        assert session.placement.precision == "int8"
        assert [name for name, _ in session.placement.fallbacks] == ["simd"]
