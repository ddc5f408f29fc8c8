"""Other libraries are asked in a process of their own, which may crash."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from edgecv.backends import BACKENDS, CompileOptions, compile_model, probe, usable
from edgecv.backends.simd import SimdSession
from edgecv.errors import UnsupportedOperatorError
from edgecv.importers import read_model
from tests.networks import tiny_yolov8

OPTIONS = CompileOptions(threads=1)


def test_those_that_can() -> None:
    assert probe.that_compile(read_model(tiny_yolov8()), usable(), OPTIONS) == usable()


def test_those_that_cannot() -> None:
    options = CompileOptions(device="abacus")
    assert probe.that_compile(read_model(tiny_yolov8()), usable(), options) == []


@pytest.mark.parametrize(
    ("executable", "program"),
    [
        pytest.param(sys.executable, "import os; os.abort()", id="crashes"),
        pytest.param("/nowhere/python", "", id="cannot start"),
        pytest.param(sys.executable, "import time; time.sleep(60)", id="never ends"),
    ],
)
def test_one_that_does_not_answer(executable: str, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    monkeypatch.setattr(probe, "_CHILD", program)
    monkeypatch.setattr(probe, "TIMEOUT_S", 1.0)
    assert probe.that_compile(read_model(tiny_yolov8()), ["simd"], OPTIONS) == []


def test_only_a_strict_choice_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fallback goes to the next backend at once, also for shapes that are prepared later."""

    def refuse(*_: object) -> None:
        raise UnsupportedOperatorError("node 'a' (B): no")

    monkeypatch.setattr(type(BACKENDS["simd"]), "compile", refuse)
    asked: list[str] = []

    def ask(_: object, names: list[str], __: object) -> list[str]:
        asked.extend(names)
        return names[:1]

    monkeypatch.setattr(probe, "that_compile", ask)
    model, others = read_model(tiny_yolov8()), [name for name in usable() if name != "simd"]
    if others:
        with compile_model(model, f"simd,{others[0]}", OPTIONS) as session:
            assert session.placement.fallbacks == (("simd", "node 'a' (B): no"),)
    assert asked == []
    with pytest.raises(
        UnsupportedOperatorError, match=f"backends that can run it: {(others or ['none'])[0]}"
    ):
        compile_model(model, "simd", OPTIONS)
    assert asked == others


def test_a_fallback_for_shapes() -> None:
    """What a backend cannot do with the shapes counts as well as what it cannot do at all."""
    others = [name for name in usable() if name != "simd"]
    if not others:
        pytest.skip("no backend to fall back to")
    model = read_model(tiny_yolov8(dynamic=True))
    with pytest.MonkeyPatch.context() as patch:

        def refuse(*_: object) -> None:
            raise UnsupportedOperatorError("node 'a' (B): no")

        patch.setattr(SimdSession, "prepare", refuse)
        with compile_model(model, f"simd,{others[0]}", OPTIONS, {"images": (1, 3, 64, 64)}) as second:
            assert second.placement.backend == others[0]
            assert second.run({"images": np.zeros((1, 3, 64, 64), np.float32)})["output0"].shape == (1, 7, 84)
