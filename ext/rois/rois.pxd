from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t

cdef extern from "rois.h" namespace "ecv" nogil:
    cdef enum class RoiStatus(int):
        ok
        out_of_memory
        not_finite

    cdef struct ProposeRequest:
        const float* scores
        const float* deltas
        const float* anchors
        size_t anchor_count
        size_t height
        size_t width
        float stride
        float left
        float top
        float right
        float bottom
        float min_w
        float min_h
        float extent
        float iou
        size_t pre_nms
        size_t post_nms

    cdef struct Proposed:
        const float* xyxy
        const float* score
        size_t count

    cdef struct PoolRequest:
        const float* features
        size_t channels
        size_t height
        size_t width
        const float* xyxy
        size_t count
        ptrdiff_t box_stride  # strides in elements
        ptrdiff_t coordinate_stride
        float scale
        size_t pooled_w
        size_t pooled_h
        float* out

    void set_roi_isa(int isa)
    int roi_isa()
    RoiStatus propose(const ProposeRequest& request, Proposed* result)
    RoiStatus pool(const PoolRequest& request, size_t* not_finite)
