"""The frame that every machine makes alike."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from edgecv.media.synthetic import synthetic_frame


@pytest.mark.parametrize("size_wh", [(1, 1), (5, 3), (3, 500), (1280, 720)])
def test_shape(size_wh: tuple[int, int]) -> None:
    frame = synthetic_frame(*size_wh)
    assert frame.shape == (size_wh[1], size_wh[0], 3)
    assert frame.dtype == np.uint8
    assert frame.flags.c_contiguous


def test_same_bits_everywhere() -> None:
    """Golden tensors and recorded figures stand on this very picture."""
    digest = hashlib.sha256(synthetic_frame(500, 375).tobytes()).hexdigest()
    assert digest == "ec183dd8cafb34b62f1c4cb5b9a1fd49bcc33d929a4f9438305efc385812c0e0"


def test_has_detail() -> None:
    frame = synthetic_frame(640, 480)
    assert frame.std() > 40
    assert len(np.unique(frame.reshape(-1, 3), axis=0)) > 1000
