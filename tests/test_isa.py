"""EDGECV_ISA: the forced instruction set runs, and one that cannot run is an error."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from edgecv import _isa

LABELS = ["sse42", "avx2", "avx512", "neon"]

# Runs kernels of every module, then tells which ISA each took.
PROGRAM = """
import numpy as np
from edgecv import _boxes, _image, _isa, _rois, boxes, image, rois
image.to_blob(np.zeros((4, 4, 3), np.uint8), image.BlobSpec((8, 8)))
boxes.iou(np.ones((1, 4), np.float32), np.ones((1, 4), np.float32))
rois.pool(np.ones((1, 1, 1), np.float32), np.ones((1, 4), np.float32))
print(_isa.active(), _image.isa(), _boxes.isa(), _rois.isa())
"""


def run(isa: str | None, program: str = PROGRAM) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "EDGECV_ISA"}
    if isa is not None:
        environment["EDGECV_ISA"] = isa
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("isa", LABELS)
def test_the_forced_isa_runs_or_the_error_says_why(isa: str) -> None:
    done = run(isa)
    if isa in _isa.usable():
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == [isa] * 4
        return
    assert done.returncode == 1
    line = done.stderr.strip().splitlines()[-1]
    if isa in _isa.built():
        assert line == (
            f"edgecv.errors.UnavailableError: EDGECV_ISA={isa}: not supported by this CPU; "
            f"usable here: {', '.join(_isa.usable())}"
        )
    else:
        assert line == (
            f"edgecv.errors.InputError: EDGECV_ISA={isa}: not built in; one of {', '.join(_isa.built())}"
        )


def test_an_unknown_isa_is_an_error() -> None:
    done = run("avx9")
    assert done.returncode == 1
    assert "InputError: EDGECV_ISA=avx9: not built in; one of " in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("unset", [None, ""])
def test_the_best_usable_isa_is_the_default(unset: str | None) -> None:
    done = run(unset)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [_isa.usable()[-1]] * 4


def test_importing_does_not_read_the_variable() -> None:
    done = run("avx9", "import edgecv.image, edgecv.boxes, edgecv.rois; print('imported')")
    assert done.stdout.strip() == "imported", done.stderr


def test_labels_are_ordered_best_last() -> None:
    assert set(_isa.usable()) <= set(_isa.built())
    assert [label for label in LABELS if label in _isa.built()] == list(_isa.built())


def test_index_refuses_what_is_not_usable() -> None:
    for position, label in enumerate(_isa.built()):
        if label in _isa.usable():
            assert _isa.index(label) == position
    with pytest.raises(ValueError, match="EDGECV_ISA=mmx: not built in"):
        _isa.index("mmx")
