"""The ONNX project's own tests of operators, collected from the installed package.

A case runs where `edgecv.engine.claims` claims all of its operators, and must then be right within the
package's own tolerances. What lies outside is counted by reason; the summary prints one line of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnx.backend.test.case.node as package
import pytest
from onnx.backend.test.case.test_case import TestCase as Case

from edgecv.backends.base import CompileOptions
from edgecv.backends.simd import SimdBackend
from edgecv.errors import UnsupportedOperatorError
from edgecv.graph.model import OnnxModel
from tests.engine.node_tally import OUTSIDE, RAN
from tests.onnx_cases import MODULES, cases_of, node_cases

# Reasons that the claims give, or sizes that data tell; any other is a claim that does not hold.
NOT_CLAIMED = frozenset(("operator not claimed", "element type", "form not claimed", "data-dependent shape"))


@pytest.mark.parametrize("module", MODULES)
def test_node_tests(module: str, record_property: Callable[[str, object], None]) -> None:
    wrong: list[str] = []
    ran: Counter[str] = Counter()
    outside: Counter[str] = Counter()
    for case in cases_of(module):
        reason = why_outside(case)
        if not reason:
            reason, problem = run(case)
            wrong += [problem] if problem else []
        if reason:
            outside[reason] += 1
        else:
            ran["wrong" if wrong and wrong[-1].startswith(case.name) else "right"] += 1
    record_property(RAN, dict(ran))
    record_property(OUTSIDE, dict(outside))
    assert not wrong, "\n".join(wrong)


def why_outside(case: Case) -> str:
    """What a session does not take at all, whatever the operators."""
    graph = case.model.graph
    types = [value.type for value in (*graph.input, *graph.output)]
    if any(not kind.HasField("tensor_type") for kind in types):
        return "sequence or optional type"
    if any(kind.tensor_type.elem_type == onnx.TensorProto.STRING for kind in types):
        return "strings"
    if any(len(data[0]) == 0 for data in case.data_sets):
        return "no inputs"
    return ""


def run(case: Case) -> tuple[str, str]:
    """Why a case is outside of the claimed set, and what is wrong with it; "" for neither."""
    try:
        model = OnnxModel.from_bytes(case.model.SerializeToString(), origin=case.name)
        options = CompileOptions(threads=1)
        with SimdBackend().compile(model, "cpu", options).open() as session:
            for inputs, expected in case.data_sets:
                names = [value.name for value in case.model.graph.input]
                feeds = {name: as_array(x) for name, x in zip(names, inputs, strict=True)}
                outputs = session.run(feeds, replan=True)
                check(list(outputs.values()), [as_array(y) for y in expected], case)
    except UnsupportedOperatorError as error:
        return (error.reason, "") if error.reason in NOT_CLAIMED else ("", f"{case.name}: {error}")
    # Whatever a case meets is told beside the others'.
    except Exception as error:
        return "", f"{case.name}: {type(error).__name__}: {error}"
    return "", ""


def as_array(value: Any) -> np.ndarray[Any, Any]:
    """What a case has as an array or as a message."""
    array = onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value
    return np.asarray(array, order="C")


def check(
    outputs: Sequence[np.ndarray[Any, Any]], expected: Sequence[np.ndarray[Any, Any]], case: Case
) -> None:
    """Raise AssertionError unless all outputs are what the package expects."""
    for value, wanted in zip(outputs, expected, strict=True):
        assert (value.dtype, value.shape) == (wanted.dtype, wanted.shape)
        np.testing.assert_allclose(value, wanted, rtol=case.rtol, atol=case.atol)


def test_every_case_of_the_package_belongs_to_one_of_its_modules() -> None:
    names = [case.name for case in node_cases()]
    assert len(names) == len(set(names)) == len(package._NodeTestCases)
    assert len(names) > 1500
