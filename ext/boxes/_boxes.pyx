"""The boundary to the native box code: checks arguments, calls, raises; the GIL is given
up for long calls.

Arguments and results are described in `edgecv.boxes`.
"""

from libc.math cimport isfinite
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy

from boxes cimport (
    BoxRows,
    CandidateRows,
    Conversion,
    Kept,
    NmsRequest,
    RotatedNmsRequest,
    SelectRequest,
    Selection,
    SoftNmsRequest,
    Status,
    box_isa,
    box_kernels,
    convert as native_convert,
    iou_matrix as native_iou_matrix,
    iou_rotated_matrix as native_iou_rotated_matrix,
    nms as native_nms,
    nms_rotated as native_nms_rotated,
    select as native_select,
    set_box_isa,
    soft_nms as native_soft_nms,
)
from isa cimport isa_label

import numpy as np

from edgecv import _isa
from edgecv.errors import InputError

include "arguments.pxi"
include "gil.pxi"

cdef object INT32 = np.dtype(np.int32)
cdef object INT64 = np.dtype(np.int64)

cdef Py_ssize_t MOST_ROWS = 0x7FFFFFFF


def use_isa(label=None):
    """Choose the ISA of the kernels by its label; None takes the one of `edgecv._isa`. For tests."""
    set_box_isa(_isa.index(label))


def isa():
    """Label of the ISA whose kernels run."""
    _choose_isa()
    return isa_label(box_isa()).decode()


cdef inline int _choose_isa() except -1:
    if box_isa() < 0:
        use_isa()
    return 0


cdef int _check_length(str name, object value, Py_ssize_t n) except -1:
    if value.shape[0] != n:
        raise InputError(f"{name}: expected {n} entries, one a row, got {value.shape[0]}")
    return 0


cdef int _check_rows(str name, Py_ssize_t n) except -1:
    if n > MOST_ROWS:
        raise InputError(f"{name}: expected at most {MOST_ROWS} rows, got {n}")
    return 0


cdef int _check_status(Status status) except -1:
    if status == Status.out_of_memory:
        raise MemoryError("boxes: no memory for the workspace")
    return 0


cdef object _copy_int32(const int32_t* data, size_t n):
    result = empty(n, INT32)
    cdef int32_t[::1] view = result
    if n:
        memcpy(&view[0], data, n * sizeof(int32_t))
    return result


cdef object _copy_int64(const int64_t* data, size_t n):
    result = empty(n, INT64)
    cdef int64_t[::1] view = result
    if n:
        memcpy(&view[0], data, n * sizeof(int64_t))
    return result


