"""Two detectors of faces that have nothing in common but their aim put landmarks in the same places."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import edgecv
from edgecv import boxes
from edgecv.media import read_image

PICTURES = (
    "data/photos/bus.jpg",
    "data/coco80/images/000000064523.jpg",
    "data/coco80/images/000000357888.jpg",
)
# In sizes of the face. An eye, the nose and the mouth lie about a third of it apart.
APART = 0.1


@pytest.mark.usefixtures("third_party_models")
def test_scrfd_and_yunet_agree_on_landmarks(shared: Callable[[str], Path]) -> None:
    frames = [read_image(shared(picture)) for picture in PICTURES]
    found = []
    for name in ("scrfd-500m-kps", "yunet-n-640"):
        with edgecv.load(name, threads=1, conf=0.75) as detector:
            found.append([detector(frame) for frame in frames])
    distances = []
    for ours, theirs in zip(*found, strict=True):
        assert ours.keypoints is not None
        assert theirs.keypoints is not None
        overlap = boxes.iou(ours.xyxy, theirs.xyxy)
        assert (overlap.max(axis=1) > 0.7).all()
        pairs = ours.keypoints - theirs.keypoints[overlap.argmax(axis=1)]
        size = np.sqrt(np.prod(ours.xyxy[:, 2:] - ours.xyxy[:, :2], axis=1))
        distances.append(np.linalg.norm(pairs[..., :2], axis=2) / size[:, None])
    all_ = np.concatenate(distances)
    assert len(all_) >= 10
    assert all_.max() < APART
