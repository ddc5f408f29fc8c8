"""A kernel object exports one symbol: the linker can take nothing of one ISA for another's code."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from edgecv import _isa

ROOT = Path(__file__).parents[2]
NM = os.environ.get("NM", "nm")


def kernel_objects() -> dict[tuple[str, str], Path]:
    """(ISA, source without its suffix) of each kernel object, and where it is."""
    found = {}
    for isa in _isa.built():
        for folder in ROOT.glob(f"build/kernels/*/{isa}"):
            for path in sorted(folder.rglob("*.o")):
                source = path.relative_to(folder).with_suffix("")
                if not (ROOT / "ext").exists() or (ROOT / source).with_suffix(".cpp").exists():
                    found[isa, str(source)] = path
    return found


OBJECTS = kernel_objects()


def test_there_are_kernel_objects() -> None:
    if not OBJECTS:
        pytest.skip("no build folder beside the tests: edgecv was built elsewhere")
    sources = {source for _, source in OBJECTS}
    assert {"ext/image/kernels", "ext/boxes/kernels", "ext/rois/kernels", "ext/simd/kernels/conv"} <= sources
    assert set(OBJECTS) == {(isa, source) for isa in _isa.built() for source in sources}


@pytest.mark.parametrize(("isa", "source"), OBJECTS, ids=[f"{s}-{i}" for i, s in OBJECTS])
def test_one_strong_symbol_and_no_weak_one(isa: str, source: str) -> None:
    if shutil.which(NM) is None:
        pytest.skip(f"{NM} is not installed")
    path = OBJECTS[isa, source]
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