def select(scores, threshold, objectness=None, multi_label=False, max_candidates=30_000):
    """See `edgecv.boxes.select`."""
    cdef SelectRequest request
    cdef Selection found
    cdef Status status
    cdef PyThreadState* gil
    cdef const float[:, :] score_view
    cdef const float[:] objectness_view, threshold_view
    cdef float[1] one_threshold
    cdef Py_ssize_t n, classes, i

    _choose_isa()
    _check_array("scores", scores, FLOAT32, 2, "(n, classes)")
    score_view = scores
    n, classes = score_view.shape[0], score_view.shape[1]
    _check_rows("scores", n)
    _check_rows("scores.T", classes)
    request.rows = n
    request.scores.classes = classes
    request.scores.row_stride = score_view.strides[0] // <Py_ssize_t>sizeof(float)
    request.scores.class_stride = score_view.strides[1] // <Py_ssize_t>sizeof(float)
    request.by_columns = request.scores.row_stride == 1 or n <= 1
    if classes > 1 and request.scores.class_stride == 1:
        request.by_columns = False
    elif classes > 1 and not request.by_columns:
        raise InputError(
            f"scores: expected rows or classes to be contiguous, got strides {scores.strides}; "
            "pass numpy.ascontiguousarray(scores)"
        )

    request.scores.objectness = NULL
    if objectness is not None:
        _check_array("objectness", objectness, FLOAT32, 1, "(n,)")
        _check_length("objectness", objectness, n)
        objectness_view = objectness
        if n:
            request.scores.objectness = &objectness_view[0]
        request.scores.objectness_stride = objectness_view.strides[0] // <Py_ssize_t>sizeof(float)

    if isinstance(threshold, NDARRAY) and threshold.ndim:
        _check_array("threshold", threshold, FLOAT32, 1, "(classes,)")
        if threshold.shape[0] != classes:
            raise InputError(
                f"threshold: expected a number or {classes} of them, one a class, got {threshold.shape[0]}"
            )
        threshold = np.ascontiguousarray(threshold)
        threshold_view = threshold
        for i in range(classes):
            if not isfinite(threshold_view[i]):
                raise InputError(f"threshold: expected finite numbers, got {threshold_view[i]} for class {i}")
        request.per_class = True
    else:
        one_threshold[0] = _number("threshold", threshold, -LARGEST, LARGEST)
        request.per_class = False
    request.multi_label = bool(multi_label)
    request.max_candidates = _count("max_candidates", max_candidates)

    if n == 0 or classes == 0:
        return empty(0, INT32), empty(0, INT32), empty(0, FLOAT32)
    request.scores.data = &score_view[0, 0]
    request.thresholds = &threshold_view[0] if request.per_class else one_threshold
    gil = release_gil(times(n, classes * sizeof(float)))
    status = native_select(request, &found)
    take_gil(gil)
    _check_status(status)
    return (
        _copy_int32(found.row, found.count),
        _copy_int32(found.class_id, found.count),
        _copy_float32(found.confidence, found.count),
    )


cdef int _fill_boxes(BoxRows* rows, str name, object xyxy, Py_ssize_t numbers=4) except -1:
    # The caller's reference keeps the array alive while the request points into it; so below.
    cdef const float[:, :] view
    _check_array(name, xyxy, FLOAT32, 2, f"(n, {numbers})")
    if xyxy.shape[1] != numbers:
        raise InputError(f"{name}: expected shape (n, {numbers}), got {xyxy.shape}")
    view = xyxy
    _check_rows(name, view.shape[0])
    rows.count = view.shape[0]
    rows.data = &view[0, 0] if rows.count else NULL
    rows.box_stride = view.strides[0] // <Py_ssize_t>sizeof(float)
    rows.coordinate_stride = view.strides[1] // <Py_ssize_t>sizeof(float)
    return 0


cdef int _fill_ids(
    const int32_t** data, ptrdiff_t* stride, str name, object ids, size_t n
) except -1:
    cdef const int32_t[:] view
    data[0] = NULL
    stride[0] = 0
    if ids is None:
        return 0
    _check_array(name, ids, INT32, 1, "(n,)")
    _check_length(name, ids, n)
    view = ids
    if n:
        data[0] = &view[0]
        stride[0] = view.strides[0] // <Py_ssize_t>sizeof(int32_t)
    return 0


cdef int _fill_candidates(
    CandidateRows* rows, object xyxy, object confidence, object class_id, object image_id
) except -1:
    _fill_boxes(&rows.xyxy, "xyxy", xyxy)
    return _fill_columns(rows, confidence, class_id, image_id)


cdef int _fill_columns(
    CandidateRows* rows, object confidence, object class_id, object image_id
) except -1:
    # What stands beside the boxes, which are filled in already.
    cdef const float[:] view
    cdef size_t n = rows.xyxy.count
    _check_array("confidence", confidence, FLOAT32, 1, "(n,)")
    _check_length("confidence", confidence, n)
    view = confidence
    rows.confidence = &view[0] if n else NULL
    rows.confidence_stride = view.strides[0] // <Py_ssize_t>sizeof(float)
    _fill_ids(&rows.class_id, &rows.class_stride, "class_id", class_id, n)
    _fill_ids(&rows.image_id, &rows.image_stride, "image_id", image_id, n)
    return 0


