"""Networks in ONNX's own textual form, for tests of what the engine makes of small graphs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.numpy_helper import from_array
from onnx.reference import ReferenceEvaluator

from edgecv import _isa
from edgecv.engine.compile import Compiled, compile_model
from edgecv.graph.model import OnnxModel
from tests.engine.one_node import run

Array = NDArray[Any]


def network(text: str, **weights: Array) -> OnnxModel:
    """A network of opset 18: "(inputs) => (outputs) { nodes }"; weights by their names in it."""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> tiny {text}')
    proto.graph.initializer.extend(from_array(array, name) for name, array in weights.items())
    return OnnxModel.from_bytes(proto.SerializeToString(), origin="tiny.onnx")


def truth(model: OnnxModel, inputs: Mapping[str, Array]) -> list[Array]:
    """What `onnx.reference` makes of it."""
    with np.errstate(all="ignore"):
        return [np.asarray(y) for y in ReferenceEvaluator(model.proto).run(None, dict(inputs))]


def check(model: OnnxModel, inputs: Mapping[str, Array], tolerance: float = 1e-5) -> dict[str, Compiled]:
    """Raise AssertionError unless every instruction set gives what `onnx.reference` does.

    tolerance: of a difference, times the largest expected value.
    """
    expected = truth(model, inputs)
    programs = {}
    for isa in _isa.usable():
        compiled = compile_model(model, {name: x.shape for name, x in inputs.items()}, isa=isa)
        programs[isa] = compiled
        for out, value, wanted in zip(compiled.outputs, run(compiled, inputs), expected, strict=True):
            assert (value.dtype, value.shape) == (wanted.dtype, wanted.shape), (isa, out.name)
            worst = np.abs(value - wanted).max(initial=0)
            assert worst <= tolerance * np.abs(wanted).max(initial=0), (isa, out.name, worst)
    return programs
