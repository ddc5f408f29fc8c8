"""A kernel object exports one symbol: the linker can take nothing of one ISA for another's code."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from edgecv import _isa

ROOT = Path(__file__).parents[2]
OBJECTS = {
    (isa, path.parent.name): path
    for isa in _isa.built()
    for path in sorted(ROOT.glob(f"build/kernels/*/{isa}/ext/*/kernels.o"))
}
NM = os.environ.get("NM", "nm")


def test_there_are_kernel_objects() -> None:
    if not OBJECTS:
        pytest.skip("no build folder beside the tests: edgecv was built elsewhere")
    modules = {module for _, module in OBJECTS}
    assert {"image", "boxes", "rois"} <= modules
    assert set(OBJECTS) == {(isa, module) for isa in _isa.built() for module in modules}


@pytest.mark.parametrize(("isa", "module"), OBJECTS, ids=[f"{m}-{i}" for i, m in OBJECTS])
def test_one_strong_symbol_and_no_weak_one(isa: str, module: str) -> None:
    if shutil.which(NM) is None:
        pytest.skip(f"{NM} is not installed")
    path = OBJECTS[isa, module]
    listing = subprocess.run(
        [NM, "--defined-only", "--extern-only", "--demangle", str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    symbols = [line.split(maxsplit=2) for line in listing.stdout.splitlines() if line]
    assert len(symbols) == 1, listing.stdout
    _, kind, name = symbols[0]
    assert kind in "TRD", listing.stdout  # strong: a function, or a table of them
    assert name.removesuffix("()").startswith("ecv::")
    assert name.removesuffix("()").endswith(f"_kernels_{isa}")
