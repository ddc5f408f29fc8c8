"""The node cases that the ONNX project tests its backends with, out of the installed package.

Each has `name`, `model`, `data_sets`. Those of a module are made when it is first imported, all in seconds.
"""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from functools import cache

import onnx.backend.test.case.node as package
from onnx.backend.test.case.test_case import TestCase as Case

MODULES = sorted(
    module.name.removeprefix(f"{package.__name__}.")
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not module.ispkg
)


@cache
def cases_of(module: str) -> tuple[Case, ...]:
    """The cases that a module of the package brings along."""
    listed: list[Case] = package._NodeTestCases
    start = len(listed)
    with warnings.catch_warnings():
        # Cases about infinities and NaNs make them.
        warnings.simplefilter("ignore", RuntimeWarning)
        importlib.import_module(f"{package.__name__}.{module}")
    return tuple(listed[start:])


def node_cases() -> tuple[Case, ...]:
    """Every case."""
    return tuple(case for module in MODULES for case in cases_of(module))
