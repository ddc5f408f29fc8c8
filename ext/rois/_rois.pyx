"""The boundary to native proposals and ROI pooling: checks arguments, calls, raises; the GIL
is given up for long calls.

Arguments and results are described in `edgecv.rois`.
"""

from libc.math cimport isfinite

from isa cimport isa_label
from rois cimport (
    PoolRequest,
    Proposed,
    ProposeRequest,
    RoiStatus,
    pool as native_pool,
    propose as native_propose,
    roi_isa,
    set_roi_isa,
)

from edgecv import _isa

include "arguments.pxi"
include "gil.pxi"

# Indices of boxes are 32 bits wide, and so are those of a cell of the features.
cdef Py_ssize_t MOST = 0x7FFFFFFF
cdef Py_ssize_t MOST_BINS = 256


def use_isa(label=None):
    """Choose the ISA of the kernels by its label; None takes the one of `edgecv._isa`. For tests."""
    set_roi_isa(_isa.index(label))


def isa():
    """Label of the ISA whose kernels run."""
    _choose_isa()
    return isa_label(roi_isa()).decode()


cdef inline int _choose_isa() except -1:
    if roi_isa() < 0:
        use_isa()
    return 0


cdef int _check_contiguous(str name, object value, object dtype, int ndim, str shape) except -1:
    _check_array(name, value, dtype, ndim, shape)
    if not value.flags.c_contiguous:
        raise InputError(f"{name}: not C-contiguous; pass numpy.ascontiguousarray({name})")
    return 0


cdef tuple _numbers(str name, object values, int count):
    if not isinstance(values, (tuple, list)) or len(values) != count:
        raise InputError(f"{name}: expected {count} numbers, got {values!r}")
    return tuple([_number(name, value, -LARGEST, LARGEST) for value in values])


cdef int _check_status(RoiStatus status) except -1:
    if status == RoiStatus.out_of_memory:
        raise MemoryError("rois: no memory for the workspace")
    return 0


def propose(
    scores,
    deltas,
    anchors,
    image_xyxy,
    stride=16,
    min_wh=(16.0, 16.0),
    pre_nms=6000,
    post_nms=300,
    iou=0.7,
    inclusive=True,
):
    """See `edgecv.rois.propose`."""
    cdef ProposeRequest request
    cdef Proposed found
    cdef RoiStatus status
    cdef PyThreadState* gil
    cdef const float[:, :, ::1] score_view, delta_view
    cdef const float[:, ::1] anchor_view
    cdef Py_ssize_t a, k
    _choose_isa()
    _check_contiguous("scores", scores, FLOAT32, 3, "(anchors, height, width)")
    _check_contiguous("deltas", deltas, FLOAT32, 3, "(4 anchors, height, width)")
    _check_contiguous("anchors", anchors, FLOAT32, 2, "(anchors, 4)")
    score_view, delta_view, anchor_view = scores, deltas, anchors
    request.anchor_count = score_view.shape[0]
    request.height, request.width = score_view.shape[1], score_view.shape[2]
    if scores.size > MOST:
        raise InputError(f"scores: expected at most {MOST} of them, got {scores.size}")
    if deltas.shape != (4 * scores.shape[0], scores.shape[1], scores.shape[2]):
        raise InputError(
            f"deltas: expected shape {(4 * scores.shape[0], scores.shape[1], scores.shape[2])}, four planes "
            f"for each plane of scores, got {deltas.shape}"
        )
    if anchors.shape != (scores.shape[0], 4):
        raise InputError(f"anchors: expected shape {(scores.shape[0], 4)}, one a plane, got {anchors.shape}")
    for a in range(anchor_view.shape[0]):
        for k in range(4):
            if not isfinite(anchor_view[a, k]):
                raise InputError(f"anchors: expected finite numbers, got {anchor_view[a, k]} in row {a}")
    request.stride = _number("stride", stride, 0, LARGEST)
    request.left, request.top, request.right, request.bottom = _numbers("image_xyxy", image_xyxy, 4)
    request.min_w, request.min_h = _numbers("min_wh", min_wh, 2)
    request.pre_nms = _count("pre_nms", pre_nms)
    request.post_nms = _count("post_nms", post_nms)
    request.iou = _number("iou", iou, 0, 1)
    request.extent = 1.0 if inclusive else 0.0
    if not (request.right - request.extent >= request.left and request.bottom - request.extent >= request.top):
        raise InputError(f"image_xyxy: expected left, top, right, bottom of a picture, got {image_xyxy!r}")
    if scores.size == 0:
        return empty((0, 4), FLOAT32), empty(0, FLOAT32)
    request.scores = &score_view[0, 0, 0]
    request.deltas = &delta_view[0, 0, 0]
    request.anchors = &anchor_view[0, 0]
    gil = release_gil(times(min(<size_t>scores.size, request.pre_nms), request.post_nms * PAIR_BYTES))
    status = native_propose(request, &found)
    take_gil(gil)
    _check_status(status)
    return (
        _copy_float32(found.xyxy, 4 * found.count).reshape(-1, 4),
        _copy_float32(found.score, found.count),
    )


