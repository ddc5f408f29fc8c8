"""Bad arguments to edgecv.rois: one clear line each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecv import _rois, rois
from edgecv.errors import InputError

F32 = np.float32
SCORES, DELTAS = np.zeros((2, 3, 4), F32), np.zeros((8, 3, 4), F32)
ANCHORS = np.array([[0, 0, 15, 15], [-8, -8, 23, 23]], F32)
FEATURES, XYXY = np.zeros((5, 3, 4), F32), np.zeros((6, 4), F32)
NAN, INF = float("nan"), float("inf")


def proposal(message: str, *args: Any, **kwargs: Any) -> Any:
    given = (*args, *(SCORES, DELTAS, ANCHORS)[len(args) :])
    return pytest.param(message, rois.propose, given, {"image_xyxy": (0, 0, 64, 48), **kwargs}, id=message)


def pooling(message: str, *args: Any, **kwargs: Any) -> Any:
    given = (*args, *(FEATURES, XYXY)[len(args) :])
    return pytest.param(message, rois.pool, given, kwargs, id=message)


def with_nan(array: Any, row: int) -> Any:
    copy = array.copy()
    copy[row] = NAN
    return copy


CASES = [
    proposal("scores: expected float32 (anchors, height, width), got list", [1]),
    proposal(
        "scores: expected float32 (anchors, height, width), got float64 (2, 3, 4)", SCORES.astype(float)
    ),
    proposal("scores: expected float32 (anchors, height, width), got float32 (1, 2, 3, 4)", SCORES[None]),
    proposal("scores: not C-contiguous; pass numpy.ascontiguousarray(scores)", SCORES[:, :, ::-1]),
    proposal("deltas: expected shape (8, 3, 4), four planes for each", SCORES, DELTAS[:4]),
    proposal("deltas: expected float32 (4 anchors, height, width), got int64", SCORES, DELTAS.astype(int)),
    proposal("anchors: expected shape (2, 4), one a plane, got (1, 4)", SCORES, DELTAS, ANCHORS[:1]),
    proposal("anchors: expected float32 (anchors, 4), got float32 (4,)", SCORES, DELTAS, ANCHORS[0]),
    proposal("anchors: expected finite numbers, got nan in row 1", SCORES, DELTAS, with_nan(ANCHORS, 1)),
    proposal("stride: expected a number from 0 to 3.40282e+38, got -1", stride=-1),
    proposal("stride: expected a number from 0 to 3.40282e+38, got nan", stride=NAN),
    proposal("image_xyxy: expected 4 numbers, got (0, 0, 5)", image_xyxy=(0, 0, 5)),
    proposal("image_xyxy: expected a number from -3.40282e+38", image_xyxy=(0, 0, INF, 5)),
    proposal("image_xyxy: expected left, top, right, bottom of a picture", image_xyxy=(0, 0, 0.5, 5)),
    proposal(
        "image_xyxy: expected left, top, right, bottom of a picture", image_xyxy=(0, 9, 5, 5), inclusive=False
    ),
    proposal("min_wh: expected 2 numbers, got 16", min_wh=16),
    proposal("min_wh: expected a number from", min_wh=(NAN, 16)),
    proposal("pre_nms: expected a whole number of at least 1, got 0", pre_nms=0),
    proposal("post_nms: expected a whole number of at least 1, got 2.5", post_nms=2.5),
    proposal("iou: expected a number from 0 to 1, got 1.5", iou=1.5),
    pooling("features: expected float32 (channels, height, width), got float32 (1, 5, 3, 4)", FEATURES[None]),
    pooling("features: not C-contiguous", FEATURES[::2]),
    pooling("features: expected at least one cell, got (5, 0, 4)", FEATURES[:, :0].copy()),
    pooling("xyxy: expected shape (n, 4), got (6, 3)", FEATURES, XYXY[:, :3]),
    pooling("xyxy: expected float32 (n, 4), got float64 (6, 4)", FEATURES, XYXY.astype(float)),
    pooling("xyxy: expected finite numbers, got [nan, nan, nan, nan] in row 4", FEATURES, with_nan(XYXY, 4)),
    pooling("size_wh: expected bins across and down, got 7", size_wh=7),
    pooling("size_wh: expected a whole number of at least 1, got 0", size_wh=(7, 0)),
    pooling("size_wh: expected at most 256 bins a side, got (7, 257)", size_wh=(7, 257)),
    pooling("scale: expected a number from 0 to 3.40282e+38, got -0.5", scale=-0.5),
    pooling("out: expected float32 (n, channels, bins down, bins across), got list", out=[1]),
    pooling(
        "out: expected a writable C-contiguous float32 (6, 5, 7, 7), got float32 (6, 5, 7, 8)",
        out=np.zeros((6, 5, 7, 8), F32),
    ),
    pooling(
        "out: expected a writable C-contiguous float32 (6, 5, 7, 7), got",
        out=np.zeros((6, 5, 7, 14), F32)[..., ::2],
    ),
    pooling("out: expected a writable C-contiguous", out=np.broadcast_to(F32(0), (6, 5, 7, 7))),
]


@pytest.mark.parametrize(("message", "function", "args", "kwargs"), CASES)
def test_bad_argument(
    message: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    with pytest.raises(InputError) as caught:
        function(*args, **kwargs)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_nothing_is_written_where_a_box_is_not_finite() -> None:
    out = np.full((6, 5, 7, 7), 3, F32)
    with pytest.raises(InputError):
        rois.pool(FEATURES, with_nan(XYXY, 5), out=out)
    assert (out == 3).all()


def test_an_unknown_isa_is_refused() -> None:
    before = _rois.isa()
    with pytest.raises(InputError, match="not built in"):
        _rois.use_isa("avx9")
    assert _rois.isa() == before
