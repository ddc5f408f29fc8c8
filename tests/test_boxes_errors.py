"""Bad arguments to edgecv.boxes: one clear line each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecv import _boxes, boxes
from edgecv.errors import InputError

F32, I32 = np.float32, np.int32
SCORES, XYXY, XYWHR = np.zeros((3, 2), F32), np.zeros((3, 4), F32), np.zeros((3, 5), F32)
CONF, IDS = np.zeros(3, F32), np.zeros(3, I32)
MISALIGNED = np.frombuffer(bytes(25), np.uint8)[1:].view(F32).reshape(3, 2)
STRIDED = np.zeros((6, 6), F32)[::2, ::2]
NAN, INF = float("nan"), float("inf")


def bad(message: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return pytest.param(message, function, args, kwargs, id=message)


CASES = [
    bad("scores: expected float32 (n, classes), got list; convert it", boxes.select, [[0.5]], 0),
    bad("scores: expected float32 (n, classes), got float64 (3, 2)", boxes.select, np.zeros((3, 2)), 0),
    bad("scores: expected float32 (n, classes), got >f4 (3, 2)", boxes.select, SCORES.astype(">f4"), 0),
    bad("scores: expected float32 (n, classes), got float32 (3,)", boxes.select, CONF, 0),
    bad("scores: expected rows or classes to be contiguous", boxes.select, STRIDED, 0),
    bad("scores: expected an aligned array", boxes.select, MISALIGNED, 0),
    bad(
        "threshold: expected a number from -3.40282e+38 to 3.40282e+38, got nan",
        boxes.select,
        SCORES,
        NAN,
    ),
    bad(
        "threshold: expected a number from -3.40282e+38 to 3.40282e+38, got inf",
        boxes.select,
        SCORES,
        INF,
    ),
    bad("to 3.40282e+38, got 1e+39", boxes.select, SCORES, 1e39),
    bad("to 3.40282e+38, got '0.5'", boxes.select, SCORES, "0.5"),
    bad("threshold: expected a number or 2 of them, one a class, got 3", boxes.select, SCORES, CONF),
    bad("threshold: expected float32 (classes,), got float64 (2,)", boxes.select, SCORES, np.zeros(2)),
    bad(
        "threshold: expected finite numbers, got nan for class 1",
        boxes.select,
        SCORES,
        np.array([0, NAN], F32),
    ),
    bad("objectness: expected 3 entries", boxes.select, SCORES, 0, objectness=CONF[:2]),
    bad("objectness: expected float32 (n,), got int32 (3,)", boxes.select, SCORES, 0, objectness=IDS),
    bad("max_candidates: expected a whole number", boxes.select, SCORES, 0, max_candidates=0),
    bad("xyxy: expected shape (n, 4), got (3, 3)", boxes.nms, XYXY[:, :3], CONF),
    bad("xyxy: expected float32 (n, 4), got int64 (3, 4)", boxes.nms, XYXY.astype(np.int64), CONF),
    bad("confidence: expected 3 entries, one a row, got 2", boxes.nms, XYXY, CONF[:2]),
    bad("class_id: expected int32 (n,), got int64 (3,)", boxes.nms, XYXY, CONF, IDS.astype(np.int64)),
    bad("class_id: expected 3 entries, one a row, got 1", boxes.nms, XYXY, CONF, IDS[:1]),
    bad("image_id: expected 3 entries, one a row, got 1", boxes.nms, XYXY, CONF, image_id=IDS[:1]),
    bad("iou: expected a number from 0 to 1, got 1.5", boxes.nms, XYXY, CONF, iou=1.5),
    bad("iou: expected a number from 0 to 1, got nan", boxes.nms, XYXY, CONF, iou=NAN),
    bad("iou: expected a number from 0 to 1, got array", boxes.nms, XYXY, CONF, iou=np.array([0.5])),
    bad("max_det: expected a whole number of at least 1, got 0", boxes.nms, XYXY, CONF, max_det=0),
    bad("max_det: expected a whole number of at least 1, got 2.5", boxes.nms, XYXY, CONF, max_det=2.5),
    bad("method: expected 'greedy' or 'diou', got 'soft'", boxes.nms, XYXY, CONF, method="soft"),
    bad("xywhr: expected shape (n, 5), got (3, 4)", boxes.nms_rotated, XYXY, CONF),
    bad("xywhr: expected float32 (n, 5), got float64 (3, 5)", boxes.nms_rotated, np.zeros((3, 5)), CONF),
    bad("confidence: expected 3 entries, one a row, got 2", boxes.nms_rotated, XYWHR, CONF[:2]),
    bad("class_id: expected 3 entries, one a row, got 1", boxes.nms_rotated, XYWHR, CONF, IDS[:1]),
    bad("iou: expected a number from 0 to 1, got -0.5", boxes.nms_rotated, XYWHR, CONF, iou=-0.5),
    bad("max_det: expected a whole number of at least 1, got 0", boxes.nms_rotated, XYWHR, CONF, max_det=0),
    bad("method: expected 'iou' or 'probiou', got 'diou'", boxes.nms_rotated, XYWHR, CONF, method="diou"),
    bad("b: expected shape (n, 5), got (3, 4)", boxes.iou_rotated, XYWHR, XYXY),
    bad("method: expected 'iou' or 'probiou', got None", boxes.iou_rotated, XYWHR, XYWHR, method=None),
    bad("method: expected 'gaussian' or 'linear', got 'diou'", boxes.soft_nms, XYXY, CONF, method="diou"),
    bad("sigma: expected a number from 1e-06 to 1e+06, got 0", boxes.soft_nms, XYXY, CONF, sigma=0),
    bad("threshold: expected a number from 0 to", boxes.soft_nms, XYXY, CONF, threshold=-1),
    bad("a: expected float32 (n, 4), got float32 (3,)", boxes.iou, CONF, XYXY),
    bad("b: expected shape (n, 4), got (3, 2)", boxes.iou, XYXY, SCORES),
    bad("boxes: expected shape (n, 4), got (3, 2)", boxes.xywh_to_xyxy, SCORES),
    bad("rows: expected int32 (k,), got int64 (3,)", boxes.xywh_to_xyxy, XYXY, IDS.astype(np.int64)),
    bad("rows: expected 0 to 2, got 0 to 3", boxes.cxcywh_to_xyxy, XYXY, np.array([0, 3], I32)),
    bad("rows: expected 0 to 2, got -1 to 0", boxes.xyxy_to_xywh, XYXY, np.array([0, -1], I32)),
    bad("rows: expected 0 to 2, got -2147483648", boxes.xyxy_to_cxcywh, XYXY, np.array([-(2**31)], I32)),
    bad("values: expected a contiguous array", _boxes.largest, CONF[::2]),
    bad("EDGECV_ISA=mmx: not built in", _boxes.use_isa, "mmx"),
]


@pytest.mark.parametrize(("message", "function", "args", "kwargs"), CASES)
def test_bad_input_is_one_clear_line(
    message: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    with pytest.raises(InputError) as raised:
        function(*args, **kwargs)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
