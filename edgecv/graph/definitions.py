"""Operators that ONNX itself defines by others, and those of them that are left as they are."""

from __future__ import annotations

from typing import Any

# Those of them that the engine has kernels for.
KEEP = frozenset(
    (
        "Clip",
        "Elu",
        "Gelu",
        "GreaterOrEqual",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "LessOrEqual",
        "LogSoftmax",
        "Mish",
        "PRelu",
        "Range",
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSum",
        "ReduceLogSumExp",
        "ReduceSumSquare",
        "Relu",
        "Selu",
        "Softmax",
        "Softplus",
        "Softsign",
    )
)


def has_definition(schema: Any) -> bool:
    """Whether ONNX defines an operator by others. schema: onnx.defs.OpSchema, whose stubs lack the fields."""
    return bool(schema.has_function or schema.has_context_dependent_function)