cdef object _pooled(object out, tuple shape):
    if out is None:
        return empty(shape, FLOAT32)
    _check_array("out", out, FLOAT32, 4, "(n, channels, bins down, bins across)")
    if out.shape != shape or not out.flags.c_contiguous or not out.flags.writeable:
        raise InputError(f"out: expected a writable C-contiguous float32 {shape}, got {_describe(out)}")
    return out


def pool(features, xyxy, size_wh=(7, 7), scale=0.0625, out=None):
    """See `edgecv.rois.pool`."""
    cdef PoolRequest request
    cdef RoiStatus status
    cdef PyThreadState* gil
    cdef const float[:, :, ::1] feature_view
    cdef const float[:, :] box_view
    cdef float[:, :, :, ::1] out_view
    cdef size_t not_finite = 0
    _choose_isa()
    _check_contiguous("features", features, FLOAT32, 3, "(channels, height, width)")
    _check_array("xyxy", xyxy, FLOAT32, 2, "(n, 4)")
    if xyxy.shape[1] != 4:
        raise InputError(f"xyxy: expected shape (n, 4), got {xyxy.shape}")
    feature_view, box_view = features, xyxy
    request.channels, request.height, request.width = features.shape
    if max(features.shape) > MOST:
        raise InputError(f"features: expected sides of at most {MOST}, got {features.shape}")
    if request.height * request.width == 0:
        raise InputError(f"features: expected at least one cell, got {features.shape}")
    if not isinstance(size_wh, (tuple, list)) or len(size_wh) != 2:
        raise InputError(f"size_wh: expected bins across and down, got {size_wh!r}")
    request.pooled_w, request.pooled_h = [_count("size_wh", n) for n in size_wh]
    if max(request.pooled_w, request.pooled_h) > <size_t>MOST_BINS:
        raise InputError(f"size_wh: expected at most {MOST_BINS} bins a side, got {size_wh!r}")
    request.scale = _number("scale", scale, 0, LARGEST)
    request.count = box_view.shape[0]
    request.box_stride = box_view.strides[0] // <Py_ssize_t>sizeof(float)
    request.coordinate_stride = box_view.strides[1] // <Py_ssize_t>sizeof(float)
    result = _pooled(out, (xyxy.shape[0], features.shape[0], size_wh[1], size_wh[0]))
    if result.size == 0:
        return result
    out_view = result
    request.features = &feature_view[0, 0, 0]
    request.xyxy = &box_view[0, 0]
    request.out = &out_view[0, 0, 0, 0]
    gil = release_gil(times(features.size + result.size, sizeof(float)))
    status = native_pool(request, &not_finite)
    take_gil(gil)
    if status == RoiStatus.not_finite:
        raise InputError(f"xyxy: expected finite numbers, got {xyxy[not_finite].tolist()} in row {not_finite}")
    _check_status(status)
    return result
