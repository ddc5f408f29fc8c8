"""The node cases that the ONNX project tests its backends with, out of the installed package."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any


@cache
def node_cases() -> tuple[Any, ...]:
    """Every case (`name`, `model`, `data_sets`); they are made once a process, in seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        return tuple(collect_testcases(None))