cdef size_t _max_det(object value, size_t n) except? 0:
    # 0 only where there is nothing to keep.
    return n if value is None else _count("max_det", value)


cdef int _check_method(object method, tuple methods) except -1:
    if method not in methods:
        raise InputError(f"method: expected {' or '.join(map(repr, methods))}, got {method!r}")
    return 0


def nms(xyxy, confidence, class_id=None, iou=0.45, max_det=None, image_id=None, method="greedy"):
    """See `edgecv.boxes.nms`."""
    cdef NmsRequest request
    cdef Kept kept
    cdef Status status
    cdef PyThreadState* gil
    _choose_isa()
    _fill_candidates(&request.candidates, xyxy, confidence, class_id, image_id)
    request.iou = _number("iou", iou, 0, 1)
    request.max_det = _max_det(max_det, request.candidates.xyxy.count)
    _check_method(method, ("greedy", "diou"))
    request.diou = method == "diou"
    gil = release_gil(times(request.candidates.xyxy.count, request.max_det * PAIR_BYTES))
    status = native_nms(request, &kept)
    take_gil(gil)
    _check_status(status)
    return _copy_int64(kept.index, kept.count)


def nms_rotated(xywhr, confidence, class_id=None, iou=0.45, max_det=None, method="iou"):
    """See `edgecv.boxes.nms_rotated`."""
    cdef RotatedNmsRequest request
    cdef Kept kept
    cdef Status status
    cdef size_t pair
    cdef PyThreadState* gil
    _fill_boxes(&request.candidates.xyxy, "xywhr", xywhr, 5)
    _fill_columns(&request.candidates, confidence, class_id, None)
    _check_method(method, ("iou", "probiou"))
    request.gaussian = method == "probiou"
    request.iou = _number("iou", iou, 0, 1)
    request.max_det = _max_det(max_det, request.candidates.xyxy.count)
    pair = GAUSSIAN_PAIR_BYTES if request.gaussian else POLYGON_PAIR_BYTES
    gil = release_gil(times(request.candidates.xyxy.count, times(request.max_det, pair)))
    status = native_nms_rotated(request, &kept)
    take_gil(gil)
    _check_status(status)
    return _copy_int64(kept.index, kept.count)


def soft_nms(
    xyxy,
    confidence,
    class_id=None,
    method="gaussian",
    sigma=0.5,
    iou=0.3,
    threshold=0.001,
    max_det=None,
):
    """See `edgecv.boxes.soft_nms`."""
    cdef SoftNmsRequest request
    cdef Kept kept
    cdef Status status
    cdef size_t n
    cdef PyThreadState* gil
    _choose_isa()
    _fill_candidates(&request.candidates, xyxy, confidence, class_id, None)
    _check_method(method, ("gaussian", "linear"))
    request.linear = method == "linear"
    request.sigma = _number("sigma", sigma, 1e-6, 1e6)
    request.iou = _number("iou", iou, 0, 1)
    request.threshold = _number("threshold", threshold, 0, LARGEST)
    request.max_det = _max_det(max_det, request.candidates.xyxy.count)
    n = request.candidates.xyxy.count
    gil = release_gil(times(n, n * PAIR_BYTES))
    status = native_soft_nms(request, &kept)
    take_gil(gil)
    _check_status(status)
    return _copy_int64(kept.index, kept.count), _copy_float32(kept.confidence, kept.count)


def iou(a, b):
    """See `edgecv.boxes.iou`."""
    cdef BoxRows rows, columns
    cdef Status status
    cdef PyThreadState* gil
    cdef float[:, ::1] view
    _choose_isa()
    _fill_boxes(&rows, "a", a)
    _fill_boxes(&columns, "b", b)
    result = empty((rows.count, columns.count), FLOAT32)
    if rows.count == 0 or columns.count == 0:
        return result
    view = result
    gil = release_gil(times(rows.count, columns.count * PAIR_BYTES))
    status = native_iou_matrix(rows, columns, &view[0, 0])
    take_gil(gil)
    _check_status(status)
    return result


