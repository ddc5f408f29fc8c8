"""edgecv.rois against OpenCV 4, the last one whose networks have Proposal and ROIPooling.

EDGECV_ORACLE names a Python that has it; else the one of .venv-oracle.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecv import rois
from tests import rois_reference as reference

ROOT = Path(__file__).parents[1]
F32 = np.float32

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "few-seen": {"pre_nms": 300, "post_nms": 60},
    "fewer-than-asked-for": {"shape": (9, 7, 9)},
    "many": {"shape": (9, 38, 50), "post_nms": 2000},
    "no-deltas": {"spread": 0.0},
    "large-deltas": {"spread": 1.5},
    "other-bins": {"bins": (3, 11), "scale": 0.05},
    "one-bin": {"bins": (1, 1), "scale": 0.125},
}


@pytest.fixture
def oracle() -> Path:
    python = Path(os.environ.get("EDGECV_ORACLE", ROOT / ".venv-oracle/bin/python"))
    if not python.exists():
        pytest.skip(f"{python} is not here (EDGECV_ORACLE)")
    return python


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_proposals_and_pooling_equal_opencv(oracle: Path, tmp_path: Path, case: dict[str, Any]) -> None:
    """The same proposals in the same order; what is pooled from them to 1e-4 of the largest."""
    rng = np.random.default_rng(4)
    shape = case.get("shape", (9, 14, 20))
    _, deltas = reference.trunk_outputs(rng, shape, case.get("spread", 0.3))
    # All different: OpenCV leaves the order of equal scores open.
    scores = ((rng.permutation(deltas.size // 4) + 0.5) / (deltas.size // 4)).astype(F32).reshape(shape)
    features = rng.standard_normal((24, *shape[1:])).astype(F32)
    height, width = shape[1] * 16 - 3, shape[2] * 16 - 5
    counts = {"pre_nms": case.get("pre_nms", 6000), "post_nms": case.get("post_nms", 300)}
    bins, scale = case.get("bins", (7, 7)), case.get("scale", 0.0625)
    np.savez(
        tmp_path / "case.npz",
        scores=np.concatenate([1 - scores, scores])[None],
        deltas=deltas[None],
        im_info=np.array([[height, width, 1]], F32),
        features=features[None],
        bins=bins,
        scale=scale,
        **counts,
    )
    subprocess.run(
        [str(oracle), str(Path(__file__).with_name("rois_oracle.py")), "case.npz", "result.npz"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        check=True,
        timeout=300,
    )
    expected = np.load(tmp_path / "result.npz")

    # OpenCV drops no proposal for its size, and fills what it lacks with zeros.
    xyxy, _ = rois.propose(
        scores, deltas, rois.anchors(), image_xyxy=(0, 0, width, height), min_wh=(0, 0), **counts
    )
    theirs = expected["rois"][:, 1:]
    assert len(xyxy) == np.flatnonzero(theirs.any(axis=1)).max() + 1
    np.testing.assert_allclose(xyxy, theirs[: len(xyxy)], rtol=1e-6, atol=1e-3)
    pooled = rois.pool(features, xyxy, size_wh=(bins[1], bins[0]), scale=scale)
    assert np.abs(pooled - expected["pool"][: len(xyxy)]).max() <= 1e-4 * np.abs(expected["pool"]).max()
