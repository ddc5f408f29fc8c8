"""edgecv.rois against OpenCV 4, the last one whose networks have Proposal and ROIPooling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecv import rois
from tests import rois_reference as reference
from tests.oracle import Oracle

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


def prototxt(inputs: dict[str, np.ndarray], counts: dict[str, int], bins: Any, scale: float) -> str:
    layers = []
    for name, value in inputs.items():
        shape = " ".join(f"dim: {n}" for n in value.shape)
        layers.append(f'name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {shape} }} }}')
    layers.append(
        'name: "rois" type: "Proposal" bottom: "scores" bottom: "deltas" bottom: "im_info" top: "rois" '
        "proposal_param { ratio: 0.5 ratio: 1 ratio: 2 scale: 8 scale: 16 scale: 32 "
        f"pre_nms_topn: {counts['pre_nms']} post_nms_topn: {counts['post_nms']} nms_thresh: 0.7 }}"
    )
    layers.append(
        'name: "pool" type: "ROIPooling" bottom: "features" bottom: "rois" top: "pool" '
        f"roi_pooling_param {{ pooled_h: {bins[0]} pooled_w: {bins[1]} spatial_scale: {scale} }}"
    )
    return "".join(f"layer {{ {layer} }}\n" for layer in layers)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_proposals_and_pooling_equal_opencv(oracle: Oracle, tmp_path: Path, case: dict[str, Any]) -> None:
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
    inputs = {
        "scores": np.concatenate([1 - scores, scores])[None],
        "deltas": deltas[None],
        "im_info": np.array([[height, width, 1]], F32),
        "features": features[None],
    }
    network = tmp_path / "net.prototxt"
    network.write_text(prototxt(inputs, counts, bins, scale))
    expected = oracle.run(network, None, inputs, {"rois": ("rois", 0), "pool": ("pool", 0)})

    # OpenCV drops no proposal for its size, and fills what it lacks with zeros.
    xyxy, _ = rois.propose(
        scores, deltas, rois.anchors(), image_xyxy=(0, 0, width, height), min_wh=(0, 0), **counts
    )
    theirs = expected["rois"].reshape(-1, 5)[:, 1:]
    assert len(xyxy) == np.flatnonzero(theirs.any(axis=1)).max() + 1
    np.testing.assert_allclose(xyxy, theirs[: len(xyxy)], rtol=1e-6, atol=1e-3)
    pooled = rois.pool(features, xyxy, size_wh=(bins[1], bins[0]), scale=scale)
    assert np.abs(pooled - expected["pool"][: len(xyxy)]).max() <= 1e-4 * np.abs(expected["pool"]).max()
