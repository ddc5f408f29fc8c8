"""The table of what the engine claims: it is what is lowered, and what is refused is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from edgecv import _simd
from edgecv.engine import claims
from edgecv.engine.compile import compile_model
from edgecv.engine.lower import LOWERINGS
from edgecv.engine.lower.elementwise import ACTIVATIONS, MAPS
from edgecv.engine.lower.maps import DTYPES, PREDICATES
from edgecv.errors import UnsupportedOperatorError
from edgecv.graph.model import OnnxModel
from edgecv.graph.normal import microsoft
from tests.engine.one_node import ISAS, OPSET


def test_what_is_claimed_is_lowered() -> None:
    assert set(claims.CLAIMS) <= set(LOWERINGS)


def test_what_is_lowered_is_claimed() -> None:
    assert set(LOWERINGS) - set(claims.CLAIMS) <= set(claims.REWRITTEN)


def test_claimed_names_are_operators_of_onnx() -> None:
    names = {schema.name for schema in onnx.defs.get_all_schemas()}
    own = {name.removeprefix("edgecv::") for name in claims.CLAIMS if name.startswith("edgecv::")}
    assert own - names == {"Activation", "Affine", "Counted"}
    listed = {name for name in (*claims.CLAIMS, *claims.REWRITTEN) if "::" not in name}
    assert listed <= names | {"Scatter", "Upsample"}


def test_claimed_names_of_com_microsoft_are_written_out() -> None:
    listed = {name for name in claims.REWRITTEN if "::" in name}
    assert listed == {f"{microsoft.DOMAIN}::{name}" for name in microsoft.RULES}


@pytest.mark.parametrize("operator", [*MAPS, *ACTIVATIONS])
def test_element_types_are_those_of_the_kernels(operator: str) -> None:
    op = MAPS.get(operator, "activation")
    for name, dtype in DTYPES.items():
        made = "boolean" if op in PREDICATES else dtype
        # PRelu and Where take what their own kind of operand allows.
        if name in claims.CLAIMS[operator].dtypes:
            assert _simd.map_supported(op, dtype, made), name


def small(op: str, dtype: int = 1, domain: str = "", **attributes: Any) -> OnnxModel:
    """A model of one operator of one input (1, 4, 4, 4)."""
    graph = helper.make_graph(
        [helper.make_node(op, ["x"], ["y"], "the_node", domain=domain, **attributes)],
        "small",
        [helper.make_tensor_value_info("x", dtype, (1, 4, 4, 4))],
        [helper.make_tensor_value_info("y", int(attributes.get("to", dtype)), (1, 4, 4, 4))],
    )
    imports = [helper.make_opsetid("", OPSET)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return OnnxModel(helper.make_model(graph, opset_imports=imports), "small")


@pytest.mark.parametrize(
    ("model", "reason", "message"),
    [
        (small("Det"), "operator not claimed", r"node 'the_node' \(Det\)"),
        (small("Gizmo", domain="acme"), "operator not claimed", "acme::Gizmo"),
        (small("Sqrt", 6), "element type", r"the_node.*Sqrt.*int32: expected float32 or"),
        (small("Sqrt", 16), "element type", r"x/wide.*Cast.*bfloat16: expected float32 or"),
        (small("Cast", to=16), "form not claimed", r"Cast.*expected to float32.*to 16"),
    ],
    ids=["operator", "domain", "element type", "input of bfloat16", "attribute"],
)
def test_what_is_refused_is_named(model: OnnxModel, reason: str, message: str) -> None:
    with pytest.raises(UnsupportedOperatorError, match=message) as raised:
        compile_model(model, {"x": (1, 4, 4, 4)}, isa=ISAS[0])
    assert raised.value.reason == reason


def test_a_model_is_refused_before_its_shapes_are_known() -> None:
    with pytest.raises(UnsupportedOperatorError, match=r"the_node.*Det"):
        claims.check_model(small("Det"))


def test_what_is_known_before_the_run_may_be_anything() -> None:
    model = small("Relu")
    graph = model.proto.graph
    graph.initializer.append(onnx.numpy_helper.from_array(np.eye(3, dtype=np.float32), "matrix"))
    graph.node.append(helper.make_node("Det", ["matrix"], ["volume"]))
    graph.node.append(helper.make_node("Mul", ["y", "volume"], ["z"]))
    claims.check_model(model)


def test_the_table_for_the_documentation_has_every_operator_once() -> None:
    listed = [name for names, _, _ in claims.table() for name in names.split(", ")]
    assert len(listed) == len(set(listed)) == len(claims.CLAIMS) + len(claims.REWRITTEN)