def iou_rotated(a, b, method="iou"):
    """See `edgecv.boxes.iou_rotated`."""
    cdef BoxRows rows, columns
    cdef Status status
    cdef size_t pair
    cdef PyThreadState* gil
    cdef float[:, ::1] view
    cdef bint gaussian
    _fill_boxes(&rows, "a", a, 5)
    _fill_boxes(&columns, "b", b, 5)
    _check_method(method, ("iou", "probiou"))
    gaussian = method == "probiou"
    result = empty((rows.count, columns.count), FLOAT32)
    if rows.count == 0 or columns.count == 0:
        return result
    view = result
    pair = GAUSSIAN_PAIR_BYTES if gaussian else POLYGON_PAIR_BYTES
    gil = release_gil(times(rows.count, columns.count * pair))
    status = native_iou_rotated_matrix(rows, columns, gaussian, &view[0, 0])
    take_gil(gil)
    _check_status(status)
    return result


cdef object _convert(Conversion conversion, object boxes, object rows):
    cdef BoxRows source
    cdef Status status
    cdef PyThreadState* gil
    cdef const int32_t[::1] row_view
    cdef float[:, ::1] view
    cdef const int32_t* wanted = NULL
    cdef size_t count
    _fill_boxes(&source, "boxes", boxes)
    count = source.count
    if rows is not None:
        _check_array("rows", rows, INT32, 1, "(k,)")
        row_view = np.ascontiguousarray(rows)
        count = row_view.shape[0]
        if count:
            wanted = &row_view[0]
    result = empty((count, 4), FLOAT32)
    if count == 0:
        return result
    view = result
    gil = release_gil(times(count, 8 * sizeof(float)))
    status = native_convert(conversion, source, wanted, count, &view[0, 0])
    take_gil(gil)
    if status == Status.no_such_row:
        raise InputError(f"rows: expected 0 to {<Py_ssize_t>source.count - 1}, got {rows.min()} to {rows.max()}")
    return result


def cxcywh_to_xyxy(boxes, rows=None):
    """See `edgecv.boxes.cxcywh_to_xyxy`."""
    return _convert(Conversion.cxcywh_to_xyxy, boxes, rows)


def xywh_to_xyxy(boxes, rows=None):
    """See `edgecv.boxes.xywh_to_xyxy`."""
    return _convert(Conversion.xywh_to_xyxy, boxes, rows)


def xyxy_to_xywh(boxes, rows=None):
    """See `edgecv.boxes.xyxy_to_xywh`."""
    return _convert(Conversion.xyxy_to_xywh, boxes, rows)


def xyxy_to_cxcywh(boxes, rows=None):
    """See `edgecv.boxes.xyxy_to_cxcywh`."""
    return _convert(Conversion.xyxy_to_cxcywh, boxes, rows)


cdef object _flat(str name, object values):
    _check_array(name, values, FLOAT32, 1, "(n,)")
    if not values.flags.c_contiguous or values.size == 0:
        raise InputError(f"{name}: expected a contiguous array of at least one number")
    return values


def has_nan(values):
    """See `edgecv.boxes.has_nan`."""
    cdef const float[::1] view
    cdef bint result
    cdef PyThreadState* gil
    _choose_isa()
    view = _flat("values", values)
    gil = release_gil(times(view.shape[0], sizeof(float)))
    result = box_kernels().f32_has_nan(&view[0], view.shape[0])
    take_gil(gil)
    return result


def largest(values):
    """The largest number of a float32 (n,) array, each read once: the floor that benchmarks compare with."""
    cdef const float[::1] view
    cdef float result
    cdef PyThreadState* gil
    _choose_isa()
    view = _flat("values", values)
    gil = release_gil(times(view.shape[0], sizeof(float)))
    result = box_kernels().f32_largest(&view[0], view.shape[0])
    take_gil(gil)
    return result
