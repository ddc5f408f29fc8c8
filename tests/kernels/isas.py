"""The instruction sets that kernels are tested on, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import pytest

from edgecv import _isa, _simd

# Floats in a vector.
LANES = {isa: facts.lanes for isa, facts in _simd.ISA_FACTS.items()}


class Native(Protocol):
    """A native module whose kernels can be chosen."""

    def isa(self) -> str: ...
    def use_isa(self, label: str | None = None) -> None: ...


def forced(module: Native, label: str) -> Iterator[str]:
    """Let a module run the kernels of one instruction set; skips the test where this CPU cannot."""
    if label not in _isa.usable():
        pytest.skip(f"{label}: not supported by this CPU, which has {', '.join(_isa.usable())}")
    before = module.isa()
    module.use_isa(label)
    assert module.isa() == label
    yield label
    module.use_isa(before)
